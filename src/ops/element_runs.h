// Element-wise operators by bands of rows (see Row::banded).
#pragma once

#include <cstdint>
#include <optional>

#include "base/shape.h"
#include "ops/op.h"

namespace mezzo::ops {

/// A banded row's `find`: images of such types, which SIMD kernels take. Each row of y comes from
/// the same row of x.
inline std::optional<RowWindow> rows_of_types(const Op& op, TypeSet types) {
  if (!types.contains(op.in(0).dtype) || op.in_rank(0) < 3 || !simd_allowed()) return std::nullopt;
  const std::int64_t rows = op.in_shape(0)[2];
  return RowWindow{rows, rows};
}
/// The same of float32.
inline std::optional<RowWindow> rows_of_elements(const Op& op) {
  return rows_of_types(op, DType::f32);
}

/// The planes [N, C] of an operator whose output has the shape of input 0 but, perhaps, for the
/// channels: elements that it computes of each, all or those of a band, and those from one to the
/// next.
struct PlaneRuns {
  std::int64_t n = 0, x_step = 0, y_step = 0;

  explicit PlaneRuns(const Op& op) {
    const Shape& shape = op.in_shape(0);
    const int rank = static_cast<int>(shape.size());
    n = x_step = y_step = product(shape, 2, rank);
    if (!op.band()) return;
    const Band& band = *op.band();
    const std::int64_t row = product(shape, 3, rank);
    n = (band.end - band.begin) * row;
    x_step = band.in_rows * row;
    y_step = band.out_rows * row;
  }
};

/// What an operator of one input is to compute, in runs of elements that follow each other: all at
/// once or, of a band, the rows of each plane.
struct ElementRuns {
  std::int64_t count = 1, n = 0;        ///< runs, and elements of each
  std::int64_t x_step = 0, y_step = 0;  ///< from one run to the next

  explicit ElementRuns(const Op& op) : n(element_count(op.in_shape(0))) {
    if (!op.band()) return;
    const PlaneRuns planes(op);
    count = op.in_shape(0)[0] * op.in_shape(0)[1];
    n = planes.n;
    x_step = planes.x_step;
    y_step = planes.y_step;
  }

  /// compute(x, y, n) for each run.
  template <class X = float, class Y = X, class Compute>
  void each(const Run& run, const Compute& compute) const {
    for (std::int64_t i = 0; i < count; ++i)
      compute(run.in<X>(0) + i * x_step, run.out<Y>(0) + i * y_step, n);
  }
};

}  // namespace mezzo::ops
