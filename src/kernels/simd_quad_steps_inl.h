// Sums of quads (simd_quads_inl.h) over the steps and rests of a panel of weights, as
// simd_quad_pack_inl.h packs them. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_QUAD_STEPS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#undef MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#else
#define MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/simd_quad_pack_inl.h"
#include "kernels/simd_quads_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Rows of a tile, of which a target has registers for `most`: the weights of two steps take some.
inline std::int64_t most_tile_rows(std::int64_t most) {
  return quad_sums() == QuadSums::kPairs ? std::min<std::int64_t>(most, 4) : most;
}

// sums[i] += the products of the four bytes at x(i), in every lane, and a step of weights.
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_step(const std::uint8_t* HWY_RESTRICT weights, VecQuads (&sums)[kCount][2],
                         const X& x) {
  const QuadI32 d;
  const QuadU8 d8;
  const VecQuads w0 = hn::BitCast(d, hn::LoadU(d8, weights)),
                 w1 = hn::BitCast(d, hn::LoadU(d8, weights + kQuadVectorBytes));
  MEZZO_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const VecQuads xi = broadcast_quad(x(i));
    add_quads<kSums>(sums[i][0], xi, w0);
    add_quads<kSums>(sums[i][1], xi, w1);
  }
}

// The same of two steps: `first` and `second` are where their bytes are.
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_steps(const std::uint8_t* HWY_RESTRICT weights, VecQuads (&sums)[kCount][2],
                          const X& first, const X& second) {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  if constexpr (kSums == QuadSums::kPairs) {
    const QuadU8 d8;
    const auto at = [&](int i) HWY_ATTR { return hn::LoadU(d8, weights + i * kQuadVectorBytes); };
    const auto first0 = at(0), first1 = at(1), second0 = at(2), second1 = at(3);
    MEZZO_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const VecQuads x0 = broadcast_quad(first(i)), x1 = broadcast_quad(second(i));
      add_two_quads(sums[i][0], x0, x1, first0, second0, hn::Set(QuadI16(), 1));
      add_two_quads(sums[i][1], x0, x1, first1, second1, hn::Set(QuadI16(), 1));
    }
    return;
  }
#endif
  add_step<kSums>(weights, sums, first);
  add_step<kSums>(weights + kQuadStepBytes, sums, second);
}

// The bytes of two windows of eight that a rest has in each lane.
HWY_INLINE VecQuads picked_bytes(const std::uint8_t* first, const std::uint8_t* second,
                                 hn::Vec<QuadU8> indices) {
  const hn::Repartition<std::uint64_t, QuadI32> d;
  std::uint64_t windows[2];
  std::memcpy(windows, first, 8);
  std::memcpy(windows + 1, second, 8);
  const auto both = hn::OddEven(hn::Set(d, windows[1]), hn::Set(d, windows[0]));
  return hn::BitCast(QuadI32(), hn::TableLookupBytes(hn::BitCast(QuadU8(), both), indices));
}

// The same of a panel's rests: x(offset)(i) is where a window is.
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_rests(const Rests& rests, VecQuads (&sums)[kCount][2], const X& x) {
  const QuadU8 d8;
  MEZZO_UNROLL
  for (int v = 0; v < 2; ++v) {
    const std::int64_t *at = rests.windows[v], *const end = at + 2 * rests.counts[v];
    const std::uint8_t* vectors = rests.vectors[v];
    for (; at != end; at += 4, vectors += 4 * kQuadVectorBytes) {
      const auto load = [&](int i)
                            HWY_ATTR { return hn::LoadU(d8, vectors + i * kQuadVectorBytes); };
      const auto indices0 = load(0), w0 = load(1), indices1 = load(2), w1 = load(3);
      const auto a = x(at[0]), b = x(at[1]), c = x(at[2]), d = x(at[3]);
      MEZZO_UNROLL
      for (int i = 0; i < kCount; ++i) {
        const VecQuads x0 = picked_bytes(a(i), b(i), indices0),
                       x1 = picked_bytes(c(i), d(i), indices1);
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
        if constexpr (kSums == QuadSums::kPairs) {
          add_two_quads(sums[i][v], x0, x1, w0, w1, hn::Set(QuadI16(), 1));
          continue;
        }
#endif
        add_quads<kSums>(sums[i][v], x0, hn::BitCast(QuadI32(), w0));
        add_quads<kSums>(sums[i][v], x1, hn::BitCast(QuadI32(), w1));
      }
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
