// com.microsoft DynamicQuantizeLSTM (1): an LSTM whose matrices are 8-bit integers, [directions, k,
// 4 * hidden], and whose other factors, X and the hidden state of each step, are quantised by their
// own range as DynamicQuantizeLinear does. Spec: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/memory.h"
#include "base/rounding.h"
#include "base/shape.h"
#include "kernels/target.h"
#include "ops/integer_product.h"
#include "ops/quantization.h"
#include "ops/recurrent_node.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

// Where W and R have their data and parameters.
struct MatrixInputs {
  int matrix, scale, zero_point;
};
constexpr MatrixInputs kInput = {1, 8, 9}, kRecurrence = {2, 10, 11};

void infer(Op& op) {
  infer_recurrent(op);
  for (const MatrixInputs& inputs : {kInput, kRecurrence}) {
    const Shape& shape = op.in_shape(inputs.matrix);
    for (const int i : {inputs.scale, inputs.zero_point}) {
      if (op.in_shape(i) == Shape{shape[0]} || op.in_shape(i) == Shape{shape[0], shape[2]}) {
        continue;
      }
      throw invalid("a quantisation parameter does not fit its matrix")
          .at("input '" + op.row().inputs()[static_cast<std::size_t>(i)].name + "'")
          .expected(to_string(Shape{shape[0]}) + " or " + to_string({shape[0], shape[2]}))
          .got(to_string(op.in_shape(i)));
    }
  }
}

// The matrix of one direction, as a factor.
struct QuantizedMatrix {
  kernels::GemmI8Operand factor;
  const float* scale = nullptr;
  bool scale_by_column = false;
};

// W or R of all directions, for a run or ahead of it.
class QuantizedMatrices {
 public:
  QuantizedMatrices(const Shape& shape, DType dtype, const void* data, std::vector<float> scale,
                    std::vector<std::int32_t> zero_point)
      : k_(shape[1]),
        columns_(shape[2]),
        is_signed_(dtype == DType::i8),
        data_(static_cast<const std::uint8_t*>(data)),
        scale_by_column_(static_cast<std::int64_t>(scale.size()) != shape[0]),
        zero_by_column_(static_cast<std::int64_t>(zero_point.size()) != shape[0]),
        scale_(std::move(scale)),
        zero_point_(std::move(zero_point)) {}

  /// The factors are read from there: all directions packed, `stride` bytes apart.
  void use_packed(const void* packed, std::int64_t stride) {
    packed_ = static_cast<const std::uint8_t*>(packed);
    stride_ = stride;
  }

  QuantizedMatrix direction(std::int64_t d) const {
    QuantizedMatrix matrix;
    matrix.scale_by_column = scale_by_column_;
    matrix.scale = scale_.data() + d * (scale_by_column_ ? columns_ : 1);
    if (packed_ != nullptr) {
      matrix.factor.data = packed_ + d * stride_;
      matrix.factor.packed = true;
      return matrix;
    }
    matrix.factor = {data_ + d * k_ * columns_, is_signed_, columns_, 1};
    const std::int32_t* zero = zero_point_.data() + d * (zero_by_column_ ? columns_ : 1);
    if (zero_by_column_) {
      matrix.factor.zero_points = zero;
    } else {
      matrix.factor.zero_point = *zero;
    }
    return matrix;
  }

 private:
  std::int64_t k_, columns_;
  bool is_signed_;
  const std::uint8_t* data_;
  bool scale_by_column_, zero_by_column_;
  std::vector<float> scale_;
  std::vector<std::int32_t> zero_point_;
  const std::uint8_t* packed_ = nullptr;
  std::int64_t stride_ = 0;
};

// All directions packed with their zero points, where both are constants; else no value.
struct Packed {
  Tensor data;
  std::int64_t stride = 0;
};

Packed pack(const Op& op, const MatrixInputs& inputs) {
  const Tensor* zero_point = op.constant(inputs.zero_point);
  if (!op.is_constant(inputs.matrix) || zero_point == nullptr) return {};
  const Shape& shape = op.in_shape(inputs.matrix);
  const Tensor wide = zero_point->to(DType::i32);
  const auto zeros = wide.values<std::int32_t>();
  Packed packed;
  std::string key =
      "quantised recurrence " + std::string(kernels::name_of(kernels::active_target()));
  for (const std::int32_t zero : zeros) key += ' ' + std::to_string(zero);
  packed.data = op.packed(inputs.matrix, key, [&](const Tensor& constant) {
    const QuantizedMatrices matrices(shape, constant.dtype(), constant.data(),
                                     std::vector<float>(static_cast<std::size_t>(shape[0])),
                                     {zeros.begin(), zeros.end()});
    ThreadPool alone(1);
    std::vector<Tensor> directions;
    std::int64_t stride = 0;
    for (std::int64_t d = 0; d < shape[0]; ++d) {
      const kernels::GemmI8Operand factor = matrices.direction(d).factor;
      directions.push_back(packed_by([&](const kernels::AllocatePacked& allocate) {
        kernels::pack_b_i8(shape[1], shape[2], factor, allocate, alone);
      }));
      stride = std::max(stride,
                        round_up(directions.back().size(), static_cast<std::int64_t>(kAlignment)));
    }
    Tensor result = packed_memory(static_cast<std::size_t>(checked_mul(shape[0], stride)));
    auto* to = static_cast<std::uint8_t*>(result.mutable_data());
    for (const Tensor& direction : directions) {
      std::memcpy(to, direction.data(), direction.bytes());
      to += stride;
    }
    return result;
  });
  packed.stride = packed.data.size() / shape[0];
  return packed;
}

