#include "ops/convolution.h"

#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/shape.h"
#include "kernels/axis_winograd_f32.h"
#include "kernels/blocked_f32.h"
#include "kernels/phased_winograd_f32.h"
#include "kernels/target.h"
#include "kernels/winograd_f32.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Activation activation_of(const Op& op) {
  if (!op.declares("activation") || op.attr_string("activation").empty()) return {};
  Activation activation = Activation::named(op.attr_string("activation"));
  const std::vector<float> params = op.attr_floats("activation_params");
  const std::size_t wanted = std::size_t{activation.has_alpha()} + activation.has_beta();
  if (!params.empty() && params.size() != wanted) {
    throw invalid("the activation takes another number of parameters")
        .at("attribute 'activation_params'")
        .expected(std::to_string(wanted))
        .got(std::to_string(params.size()));
  }
  if (!params.empty()) activation.alpha = params[0];
  if (params.size() > 1) activation.beta = params[1];
  return activation;
}

}  // namespace

Convolution convolution_of(const Op& op, const Shape& x) {
  const Shape& w = op.in_shape(1);
  const std::int64_t groups = op.attr_int("group");
  if (w.size() != x.size() || x.size() < 3 || groups < 1 || w[0] % groups != 0 ||
      x[1] % groups != 0 || w[1] != x[1] / groups) {
    throw invalid("the weights do not fit the input")
        .expected("[M, C / group, k1, ...] for X [N, C, D1, ...], group dividing C and M")
        .got("W " + to_string(w) + ", X " + to_string(x) + ", group " + std::to_string(groups));
  }
  const std::vector<std::int64_t> kernel = kernel_of_weights(op);
  if (op.has_in(2) && op.in_shape(2) != Shape{w[0]}) {
    throw invalid("the bias does not fit the weights")
        .expected("[" + std::to_string(w[0]) + "]")
        .got(to_string(op.in_shape(2)));
  }
  return {x[0],
          x[1],
          w[0],
          groups,
          windows_of(op, x, kernel, true),
          activation_of(op),
          op.whole_batch()};
}

std::int64_t multiply_adds_of(const Convolution& conv) {
  return checked_mul(conv.batch * conv.out_c * out_size(conv.windows),
                     conv.group_in() * kernel_size(conv.windows));
}

kernels::ConvShape conv_shape(const Convolution& conv) {
  const WindowAxis one;
  const bool two = conv.windows.size() == 2;
  const WindowAxis &first = two ? conv.windows[0] : one, &last = conv.windows.back();
  // A last axis of one element is as good as none: the kernels want long rows.
  const bool column = last.in == 1 && last.out == 1 && last.kernel == 1 && last.pad_begin == 0;
  const WindowAxis &h = column ? last : first, &w = column ? first : last;
  return {.batch = conv.batch,
          .in_c = conv.in_c,
          .in_h = h.in,
          .in_w = w.in,
          .out_c = conv.out_c,
          .out_h = h.out,
          .out_w = w.out,
          .k_h = h.kernel,
          .k_w = w.kernel,
          .stride_h = h.stride,
          .stride_w = w.stride,
          .pad_top = h.pad_begin,
          .pad_left = w.pad_begin,
          .dilation_h = h.dilation,
          .dilation_w = w.dilation,
          .groups = conv.groups,
          .whole_batch = conv.whole_batch};
}

namespace {

// Why none of them is to; empty where one may.
std::string all_winograd_refusal() {
  const char* wanted = std::getenv("MEZZO_WINOGRAD");
  return wanted != nullptr && std::string_view(wanted) == "0" ? "MEZZO_WINOGRAD=0" : "";
}

// Why neither of those for 3x3 is to.
std::string any_winograd_refusal(const kernels::ConvShape& shape) {
  const std::string refusal = all_winograd_refusal();
  if (!refusal.empty()) return refusal;
  return kernels::blocked_winograd_applies(shape) ? "" : "not 3x3 with steps of 1, or depthwise";
}

constexpr char kTooLittle[] = "too few channels or pixels to pay";

}  // namespace

std::string blocked_winograd_refusal(const kernels::ConvShape& shape) {
  const std::string refusal = any_winograd_refusal(shape);
  return refusal.empty() && !kernels::blocked_winograd_pays(shape) ? kTooLittle : refusal;
}

std::string winograd_refusal(const kernels::ConvShape& shape) {
  const std::string refusal = any_winograd_refusal(shape);
  if (!refusal.empty()) return refusal;
  if (!kernels::winograd_applies(shape)) return "dilated, and not in blocks";
  return kernels::winograd_pays(shape) ? "" : kTooLittle;
}

std::string phased_winograd_refusal(const kernels::ConvShape& shape) {
  const std::string refusal = all_winograd_refusal();
  if (!refusal.empty()) return refusal;
  if (!kernels::phased_winograd_applies(shape)) return "not a first layer of 7x7 with steps of 2";
  return kernels::phased_winograd_pays(shape) ? "" : kTooLittle;
}

std::string axis_winograd_refusal(const kernels::ConvShape& shape) {
  const std::string refusal = all_winograd_refusal();
  if (!refusal.empty()) return refusal;
  if (!kernels::axis_winograd_applies(shape)) return "not along one axis with steps of 1";
  return kernels::axis_winograd_pays(shape) ? "" : kTooLittle;
}

