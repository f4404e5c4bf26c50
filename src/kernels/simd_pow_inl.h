// Powers of float32. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_POW_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_POW_INL
#undef MEZZO_KERNELS_SIMD_POW_INL
#else
#define MEZZO_KERNELS_SIMD_POW_INL
#endif

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

using F64 = hn::Repartition<double, F32>;
using U64 = hn::Repartition<std::uint64_t, F32>;
using VecF64 = hn::Vec<F64>;

// The logarithm to base 2 of what a positive float is as a double, which is never subnormal. The
// relative error is some 2^-39: with m in [sqrt(1/2), sqrt(2)) and s = (m - 1) / (m + 1), which is
// at most 0.172, ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...).
HWY_INLINE VecF64 log2_f64(VecF64 x) {
  const F64 d;
  const U64 bits;
  constexpr std::uint64_t kRootOfHalf = 0x3FE6A09E667F3BCD, kBias = std::uint64_t{1024} << 52;
  constexpr double kTwoOverLn2 = 2.8853900817779268;
  const auto of_x = hn::BitCast(bits, x);
  // The exponent plus 1024, so that it is positive.
  const auto raised = hn::ShiftRight<52>(hn::Add(of_x, hn::Set(bits, kBias - kRootOfHalf)));
  const VecF64 m =
      hn::BitCast(d, hn::Add(hn::Sub(of_x, hn::ShiftLeft<52>(raised)), hn::Set(bits, kBias)));
  // An integer below 2^52 as the last bits of 2^52 plus that integer.
  const VecF64 exponent =
      hn::Sub(hn::BitCast(d, hn::Or(raised, hn::Set(bits, std::uint64_t{0x433} << 52))),
              hn::Set(d, 0x1p52 + 1024));
  const VecF64 one = hn::Set(d, 1.0), s = hn::Div(hn::Sub(m, one), hn::Add(m, one));
  const VecF64 series =
      polynomial(hn::Mul(s, s), kTwoOverLn2, kTwoOverLn2 / 3, kTwoOverLn2 / 5, kTwoOverLn2 / 7,
                 kTwoOverLn2 / 9, kTwoOverLn2 / 11, kTwoOverLn2 / 13);
  return hn::MulAdd(s, series, exponent);
}

// 2^x for |x| < 1000, with a relative error of some 2^-37: by the series of exp(x ln 2) around the
// nearest integer.
HWY_INLINE VecF64 exp2_f64(VecF64 x) {
  const F64 d;
  const U64 bits;
  // Added to a small double it leaves the nearest integer in the last bits.
  const VecF64 rounder = hn::Set(d, 0x1.8p52), rounded = hn::Add(x, rounder);
  const VecF64 fraction = hn::Sub(x, hn::Sub(rounded, rounder));
  const VecF64 power =
      polynomial(fraction, 1.0, 6.931471805599453e-1, 2.402265069591007e-1, 5.550410866482158e-2,
                 9.618129107628477e-3, 1.333355814642844e-3, 1.540353039338161e-4,
                 1.525273380405984e-5, 1.321548679014431e-6, 1.017808600923970e-7);
  return hn::BitCast(
      d, hn::Add(hn::BitCast(bits, power), hn::ShiftLeft<52>(hn::BitCast(bits, rounded))));
}

// a^b for positive, finite a and finite b. In doubles what is rounded ahead of the result cannot be
// seen in it: the error is hardly more than half a unit in the last place.
template <class Half>
HWY_INLINE hn::Vec<Half> pow_of_half(Half half, hn::Vec<Half> a, hn::Vec<Half> b) {
  const F64 d;
  const VecF64 exponent = hn::Mul(log2_f64(hn::PromoteTo(d, a)), hn::PromoteTo(d, b));
  // Where a float is infinite or 0.
  const VecF64 limit = hn::Set(d, 200.0);
  return hn::DemoteTo(half, exp2_f64(hn::Min(hn::Max(exponent, hn::Neg(limit)), limit)));
}

// a^b as std::pow has it, which is asked where one is infinite or NaN, or a is zero.
inline HWY_NOINLINE VecF32 pow_f32(VecF32 a, VecF32 b) {
  const F32 d;
  const hn::Half<F32> half;
  const VecF32 zero = hn::Zero(d), infinity = hn::Set(d, std::numeric_limits<float>::infinity()),
               base = hn::Abs(a);
  VecF32 y = hn::Combine(d, pow_of_half(half, hn::UpperHalf(half, base), hn::UpperHalf(half, b)),
                         pow_of_half(half, hn::LowerHalf(half, base), hn::LowerHalf(half, b)));
  if (const auto negative = hn::Lt(a, zero); !hn::AllFalse(d, negative)) {
    const VecF32 halved = hn::Mul(b, hn::Set(d, 0.5F));
    const auto integral = hn::Eq(hn::Round(b), b), even = hn::Eq(hn::Round(halved), halved);
    const VecF32 nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
    const VecF32 of_integer = hn::IfThenElse(even, y, hn::Neg(y));
    y = hn::IfThenElse(negative, hn::IfThenElse(integral, of_integer, nan), y);
  }
  const auto ordinary =
      hn::And(hn::And(hn::Gt(base, zero), hn::Lt(base, infinity)), hn::Lt(hn::Abs(b), infinity));
  if (!hn::AllTrue(d, ordinary)) {
    HWY_ALIGN float bases[kLanes], exponents[kLanes], results[kLanes];
    hn::Store(a, d, bases);
    hn::Store(b, d, exponents);
    hn::Store(y, d, results);
    for (std::size_t i = 0; i < kLanes; ++i) {
      const bool taken = bases[i] != 0 && std::isfinite(bases[i]) && std::isfinite(exponents[i]);
      if (!taken) results[i] = std::pow(bases[i], exponents[i]);
    }
    y = hn::Load(d, results);
  }
  return y;
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