// The products of one direction. What does not take part in a step, or in any, has no influence on
// the range of the others.
struct QuantizedMath {
  QuantizedMatrix weights, recurrence;
  const std::int32_t* lengths;
  bool simd;

  void multiply(std::int64_t rows, std::int64_t columns, std::int64_t k, const float* a,
                const QuantizedMatrix& matrix, float* out, std::int64_t stride,
                ThreadPool& pool) const {
    std::vector<std::uint8_t> quantized(static_cast<std::size_t>(rows * k));
    std::vector<std::int32_t> sums(static_cast<std::size_t>(rows * columns));
    const DynamicRange range = quantize_dynamically(a, rows * k, quantized.data(), pool);
    multiply_i8(rows, columns, k, {quantized.data(), false, k, 1, range.zero_point}, matrix.factor,
                sums.data(), columns, pool, simd);
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int32_t* sum = sums.data() + i * columns;
      float* y = out + i * stride;
      if (matrix.scale_by_column) {
        for (std::int64_t j = 0; j < columns; ++j) {
          y[j] = static_cast<float>(sum[j]) * (range.scale * matrix.scale[j]);
        }
      } else {
        const float scale = range.scale * *matrix.scale;
        for (std::int64_t j = 0; j < columns; ++j) y[j] = static_cast<float>(sum[j]) * scale;
      }
    }
  }

  void project_inputs(const Recurrence& r, std::int64_t rows, const float* x, float* out,
                      ThreadPool& pool) const {
    multiply(rows, r.gate_columns(), r.inputs, x, weights, out, r.gate_columns(), pool);
  }

  void recur(const Recurrence& r, std::int64_t step, int /*gate*/, int /*gates*/, const float* h,
             float* out, std::int64_t stride, ThreadPool& pool) const {
    std::vector<float> taking_part;
    if (lengths != nullptr) {
      taking_part.assign(h, h + r.batch * r.hidden);
      for (std::int64_t b = 0; b < r.batch; ++b) {
        if (step >= lengths[b]) std::fill_n(taking_part.data() + b * r.hidden, r.hidden, 0.0F);
      }
      h = taking_part.data();
    }
    multiply(r.batch, r.gate_columns(), r.hidden, h, recurrence, out, stride, pool);
  }

  void activate(const Activation& activation, float* data, std::int64_t n, ThreadPool& pool) const {
    if (simd) {
      apply_simd(activation, data, n, pool);
    } else {
      apply_plain(activation, data, n);
    }
  }
};

Choice lstm(Op& op, bool simd) {
  const Recurrence r = recurrence_of(op);
  if (simd && (r.steps == 0 || r.batch == 0 || r.inputs == 0 || r.hidden == 0)) {
    return refuse("an empty tensor");
  }
  const Packed w = simd ? pack(op, kInput) : Packed{};
  const Packed recurrence = simd ? pack(op, kRecurrence) : Packed{};
  return Kernel([=](Run& run) {
    const auto matrices_of = [&](const MatrixInputs& inputs, const Packed& packed) {
      QuantizedMatrices matrices(run.op().in_shape(inputs.matrix), run.op().in(inputs.matrix).dtype,
                                 run.in_data(inputs.matrix), floats_of(run, inputs.scale),
                                 ints_of(run, inputs.zero_point));
      if (packed.data.has_value()) matrices.use_packed(packed.data.data(), packed.stride);
      return matrices;
    };
    const QuantizedMatrices by_input = matrices_of(kInput, w);
    const QuantizedMatrices by_state = matrices_of(kRecurrence, recurrence);
    run_directions<float>(r, run, [&](std::int64_t d) {
      return QuantizedMath{by_input.direction(d), by_state.direction(d), run.in<std::int32_t>(4),
                           simd};
    });
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(dynamic_quantize_lstm) {
  op("DynamicQuantizeLSTM", "com.microsoft")
      .since(1)
      .attr("activation_alpha", Kind::floats)
      .attr("activation_beta", Kind::floats)
      .attr("activations", Kind::strings)
      .attr("clip", Kind::float_)
      .attr("direction", "forward")
      .attr("hidden_size", Kind::int_)
      .attr("input_forget", 0)
      .in("X", DType::f32)
      .in("W", kQuantized8)
      .in("R", like(1))
      .in("B", like(0), Arity::optional)
      .in("sequence_lens", DType::i32, Arity::optional)
      .in("initial_h", like(0), Arity::optional)
      .in("initial_c", like(0), Arity::optional)
      .in("P", like(0), Arity::optional)
      .in("W_scale", like(0))
      .in("W_zero_point", like(1))
      .in("R_scale", like(0))
      .in("R_zero_point", like(1))
      .out("Y", like(0), Arity::optional)
      .out("Y_h", like(0), Arity::optional)
      .out("Y_c", like(0), Arity::optional)
      .infer(infer)
      .simd_kernel("simd i8", [](Op& node) { return lstm(node, true); })
      .kernel("reference", [](Op& node) { return lstm(node, false); })
      .multiply_adds(recurrent_multiply_adds);
}
