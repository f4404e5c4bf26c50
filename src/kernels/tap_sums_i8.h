// Convolutions of bytes with few taps in the plain layout: rows as floats, and sums of elements
// around each position.
#pragma once

#include <cstdint>

namespace mezzo::kernels {

/// Rows of bytes to rows of floats whose columns are sorted by what is left when they are divided
/// by `phases`: each phase is contiguous, as windows of that stride want it.
struct SpreadRows {
  bool is_signed = false;
  std::int32_t zero_point = 0;  ///< is taken off
  std::int64_t rows = 0, columns = 0;
  std::int64_t x_step = 0;  ///< from one row of bytes to the next
  std::int64_t first = 0;   ///< column of the floats that the first byte of a row goes to
  std::int64_t phases = 1;
  std::int64_t phase_size = 0;  ///< floats of a phase; a row has one behind the other
};

/// y[r][(first + c) % phases][(first + c) / phases] = x[r * x_step + c] - zero_point for c <
/// columns; y is [rows][phases][phase_size]. On the calling thread.
void spread_rows(const SpreadRows& shape, const std::uint8_t* x, float* y);

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
