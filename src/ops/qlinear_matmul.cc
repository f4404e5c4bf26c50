// Matrix products of 8-bit integers. Spec: ai.onnx QLinearMatMul-10/21, MatMulInteger-10;
// com.microsoft MatMulIntegerToFloat and DynamicQuantizeMatMul. Sums are exact in int32 and then
// scaled in float32, as ONNX Runtime does, rounding half to even. QLinearMatMul-21 adds 8-bit
// floats, summed in double, and scales of 16-bit floats.

#include <algorithm>

#include "base/convert.h"
#include "kernels/quantized_i8.h"
#include "ops/integer_product.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr IntegerProductInputs kMatMulInteger = {0, 2, 1, 3};
constexpr IntegerProductInputs kQLinearMatMul = {0, 2, 3, 5};
constexpr IntegerProductInputs kToFloat = {0, 4, 1, 5};

// A quantisation parameter of a factor, read by product and row (column).
class Parameter {
 public:
  Parameter(const Run& run, int i, const Shape& factor, std::int64_t n, std::size_t summed_axis,
            std::vector<std::int64_t> matrix, float omitted)
      : layout_(parameter_layout(run.op(), i, factor, n, summed_axis)),
        values_(floats_of(run, i)),
        matrix_(std::move(matrix)) {
    if (values_.empty()) values_.push_back(omitted);
  }

  bool is_scalar() const { return layout_.is_scalar; }
  /// Whether all products have the same.
  bool is_for_all() const { return layout_.matrix_stride == 0; }
  /// Of the rows of that product: one value, or one for each.
  const float* of(std::int64_t product) const {
    if (layout_.is_scalar) return values_.data();
    return values_.data() + matrix_[static_cast<std::size_t>(product)] * layout_.matrix_stride;
  }

 private:
  ParameterLayout layout_;
  std::vector<float> values_;
  std::vector<std::int64_t> matrix_;
};

Parameter of_a(const Run& run, int i, int a, const ProductShape& product, float omitted) {
  return {run, i, run.op().in_shape(a), product.m, 1, product.a_index, omitted};
}
Parameter of_b(const Run& run, int i, int b, const ProductShape& product, float omitted) {
  return {run, i, run.op().in_shape(b), product.n, 2, product.b_index, omitted};
}

// Calls store(to + j, sums[j], scale of A * scale of B) along each row.
template <class Store>
TakeRow scaled(Parameter a_scale, Parameter b_scale, std::int64_t n, Store store) {
  return [=, a_scale = std::move(a_scale), b_scale = std::move(b_scale)](
             std::int64_t product, std::int64_t row, const std::int32_t* sums, std::int64_t to) {
    const float left = a_scale.of(product)[a_scale.is_scalar() ? 0 : row];
    const float* right = b_scale.of(product);
    if (b_scale.is_scalar()) {
      const float scale = left * *right;
      for (std::int64_t j = 0; j < n; ++j) store(to + j, j, sums[j], scale);
    } else {
      for (std::int64_t j = 0; j < n; ++j) store(to + j, j, sums[j], left * right[j]);
    }
  };
}

// MatMulInteger. ---------------------------------------------------------------------------------

void infer_matmul_integer(Op& op) {
  const ProductShape product = product_shape_of(op, 0, 1);
  parameter_layout(op, 2, op.in_shape(0), product.m, 1);
  parameter_layout(op, 3, op.in_shape(1), product.n, 2);
  op.set_out(0, DType::i32, product.shape);
}

// QLinearMatMul. ---------------------------------------------------------------------------------

void infer_qlinear(Op& op) {
  const ProductShape product = product_shape_of(op, 0, 3);
  for (const int i : {1, 2}) parameter_layout(op, i, op.in_shape(0), product.m, 1);
  for (const int i : {4, 5}) parameter_layout(op, i, op.in_shape(3), product.n, 2);
  for (const int i : {6, 7}) require_scalar(op, i);
  op.set_out(0, op.in(7).dtype, product.shape);
}

TakeRow requantize(Run& run) {
  const ProductShape product = product_shape_of(run.op(), 0, 3);
  const float y_scale = scalar_of(run, 6);
  const Saturate saturate(run.op().out(0).dtype, zero_point_of(run, 7));
  auto* y = run.out<std::uint8_t>(0);  // both 8-bit types store the low byte
  const Parameter a_scale = of_a(run, 1, 0, product, 1), b_scale = of_b(run, 4, 3, product, 1);
  // One multiplier for each column, the same in all products.
  if (a_scale.is_scalar() && b_scale.is_for_all() && simd_allowed()) {
    std::vector<float> multipliers(static_cast<std::size_t>(product.n));
    for (std::size_t j = 0; j < multipliers.size(); ++j)
      multipliers[j] = *a_scale.of(0) * b_scale.of(0)[b_scale.is_scalar() ? 0 : j] / y_scale;
    const kernels::Requantize args{0, 1, saturate.low(), saturate.high(), saturate.zero_point()};
    return [=, multipliers = std::move(multipliers), n = product.n](
               std::int64_t, std::int64_t, const std::int32_t* sums, std::int64_t to) {
      kernels::requantize_each(args, multipliers.data(), nullptr, sums, y + to, n);
    };
  }
  return scaled(
      a_scale, b_scale, product.n,
      [=](std::int64_t to, std::int64_t, std::int32_t sum, float scale) {
        y[to] = static_cast<std::uint8_t>(saturate(static_cast<float>(sum) * (scale / y_scale)));
      });
}

