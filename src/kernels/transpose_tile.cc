#include "kernels/transpose_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/transpose_tile.cc"
#include "kernels/simd.h"
#include "kernels/simd_pack_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int kEdge = int{kTransposeEdge};

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const char* from) {
  const hn::Repartition<std::uint8_t, D> bytes;
  return hn::BitCast(d, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(from)));
}

template <class V>
HWY_INLINE void store(V v, char* to) {
  const hn::Repartition<std::uint8_t, hn::DFromV<V>> bytes;
  hn::StoreU(hn::BitCast(bytes, v), bytes, reinterpret_cast<std::uint8_t*>(to));
}

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
// Whole lines of the cache: the 4 x 4 of each block, and then the blocks among them.
void transpose(const char* source, int64_t source_stride, char* target, int64_t target_stride) {
  const F32 d;
  VecF32 v[kEdge];
  MEZZO_UNROLL
  for (int i = 0; i < kEdge; i += 4) {
    MEZZO_UNROLL
    for (int j = 0; j < 4; ++j) v[i + j] = load(d, source + (i + j) * source_stride);
    transpose_blocks(d, v[i], v[i + 1], v[i + 2], v[i + 3]);
  }
  // Block b of v[4 g + j] is columns 4 g to 4 g + 3 of row 4 b + j.
  MEZZO_UNROLL
  for (int j = 0; j < 4; ++j) {
    const auto even = [&](VecF32 a, VecF32 b)
                          HWY_ATTR { return hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a); };
    const auto odd = [&](VecF32 a, VecF32 b)
                         HWY_ATTR { return hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a)); };
    const VecF32 even01 = even(v[j], v[4 + j]), odd01 = odd(v[j], v[4 + j]);
    const VecF32 even23 = even(v[8 + j], v[12 + j]), odd23 = odd(v[8 + j], v[12 + j]);
    char* to = target + j * target_stride;
    store(hn::ConcatLowerLower(d, even23, even01), to);
    store(hn::ConcatLowerLower(d, odd23, odd01), to + 4 * target_stride);
    store(hn::ConcatUpperUpper(d, even23, even01), to + 8 * target_stride);
    store(hn::ConcatUpperUpper(d, odd23, odd01), to + 12 * target_stride);
  }
}
#else
// Squares of 8 x 8, the blocks of 4 x 4 among them put into place by the loads.
void transpose(const char* source, int64_t source_stride, char* target, int64_t target_stride) {
  const hn::CappedTag<float, 8> d;
  const hn::Half<decltype(d)> half;
  for (int r = 0; r < kEdge; r += 4) {
    for (int c = 0; c < kEdge; c += 8) {
      const char* from = source + r * 4 + c * source_stride;
      hn::Vec<decltype(d)> v[4];
      MEZZO_UNROLL
      for (int i = 0; i < 4; ++i) {
        v[i] = hn::Combine(d, load(half, from + (4 + i) * source_stride),
                           load(half, from + i * source_stride));
      }
      transpose_blocks(d, v[0], v[1], v[2], v[3]);
      MEZZO_UNROLL
      for (int i = 0; i < 4; ++i) store(v[i], target + (r + i) * target_stride + c * 4);
    }
  }
}
#endif

}  // namespace

TransposeTile wide_transpose_tile() {
  if constexpr (kLanes < 8) return nullptr;
  return transpose;
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(wide_transpose_tile);
}

TransposeTile transpose_tile() {
  return simd_enabled() ? MEZZO_DISPATCH(wide_transpose_tile)() : nullptr;
}

}  // namespace mezzo::kernels
#endif
