// Convolutions of 8-bit integers. Spec: ai.onnx QLinearConv-10, ConvInteger-10. Sums are exact in
// int32; QLinearConv then scales them in float32, as ONNX Runtime does, rounding half to even.

#include "kernels/quantized_i8.h"
#include "ops/integer_conv.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr IntegerConvInputs kQLinearConv = {0, 2, 3, 5, 8};
constexpr IntegerConvInputs kConvInteger = {0, 2, 1, 3, -1};

void infer_qlinear(Op& op) {
  const IntegerConv conv = integer_conv_of(op, kQLinearConv);
  for (const int i : {1, 6, 7}) require_scalar(op, i);
  require_scalar_or_vector(op, 4, conv.out_channels);
  op.set_out(0, op.in(7).dtype, conv.shape());
}

void infer_integer(Op& op) { op.set_out(0, DType::i32, integer_conv_of(op, kConvInteger).shape()); }

TakeSums requantize(Run& run) {
  const std::vector<float> w_scales = floats_of(run, 4);
  const auto* bias = run.in<std::int32_t>(8);
  const float x_scale = scalar_of(run, 1), y_scale = scalar_of(run, 6);
  const auto channels = static_cast<std::size_t>(run.op().in_shape(3)[0]);
  const Saturate saturate(run.op().out(0).dtype, zero_point_of(run, 7));
  std::vector<kernels::Requantize> parameters(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    parameters[c].offset = bias != nullptr ? bias[c] : 0;
    parameters[c].multiplier = x_scale * w_scales[w_scales.size() == 1 ? 0 : c] / y_scale;
    parameters[c].low = saturate.low();
    parameters[c].high = saturate.high();
    parameters[c].zero_point = saturate.zero_point();
  }
  return [=, parameters = std::move(parameters), y = run.out<std::uint8_t>(0)](
             std::int64_t channel, const std::int32_t* sums, std::int64_t count, std::int64_t to) {
    const kernels::Requantize& args = parameters[static_cast<std::size_t>(channel)];
    if (simd_allowed()) return kernels::requantize(args, sums, y + to, count);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto sum = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[i]) +
                                                 static_cast<std::uint32_t>(args.offset));
      // Both 8-bit types store the low byte.
      y[to + i] = static_cast<std::uint8_t>(saturate(static_cast<float>(sum) * args.multiplier));
    }
  };
}

TakeSums store(Run& run) {
  return [y = run.out<std::int32_t>(0)](std::int64_t, const std::int32_t* sums, std::int64_t count,
                                        std::int64_t to) { std::copy_n(sums, count, y + to); };
}

Row& declare(Row& row, const IntegerConvInputs& inputs, const MakeTakeSums& finish) {
  return convolution_attributes(row.since(10))
      .simd_kernel("simd depthwise", [=](Op& op) { return depthwise_conv(op, inputs, finish); })
      .simd_kernel("simd i8", [=](Op& op) { return product_conv(op, inputs, finish, true); })
      .kernel("reference", [=](Op& op) { return product_conv(op, inputs, finish, false); })
      .multiply_adds([=](const Op& op) { return integer_conv_of(op, inputs).multiply_adds(); });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear_conv) {
  declare(op("QLinearConv"), kQLinearConv, requantize)
      .in("x", kQuantized8)
      .in("x_scale", DType::f32)
      .in("x_zero_point", like(0))
      .in("w", kQuantized8)
      .in("w_scale", DType::f32)
      .in("w_zero_point", like(3))
      .in("y_scale", DType::f32)
      .in("y_zero_point", kQuantized8)
      .in("B", DType::i32, Arity::optional)
      .out("y", like(7))
      .infer(infer_qlinear);
  declare(op("ConvInteger"), kConvInteger, store)
      .in("x", kQuantized8)
      .in("w", kQuantized8)
      .in("x_zero_point", like(0), Arity::optional)
      .in("w_zero_point", like(1), Arity::optional)
      .out("y", DType::i32)
      .infer(infer_integer);
}
