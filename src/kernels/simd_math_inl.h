// Exponential, logarithm and their kin on vectors of float32. Included per target, like simd.h.
//
// The ranges are reduced as usual (Cody and Waite, "Software Manual for the Elementary Functions",
// 1980); the polynomials are weighted minimax fits (Lawson's algorithm on Chebyshev nodes) whose
// own error is below 2e-8 of the result. NaN passes everywhere.

#if defined(MEZZO_KERNELS_SIMD_MATH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_MATH_INL
#undef MEZZO_KERNELS_SIMD_MATH_INL
#else
#define MEZZO_KERNELS_SIMD_MATH_INL
#endif

#include <cstdint>
#include <limits>

#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

using I32 = hn::RebindToSigned<F32>;
using VecI32 = hn::Vec<I32>;

// c0 + x (c1 + x (c2 + ...)).
template <class V, class... C>
HWY_INLINE V polynomial(V x, hn::TFromV<V> c0, C... rest) {
  const hn::DFromV<V> d;
  if constexpr (sizeof...(rest) == 0) {
    return hn::Set(d, c0);
  } else {
    return hn::MulAdd(polynomial(x, rest...), x, hn::Set(d, c0));
  }
}

// 2^n for -126 <= n <= 127.
HWY_INLINE VecF32 power_of_two(VecI32 n) {
  return hn::BitCast(F32(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(I32(), 127))));
}

// Added to a number of less than 2^22, it rounds that to an integer, which the last bits then are.
inline constexpr float kRounder = 0x1.8p23f;

// A number rounded to an integer n.
struct Rounded {
  VecF32 shifted;  // n + kRounder

  HWY_INLINE VecF32 n() const { return hn::Sub(shifted, hn::Set(F32(), kRounder)); }
  // n as integers, and 2^n for -126 <= n <= 127. (hn::ConvertTo looks after numbers that no integer
  // is near, which takes as long as half of an exponential.)
  HWY_INLINE VecI32 integer() const {
    return hn::Sub(hn::BitCast(I32(), shifted), hn::BitCast(I32(), hn::Set(F32(), kRounder)));
  }
  HWY_INLINE VecF32 scale() const {
    const VecI32 exponent = hn::ShiftLeft<23>(hn::BitCast(I32(), shifted));
    return hn::BitCast(F32(), hn::Add(exponent, hn::BitCast(I32(), hn::Set(F32(), 1.0f))));
  }
};

// x = n log(2) + r with |r| <= log(2) / 2, and exp(r) = 1 + r + r^2 tail.
struct ReducedExp : Rounded {
  VecF32 r, tail;

  HWY_INLINE VecF32 minus_one() const { return hn::MulAdd(hn::Mul(r, r), tail, r); }  // exp(r) - 1
  HWY_INLINE VecF32 significand() const {                                             // exp(r)
    const VecF32 one = hn::Set(F32(), 1.0f);
    return hn::MulAdd(hn::MulAdd(r, tail, one), r, one);
  }
};

// x must be NaN or within +-150.
HWY_INLINE ReducedExp reduce_exp(VecF32 x) {
  const F32 d;
  ReducedExp e;
  e.shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), hn::Set(d, kRounder));
  // log(2) in two parts: the first has so few bits that its products with n are exact.
  e.r = hn::NegMulAdd(e.n(), hn::Set(d, 0.693359375f), x);
  e.r = hn::NegMulAdd(e.n(), hn::Set(d, -2.12194440e-4f), e.r);
  e.tail = polynomial(e.r, 4.999999343e-01f, 1.666652040e-01f, 4.166839079e-02f, 8.368745116e-03f,
                      1.381453999e-03f);
  return e;
}

// The exponential itself, for -150 <= n <= 128.
HWY_INLINE VecF32 exp_of(const ReducedExp& e) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return VecF32{_mm512_scalef_ps(e.significand().raw, e.n().raw)};
#else
  // 2^n in two factors: n goes from denormals to infinity.
  const VecI32 n = e.integer(), half = hn::ShiftRight<1>(n);
  return hn::Mul(hn::Mul(e.significand(), power_of_two(half)), power_of_two(hn::Sub(n, half)));
#endif
}

// exp(x) for -87 <= x <= 88; NaN passes.
HWY_INLINE VecF32 exp_ordinary(VecF32 x) {
  const ReducedExp e = reduce_exp(x);
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return exp_of(e);
#else
  return hn::Mul(e.significand(), e.scale());
#endif
}