bool has_float8(const Op& op) {
  return kFloat8.contains(op.in(0).dtype) || kFloat8.contains(op.in(3).dtype) ||
         kFloat8.contains(op.in(7).dtype);
}

Choice qlinear_matmul(Op& op, bool simd) {
  if (has_float8(op)) return refuse("8-bit floats");
  return integer_product(op, kQLinearMatMul, requantize, simd);
}

Choice qlinear_matmul_float8(Op& op) {
  if (!has_float8(op)) return refuse("no 8-bit floats");
  return Kernel([](Run& run) {
    const ProductShape product = product_shape_of(run.op(), 0, 3);
    const std::int64_t m = product.m, n = product.n, k = product.k;
    const std::vector<float> a = floats_of(run, 0), b = floats_of(run, 3);
    const Parameter a_scale = of_a(run, 1, 0, product, 1), a_zero = of_a(run, 2, 0, product, 0);
    const Parameter b_scale = of_b(run, 4, 3, product, 1), b_zero = of_b(run, 5, 3, product, 0);
    const float y_scale = scalar_of(run, 6), y_zero = scalar_of(run, 7, 0);
    const DType dtype = run.op().out(0).dtype;
    auto* y = run.out<std::uint8_t>(0);
    for (std::int64_t i = 0; i < product.batch; ++i) {
      const float* left = a.data() + product.a_index[static_cast<std::size_t>(i)] * m * k;
      const float* right = b.data() + product.b_index[static_cast<std::size_t>(i)] * k * n;
      for (std::int64_t at = 0; at < m * n; ++at) {
        const std::int64_t row = at / n, column = at % n;
        const std::int64_t of_row = a_scale.is_scalar() ? 0 : row;
        const std::int64_t of_column = b_scale.is_scalar() ? 0 : column;
        const float za = a_zero.of(i)[a_zero.is_scalar() ? 0 : row];
        const float zb = b_zero.of(i)[b_zero.is_scalar() ? 0 : column];
        double sum = 0;
        for (std::int64_t p = 0; p < k; ++p) {
          sum += static_cast<double>(left[row * k + p] - za) * (right[p * n + column] - zb);
        }
        const float scale = a_scale.of(i)[of_row] * b_scale.of(i)[of_column] / y_scale;
        const float value = static_cast<float>(sum) * scale;
        y[i * m * n + at] = static_cast<std::uint8_t>(
            kFloat8.contains(dtype) ? static_cast<int>(encode_small_float(dtype, value + y_zero))
                                    : Saturate(dtype, static_cast<int>(y_zero))(value));
      }
    }
  });
}

// ONNX Runtime's. --------------------------------------------------------------------------------

void require_bias(const Op& op, int i, std::int64_t n) {
  if (op.has_in(i) && op.in_shape(i) != Shape{n}) {
    throw invalid("the bias does not fit B")
        .expected(to_string(Shape{n}))
        .got(to_string(op.in_shape(i)));
  }
}

void infer_to_float(Op& op) {
  const ProductShape product = product_shape_of(op, 0, 1);
  for (const int i : {2, 4}) parameter_layout(op, i, op.in_shape(0), product.m, 1);
  for (const int i : {3, 5}) parameter_layout(op, i, op.in_shape(1), product.n, 2);
  require_bias(op, 6, product.n);
  op.set_out(0, op.in(2).dtype, product.shape);
}

TakeRow to_float(Run& run) {
  const ProductShape product = product_shape_of(run.op(), 0, 1);
  const auto* bias = run.in<float>(6);
  auto* y = run.out<float>(0);
  return scaled(of_a(run, 2, 0, product, 1), of_b(run, 3, 1, product, 1), product.n,
                [=](std::int64_t to, std::int64_t column, std::int32_t sum, float scale) {
                  const float value = static_cast<float>(sum) * scale;
                  y[to] = bias != nullptr ? value + bias[column] : value;
                });
}

Choice matmul_to_float(Op& op, bool simd) {
  if (op.out(0).dtype != DType::f32) return refuse("not float32");
  return integer_product(op, kToFloat, to_float, simd);
}

// A is quantised to uint8 by its own range, as DynamicQuantizeLinear does.
void infer_dynamic(Op& op) {
  const ProductShape product = product_shape_of(op, 0, 1);
  for (const int i : {2, 3}) parameter_layout(op, i, op.in_shape(1), product.n, 2);
  require_bias(op, 4, product.n);
  op.set_out(0, DType::f32, product.shape);
}

