// Sums of products of bytes, four to a lane of 32 bits, and their way back to bytes. Included per
// target, like simd.h.
//
// Sums come as pairs of vectors whose 128-bit parts hold channels 0 to 3 and 4 to 7 of a block:
// narrowed twice within these parts, those of two neighbouring pixels are a block's bytes in order.

#if defined(MEZZO_KERNELS_SIMD_QUADS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_QUADS_INL
#undef MEZZO_KERNELS_SIMD_QUADS_INL
#else
#define MEZZO_KERNELS_SIMD_QUADS_INL
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/blocked_i8.h"
#include "kernels/cpu.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using QuadI32 = hn::ScalableTag<std::int32_t>;
using QuadU8 = hn::Repartition<std::uint8_t, QuadI32>;
using QuadI8 = hn::Repartition<std::int8_t, QuadI32>;
using QuadI16 = hn::Repartition<std::int16_t, QuadI32>;
using QuadF32 = hn::Repartition<float, QuadI32>;
using VecQuads = hn::Vec<QuadI32>;

inline constexpr int kQuadLanes = HWY_LANES(std::int32_t);
// Parts of 128 bits.
inline constexpr int kQuadParts = kQuadLanes / 4;

// What this target's kernels of quads are made of.
enum class QuadSums {
  kSlow,         // anything: other kernels are quicker
  kPairs,        // sums of products in 16 bits, of weights as pack_steps leaves them
  kInstruction,  // one that multiplies and adds four
};

inline QuadSums quad_sums() {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
  return __builtin_cpu_supports("avx512vnni") != 0 ? QuadSums::kInstruction : QuadSums::kSlow;
#elif HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  return has_avx_vnni() ? QuadSums::kInstruction : QuadSums::kPairs;
#else
  return QuadSums::kSlow;
#endif
}

// The kinds that a target has: make(kind) of the one that the CPU takes.
template <class Make>
auto with_quad_sums(const Make& make) {
  constexpr std::integral_constant<QuadSums, QuadSums::kInstruction> kInstruction;
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  constexpr std::integral_constant<QuadSums, QuadSums::kPairs> kPairs;
  if (quad_sums() == QuadSums::kPairs) return make(kPairs);
#endif
  return make(kInstruction);
}

#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
// Instructions in pieces: compilers reorder sums of integers until registers run out.
inline constexpr std::int64_t kSixteenOnes[] = {0x1000100010001, 0x1000100010001, 0x1000100010001,
                                                0x1000100010001};

// pairs += the sums of two products, which fit.
HWY_INLINE void add_pairs(hn::Vec<QuadI16>& pairs, VecQuads x, hn::Vec<QuadU8> w) {
  decltype(x.raw) products;
  asm("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0"
      : "+x"(pairs.raw), "=&x"(products)
      : "x"(x.raw), "x"(w.raw));
}

// sum += the sums of two neighbours.
HWY_INLINE void add_lanes(VecQuads& sum, hn::Vec<QuadI16> pairs) {
  asm("vpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum.raw), "+x"(pairs.raw)
      : "m"(kSixteenOnes));
}

// sum += the products of x0 and w0 and those of x1 and w1, which fit 16 bits by twos and together.
HWY_INLINE void add_two_quads(VecQuads& sum, VecQuads x0, VecQuads x1, hn::Vec<QuadU8> w0,
                              hn::Vec<QuadU8> w1, hn::Vec<QuadI16> ones) {
  decltype(sum.raw) p, q;
  asm("vpmaddubsw %5, %3, %1\n\tvpmaddubsw %6, %4, %2\n\tvpaddw %2, %1, %1\n\t"
      "vpmaddwd %7, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum.raw), "=&x"(p), "=&x"(q)
      : "x"(x0.raw), "x"(x1.raw), "x"(w0.raw), "x"(w1.raw), "xm"(ones.raw));
}
#endif

// sum += the four products of unsigned and signed bytes in each lane. The x86 instruction is one
// that the target as a whole does without: see quad_sums.
template <QuadSums kSums>
HWY_INLINE void add_quads(VecQuads& sum, VecQuads x, VecQuads w) {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  if constexpr (kSums == QuadSums::kPairs) {
    decltype(sum.raw) pairs;
    asm("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
        : "+x"(sum.raw), "=&x"(pairs)
        : "x"(x.raw), "x"(w.raw), "m"(kSixteenOnes));
    return;
  }
#endif
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(w.raw));
#elif HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.raw) : "x"(x.raw), "x"(w.raw));
#else
  const QuadI32 d;
  const QuadI16 d16;
  const auto pairs = [&](auto even_x, auto odd_x, auto even_w, auto odd_w) HWY_ATTR {
    VecQuads other = hn::Zero(d);
    sum = hn::ReorderWidenMulAccumulate(d, even_x, even_w, sum, other);
    sum = hn::RearrangeToOddPlusEven(sum, other);
    other = hn::Zero(d);
    sum = hn::ReorderWidenMulAccumulate(d, odd_x, odd_w, sum, other);
    sum = hn::RearrangeToOddPlusEven(sum, other);
  };
  const auto x16 = hn::BitCast(d16, x), w16 = hn::BitCast(d16, w);
  const hn::Repartition<std::uint16_t, QuadI32> du16;
  pairs(hn::And(x16, hn::Set(d16, 0xff)),
        hn::BitCast(d16, hn::ShiftRight<8>(hn::BitCast(du16, x16))),
        hn::ShiftRight<8>(hn::ShiftLeft<8>(w16)), hn::ShiftRight<8>(w16));
