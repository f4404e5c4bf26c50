// Running sums and products of float32.
#pragma once

#include <cstdint>

namespace mezzo::kernels {

/// Columns of n elements that are `stride` apart (backwards where that is negative).
struct Cumulative {
  bool product = false;
  bool exclusive = false;  ///< an element of y is made of those before its own
  std::int64_t n = 0, stride = 0, columns = 0;
  std::int64_t apart = 1;  ///< from one column to the next
};

/// Accumulates in double. y may be x. On the calling thread.
void cumulate(const Cumulative& args, const float* x, float* y);

}  // namespace mezzo::kernels
