// com.microsoft QLinearSoftmax (1): Softmax of an 8-bit quantised tensor, to one. Spec: ONNX
// Runtime's docs/ContribOperators.md. The attribute `opset` says which Softmax is meant: before 13
// the input is seen as 2-D, split before `axis`, since 13 it is one axis.

#include <array>
#include <cmath>

#include "ops/axis_split.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

AxisSplit split_of(const Op& op) {
  const Shape& shape = op.in_shape(0);
  const int axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  if (op.attr_int("opset") >= 13) return split_at(shape, axis);
  return {product(shape, 0, axis), product(shape, axis, op.in_rank(0)), 1};
}

void infer(Op& op) {
  for (const int i : {1, 2, 3, 4}) require_scalar(op, i);
  split_of(op);
  same_shape(op);
}

template <class Q>
void softmax(const AxisSplit& split, Run& run) {
  // Differences from the largest of a row are 0 to 255 steps of the scale.
  std::array<float, 256> powers;
  const double x_scale = scalar_of(run, 1);
  for (int i = 0; i < 256; ++i)
    powers[static_cast<std::size_t>(i)] = static_cast<float>(std::exp(-i * x_scale));
  const float inverse_scale = 1 / scalar_of(run, 3);
  const Saturate saturate(run.op().out(0).dtype, zero_point_of(run, 4));
  const std::int64_t stride = split.inner;
  run.pool().parallel_for(
      split.outer * split.inner, grain_for(split.n * 4), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          const std::int64_t at = row / stride * split.n * stride + row % stride;
          const Q* x = run.in<Q>(0) + at;
          Q* y = run.out<Q>(0) + at;
          int top = x[0];
          for (std::int64_t i = 1; i < split.n; ++i) top = std::max<int>(top, x[i * stride]);
          const auto power = [&](std::int64_t i) {
            return powers[static_cast<std::size_t>(top - x[i * stride])];
          };
          float sum = 0;
          for (std::int64_t i = 0; i < split.n; ++i) sum += power(i);
          for (std::int64_t i = 0; i < split.n; ++i) {
            y[i * stride] = static_cast<Q>(saturate(power(i) * inverse_scale / sum));
          }
        }
      });
}

Choice reference(Op& op) {
  const AxisSplit split = split_of(op);
  if (element_count(op.in_shape(0)) == 0) return Kernel([](Run&) {});
  return Kernel([split](Run& run) {
    with_quantized8(run.op().in(0).dtype, [&](auto zero) { softmax<decltype(zero)>(split, run); });
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear_softmax) {
  op("QLinearSoftmax", "com.microsoft")
      .since(1)
      .attr("axis", -1)
      .required("opset", FormalAttribute::Kind::int_)
      .in("X", kQuantized8)
      .in("X_scale", DType::f32)
      .in("x_zero_point", like(0), Arity::optional)
      .in("y_scale", DType::f32)
      .in("y_zero_point", like(0))
      .out("Y", like(0))
      .infer(infer)
      .kernel("reference", reference);
}
