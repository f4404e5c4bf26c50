#include "ops/integer_product.h"

#include <algorithm>
#include <string>

#include "kernels/target.h"
#include "ops/broadcast.h"
#include "ops/convolution.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using kernels::GemmI8Operand;

int element(const GemmI8Operand& x, std::int64_t i, std::int64_t j) {
  const std::int64_t at = i * x.row_stride + j * x.col_stride;
  return x.is_signed ? static_cast<const std::int8_t*>(x.data)[at]
                     : static_cast<const std::uint8_t*>(x.data)[at];
}

// Sums wrap, hence the unsigned arithmetic.
void multiply_plain(std::int64_t m, std::int64_t n, std::int64_t k, const GemmI8Operand& a,
                    const GemmI8Operand& b, std::int32_t* c, std::int64_t ldc, ThreadPool& pool) {
  pool.parallel_for(m, 1 + 32768 / (n * k + 1), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint32_t> sums(static_cast<std::size_t>(n));
    for (std::int64_t i = begin; i < end; ++i) {
      std::fill(sums.begin(), sums.end(), 0U);
      for (std::int64_t p = 0; p < k; ++p) {
        const int x =
            element(a, i, p) - a.zero_point - (a.zero_points != nullptr ? a.zero_points[i] : 0);
        for (std::int64_t j = 0; j < n; ++j) {
          const int y =
              element(b, p, j) - b.zero_point - (b.zero_points != nullptr ? b.zero_points[j] : 0);
          sums[static_cast<std::size_t>(j)] += static_cast<std::uint32_t>(x * y);
        }
      }
      for (std::int64_t j = 0; j < n; ++j) {
        c[i * ldc + j] = static_cast<std::int32_t>(sums[static_cast<std::size_t>(j)]);
      }
    }
  });
}

// B packed ahead, where one matrix serves all products.
Tensor packed_b(const Op& op, const IntegerProductInputs& inputs, const ProductShape& product) {
  const std::int64_t size = element_count(op.in_shape(inputs.b));
  if (size != product.k * product.n || size == 0) return {};
  const std::string key =
      "gemm i8 b, " + std::to_string(product.k) + "x" + std::to_string(product.n);
  const auto pack = [&](const Tensor& b, const std::vector<std::int32_t>& zero_points,
                        ThreadPool& pool) {
    GemmI8Operand operand{b.data(), b.dtype() == DType::i8, product.n, 1};
    if (zero_points.size() == 1) operand.zero_point = zero_points[0];
    if (zero_points.size() > 1) operand.zero_points = zero_points.data();
    return packed_by([&](const kernels::AllocatePacked& allocate) {
      kernels::pack_b_i8(product.k, product.n, operand, allocate, pool);
    });
  };
  return packed_factor(op, inputs.b, inputs.b_zero_point, key, pack);
}

}  // namespace

void multiply_i8(std::int64_t m, std::int64_t n, std::int64_t k, const GemmI8Operand& a,
                 const GemmI8Operand& b, std::int32_t* c, std::int64_t ldc, ThreadPool& pool,
                 bool simd) {
  if (simd) {
    kernels::gemm_i8(m, n, k, a, b, c, ldc, pool);
  } else {
    multiply_plain(m, n, k, a, b, c, ldc, pool);
  }
}

Tensor packed_factor(const Op& op, int factor, int zero_point, std::string key,
                     const PackFactor& pack) {
  const Tensor* constant = op.constant(zero_point);
  if (!op.is_constant(factor) || (op.has_in(zero_point) && constant == nullptr)) return {};
  key += ", " + std::string(kernels::name_of(kernels::active_target()));
  const std::vector<std::int32_t> zero_points = ints_of(constant);
  for (const std::int32_t value : zero_points) key += "," + std::to_string(value);
  return op.packed(factor, key, [&](const Tensor& data) {
    ThreadPool pool = packing_pool(op, data.bytes());
    return pack(data, zero_points, pool);
  });
}

Tensor packed_memory(std::size_t bytes) {
  return Tensor::uninitialized(DType::u8, {static_cast<std::int64_t>(bytes)});
}

Tensor packed_by(const std::function<void(const kernels::AllocatePacked&)>& pack) {
  Tensor packed;
  pack([&](std::size_t bytes) {
    packed = packed_memory(bytes);
    return packed.mutable_data();
  });
  return packed;
}

GemmI8Operand packed_operand(const void* packed) {
  GemmI8Operand factor;
  factor.data = packed;
  factor.packed = true;
  return factor;
}

