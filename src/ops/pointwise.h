// Chains of element-wise float32 functions, as the operator Pointwise of the domain "mezzo" that
// the pass `pointwise` puts in place of them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/elementwise_f32.h"
#include "ops/op.h"

namespace mezzo::ops {

/// A function of one or two float32 tensors in a Pointwise node.
struct PointwiseFunction {
  std::int64_t number = 0;  ///< what the attribute `functions` holds
  kernels::UnaryArgs args = {};

  static PointwiseFunction of(kernels::Unary function, kernels::UnaryArgs args = {});
  static PointwiseFunction of(kernels::Binary function);
};

/// The function that the op computes, element by element of its output, with a SIMD kernel: of one
/// operand, or of two by a broadcast that the kernels know.
std::optional<PointwiseFunction> pointwise_function(const Op& op);

}  // namespace mezzo::ops
