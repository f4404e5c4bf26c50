// BlockedConv, BlockedStagedConv, ToBlocked, FromBlocked (mezzo 1): see blocked.h.

#include "ops/blocked.h"

#include <utility>

#include "base/shape.h"
#include "kernels/axis_winograd_f32.h"
#include "kernels/blocked_f32.h"
#include "kernels/blocked_i8.h"
#include "kernels/conv_bf16x3.h"
#include "kernels/conv_taps.h"
#include "kernels/phased_winograd_f32.h"
#include "kernels/target.h"
#include "kernels/winograd_f32.h"
#include "ops/blocked_image.h"
#include "ops/convolution.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// A BlockedConv's x is plain where it is not made of whole blocks.
Convolution blocked_convolution(const Op& op) {
  const Shape& x = op.in_shape(0);
  const auto axes = static_cast<std::int64_t>(op.in_shape(1).size()) - 2;
  Convolution conv = convolution_of(op, x.size() == 5 ? plain_shape(x, axes) : x);
  if (conv.windows.size() > 2 || (x.size() == 5) != (conv.in_c % kBlock == 0) ||
      !kernels::blocked_conv_applies(conv_shape(conv))) {
    throw invalid("the convolution does not fit the blocked layout")
        .expected("whole blocks of 8 channels in each group, or groups of one; steps of 1 or 2")
        .got("X " + to_string(x) + ", W " + to_string(op.in_shape(1)));
  }
  return conv;
}

void infer_conv(Op& op) {
  const Convolution conv = blocked_convolution(op);
  const Shape y = shape_of(conv.batch, conv.out_c, conv.windows);
  set_result(op, blocked_shape(y));
  for (const int i : {4, 5, 6}) {
    if (op.has_in(i) && op.in_shape(i) != Shape{conv.out_c}) {
      throw invalid("Scale, Unscale or Shift does not fit the weights")
          .at("input " + std::to_string(i))
          .expected(to_string(Shape{conv.out_c}))
          .got(to_string(op.in_shape(i)));
    }
  }
  for (int i = 1; i < op.outputs(); ++i) op.set_out(i, DType::f32, y);
}

kernels::ConvShape banded_conv_shape(const Op& op, const Convolution& conv) {
  kernels::ConvShape shape = banded_shape(op, conv_shape(conv));
  if (op.band()) {
    shape.add_rows = op.band()->add_rows;
    shape.stage_rows = conv.windows[0].out;
  }
  return shape;
}

std::optional<RowWindow> rows_of_conv(const Op& op) {
  const Convolution conv = blocked_convolution(op);
  // What a kernel leaves of an activation is done to the whole result.
  if (finish_of(conv.activation).rest.kind != Activation::Kind::identity) return std::nullopt;
  std::optional<RowWindow> window = row_window(conv.windows);
  if (!window) return window;
  const kernels::ConvShape shape = conv_shape(conv);
  if (phased_winograd_refusal(shape).empty()) {
    window->unit = kernels::kPhasedWinogradRows;
  } else if (blocked_winograd_refusal(shape).empty() ||
             (shape.k_h > 1 && axis_winograd_refusal(shape).empty())) {
    window->unit = kernels::kWinogradRows * conv.windows[0].dilation;
  }
  return window;
}

// 3x3 convolutions with a quarter of the multiplications, first layers with a third of them, and
// windows along one axis with half of them.
Choice winograd(Op& op) {
  const Convolution conv = blocked_convolution(op);
  const kernels::ConvShape shape = conv_shape(conv), banded = banded_conv_shape(op, conv);
  if (kernels::phased_winograd_applies(shape)) {
    return winograd_by({kernels::phased_winograd_conv, packed_phased_winograd_weights}, op, conv,
                       banded, phased_winograd_refusal(shape));
  }
  if (kernels::axis_winograd_applies(shape)) {
    return winograd_by({kernels::axis_winograd_conv, packed_axis_winograd_weights}, op, conv,
                       banded, axis_winograd_refusal(shape));
  }
  const std::string refusal = blocked_winograd_refusal(shape);
  if (!kernels::blocked_conv_takes_blocked(shape) && refusal.empty()) return refuse("X is plain");
  return winograd_by({kernels::blocked_winograd_conv, packed_blocked_winograd_weights}, op, conv,
                     banded, refusal);
}