Finish finish_of(const Activation& activation) {
  switch (activation.kind) {
    case Activation::Kind::relu:
      return {0, kInfinity, {}};
    case Activation::Kind::clip:
      return {activation.alpha, activation.beta, {}};
    default:
      return {-kInfinity, kInfinity, activation};
  }
}

kernels::ConvArgs conv_args(const Run& run, const float* weights, const Finish& finish) {
  return {.x = run.in<float>(0),
          .packed_weights = weights,
          .bias = run.in<float>(2),
          .add = run.in<float>(3),
          .y = run.out<float>(0),
          .min = finish.min,
          .max = finish.max,
          .stages = {.scale = run.in<float>(4),
                     .unscale = run.in<float>(5),
                     .shift = run.in<float>(6),
                     .conv = run.out<float>(1),
                     .scaled = run.out<float>(2),
                     .sum = run.out<float>(3),
                     .result = run.out<float>(4),
                     .copy = run.out<float>(5)}};
}

std::string packing_key(const kernels::ConvShape& s) {
  std::string key = "conv " + std::string(kernels::name_of(kernels::active_target()));
  for (const std::int64_t field :
       {s.in_c, s.in_h, s.in_w, s.out_c, s.out_h, s.out_w, s.k_h, s.k_w, s.stride_h, s.stride_w,
        s.pad_top, s.pad_left, s.dilation_h, s.dilation_w, s.groups}) {
    key += ' ' + std::to_string(field);
  }
  return key;
}

ThreadPool packing_pool(const Op& op, std::size_t bytes) {
  return ThreadPool(bytes >= (std::size_t{1} << 20) ? op.threads() : 1);
}

Tensor packed_weights(Op& op, const std::string& key, const kernels::ConvShape& shape,
                      std::size_t bytes, Pack pack) {
  return op.packed(1, key, [&](const Tensor& weights) {
    Tensor result = Tensor::uninitialized(DType::f32, {static_cast<std::int64_t>((bytes + 3) / 4)});
    ThreadPool pool = packing_pool(op, bytes);
    pack(shape, weights.values<float>().data(), static_cast<float*>(result.mutable_data()), pool);
    return result;
  });
}

Tensor packed_winograd_weights(Op& op, const kernels::ConvShape& shape) {
  const std::string key = "winograd " + std::string(kernels::name_of(kernels::active_target())) +
                          ' ' + std::to_string(shape.groups);
  return packed_weights(op, key, shape, kernels::winograd_weights_bytes(shape),
                        kernels::pack_winograd_weights);
}

Tensor packed_blocked_winograd_weights(Op& op, const kernels::ConvShape& shape) {
  const kernels::WinogradTiles tiles = kernels::blocked_winograd_tiles(shape);
  if (!tiles.ahead) return packed_winograd_weights(op, shape);
  const std::string key = "winograd ahead " + std::to_string(tiles.rows) + ' ' +
                          std::string(kernels::name_of(kernels::active_target())) + ' ' +
                          std::to_string(shape.groups);
  return packed_weights(op, key, shape, kernels::blocked_winograd_weights_bytes(shape),
                        kernels::pack_blocked_winograd_weights);
}

Tensor packed_phased_winograd_weights(Op& op, const kernels::ConvShape& shape) {
  const std::string key =
      "phased winograd " + std::string(kernels::name_of(kernels::active_target()));
  return packed_weights(op, key, shape, kernels::phased_winograd_weights_bytes(shape),
                        kernels::pack_phased_winograd_weights);
}

Tensor packed_axis_winograd_weights(Op& op, const kernels::ConvShape& shape) {
  const std::string key =
      "axis winograd " + std::string(kernels::name_of(kernels::active_target()));
  return packed_weights(op, key, shape, kernels::axis_winograd_weights_bytes(shape),
                        kernels::pack_axis_winograd_weights);
}

void apply_rest(const Finish& finish, const kernels::ConvShape& shape, Run& run) {
  apply_simd(finish.rest, run.out<float>(0), shape.batch * shape.out_c * shape.out_h * shape.out_w,
             run.pool());
}

Choice winograd_by(const Winograd& kernel, Op& op, const Convolution& conv,
                   const kernels::ConvShape& shape, const std::string& refusal) {
  if (conv.empty()) return refuse("an empty tensor");
  if (!refusal.empty()) return refuse(refusal);
  if (!op.is_constant(1)) return refuse("the weights are computed");
  const Tensor packed = kernel.packed(op, shape);
  return [run_kernel = kernel.run, shape, packed, finish = finish_of(conv.activation)](Run& run) {
    run_kernel(shape, conv_args(run, static_cast<const float*>(packed.data()), finish), run.pool());
    apply_rest(finish, shape, run);
  };
}

Row& declare_fused_conv(Row& row) {
  using Kind = FormalAttribute::Kind;
  return convolution_attributes(row)
      .attr("activation", Kind::string)
      .attr("activation_params", Kind::floats)
      .in("X", DType::f32)
      .in("W", DType::f32)
      .in("B", DType::f32, Arity::optional)
      .in("Z", DType::f32, Arity::optional)
      .out("Y", like(0))
      .batched({0, 3});
}

void set_result(Op& op, Shape y) {
  if (op.has_in(3) && op.in_shape(3) != y) {
    throw invalid("the summand Z does not have the shape of the result")
        .expected(to_string(y))
        .got(to_string(op.in_shape(3)));
  }
  op.set_out(0, op.in(0).dtype, std::move(y));
}

}  // namespace mezzo::ops