#endif
}

// Four bytes in every lane.
HWY_INLINE VecQuads broadcast_quad(const std::uint8_t* x) {
  std::int32_t four;
  std::memcpy(&four, x, sizeof(four));
  return hn::Set(QuadI32(), four);
}

// A vector of pixels of that size, `Stride` (1 or 2) pixels of memory apart.
template <class Pixel, int Stride>
HWY_INLINE hn::Vec<QuadU8> load_pixels(const std::uint8_t* x) {
  const QuadU8 d;
  const auto first = hn::LoadU(d, x);
  if constexpr (Stride == 1) return first;
  const hn::Repartition<Pixel, QuadU8> pixels;
  const auto second = hn::LoadU(d, x + 4 * kQuadLanes);
  return hn::BitCast(
      d, hn::ConcatEven(pixels, hn::BitCast(pixels, second), hn::BitCast(pixels, first)));
}

// The nearest integers of numbers below 2^31; of lesser than -2^31 and NaN something very low.
HWY_INLINE VecQuads nearest_quads(hn::Vec<QuadF32> v) {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
  return VecQuads{_mm512_cvtps_epi32(v.raw)};
#elif HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  return VecQuads{_mm256_cvtps_epi32(v.raw)};
#else
  return hn::NearestInt(v);
#endif
}

// Within each part of 128 bits: the bytes of a, then those of b, saturated.
HWY_INLINE hn::Vec<QuadU8> saturated_bytes(hn::Vec<QuadI16> a, hn::Vec<QuadI16> b) {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
  return hn::Vec<QuadU8>{_mm512_packus_epi16(a.raw, b.raw)};
#elif HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  return hn::Vec<QuadU8>{_mm256_packus_epi16(a.raw, b.raw)};
#else
  const QuadU8 d;
  const hn::Half<QuadU8> half;
  return hn::Combine(d, hn::DemoteTo(half, b), hn::DemoteTo(half, a));
#endif
}

// From sums to bytes: what BlockedConvI8 says of y. Bytes are unsigned on the way there.
class QuadFinish {
 public:
  explicit QuadFinish(const BlockedConvI8& args)
      : zero_point_(hn::Set(QuadI16(), static_cast<std::int16_t>(args.y_zero_point + up(args)))),
        low_(hn::Set(QuadU8(), static_cast<std::uint8_t>(args.low + up(args)))),
        high_(hn::Set(QuadU8(), static_cast<std::uint8_t>(args.high + up(args)))),
        flip_(hn::Set(QuadU8(), static_cast<std::uint8_t>(up(args)))) {}

  // Two vectors of one pixel, as 16 bits.
  HWY_INLINE hn::Vec<QuadI16> narrowed(VecQuads first, VecQuads second,
                                       const hn::Vec<QuadF32> (&multipliers)[2],
                                       const hn::Vec<QuadF32> (&addends)[2]) const {
    const QuadI16 d16;
    return hn::SaturatedAdd(hn::ReorderDemote2To(d16, scaled(first, multipliers[0], addends[0]),
                                                 scaled(second, multipliers[1], addends[1])),
                            zero_point_);
  }
  // Two pixels to bytes.
  HWY_INLINE hn::Vec<QuadU8> bytes(hn::Vec<QuadI16> first, hn::Vec<QuadI16> second) const {
    const auto all = saturated_bytes(first, second);
    return hn::Xor(hn::Min(hn::Max(all, low_), high_), flip_);
  }

 private:
  static int up(const BlockedConvI8& args) { return args.y_signed ? 128 : 0; }

  HWY_INLINE static VecQuads scaled(VecQuads sum, hn::Vec<QuadF32> multiplier,
                                    hn::Vec<QuadF32> addend) {
    const QuadF32 d;
    const auto value = hn::MulAdd(hn::ConvertTo(d, sum), multiplier, addend);
    // Far above any byte.
    return nearest_quads(hn::Min(hn::Set(d, 16384.0F), value));
  }

  hn::Vec<QuadI16> zero_point_;
  hn::Vec<QuadU8> low_, high_, flip_;
};

// The parts of `bytes`, of which the first `parts` are stored, `step` bytes apart: whole, or their
// first halves.
template <bool kHalves>
HWY_INLINE void store_parts(hn::Vec<QuadU8> bytes, std::uint8_t* y, std::int64_t step, int parts) {
  const hn::Full128<std::uint8_t> part;
  const auto store = [&](auto one, std::uint8_t* to) HWY_ATTR {
    if constexpr (kHalves) {
      const hn::Half<decltype(part)> half;
      hn::StoreU(hn::LowerHalf(half, one), half, to);
    } else {
      hn::StoreU(one, part, to);
    }
  };
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
  const auto at = [](__m128i raw) HWY_ATTR { return hn::Vec<hn::Full128<std::uint8_t>>{raw}; };
  store(at(_mm512_castsi512_si128(bytes.raw)), y);
  if (parts > 1) store(at(_mm512_extracti32x4_epi32(bytes.raw, 1)), y + step);
  if (parts > 2) store(at(_mm512_extracti32x4_epi32(bytes.raw, 2)), y + 2 * step);
  if (parts > 3) store(at(_mm512_extracti32x4_epi32(bytes.raw, 3)), y + 3 * step);
#elif HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  store(hn::LowerHalf(part, bytes), y);
  if (parts > 1) store(hn::UpperHalf(part, bytes), y + step);
#else
  (void)step, (void)parts;  // there is one
  store(bytes, y);
#endif
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
