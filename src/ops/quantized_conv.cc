// BlockedQuantizedConv (mezzo 1), and what it shares with QLinearConv: see quantized_conv.h.

#include "ops/quantized_conv.h"

#include "base/shape.h"
#include "ops/blocked.h"
#include "ops/blocked_image.h"
#include "ops/blocked_integer_conv.h"
#include "ops/convolution.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {

void set_quantized_result(Op& op, const IntegerConv& conv, Shape y) {
  for (const int i : {1, 6, 7}) require_scalar(op, i);
  require_scalar_or_vector(op, 4, conv.out_channels);
  op.set_out(0, op.has_in(7) ? op.in(7).dtype : DType::u8, std::move(y));
}

std::vector<kernels::ChannelScale> channel_scales(const std::function<Tensor(int)>& input,
                                                  std::int64_t channels) {
  const auto first = [&](int i) {
    const Tensor tensor = input(i).to(DType::f32);
    return tensor.values<float>()[0];
  };
  const Tensor w_scale = input(4).to(DType::f32), bias = input(kQuantizedConv.bias);
  const float x_scale = first(1), y_scale = first(6);
  const auto w_scales = w_scale.values<float>();
  std::vector<kernels::ChannelScale> scales(static_cast<std::size_t>(channels));
  for (std::size_t c = 0; c < scales.size(); ++c)
    scales[c].multiplier = x_scale * w_scales[w_scales.size() == 1 ? 0 : c] / y_scale;
  if (bias.has_value() && bias.dtype() == DType::i32) {
    for (std::size_t c = 0; c < scales.size(); ++c)
      scales[c].offset = bias.values<std::int32_t>()[c];
  } else if (bias.has_value()) {
    for (std::size_t c = 0; c < scales.size(); ++c)
      scales[c].addend = bias.values<float>()[c] / y_scale;
  }
  return scales;
}

Row& declare_quantized_conv(Row& row) {
  return bounds_attributes(convolution_attributes(row.since(1)))
      .in("x", kQuantized8)
      .in("x_scale", DType::f32)
      .in("x_zero_point", like(0), Arity::optional)
      .in("w", kQuantized8)
      .in("w_scale", DType::f32)
      .in("w_zero_point", like(3), Arity::optional)
      .in("y_scale", DType::f32)
      .in("y_zero_point", kQuantized8, Arity::optional)
      .in("B", {DType::i32, DType::f32}, Arity::optional)
      .out("y", kQuantized8);
}

namespace {

// x is plain where it is not made of whole blocks.
IntegerConv blocked_conv_of(const Op& op) {
  const Shape& x = op.in_shape(0);
  return integer_conv_of(op, kQuantizedConv, x.size() == 5 ? plain_shape(x) : x);
}

// Why the shape, or what is known of the inputs, is not for the kernel.
std::string refusal(const Op& op, const IntegerConv& conv) {
  if (conv.windows.size() != 2) return "not two spatial axes";
  if (std::string reason = blocked_shape_refusal(conv); !reason.empty()) return reason;
  for (int i = 1; i < op.inputs(); ++i) {
    if (op.has_in(i) && !op.is_constant(i)) return "weights or parameters are computed";
  }
  return "";
}

void infer_blocked(Op& op) {
  const IntegerConv conv = blocked_conv_of(op);
  std::string reason = refusal(op, conv);
  if ((op.in_rank(0) == 5) != (conv.in_channels % kBlock == 0)) reason = "x in another layout";
  if (!reason.empty()) {
    throw invalid("the convolution does not fit the blocked layout")
        .expected("whole blocks of 8 channels, constant weights and parameters")
        .got(reason);
  }
  set_quantized_result(op, conv, blocked_shape(conv.shape()));
}

Choice blocked(Op& op) {
  if (!bytes_pay()) return refuse("this target has no kernels for products of bytes");
  const IntegerConv conv = blocked_conv_of(op);
  const kernels::ConvShape shape = banded_shape(op, blocked_kernel_shape(conv));
  kernels::BlockedConvI8 args;
  args.x_signed = op.in(0).dtype == DType::i8;
  args.x_zero_point = zero_point_at(ints_of(op.constant(2)), 0);
  args.y_signed = op.out(0).dtype == DType::i8;
  args.y_zero_point = zero_point_at(ints_of(op.constant(7)), 0);
  const IntRange bounds = bounds_of(op, op.out(0).dtype);
  args.low = bounds.least;
  args.high = bounds.most;
  std::vector<kernels::ChannelScale> scales = channel_scales(
      [&](int i) { return op.has_in(i) ? *op.constant(i) : Tensor(); }, conv.out_channels);
  const PackedBytes packed = packed_bytes(op, conv, shape);
  take_zero_point(packed, args.x_zero_point, args.x_signed, scales);
  op.set_scratch(
      static_cast<std::int64_t>(kernels::blocked_i8_scratch_bytes(shape, args.x_signed)));
  return [=, ordered = kernels::ordered_scales(shape, scales)](Run& run) {
    kernels::BlockedConvI8 all = args;
    all.x = run.in<std::uint8_t>(0);
    all.packed_weights = packed.weights;
    all.scales = &ordered;
    all.y = run.out<std::uint8_t>(0);
    kernels::blocked_conv_i8(shape, all, run.scratch(), run.pool());
  };
}

}  // namespace

std::string quantized_stays_plain(const Op& op) {
  if (op.in_rank(0) != 4) return "not two spatial axes";
  if (std::string reason = refusal(op, integer_conv_of(op, kQuantizedConv)); !reason.empty())
    return reason;
  if (std::string reason = zero_points_refusal(op, kQuantizedConv); !reason.empty()) return reason;
  if (!bytes_pay()) return "this target has no kernels for products of bytes";
  return "";
}

std::string quantized_stays_float(const Op& op) {
  if (std::string reason = quantized_stays_plain(op); !reason.empty()) return reason;
  if (kernels::multiplies_quads()) return "";
  // Sums of bytes are then up to twice as quick as direct ones of float32; Winograd is quicker, but
  // for few tiles.
  const kernels::ConvShape shape = blocked_kernel_shape(integer_conv_of(op, kQuantizedConv));
  const bool few = shape.out_h * shape.out_w < 100;
  return few || !blocked_winograd_refusal(shape).empty() ? "" : "Winograd in float32 is quicker";
}

double quantized_gain(const Op& op) {
  const IntegerConv conv = integer_conv_of(op, kQuantizedConv);
  // GF/s of the plain depthwise kernel, and of that in blocks. Others are in blocks either way, but
  // for sums that become rows of their channels: a nanosecond each.
  if (conv.groups > 1)
    return 2e-3 * static_cast<double>(conv.multiply_adds()) * (1 / 20.0 - 1 / 60.0);
  return 1e-3 * static_cast<double>(element_count(conv.shape()));
}

}  // namespace mezzo::ops

MEZZO_FAMILY(quantized_conv) {
  declare_quantized_conv(op("BlockedQuantizedConv", "mezzo"))
      .infer(infer_blocked)
      .batched({0})
      .banded([](const Op& op) { return row_window(blocked_conv_of(op).windows); })
      .simd_kernel("bytes", blocked)
      .multiply_adds([](const Op& op) { return blocked_conv_of(op).multiply_adds(); });
}