// By tiles of bfloat16, in parts that make up float32.
Choice amx(Op& op) {
  const std::string refusal = kernels::tiles_refusal();
  if (!refusal.empty()) return refuse(refusal);
  if (!op.is_constant(1)) return refuse("the weights are computed");
  const Convolution conv = blocked_convolution(op);
  if (conv.empty()) return refuse("an empty tensor");
  const kernels::ConvShape shape = banded_conv_shape(op, conv);
  if (!kernels::conv_bf16x3_pays(conv_shape(conv)))
    return refuse("too few channels or pixels to pay");
  if (!kernels::conv_bf16x3_applies(shape)) return refuse("in groups, or not whole blocks");
  const Tensor packed =
      packed_weights(op, "bf16x3", shape, kernels::conv_bf16x3_weights_bytes(shape),
                     kernels::pack_conv_bf16x3_weights);
  return [shape, packed, finish = finish_of(conv.activation)](Run& run) {
    const auto* weights = static_cast<const float*>(packed.data());
    kernels::conv_bf16x3(shape, conv_args(run, weights, finish), run.pool());
    apply_rest(finish, shape, run);
  };
}

Choice direct(Op& op) {
  if (!op.is_constant(1)) return refuse("the weights are computed");
  const Convolution conv = blocked_convolution(op);
  if (conv.empty()) return refuse("an empty tensor");
  const kernels::ConvShape shape = banded_conv_shape(op, conv);
  const std::string key = "blocked " + std::string(kernels::name_of(kernels::active_target())) +
                          " " + std::to_string(conv.groups) +
                          (kernels::taps_lie_apart(shape) ? " tap by tap" : "");
  const Tensor packed = packed_weights(op, key, shape, kernels::blocked_weights_bytes(shape),
                                       kernels::pack_blocked_weights);
  op.set_scratch(static_cast<std::int64_t>(kernels::blocked_scratch_bytes(shape)));
  return [shape, packed, finish = finish_of(conv.activation)](Run& run) {
    const auto* weights = static_cast<const float*>(packed.data());
    kernels::blocked_conv(shape, conv_args(run, weights, finish), run.scratch(), run.pool());
    apply_rest(finish, shape, run);
  };
}

// Whether the plain tensor is [N, H, W, C].
bool is_channels_last(const Op& op) { return op.attr_int("channels_last") != 0; }

Shape channels_last_shape(const Shape& s) { return {s[0], s[2], s[3], s[1]}; }

void infer_to_blocked(Op& op) {
  if (is_channels_last(op)) {
    Operand x = op.in(0);
    if (x.shape.size() == 4) x.shape = {x.shape[0], x.shape[3], x.shape[1], x.shape[2]};
    if (x.shape.size() != 4 || !can_be_blocked(x)) {
      throw invalid("the input cannot be in blocks")
          .expected("float32 [N, H, W, C], C a multiple of 8")
          .got(to_string(op.in_shape(0)));
    }
    return op.set_out(0, DType::f32, blocked_shape(x.shape));
  }
  if (!can_be_blocked(op.in(0)) && !bytes_can_be_blocked(op.in(0))) {
    throw invalid("the input cannot be in blocks")
        .expected("float32, int8 or uint8 [N, C, H, W], C a multiple of 8")
        .got(to_string(op.in_shape(0)));
  }
  op.set_out(0, op.in(0).dtype, blocked_shape(op.in_shape(0)));
}

void infer_from_blocked(Op& op) {
  if (is_channels_last(op)) {
    if (op.in(0).dtype != DType::f32) throw invalid("float32 is expected, channels being last");
    return op.set_out(0, DType::f32, channels_last_shape(plain_shape(op.in_shape(0))));
  }
  op.set_out(0, op.in(0).dtype, plain_shape(op.in_shape(0), op.attr_int("axes")));
}

