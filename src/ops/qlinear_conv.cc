// Convolutions of 8-bit integers. Spec: ai.onnx QLinearConv-10, ConvInteger-10; QuantizedConv:
// quantized_conv.h. Sums are exact in int32; QLinearConv then scales them in float32, as ONNX
// Runtime does, rounding half to even.

#include "kernels/quantized_i8.h"
#include "ops/blocked_integer_conv.h"
#include "ops/integer_conv.h"
#include "ops/quantization.h"
#include "ops/quantized_conv.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr IntegerConvInputs kConvInteger = {0, 2, 1, 3, -1};

void infer_quantized(Op& op) {
  const IntegerConv conv = integer_conv_of(op, kQuantizedConv);
  set_quantized_result(op, conv, conv.shape());
}

void infer_integer(Op& op) { op.set_out(0, DType::i32, integer_conv_of(op, kConvInteger).shape()); }

TakeSums requantize(Run& run) {
  const std::vector<kernels::ChannelScale> scales = channel_scales(
      [&](int i) { return run.in_tensor(i); }, run.op().in_shape(kQuantizedConv.w)[0]);
  const int zero_point = zero_point_of(run, 7);
  const IntRange bounds = bounds_of(run.op(), run.op().out(0).dtype);
  std::vector<kernels::Requantize> parameters;
  for (const kernels::ChannelScale& scale : scales) {
    parameters.push_back({scale.offset, scale.multiplier,
                          static_cast<float>(bounds.least - zero_point),
                          static_cast<float>(bounds.most - zero_point), zero_point, scale.addend});
  }
  return [parameters = std::move(parameters), y = run.out<std::uint8_t>(0)](
             std::int64_t channel, const std::int32_t* sums, std::int64_t count, std::int64_t to) {
    const kernels::Requantize& args = parameters[static_cast<std::size_t>(channel)];
    if (simd_allowed()) return kernels::requantize(args, sums, y + to, count);
    const Saturate saturate(args.low, args.high, args.zero_point);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto sum = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[i]) +
                                                 static_cast<std::uint32_t>(args.offset));
      // Both 8-bit types store the low byte.
      y[to + i] = static_cast<std::uint8_t>(
          saturate(static_cast<float>(sum) * args.multiplier + args.addend));
    }
  };
}

TakeSums store(Run& run) {
  return [y = run.out<std::int32_t>(0)](std::int64_t, const std::int32_t* sums, std::int64_t count,
                                        std::int64_t to) { std::copy_n(sums, count, y + to); };
}

Row& declare(Row& row, const IntegerConvInputs& inputs, const MakeTakeSums& finish) {
  return row
      .simd_kernel("simd depthwise", [=](Op& op) { return depthwise_conv(op, inputs, finish); })
      .simd_kernel("simd in blocks", [=](Op& op) { return blocked_sums_conv(op, inputs, finish); })
      .simd_kernel("simd i8", [=](Op& op) { return product_conv(op, inputs, finish, true); })
      .kernel("reference", [=](Op& op) { return product_conv(op, inputs, finish, false); })
      .multiply_adds([=](const Op& op) { return integer_conv_of(op, inputs).multiply_adds(); });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear_conv) {
  declare(convolution_attributes(op("QLinearConv").since(10)), kQuantizedConv, requantize)
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
      .infer(infer_quantized);
  declare(declare_quantized_conv(op("QuantizedConv", "mezzo")), kQuantizedConv, requantize)
      .infer(infer_quantized);
  declare(convolution_attributes(op("ConvInteger").since(10)), kConvInteger, store)
      .in("x", kQuantized8)
      .in("w", kQuantized8)
      .in("x_zero_point", like(0), Arity::optional)
      .in("w_zero_point", like(1), Arity::optional)
      .out("y", DType::i32)
      .infer(infer_integer);
}
