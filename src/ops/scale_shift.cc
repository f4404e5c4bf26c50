// What is done to each channel of images with numbers of its own, as operators of the domain
// "mezzo". ScaleShift and BlockedScaleShift, which the pass `scale_shift` puts where a
// BatchNormalization of inference has no convolution to be folded into (and `layout`, in the
// blocked layout): y = min(max(x * Scale + Shift, min), max). BlockedChannelMul and
// BlockedChannelAdd, with numbers of each image (BlockedSharedMul, BlockedSharedAdd: of all): a Mul
// or Add in the blocked layout as of squeeze-and-excitation (Hu et al., 2018). BlockedPRelu, with
// the slopes of a PRelu.

#include <algorithm>
#include <limits>

#include "base/shape.h"
#include "kernels/scale_shift_f32.h"
#include "ops/blocked_image.h"
#include "ops/element_runs.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::int64_t lanes_of(bool blocked) { return blocked ? kBlock : 1; }

void infer(Op& op, bool blocked) {
  require_rank(op, 0, 2);
  const Shape& x = op.in_shape(0);
  const Shape channels = {blocked ? plain_shape(x)[1] : x[1]};
  for (const int i : {1, 2}) {
    if (op.in_shape(i) != channels) {
      throw invalid("Scale or Shift does not fit the channels of X")
          .at("input " + std::to_string(i))
          .expected(to_string(channels))
          .got(to_string(op.in_shape(i)));
    }
  }
  op.set_out(0, op.in(0).dtype, x);
}

// All but the pointers.
kernels::ScaleShift description(const Op& op, bool blocked) {
  const PlaneRuns runs(op);
  const Shape& x = op.in_shape(0);
  kernels::ScaleShift s;
  s.planes = x[0] * x[1];
  s.image_planes = std::max<std::int64_t>(1, x[1]);
  s.blocked = blocked;
  s.n = runs.n;
  s.x_step = runs.x_step;
  s.y_step = runs.y_step;
  if (op.declares("min")) {
    s.min = op.attr_float("min");
    s.max = op.attr_float("max");
  }
  return s;
}

// Where the numbers are, for a run.
using Numbers = void (*)(const Run& run, kernels::ScaleShift& s);

void both(const Run& run, kernels::ScaleShift& s) {
  s.scale = run.in<float>(1);
  s.shift = run.in<float>(2);
}
void factors(const Run& run, kernels::ScaleShift& s) { s.scale = run.in<float>(1); }
void terms(const Run& run, kernels::ScaleShift& s) { s.shift = run.in<float>(1); }

Choice simd(const kernels::ScaleShift& of, Numbers numbers) {
  return [of, numbers](Run& run) {
    kernels::ScaleShift s = of;
    numbers(run, s);
    kernels::scale_shift(s, run.in<float>(0), run.out<float>(0), run.pool());
  };
}

Choice reference(Op& op, bool blocked) {
  return [of = description(op, blocked), lanes = lanes_of(blocked)](Run& run) {
    kernels::ScaleShift s = of;
    both(run, s);
    for (std::int64_t plane = 0; plane < s.planes; ++plane) {
      const float* x = run.in<float>(0) + plane * s.x_step;
      float* y = run.out<float>(0) + plane * s.y_step;
      for (std::int64_t i = 0; i < s.n; ++i) {
        const std::int64_t c = plane % s.image_planes * lanes + i % lanes;
        y[i] = std::min(std::max(x[i] * s.scale[c] + s.shift[c], s.min), s.max);
      }
    }
  };
}

void declare(Row& row, bool blocked) {
  row.since(1)
      .attr("min", -kInfinity)
      .attr("max", kInfinity)
      .in("X", DType::f32)
      .in("Scale", DType::f32)
      .in("Shift", DType::f32)
      .out("Y", like(0))
      .infer([=](Op& op) { infer(op, blocked); })
      .in_place(0)
      .batched({0})
      .banded(rows_of_elements)
      .simd_kernel("simd f32", [=](Op& op) { return simd(description(op, blocked), both); })
      .kernel("reference", [=](Op& op) { return reference(op, blocked); });
}

void infer_by_channel(Op& op, bool shared) {
  const Shape& x = op.in_shape(0);
  const Shape plain = plain_shape(x), numbers = {shared ? 1 : plain[0], plain[1], 1, 1};
  const auto fits = [&](const Shape& expected) {
    Shape given = op.in_shape(1);
    if (shared && given.size() < expected.size())
      given.insert(given.begin(), expected.size() - given.size(), 1);
    return given == expected;
  };
  if (!fits(numbers) && !fits(without_rows(numbers))) {
    throw invalid("Numbers does not fit the channels of X")
        .expected(to_string(numbers))
        .got(to_string(op.in_shape(1)));
  }
  op.set_out(0, op.in(0).dtype, x);
}

// `shared`: by all images.
void declare_by_channel(Row& row, Numbers numbers, bool shared) {
  row.since(1)
      .in("X", DType::f32)
      .in("Numbers", DType::f32)
      .out("Y", like(0))
      .infer([=](Op& op) { infer_by_channel(op, shared); })
      .in_place(0)
      .batched(shared ? std::initializer_list<int>{0} : std::initializer_list<int>{0, 1})
      .banded(rows_of_elements)
      .simd_kernel("blocked", [=](Op& op) {
        kernels::ScaleShift s = description(op, true);
        s.image_step = shared ? 0 : plain_shape(op.in_shape(0))[1];
        return simd(s, numbers);
      });
}

void infer_slopes(Op& op) {
  const Shape& x = op.in_shape(0);
  const std::int64_t channels = plain_shape(x)[1];
  if (element_count(op.in_shape(1)) != channels) {
    throw invalid("Slope does not fit the channels of X")
        .expected(std::to_string(channels) + " elements")
        .got(to_string(op.in_shape(1)));
  }
  op.set_out(0, op.in(0).dtype, x);
}

Choice prelu(Op& op) {
  return [of = description(op, true)](Run& run) {
    kernels::ScaleShift s = of;
    factors(run, s);
    kernels::scale_negative(s, run.in<float>(0), run.out<float>(0), run.pool());
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(scale_shift) {
  declare(op("ScaleShift", "mezzo"), false);
  declare(op("BlockedScaleShift", "mezzo"), true);
  declare_by_channel(op("BlockedChannelMul", "mezzo"), factors, false);
  declare_by_channel(op("BlockedChannelAdd", "mezzo"), terms, false);
  declare_by_channel(op("BlockedSharedMul", "mezzo"), factors, true);
  declare_by_channel(op("BlockedSharedAdd", "mezzo"), terms, true);
  op("BlockedPRelu", "mezzo")
      .since(1)
      .in("X", DType::f32)
      .in("Slope", DType::f32)
      .out("Y", like(0))
      .infer(infer_slopes)
      .in_place(0)
      .batched({0})
      .banded(rows_of_elements)
      .simd_kernel("blocked", prelu);
}