Choice dynamic_matmul(Op& op, bool simd) {
  const ProductShape product = product_shape_of(op, 0, 1);
  if (element_count(product.shape) == 0) return Kernel([](Run&) {});
  const std::int64_t a_size = element_count(op.in_shape(0));
  const std::int64_t a_bytes = (a_size + 63) / 64 * 64;
  op.set_scratch(checked_add(a_bytes, checked_mul(checked_mul(product.m, product.n), 4)));
  return Kernel([=](Run& run) {
    auto* quantized = static_cast<std::uint8_t*>(run.scratch());
    auto* sums = reinterpret_cast<std::int32_t*>(quantized + a_bytes);
    const DynamicRange range =
        quantize_dynamically(run.in<float>(0), a_size, quantized, run.pool());
    const Parameter b_scale = of_b(run, 2, 1, product, 1);
    const ParameterLayout zero_layout =
        parameter_layout(run.op(), 3, run.op().in_shape(1), product.n, 2);
    const std::vector<std::int32_t> zeros = ints_of(run, 3);
    const auto* bias = run.in<float>(4);
    auto* y = run.out<float>(0);
    const std::int64_t m = product.m, n = product.n, k = product.k;
    for (std::int64_t i = 0; i < product.batch; ++i) {
      const std::int64_t a_at = product.a_index[static_cast<std::size_t>(i)];
      const std::int64_t b_at = product.b_index[static_cast<std::size_t>(i)];
      kernels::GemmI8Operand a{quantized + a_at * m * k, false, k, 1, range.zero_point};
      kernels::GemmI8Operand b{run.in<std::uint8_t>(1) + b_at * k * n,
                               run.op().in(1).dtype == DType::i8, n, 1};
      if (!zeros.empty() && zero_layout.is_scalar) b.zero_point = zeros[0];
      if (!zero_layout.is_scalar) b.zero_points = zeros.data() + b_at * zero_layout.matrix_stride;
      multiply_i8(m, n, k, a, b, sums, n, run.pool(), simd);
      const float* scale = b_scale.of(i);
      for (std::int64_t r = 0; r < m; ++r) {
        for (std::int64_t j = 0; j < n; ++j) {
          const float value = static_cast<float>(sums[r * n + j]) *
                              (range.scale * scale[b_scale.is_scalar() ? 0 : j]);
          y[(i * m + r) * n + j] = bias != nullptr ? value + bias[j] : value;
        }
      }
    }
  });
}

std::int64_t multiply_adds(const Op& op, int b) {
  const ProductShape product = product_shape_of(op, 0, b);
  return checked_mul(element_count({product.batch, product.m, product.n}), product.k);
}

template <Choice (*choose)(Op&, bool)>
Row& both_kernels(Row& row) {
  return row.simd_kernel("simd i8", [](Op& op) { return choose(op, true); })
      .kernel("reference", [](Op& op) { return choose(op, false); });
}

Choice matmul_integer(Op& op, bool simd) {
  return integer_product(op, kMatMulInteger, nullptr, simd);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear_matmul) {
  const auto first_operands = [](const Op& node) { return multiply_adds(node, 1); };
  both_kernels<matmul_integer>(op("MatMulInteger"))
      .since(10)
      .in("A", kQuantized8)
      .in("B", kQuantized8)
      .in("a_zero_point", like(0), Arity::optional)
      .in("b_zero_point", like(1), Arity::optional)
      .out("Y", DType::i32)
      .infer(infer_matmul_integer)
      .multiply_adds(first_operands);

  const auto declare_qlinear = [&](TypeSet types, TypeSet scales) -> Row& {
    return both_kernels<qlinear_matmul>(op("QLinearMatMul"))
        .in("a", types)
        .in("a_scale", scales)
        .in("a_zero_point", like(0))
        .in("b", types)
        .in("b_scale", like(1))
        .in("b_zero_point", like(3))
        .in("y_scale", like(1))
        .in("y_zero_point", types)
        .out("y", like(7))
        .infer(infer_qlinear)
        .multiply_adds([](const Op& node) { return multiply_adds(node, 3); });
  };
  declare_qlinear(kQuantized8, DType::f32).since(10);
  declare_qlinear(kQuantized8 | kFloat8, {DType::f32, DType::f16, DType::bf16})
      .since(21)
      .kernel("float8", qlinear_matmul_float8);

  both_kernels<matmul_to_float>(op("MatMulIntegerToFloat", "com.microsoft"))
      .since(1)
      .in("A", kQuantized8)
      .in("B", kQuantized8)
      .in("a_scale", {DType::f32, DType::f16})
      .in("b_scale", like(2))
      .in("a_zero_point", like(0), Arity::optional)
      .in("b_zero_point", like(1), Arity::optional)
      .in("bias", like(2), Arity::optional)
      .out("Y", like(2))
      .infer(infer_to_float)
      .multiply_adds(first_operands);
  both_kernels<dynamic_matmul>(op("DynamicQuantizeMatMul", "com.microsoft"))
      .since(1)
      .in("A", DType::f32)
      .in("B", kQuantized8)
      .in("b_scale", DType::f32)
      .in("b_zero_point", like(1), Arity::optional)
      .in("bias", DType::f32, Arity::optional)
      .out("Y", DType::f32)
      .infer(infer_dynamic)
      .multiply_adds(first_operands);
}
