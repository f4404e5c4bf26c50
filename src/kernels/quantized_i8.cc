#include "kernels/quantized_i8.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantized_i8.cc"
#include "kernels/simd.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint8_t;
using U32 = hn::RebindToUnsigned<F32>;

constexpr auto kLaneCount = static_cast<int64_t>(kLanes);

// `value` in bounds. NaN gives the lower one.
HWY_INLINE VecF32 between(VecF32 low, VecF32 high, VecF32 value) {
#if HWY_ARCH_X86
  return hn::Min(hn::Max(value, low), high);  // the second operand where one is NaN
#else
  return hn::Min(hn::IfThenElse(hn::Gt(value, low), value, low), high);
#endif
}

struct Bounds {
  float low, high;
  int32_t zero_point;
};

// One vector of scaled numbers to as many bytes; `bounds` has their low, high and zero_point.
template <class Args>
HWY_INLINE void store_bytes(VecF32 value, const Args& bounds, uint8_t* y) {
  const F32 d;
  const hn::Rebind<uint8_t, F32> d8;
  value = between(hn::Set(d, bounds.low), hn::Set(d, bounds.high), value);
  // The low byte of the whole number ends the pattern.
  const auto rounded = hn::BitCast(I32(), hn::Add(value, hn::Set(d, kRounder)));
  const VecI32 result = hn::Add(rounded, hn::Set(I32(), bounds.zero_point));
  hn::StoreU(hn::TruncateTo(d8, hn::BitCast(U32(), result)), d8, y);
}

HWY_INLINE void requantize_vector(const Requantize& args, const int32_t* sums, uint8_t* y) {
  const I32 di;
  const auto sum = hn::Add(hn::LoadU(di, sums), hn::Set(di, args.offset));
  const F32 d;
  store_bytes(
      hn::MulAdd(hn::ConvertTo(d, sum), hn::Set(d, args.multiplier), hn::Set(d, args.addend)), args,
      y);
}

// (A product with 1 / scale, and the quotient only near ties, takes longer.)
HWY_INLINE void quantize_vector(const Quantize8& args, const float* x, uint8_t* y) {
  const F32 d;
  store_bytes(hn::Div(hn::LoadU(d, x), hn::Set(d, args.scale)), args, y);
}

// Calls convert(x, y) for each vector of n elements, the last of which may be shorter.
template <class X, class Convert>
HWY_INLINE void each_vector(const X* x, uint8_t* y, int64_t n, const Convert& convert) {
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount) convert(x + i, y + i);
  if (i == n) return;
  X rest[kLanes] = {};
  uint8_t bytes[kLanes];
  std::copy(x + i, x + n, rest);
  convert(rest, bytes);
  std::copy_n(bytes, n - i, y + i);
}

}  // namespace

// The arguments are copied: stores through y, being bytes, might seem to change them.
void run_requantize(const Requantize& by_reference, const int32_t* sums, uint8_t* y, int64_t n) {
  const Requantize args = by_reference;
  each_vector(sums, y, n, [&](const int32_t* from, uint8_t* to) HWY_ATTR {
    requantize_vector(args, from, to);
  });
}

void run_requantize_each(const Requantize& by_reference, const float* multipliers,
                         const int32_t* offsets, const int32_t* sums, uint8_t* y, int64_t n) {
  const Requantize args = by_reference;
  const F32 d;
  const I32 di;
  const auto store = [&](const float* multiplier, VecI32 sum, uint8_t* to) HWY_ATTR {
    store_bytes(hn::Mul(hn::ConvertTo(d, sum), hn::LoadU(d, multiplier)), args, to);
  };
  const auto sum_at = [&](int64_t i) HWY_ATTR {
    const VecI32 sum = hn::LoadU(di, sums + i);
    return offsets == nullptr ? sum : hn::Add(sum, hn::LoadU(di, offsets + i));
  };
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount) store(multipliers + i, sum_at(i), y + i);
  if (i == n) return;
  float rest[kLanes] = {};
  int32_t last[kLanes] = {};
  uint8_t bytes[kLanes];
  for (int64_t j = i; j < n; ++j) {
    rest[j - i] = multipliers[j];
    const auto offset = static_cast<std::uint32_t>(offsets == nullptr ? 0 : offsets[j]);
    last[j - i] = static_cast<int32_t>(static_cast<std::uint32_t>(sums[j]) + offset);
  }
  store(rest, hn::LoadU(di, last), bytes);
  std::copy_n(bytes, n - i, y + i);
}

