// From floats to 8 bits and back, and from the sums of quantised convolutions.
#pragma once

#include <cstdint>

namespace mezzo::kernels {

/// q = round_half_even(clamp(x / scale, low, high)) + zero_point, of which the low byte is stored:
/// that serves int8 and uint8.
struct Quantize8 {
  float scale = 1;
  float low = 0, high = 0;  ///< whole numbers, the bounds of the quotient; NaN becomes `low`
  std::int32_t zero_point = 0;
};

/// On the calling thread.
void quantize_8(const Quantize8& args, const float* x, std::uint8_t* y, std::int64_t n);

/// Lowers `least` and raises `most` to what x holds; NaN does not count. On the calling thread.
void widen_range(const float* x, std::int64_t n, float& least, float& most);

/// y[i] = (x[i] - zero_point) * scale for bytes, signed or not. On the calling thread.
void dequantize_8(const std::uint8_t* x, bool is_signed, std::int32_t zero_point, float scale,
                  float* y, std::int64_t n);

/// y[i] = round_half_even(clamp(x[i] / scale, low, high)) * scale: there and back, of up to 16
/// bits. NaN becomes `low`. y may be x. On the calling thread.
void fake_quantize(float scale, float low, float high, const float* x, float* y, std::int64_t n);

/// From int32 sums to 8 bits.
struct Requantize {
  std::int32_t offset = 0;  ///< added to each sum, modulo 2^32
  float multiplier = 1;
  float low = 0, high = 0;  ///< whole numbers, the bounds of the scaled sum; NaN becomes `low`
  std::int32_t zero_point = 0;
  float addend = 0;
};

/// y[i] = round_half_even(clamp(multiplier * (sums[i] + offset) + addend, low, high)) + zero_point,
/// of which the low byte is stored: that serves int8 and uint8. On the calling thread.
void requantize(const Requantize& args, const std::int32_t* sums, std::uint8_t* y, std::int64_t n);

/// The same with a multiplier, and an offset (null: none), for each sum, in place of those of
/// `args`, whose addend does not count.
void requantize_each(const Requantize& args, const float* multipliers, const std::int32_t* offsets,
                     const std::int32_t* sums, std::uint8_t* y, std::int64_t n);

/// From bytes of one scale to those of another: y[i] is (x[i] - zero_point) * scale, quantised.
struct Rescale8 {
  bool is_signed = false;
  std::int32_t zero_point = 0;
  float scale = 1;
  Quantize8 to;
};

/// y may be x. On the calling thread.
void rescale_8(const Rescale8& args, const std::uint8_t* x, std::uint8_t* y, std::int64_t n);

/// A sum of two tensors of bytes: round_half_even(clamp(a * left + (b * right + offset), low,
/// high))
/// + zero_point. NaN becomes `low`.
struct Sum8 {
  float left = 1, right = 1, offset = 0;
  float low = 0, high = 0;  ///< whole numbers
  std::int32_t zero_point = 0;
};

/// Whether the active target multiplies and adds with one rounding.
bool has_fused_multiply_add();
/// y = the sum of a and b, all of int8 or all of uint8; of a fused multiply-add where there is one.
/// y may be a or b. On the calling thread.
void add_8(const Sum8& sum, bool is_signed, const std::uint8_t* a, const std::uint8_t* b,
           std::uint8_t* y, std::int64_t n);

}  // namespace mezzo::kernels