// exp(x) where x >= least, else 0, and not computed as such: products that vanish take the CPU a
// hundred times as long, and a masked softmax is full of them. NaN passes. -104 <= least, x <= 89.
HWY_INLINE VecF32 exp_from(float least, VecF32 x) {
  const F32 d;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  // Lanes that are not scaled may hold anything.
  const ReducedExp e = reduce_exp(x);
  const __mmask16 stays = _mm512_cmp_ps_mask(x.raw, hn::Set(d, least).raw, _CMP_NLT_UQ);
  return VecF32{_mm512_maskz_scalef_ps(stays, e.significand().raw, e.n().raw)};
#else
  const auto vanishes = hn::Lt(x, hn::Set(d, least));
  const VecF32 kept = hn::IfThenZeroElse(vanishes, x);
  return hn::IfThenZeroElse(vanishes, least >= -87 ? exp_ordinary(kept) : exp_of(reduce_exp(kept)));
#endif
}

// exp(x) for x <= 0, with 0 where that would not be a normal number. NaN passes.
HWY_INLINE VecF32 exp_of_negative(VecF32 x) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return exp_from(-87, x);
#else
  // As a power of 2, which takes two products less: x is a difference of scores, and what is lost
  // of x log2(e) is as much as rounding those has cost.
  const F32 d;
  const auto vanishes = hn::Lt(x, hn::Set(d, -87.0f));
  const VecF32 y = hn::Mul(hn::IfThenZeroElse(vanishes, x), hn::Set(d, 1.44269504f));
  const Rounded whole{hn::Add(y, hn::Set(d, kRounder))};
  const VecF32 power =
      polynomial(hn::Sub(y, whole.n()), 1.0f, 6.931472029e-01f, 2.402264791e-01f, 5.550332471e-02f,
                 9.618437358e-03f, 1.339887442e-03f, 1.535336187e-04f);
  return hn::IfThenZeroElse(vanishes, hn::Mul(power, whole.scale()));
#endif
}

// Below -104 the result is 0, above 89 infinity. (Min gives the second operand where one is NaN.)
HWY_INLINE VecF32 exp_f32(VecF32 x) { return exp_from(-104, hn::Min(hn::Set(F32(), 89.0f), x)); }

// exp(x) - 1 for -87 <= x <= 88; NaN passes.
HWY_INLINE VecF32 expm1_ordinary(VecF32 x) {
  const ReducedExp e = reduce_exp(x);
  const VecF32 scale = e.scale();
  return hn::MulAdd(scale, e.minus_one(), hn::Sub(scale, hn::Set(F32(), 1.0f)));
}

// The same for x <= 1; from 1 on as for 1.
HWY_INLINE VecF32 expm1_small(VecF32 x) {
  const F32 d;
  return expm1_ordinary(clamp(x, hn::Set(d, -30.0f), hn::Set(d, 1.0f)));
}

HWY_INLINE VecF32 log_f32(VecF32 x) {
  const F32 d;
  const I32 di;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // Denormals have no implicit bit: scaled up first.
  const auto tiny = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const VecF32 scaled = hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 8388608.0f)), x);
  // x = 2^n m with sqrt(1/2) <= m < sqrt(2): the exponent is taken relative to that of sqrt(1/2).
  const VecI32 kSqrtHalf = hn::Set(di, 0x3f3504f3);
  const VecI32 shifted = hn::Sub(hn::BitCast(di, scaled), kSqrtHalf);
  VecF32 n = hn::ConvertTo(d, hn::ShiftRight<23>(shifted));
  n = hn::Sub(n, hn::IfThenElseZero(tiny, hn::Set(d, 23.0f)));
  const VecF32 m = hn::BitCast(d, hn::Add(hn::And(shifted, hn::Set(di, 0x007fffff)), kSqrtHalf));
  const VecF32 f = hn::Sub(m, hn::Set(d, 1.0f)), square = hn::Mul(f, f);
  VecF32 y = hn::Mul(hn::Mul(square, f),
                     polynomial(f, 3.333331260e-01f, -2.500000960e-01f, 2.000211873e-01f,
                                -1.666799567e-01f, 1.421955091e-01f, -1.240559142e-01f,
                                1.188817460e-01f, -1.167564129e-01f, 6.746601305e-02f));
  y = hn::MulAdd(n, hn::Set(d, -2.12194440e-4f), y);
  y = hn::NegMulAdd(hn::Set(d, 0.5f), square, y);
  y = hn::MulAdd(n, hn::Set(d, 0.693359375f), hn::Add(f, y));
  // 0 gives -inf, negative numbers NaN; infinity and NaN stay.
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Set(d, -kInfinity), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, std::numeric_limits<float>::quiet_NaN()),
                     y);
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, kInfinity)), y, x);
}

// log(1 + e) for 0 <= e <= 1, of full relative precision: the second term is what rounding 1 + e
// has lost.
HWY_INLINE VecF32 log1p_unit(VecF32 e) {
  const F32 d;
  const VecF32 one = hn::Set(d, 1.0f), u = hn::Add(one, e);
  return hn::Add(log_f32(u), hn::Div(hn::Sub(e, hn::Sub(u, one)), u));
}