void run_quantize(const Quantize8& by_reference, const float* x, uint8_t* y, int64_t n) {
  const Quantize8 args = by_reference;
  each_vector(x, y, n,
              [&](const float* from, uint8_t* to) HWY_ATTR { quantize_vector(args, from, to); });
}

template <class Byte>
void rescale(const Rescale8& by_reference, const Byte* x, uint8_t* y, int64_t n) {
  const Rescale8 args = by_reference;
  const F32 d;
  const hn::Rebind<Byte, F32> bytes;
  each_vector(x, y, n, [&](const Byte* from, uint8_t* to) HWY_ATTR {
    const VecF32 number = hn::Mul(widened(hn::LoadU(bytes, from), hn::Set(I32(), args.zero_point)),
                                  hn::Set(d, args.scale));
    store_bytes(hn::Div(number, hn::Set(d, args.to.scale)), args.to, to);
  });
}

void run_rescale(const Rescale8& args, const uint8_t* x, uint8_t* y, int64_t n) {
  if (args.is_signed) {
    rescale(args, reinterpret_cast<const std::int8_t*>(x), y, n);
  } else {
    rescale(args, x, y, n);
  }
}

template <class Byte>
void add_bytes(const Sum8& by_reference, const Byte* a, const Byte* b, uint8_t* y, int64_t n) {
  const Sum8 sum = by_reference;
  const F32 d;
  const hn::Rebind<Byte, F32> bytes;
  const VecI32 none = hn::Zero(I32());
  const Bounds bounds{sum.low, sum.high, sum.zero_point};
  const auto add = [&](const Byte* left, const Byte* right, uint8_t* to) HWY_ATTR {
    const VecF32 second = hn::MulAdd(widened(hn::LoadU(bytes, right), none), hn::Set(d, sum.right),
                                     hn::Set(d, sum.offset));
    store_bytes(hn::MulAdd(widened(hn::LoadU(bytes, left), none), hn::Set(d, sum.left), second),
                bounds, to);
  };
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount) add(a + i, b + i, y + i);
  if (i == n) return;
  Byte left[kLanes] = {}, right[kLanes] = {};
  uint8_t last[kLanes];
  std::copy(a + i, a + n, left);
  std::copy(b + i, b + n, right);
  add(left, right, last);
  std::copy_n(last, n - i, y + i);
}

void run_add_8(const Sum8& sum, bool is_signed, const uint8_t* a, const uint8_t* b, uint8_t* y,
               int64_t n) {
  using Signed = std::int8_t;
  if (is_signed) {
    add_bytes(sum, reinterpret_cast<const Signed*>(a), reinterpret_cast<const Signed*>(b), y, n);
  } else {
    add_bytes(sum, a, b, y, n);
  }
}

bool run_has_fused() { return HWY_NATIVE_FMA != 0; }

void run_widen_range(const float* x, int64_t n, float& least, float& most) {
  const F32 d;
  // Several of each, so that they do not wait for each other.
  constexpr int64_t kSums = 4;
  VecF32 low[kSums], high[kSums];
  for (VecF32& v : low) v = hn::Set(d, least);
  for (VecF32& v : high) v = hn::Set(d, most);
  const auto take = [&](VecF32 v, int s) HWY_ATTR {
    low[s] = hn::IfThenElse(hn::Lt(v, low[s]), v, low[s]);
    high[s] = hn::IfThenElse(hn::Gt(v, high[s]), v, high[s]);
  };
  int64_t i = 0;
  for (; i + kSums * kLaneCount <= n; i += kSums * kLaneCount) {
    MEZZO_UNROLL
    for (int s = 0; s < int{kSums}; ++s) take(hn::LoadU(d, x + i + s * kLaneCount), s);
  }
  for (; i + kLaneCount <= n; i += kLaneCount) take(hn::LoadU(d, x + i), 0);
  for (int s = 1; s < int{kSums}; ++s) {
    low[0] = hn::Min(low[0], low[s]);
    high[0] = hn::Max(high[0], high[s]);
  }
  float lows[kLanes], highs[kLanes];
  hn::StoreU(low[0], d, lows);
  hn::StoreU(high[0], d, highs);
  least = *std::min_element(lows, lows + kLanes);
  most = *std::max_element(highs, highs + kLanes);
  for (; i < n; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
  }
}