Choice to_blocked(Op& op) {
  const Shape x = op.in_shape(0);
  if (element_count(x) == 0) return refuse("an empty tensor");
  if (is_channels_last(op)) {
    return [x](Run& run) {
      kernels::to_blocked_from_last(x[0], x[3], x[1] * x[2], run.in<float>(0), run.out<float>(0),
                                    run.pool());
    };
  }
  const std::int64_t pixels = product(x, 2, static_cast<int>(x.size()));
  if (op.in(0).dtype != DType::f32) {
    return [blocks = x[0] * x[1] / kBlock, pixels](Run& run) {
      kernels::to_blocked_i8(blocks, pixels, run.in<std::uint8_t>(0), run.out<std::uint8_t>(0),
                             run.pool());
    };
  }
  return [x, pixels](Run& run) {
    kernels::to_blocked(x[0], x[1], pixels, run.in<float>(0), run.out<float>(0), run.pool());
  };
}

Choice from_blocked(Op& op) {
  const Shape y = plain_shape(op.in_shape(0));
  if (element_count(y) == 0) return refuse("an empty tensor");
  if (is_channels_last(op)) {
    return [y](Run& run) {
      kernels::from_blocked_to_last(y[0], y[1], y[2] * y[3], run.in<float>(0), run.out<float>(0),
                                    run.pool());
    };
  }
  kernels::BlockedPlanes planes{y[0] * y[1] / kBlock, y[2] * y[3], y[2] * y[3], y[2] * y[3]};
  if (op.band()) {
    planes.pixels = (op.band()->end - op.band()->begin) * y[3];
    planes.x_plane = op.band()->in_rows * y[3];
  }
  if (op.in(0).dtype != DType::f32) {
    return [planes](Run& run) {
      kernels::from_blocked_i8(planes, run.in<std::uint8_t>(0), run.out<std::uint8_t>(0),
                               run.pool());
    };
  }
  return [planes, streamed = op.attr_int("streamed") != 0](Run& run) {
    kernels::from_blocked(planes, run.in<float>(0), run.out<float>(0), streamed, run.pool());
  };
}

Row& declare_conv(Row& row) {
  return declare_fused_conv(row)
      .infer(infer_conv)
      .banded(rows_of_conv)
      .simd_kernel("Winograd", winograd)
      .simd_kernel("AMX", amx)
      .simd_kernel("direct", direct)
      .multiply_adds([](const Op& op) { return multiply_adds_of(blocked_convolution(op)); });
}

}  // namespace

Shape blocked_shape(const Shape& plain) {
  const bool has_rows = plain.size() == 4;
  return {plain[0], plain[1] / kBlock, has_rows ? plain[2] : 1, plain.back(), kBlock};
}

namespace {

bool has_blocks(const Operand& tensor) {
  return tensor.known && tensor.shape[1] % kBlock == 0 && element_count(tensor.shape) > 0;
}

}  // namespace

bool can_be_blocked(const Operand& tensor) {
  const std::size_t rank = tensor.shape.size();
  return tensor.dtype == DType::f32 && (rank == 3 || rank == 4) && has_blocks(tensor);
}

bool bytes_can_be_blocked(const Operand& tensor) {
  return kQuantized8.contains(tensor.dtype) && tensor.shape.size() == 4 && has_blocks(tensor);
}

std::string stays_plain(const Op& op) {
  if (op.in(0).dtype != DType::f32) return "not float32";
  if (op.in_rank(0) > 4) return "more than two spatial axes";
  if (!op.is_constant(1)) return "the weights are computed";
  const Convolution conv = convolution_of(op, op.in_shape(0));
  if (conv.empty()) return "an empty tensor";
  const kernels::ConvShape shape = conv_shape(conv);
  if (!kernels::blocked_conv_applies(shape)) {
    return "not whole blocks of channels, or other groups or steps";
  }
  if (!kernels::simd_enabled() || !kernels::blocked_layout_pays())
    return "this CPU's vectors are of fewer than 8 elements";
  return "";
}

