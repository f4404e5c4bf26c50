// BlockedFewConv (mezzo 1): a Conv or FusedConv of an x in blocks to so few channels that these are
// none. Y is plain.

#include <algorithm>

#include "kernels/blocked_few_f32.h"
#include "kernels/target.h"
#include "ops/blocked.h"
#include "ops/blocked_image.h"
#include "ops/convolution.h"
#include "ops/op.h"

namespace mezzo::ops {
namespace {

Convolution few_convolution(const Op& op) {
  const auto axes = static_cast<std::int64_t>(op.in_shape(1).size()) - 2;
  Convolution conv = convolution_of(op, plain_shape(op.in_shape(0), axes));
  if (conv.windows.size() > 2 || !kernels::blocked_few_applies(conv_shape(conv))) {
    throw invalid("the convolution does not give few channels")
        .expected("one group, at most 12 output channels that are no whole blocks of 8")
        .got("X " + to_string(op.in_shape(0)) + ", W " + to_string(op.in_shape(1)));
  }
  return conv;
}

void infer(Op& op) {
  const Convolution conv = few_convolution(op);
  set_result(op, shape_of(conv.batch, conv.out_c, conv.windows));
}

std::optional<RowWindow> rows(const Op& op) {
  const Convolution conv = few_convolution(op);
  // What the kernel leaves of an activation is done to the whole result.
  if (finish_of(conv.activation).rest.kind != Activation::Kind::identity) return std::nullopt;
  return row_window(conv.windows);
}

Choice direct(Op& op) {
  if (!op.is_constant(1)) return refuse("the weights are computed");
  const Convolution conv = few_convolution(op);
  if (conv.empty()) return refuse("an empty tensor");
  kernels::ConvShape shape = banded_shape(op, conv_shape(conv));
  if (op.band()) shape.add_rows = op.band()->add_rows;
  const Tensor packed =
      packed_weights(op, "few channels", shape, kernels::blocked_few_weights_bytes(shape),
                     kernels::pack_blocked_few_weights);
  return [shape, packed, finish = finish_of(conv.activation)](Run& run) {
    const auto* weights = static_cast<const float*>(packed.data());
    kernels::blocked_few_conv(shape, conv_args(run, weights, finish), run.pool());
    apply_rest(finish, shape, run);
  };
}

}  // namespace

std::optional<double> few_gain(const Op& op) {
  if (!kernels::simd_enabled() || !kernels::blocked_layout_pays()) return std::nullopt;
  if (!can_be_blocked(op.in(0)) || !op.is_constant(1)) return std::nullopt;
  const Convolution conv = convolution_of(op, op.in_shape(0));
  if (conv.empty() || conv.windows.size() > 2) return std::nullopt;
  const kernels::ConvShape shape = conv_shape(conv);
  if (!kernels::blocked_few_applies(shape)) return std::nullopt;
  // Of one pixel few products are summed up: that pays for the fewest channels alone.
  if (shape.k_h * shape.k_w == 1 && conv.out_c > 3) return std::nullopt;
  if (winograd_refusal(shape).empty()) return std::nullopt;
  // GF/s, as for blocked_gain. The plain kernel fills its tiles with a few channels at best.
  const double plain = std::min(45.0, 4.5 * static_cast<double>(conv.out_c)),
               few = conv.out_c == 1 ? 24 : 42;
  return 2e-3 * static_cast<double>(multiply_adds_of(conv)) * (1 / plain - 1 / few);
}

}  // namespace mezzo::ops

MEZZO_FAMILY(blocked_few_conv) {
  declare_fused_conv(op("BlockedFewConv", "mezzo").since(1))
      .infer(infer)
      .banded(rows)
      .simd_kernel("few channels", direct)
      .multiply_adds([](const Op& op) { return multiply_adds_of(few_convolution(op)); });
}