template <class Byte>
void dequantize(const Byte* x, int32_t zero_point, float scale, float* y, int64_t n) {
  const F32 d;
  const hn::Rebind<Byte, F32> bytes;
  const VecI32 zero = hn::Set(I32(), zero_point);
  const VecF32 factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount)
    hn::StoreU(hn::Mul(widened(hn::LoadU(bytes, x + i), zero), factor), d, y + i);
  for (; i < n; ++i) y[i] = static_cast<float>(x[i] - zero_point) * scale;
}

void run_dequantize(const uint8_t* x, bool is_signed, int32_t zero_point, float scale, float* y,
                    int64_t n) {
  if (is_signed) {
    dequantize(reinterpret_cast<const std::int8_t*>(x), zero_point, scale, y, n);
  } else {
    dequantize(x, zero_point, scale, y, n);
  }
}

void run_fake_quantize(float scale, float low, float high, const float* x, float* y, int64_t n) {
  const F32 d;
  const VecF32 step = hn::Set(d, scale), least = hn::Set(d, low), most = hn::Set(d, high);
  const auto result = [&](VecF32 v) HWY_ATTR {
    return hn::Mul(hn::ConvertTo(d, hn::NearestInt(between(least, most, hn::Div(v, step)))), step);
  };
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount) hn::StoreU(result(hn::LoadU(d, x + i)), d, y + i);
  if (i == n) return;
  const auto rest = static_cast<std::size_t>(n - i);
  store_n(result(load_n(d, x + i, rest)), d, y + i, rest);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_quantize);
HWY_EXPORT(run_dequantize);
HWY_EXPORT(run_rescale);
HWY_EXPORT(run_add_8);
HWY_EXPORT(run_has_fused);
HWY_EXPORT(run_widen_range);
HWY_EXPORT(run_fake_quantize);
HWY_EXPORT(run_requantize);
HWY_EXPORT(run_requantize_each);
}  // namespace

void quantize_8(const Quantize8& args, const float* x, std::uint8_t* y, std::int64_t n) {
  MEZZO_DISPATCH(run_quantize)(args, x, y, n);
}

void rescale_8(const Rescale8& args, const std::uint8_t* x, std::uint8_t* y, std::int64_t n) {
  MEZZO_DISPATCH(run_rescale)(args, x, y, n);
}

bool has_fused_multiply_add() { return MEZZO_DISPATCH(run_has_fused)(); }

void add_8(const Sum8& sum, bool is_signed, const std::uint8_t* a, const std::uint8_t* b,
           std::uint8_t* y, std::int64_t n) {
  MEZZO_DISPATCH(run_add_8)(sum, is_signed, a, b, y, n);
}

void widen_range(const float* x, std::int64_t n, float& least, float& most) {
  MEZZO_DISPATCH(run_widen_range)(x, n, least, most);
}

void dequantize_8(const std::uint8_t* x, bool is_signed, std::int32_t zero_point, float scale,
                  float* y, std::int64_t n) {
  MEZZO_DISPATCH(run_dequantize)(x, is_signed, zero_point, scale, y, n);
}

void fake_quantize(float scale, float low, float high, const float* x, float* y, std::int64_t n) {
  MEZZO_DISPATCH(run_fake_quantize)(scale, low, high, x, y, n);
}

void requantize(const Requantize& args, const std::int32_t* sums, std::uint8_t* y, std::int64_t n) {
  MEZZO_DISPATCH(run_requantize)(args, sums, y, n);
}

void requantize_each(const Requantize& args, const float* multipliers, const std::int32_t* offsets,
                     const std::int32_t* sums, std::uint8_t* y, std::int64_t n) {
  MEZZO_DISPATCH(run_requantize_each)(args, multipliers, offsets, sums, y, n);
}

}  // namespace mezzo::kernels
#endif