// m / (m + 2) with m = exp(2 |x|) - 1, of full relative precision near 0 too.
HWY_INLINE VecF32 tanh_f32(VecF32 x) {
  const F32 d;
  // From 10 on it rounds to 1.
  const VecF32 magnitude = hn::Abs(x);
  const VecF32 m = expm1_ordinary(hn::Min(hn::Set(d, 20.0f), hn::Add(magnitude, magnitude)));
  return hn::CopySign(hn::Div(m, hn::Add(m, hn::Set(d, 2.0f))), x);
}

// 1 + exp(x), of which sigmoid's quotients are made.
HWY_INLINE VecF32 one_plus_exp(VecF32 x) {
  const F32 d;
  const VecF32 largest = hn::Set(d, 87.0f);
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  const VecF32 e = exp_of(reduce_exp(clamp(x, hn::Neg(largest), hn::Set(d, 89.0f))));
#else
  // Beyond that exp(x) may be infinite, and its reciprocal denormal.
  const VecF32 e =
      hn::AllFalse(d, hn::Gt(x, largest)) ? exp_ordinary(hn::Max(hn::Neg(largest), x)) : exp_f32(x);
#endif
  return hn::Add(hn::Set(d, 1.0f), e);
}

HWY_INLINE VecF32 sigmoid_f32(VecF32 x) {
  return hn::Div(hn::Set(F32(), 1.0f), one_plus_exp(hn::Neg(x)));
}

// x sigmoid(-b x): the quotient takes as long as sigmoid's, and there is no product behind it.
HWY_INLINE VecF32 swish_f32(VecF32 x, VecF32 b) { return hn::Div(x, one_plus_exp(hn::Mul(x, b))); }

// x (1 + P(x^2)) below 0.9; from there on 1 - Q(|x|)^4, Q being the fourth root of erfc, which a
// polynomial follows more closely. erf(3.95) rounds to 1.
HWY_INLINE VecF32 erf_f32(VecF32 x) {
  const F32 d;
  const VecF32 square = hn::Mul(x, x);
  const VecF32 small =
      hn::MulAdd(x,
                 polynomial(square, 1.283791538e-01f, -3.761252328e-01f, 1.128214081e-01f,
                            -2.677890893e-02f, 5.011962848e-03f, -6.090360133e-04f),
                 x);
  // (Min gives the second operand where one is NaN.)
  const VecF32 magnitude = hn::Abs(x), t = hn::Min(hn::Set(d, 3.95f), magnitude);
  const VecF32 root = polynomial(t, 1.001286625e+00f, -2.892915855e-01f, -1.021618422e-01f,
                                 -7.351516687e-03f, 3.671402910e-02f, -9.645035401e-03f,
                                 -5.205582464e-05f, 3.009614629e-04f, -3.006418609e-05f);
  const VecF32 two = hn::Mul(root, root);
  const VecF32 large = hn::NegMulAdd(two, two, hn::Set(d, 1.0f));
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.9f)), small, hn::CopySign(large, x));
}

// x / 2 (1 + erf(x / sqrt(2))) = max(x, 0) - |x| Q(|x|)^4, Q being the fourth root of the normal
// distribution's tail erfc(|x| / sqrt(2)) / 2. The polynomial is below 0 at 6.4.
HWY_INLINE VecF32 gelu_f32(VecF32 x) {
  const F32 d;
  // (Min and Max give the second operand where one is NaN.)
  const VecF32 t = hn::Min(hn::Set(d, 6.4f), hn::Abs(x));
  const VecF32 q =
      polynomial(t, 8.408964098e-01f, -1.677341704e-01f, -5.019189040e-02f, 4.616799028e-03f,
                 3.873629959e-03f, -1.324379458e-04f, -2.378289328e-04f, 2.896099729e-05f,
                 3.846426221e-06f, -9.538160893e-07f, 5.172380962e-08f);
  const VecF32 root = hn::Max(hn::Zero(d), q), two = hn::Mul(root, root);
  return hn::NegMulAdd(hn::Mul(t, two), two, hn::Max(hn::Zero(d), x));
}

// The larger (smaller) of two, or NaN if either is one, whatever the machine's instruction does.
template <class V>
HWY_INLINE V max_or_nan(V a, V b) {
  return hn::IfThenElse(hn::IsNaN(a), a, hn::Max(a, b));
}
template <class V>
HWY_INLINE V min_or_nan(V a, V b) {
  return hn::IfThenElse(hn::IsNaN(a), a, hn::Min(a, b));
}

// Bytes as floats, less a zero point.
template <class Bytes>
HWY_INLINE VecF32 widened(Bytes bytes, VecI32 zero_point) {
  return hn::ConvertTo(F32(), hn::Sub(hn::PromoteTo(I32(), bytes), zero_point));
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
