// Products of matrices of 8-bit integers, for the operators that are made of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/gemm_i8.h"
#include "ops/op.h"

namespace mezzo::ops {

/// C [m, n] (row stride ldc) = (A - za) * (B - zb) modulo 2^32, by kernels::gemm_i8 or, where not
/// `simd`, by a plain loop (with neither operand packed).
void multiply_i8(std::int64_t m, std::int64_t n, std::int64_t k, const kernels::GemmI8Operand& a,
                 const kernels::GemmI8Operand& b, std::int32_t* c, std::int64_t ldc,
                 ThreadPool& pool, bool simd);

/// Packs a constant factor with its zero points: one, or one for each row or column; none: empty.
using PackFactor = std::function<Tensor(
    const Tensor& factor, const std::vector<std::int32_t>& zero_points, ThreadPool& pool)>;
/// The factor that is input `factor` of `op`, packed ahead with its zero points, where both are
/// constants; else no value. `key` names the packing: the target and the zero points are added.
Tensor packed_factor(const Op& op, int factor, int zero_point, std::string key,
                     const PackFactor& pack);
/// Memory for a packed factor.
Tensor packed_memory(std::size_t bytes);
/// What pack(allocate) packs into one memory.
Tensor packed_by(const std::function<void(const kernels::AllocatePacked&)>& pack);
/// What was packed, as a factor.
kernels::GemmI8Operand packed_operand(const void* packed);

/// numpy.matmul of two inputs: a batch of products [m, k] * [k, n]. Vectors are rows on the left
/// and columns on the right.
struct ProductShape {
  Shape shape;  ///< of the result
  std::int64_t batch = 1, m = 1, n = 1, k = 1;
  std::vector<std::int64_t> a_index, b_index;  ///< for each product, which matrix of A and of B
};
/// Throws Error(invalid_model) where the inputs `a` and `b` of `op` do not fit.
ProductShape product_shape_of(const Op& op, int a, int b);

/// How a quantisation parameter of a factor varies: one for all, or one for each row of A (column
/// of B), or those anew for each matrix of a batch. The strides are 0 or the number of rows.
struct ParameterLayout {
  bool is_scalar = true;
  std::int64_t matrix_stride = 0;
};
/// Of the parameter input `i`, whose factor has the shape `factor` and `n` rows (columns). Throws
/// where its shape is neither a scalar, [n], nor that of the factor with the axis summed over
/// (`summed_axis_from_end`: 1 for A, 2 for B) being 1.
ParameterLayout parameter_layout(const Op& op, int i, const Shape& factor, std::int64_t n,
                                 std::size_t summed_axis_from_end);

/// Where an operator has its factors and zero points.
struct IntegerProductInputs {
  int a, a_zero_point, b, b_zero_point;
};

/// Takes row `row` of product number `product`: n sums, which begin at the row-major position `to`
/// of the result. Called from several threads.
using TakeRow = std::function<void(std::int64_t product, std::int64_t row, const std::int32_t* sums,
                                   std::int64_t to)>;
using MakeTakeRow = std::function<TakeRow(Run&)>;

/// A chooser: the products of two inputs, row by row given to what `finish` makes for each run;
/// none: the sums are output 0.
Choice integer_product(Op& op, const IntegerProductInputs& inputs, MakeTakeRow finish, bool simd);

}  // namespace mezzo::ops
