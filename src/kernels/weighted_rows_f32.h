// Sums of a few rows of a float32 matrix, each with a weight.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mezzo::kernels {

template <class T>
struct WeightedRow {
  std::int64_t row;
  T weight;
};

/// The rows that one sum takes, by their place in a list.
struct RowRange {
  std::size_t begin, end;
};

/// y [count, width]: row i is the sum of weight * x[row] over sums[i] of `rows`, 0 where that is
/// empty. x has rows of `width` floats. On the calling thread.
void sum_weighted_rows(const WeightedRow<float>* rows, const RowRange* sums, std::int64_t count,
                       const float* x, std::int64_t width, float* y);

}  // namespace mezzo::kernels
