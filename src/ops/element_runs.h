// Element-wise operators by bands of rows (see Row::banded).
#pragma once

#include <cstdint>
#include <optional>

#include "base/shape.h"
#include "ops/op.h"

namespace mezzo::ops {

/// A banded row's `find`: float32 images, which SIMD kernels take. Each row of y comes from the
/// same row of x.
inline std::optional<RowWindow> rows_of_elements(const Op& op) {
  if (op.in(0).dtype != DType::f32 || op.in_rank(0) < 3 || !simd_allowed()) return std::nullopt;
  const std::int64_t rows = op.in_shape(0)[2];
  return RowWindow{rows, rows};
}

/// What an operator of one input is to compute, in runs of elements that follow each other: all at
/// once or, of a band, the rows of each plane.
struct ElementRuns {
  std::int64_t count = 1, n = 0;        ///< runs, and elements of each
  std::int64_t x_step = 0, y_step = 0;  ///< from one run to the next

  explicit ElementRuns(const Op& op) : n(element_count(op.in_shape(0))) {
    if (!op.band()) return;
    const Band& band = *op.band();
    const Shape& shape = op.in_shape(0);
    const std::int64_t row = product(shape, 3, static_cast<int>(shape.size()));
    count = shape[0] * shape[1];
    n = (band.end - band.begin) * row;
    x_step = band.in_rows * row;
    y_step = band.out_rows * row;
  }

  /// compute(x, y, n) for each run.
  template <class Compute>
  void each(const Run& run, const Compute& compute) const {
    for (std::int64_t i = 0; i < count; ++i)
      compute(run.in<float>(0) + i * x_step, run.out<float>(0) + i * y_step, n);
  }
};

}  // namespace mezzo::ops
