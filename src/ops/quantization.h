// The arithmetic of linear quantisation: q = saturate(round_half_even(x / scale) + zero_point).
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace mezzo::ops {

/// The types of 8-bit quantisation.
inline constexpr TypeSet kQuantized8 = {DType::i8, DType::u8};

/// The least and the greatest value of an integer type of at most 16 bits.
struct IntRange {
  int least = 0, most = 0;
};
IntRange range_of(DType dtype);

/// The integer nearest to `value`, ties to even, for |value| <= 2^22: 1.5 * 2^23 shifts the
/// fraction out of the mantissa, and the FPU rounds. Unlike nearbyint it becomes vector code on
/// every CPU.
inline float round_half_even(float value) {
  constexpr float kShift = 12582912.0F;
  return (value + kShift) - kShift;
}

/// Rounds, adds the zero point and saturates. NaN gives the least value.
class Saturate {
 public:
  Saturate(DType dtype, int zero_point)
      : low_(static_cast<float>(range_of(dtype).least - zero_point)),
        high_(static_cast<float>(range_of(dtype).most - zero_point)),
        zero_point_(zero_point) {}
  /// The same with bounds of what is rounded: whole numbers.
  Saturate(float low, float high, int zero_point)
      : low_(low), high_(high), zero_point_(zero_point) {}

  /// The bounds are integers, so that clamping first and rounding then is the same as the reverse.
  int operator()(float value) const {
    value = value > low_ ? value : low_;
    value = value < high_ ? value : high_;
    return static_cast<int>(round_half_even(value)) + zero_point_;
  }

  /// The bounds of what is rounded, and what is added then.
  float low() const { return low_; }
  float high() const { return high_; }
  int zero_point() const { return zero_point_; }

 private:
  float low_, high_;
  int zero_point_;
};

/// Calls fn(Q{}) with Q = int8_t or uint8_t.
template <class Fn>
void with_quantized8(DType dtype, Fn&& fn) {
  if (dtype == DType::i8) {
    fn(std::int8_t{});
  } else {
    fn(std::uint8_t{});
  }
}

/// Input `i` of a run, of any type but strings, as numbers; empty where it is omitted.
std::vector<float> floats_of(const Run& run, int i);
std::vector<std::int32_t> ints_of(const Run& run, int i);
/// A constant of that kind; empty where there is none.
std::vector<std::int32_t> ints_of(const Tensor* constant);
/// What zero points, one for all channels or one for each, say of channel c; of none: 0.
std::int32_t zero_point_at(const std::vector<std::int32_t>& zero_points, std::size_t c);
/// The same of an input of one element, with what an omitted one stands for.
float scalar_of(const Run& run, int i, float omitted = 1);
int zero_point_of(const Run& run, int i);

struct DynamicRange {
  float scale = 1;
  int zero_point = 0;
};
/// Quantises `n` numbers to uint8 by their own range, which always holds 0: what
/// DynamicQuantizeLinear does. `y` may be null.
DynamicRange quantize_dynamically(const float* x, std::int64_t n, std::uint8_t* y,
                                  ThreadPool& pool);

/// Attributes `low` and `high`: bounds of a quantised result besides those of its type.
Row& bounds_attributes(Row& row);
/// The bounds of the result of `op`, whose type is `dtype`, with those of the attributes if it
/// declares them.
IntRange bounds_of(const Op& op, DType dtype);

/// Throws unless input `i` is omitted or has a single element.
void require_scalar(const Op& op, int i);
/// Throws unless input `i` is omitted, has a single element or is [n].
void require_scalar_or_vector(const Op& op, int i, std::int64_t n);

}  // namespace mezzo::ops
