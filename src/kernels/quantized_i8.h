// The parts of quantised convolutions around their sums: depthwise sums, and the way back to 8
// bits.
#pragma once

#include <cstdint>

namespace mezzo::kernels {

/// From int32 sums to 8 bits.
struct Requantize {
  std::int32_t offset = 0;  ///< added to each sum, modulo 2^32
  float multiplier = 1;
  float low = 0, high = 0;  ///< whole numbers, the bounds of the scaled sum; NaN becomes `low`
  std::int32_t zero_point = 0;
};

/// y[i] = round_half_even(clamp(multiplier * (sums[i] + offset), low, high)) + zero_point, of which
/// the low byte is stored: that serves int8 and uint8. On the calling thread.
void requantize(const Requantize& args, const std::int32_t* sums, std::uint8_t* y, std::int64_t n);

/// Sums of a few elements around each position of a plane:
///   sums[r * columns + c] = sum over t of weights[t] * x[r * row_step + offsets[t] + c]
struct TapSums {
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_step = 0;
  std::int64_t taps = 0;
  const std::int64_t* offsets = nullptr;
  const float* weights = nullptr;
};

/// x and weights are whole numbers whose sums stay below 2^24 in magnitude, so that float32 is
/// exact. On the calling thread.
void sum_taps(const TapSums& shape, const float* x, std::int32_t* sums);

}  // namespace mezzo::kernels