ProductShape product_shape_of(const Op& op, int a, int b) {
  require_rank(op, a, 1);
  require_rank(op, b, 1);
  Shape left = op.in_shape(a), right = op.in_shape(b);
  const bool left_vector = left.size() == 1, right_vector = right.size() == 1;
  if (left_vector) left.insert(left.begin(), 1);
  if (right_vector) right.push_back(1);
  ProductShape product;
  product.m = left[left.size() - 2];
  product.k = left.back();
  product.n = right.back();
  if (right[right.size() - 2] != product.k) {
    throw invalid("the two matrices do not fit each other")
        .expected("as many columns in A as rows in B")
        .got(to_string(op.in_shape(a)) + " and " + to_string(op.in_shape(b)));
  }
  const Shape left_batch(left.begin(), left.end() - 2), right_batch(right.begin(), right.end() - 2);
  const Shape batch = broadcast(left_batch, right_batch);
  product.batch = element_count(batch);
  const auto numbers = [&](const Shape& own) {
    std::vector<std::int64_t> index(static_cast<std::size_t>(product.batch));
    const std::vector<std::int64_t> strides = broadcast_strides(own, batch);
    for (std::int64_t i = 0; i < product.batch; ++i) {
      std::int64_t rest = i, at = 0;
      for (std::size_t axis = batch.size(); axis-- > 0;) {
        at += rest % batch[axis] * strides[axis];
        rest /= batch[axis];
      }
      index[static_cast<std::size_t>(i)] = at;
    }
    return index;
  };
  product.shape = batch;
  if (!left_vector) product.shape.push_back(product.m);
  if (!right_vector) product.shape.push_back(product.n);
  element_count(product.shape);
  product.a_index = numbers(left_batch);
  product.b_index = numbers(right_batch);
  return product;
}

ParameterLayout parameter_layout(const Op& op, int i, const Shape& factor, std::int64_t n,
                                 std::size_t summed_axis_from_end) {
  if (!op.has_in(i) || element_count(op.in_shape(i)) == 1) return {};
  const Shape& shape = op.in_shape(i);
  if (shape == Shape{n}) return {false, 0};
  Shape wanted = factor;
  if (factor.size() >= 2) {
    wanted[factor.size() - summed_axis_from_end] = 1;
    if (shape == wanted) return {false, n};
  }
  throw invalid("a quantisation parameter does not fit its factor")
      .at("input " + std::to_string(i))
      .expected("a scalar, " + to_string(Shape{n}) + " or " + to_string(wanted))
      .got(to_string(shape));
}

Choice integer_product(Op& op, const IntegerProductInputs& inputs, MakeTakeRow finish, bool simd) {
  ProductShape product = product_shape_of(op, inputs.a, inputs.b);
  const ParameterLayout a_zero =
      parameter_layout(op, inputs.a_zero_point, op.in_shape(inputs.a), product.m, 1);
  const ParameterLayout b_zero =
      parameter_layout(op, inputs.b_zero_point, op.in_shape(inputs.b), product.n, 2);
  if (element_count(product.shape) == 0) return Kernel([](Run&) {});
  // Products that share B, and whose A follow each other, are one product with more rows.
  const std::int64_t b_matrices =
      element_count(op.in_shape(inputs.b)) / std::max<std::int64_t>(1, product.k * product.n);
  const std::int64_t rows = product.m;
  const bool joined = b_matrices == 1 && b_zero.matrix_stride == 0 && product.batch > 1 &&
                      (a_zero.is_scalar || a_zero.matrix_stride != 0) &&
                      product.a_index.back() == product.batch - 1;
  if (joined) {
    product.m *= product.batch;
    product.batch = 1;
  }
  const Tensor packed = simd ? packed_b(op, inputs, product) : Tensor();
  if (finish != nullptr) op.set_scratch(checked_mul(checked_mul(product.m, product.n), 4));
  return Kernel([=, finish = std::move(finish)](Run& run) {
    const TakeRow take = finish == nullptr ? nullptr : finish(run);
    const std::vector<std::int32_t> a_zeros = ints_of(run, inputs.a_zero_point);
    const std::vector<std::int32_t> b_zeros = ints_of(run, inputs.b_zero_point);
    const std::int64_t m = product.m, n = product.n, k = product.k;
    for (std::int64_t i = 0; i < product.batch; ++i) {
      auto* sums = take == nullptr ? run.out<std::int32_t>(0) + i * m * n
                                   : static_cast<std::int32_t*>(run.scratch());
      const std::int64_t a_at = product.a_index[static_cast<std::size_t>(i)];
      const std::int64_t b_at = product.b_index[static_cast<std::size_t>(i)];
      GemmI8Operand a{run.in<std::uint8_t>(inputs.a) + a_at * m * k,
                      run.op().in(inputs.a).dtype == DType::i8, k, 1};
      if (!a_zeros.empty() && a_zero.is_scalar) a.zero_point = a_zeros[0];
      if (!a_zero.is_scalar) a.zero_points = a_zeros.data() + a_at * a_zero.matrix_stride;
      GemmI8Operand b{run.in<std::uint8_t>(inputs.b) + b_at * k * n,
                      run.op().in(inputs.b).dtype == DType::i8, n, 1};
      if (!b_zeros.empty() && b_zero.is_scalar) b.zero_point = b_zeros[0];
      if (!b_zero.is_scalar) b.zero_points = b_zeros.data() + b_at * b_zero.matrix_stride;
      if (packed.has_value()) b = packed_operand(packed.data());
      multiply_i8(m, n, k, a, b, sums, n, run.pool(), simd);
      if (take == nullptr) continue;
      run.pool().parallel_for(m, 1 + 32768 / n, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          take(i + r / rows, r % rows, sums + r * n, (i * m + r) * n);
        }
      });
    }
  });
}

}  // namespace mezzo::ops