double blocked_gain(const Op& op) {
  const Convolution conv = convolution_of(op, op.in_shape(0));
  const kernels::ConvShape shape = conv_shape(conv);
  // GF/s of the direct kernels, the plain one and the blocked one. Winograd's work is counted in
  // what a large direct convolution does.
  const auto [plain, blocked] = [&]() -> std::pair<double, double> {
    if (conv.groups == conv.in_c && conv.groups > 1) {
      if (shape.k_w == 7 && shape.stride_w == 1) return {24, 70};
      return {28, 38};
    }
    if (phased_winograd_refusal(shape).empty()) return {53, 95};
    if (conv.in_c % kBlock != 0) return {53, 62};
    if (conv.groups > 1 && conv.group_in() < 16) return {40, 60};
    if (conv.group_in() <= 32) return {60, 75};
    return {78, 86};
  }();
  constexpr double kWinograd = 86;
  const auto work = static_cast<double>(multiply_adds_of(conv));
  const bool plain_winograd = winograd_refusal(shape).empty();
  const bool blocked_winograd =
      kernels::blocked_conv_takes_blocked(shape) && blocked_winograd_refusal(shape).empty();
  const bool axis_winograd = axis_winograd_refusal(shape).empty();
  const auto microseconds = [&](bool winograd, double winograd_work, double direct) {
    return 2e-3 * (winograd ? winograd_work / kWinograd : work / direct);
  };
  return microseconds(plain_winograd, kernels::winograd_work(shape), plain) -
         microseconds(blocked_winograd || axis_winograd,
                      axis_winograd ? kernels::axis_winograd_work(shape)
                                    : kernels::blocked_winograd_work(shape),
                      blocked / kernels::taken_taps(shape));
}

double reorder_cost(const Operand& plain) {
  constexpr double kBytesPerMicrosecond = 8e3;
  const double elements = static_cast<double>(element_count(plain.shape));
  return elements * 2 * bits_of(plain.dtype) / 8 / kBytesPerMicrosecond;
}

}  // namespace mezzo::ops

MEZZO_FAMILY(blocked) {
  constexpr const char* kDomain = "mezzo";
  declare_conv(op("BlockedConv", kDomain).since(1)).in_place(3);
  // The other outputs are the tensors on the way to Y, [N, C, H, W]. Without Shift, Conv is conv +
  // B, Sum is Conv + Z, and Result is Y, its activation. With Shift a norm lies between them: Conv
  // is conv * Unscale + B, Scaled is conv * Scale + Shift, and Sum is Scaled + Z. Copy is Result
  // once more.
  declare_conv(op("BlockedStagedConv", kDomain).since(1))
      .in("Scale", DType::f32, Arity::optional)
      .in("Unscale", DType::f32, Arity::optional)
      .in("Shift", DType::f32, Arity::optional)
      .out("Conv", like(0), Arity::optional)
      .out("Scaled", like(0), Arity::optional)
      .out("Sum", like(0), Arity::optional)
      .out("Result", like(0), Arity::optional)
      .out("Copy", like(0), Arity::optional);
  op("ToBlocked", kDomain)
      .since(1)
      .attr("channels_last", 0)  // of X
      .in("X", kQuantized8 | DType::f32)
      .out("Y", like(0))
      .infer(infer_to_blocked)
      .batched({0})
      .simd_kernel("blocked", to_blocked);
  op("FromBlocked", kDomain)
      .since(1)
      .attr("axes", 2)           // of Y: [N, C, H, W], or with 1, of an image of one row, [N, C, L]
      .attr("streamed", 0)       // nobody reads Y soon: it goes past the caches
      .attr("channels_last", 0)  // Y is [N, H, W, C]
      .in("X", kQuantized8 | DType::f32)
      .out("Y", like(0))
      .infer(infer_from_blocked)
      .batched({0})
      .banded([](const Op& op) -> std::optional<RowWindow> {
        if (is_channels_last(op)) return std::nullopt;
        return rows_of_image(op);
      })
      .simd_kernel("blocked", from_blocked);
}
