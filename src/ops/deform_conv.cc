// DeformConv (ai.onnx 19, 22): a convolution whose taps are displaced by `offset` and weighted by
// `mask`. Papers: Dai et al., "Deformable Convolutional Networks", 2017; Zhu et al., v2, 2018.

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {
namespace {

struct Deformable {
  std::int64_t batch, in_c, out_c, groups, offset_groups;
  Windows windows;
};

Deformable deformable_of(const Op& op) {
  const Shape &x = op.in_shape(0), &w = op.in_shape(1);
  const std::int64_t groups = op.attr_int("group"), offset_groups = op.attr_int("offset_group");
  if (w.size() != x.size() || x.size() < 3 || groups < 1 || offset_groups < 1 ||
      w[0] % groups != 0 || x[1] % groups != 0 || w[1] != x[1] / groups ||
      x[1] % offset_groups != 0) {
    throw invalid("the weights do not fit the input")
        .expected("[M, C / group, k1, ...] for X [N, C, D1, ...], both groups dividing C")
        .got("W " + to_string(w) + ", X " + to_string(x) + ", group " + std::to_string(groups) +
             ", offset_group " + std::to_string(offset_groups));
  }
  const std::vector<std::int64_t> kernel = kernel_of_weights(op);
  Deformable conv{x[0], x[1], w[0], groups, offset_groups, windows_of(op, x, kernel, false)};
  const std::int64_t taps = checked_mul(offset_groups, kernel_size(conv.windows));
  const auto axes = static_cast<std::int64_t>(conv.windows.size());
  expect_shape(op, 2, shape_of(x[0], checked_mul(taps, axes), conv.windows));
  expect_shape(op, 3, {w[0]});
  expect_shape(op, 4, shape_of(x[0], taps, conv.windows));
  return conv;
}

void infer(Op& op) {
  const Deformable conv = deformable_of(op);
  op.set_out(0, op.in(0).dtype, shape_of(conv.batch, conv.out_c, conv.windows));
}

std::int64_t multiply_adds(const Op& op) {
  const Deformable conv = deformable_of(op);
  return checked_mul(conv.batch * conv.out_c * out_size(conv.windows),
                     conv.in_c / conv.groups * kernel_size(conv.windows));
}

// An element of a plane and its share in an interpolated value.
struct Share {
  std::int64_t at;
  double weight;
};

// Multilinear interpolation at `position`; what lies outside counts as zero.
void shares_at(const Windows& windows, const std::array<double, kMaxSpatialAxes>& position,
               std::vector<Share>& shares) {
  shares.assign(1, {0, 1.0});
  std::vector<Share> next;
  for (std::size_t d = 0; d < windows.size(); ++d) {
    const auto in = static_cast<double>(windows[d].in);
    next.clear();
    if (position[d] > -1 && position[d] < in) {
      const double base = std::floor(position[d]), t = position[d] - base;
      const auto first = static_cast<std::int64_t>(base);
      for (const Share& share : shares) {
        if (first >= 0) next.push_back({share.at * windows[d].in + first, share.weight * (1 - t)});
        if (first + 1 < windows[d].in) {
          next.push_back({share.at * windows[d].in + first + 1, share.weight * t});
        }
      }
    }
    shares.swap(next);
  }
}

// The input as the taps of one output position see it: column [channel][tap].
template <class T>
void fill_column(const Deformable& conv, const Run& run, std::int64_t image, std::int64_t o,
                 std::vector<Share>& shares, std::vector<double>& column) {
  const std::int64_t taps = kernel_size(conv.windows), plane = out_size(conv.windows);
  const std::int64_t in_plane = in_size(conv.windows), channels = conv.in_c / conv.offset_groups;
  const std::size_t axes = conv.windows.size();
  const Position out = output_position(conv.windows, static_cast<int>(axes), o);
  const T *offset = run.in<T>(2), *mask = run.in<T>(4);
  for (std::int64_t k = 0; k < conv.offset_groups * taps; ++k) {
    std::array<double, kMaxSpatialAxes> position{};
    std::int64_t rest = k % taps;
    const std::int64_t row = image * conv.offset_groups * taps + k;
    for (std::size_t d = axes; d-- > 0; rest /= conv.windows[d].kernel) {
      const WindowAxis& axis = conv.windows[d];
      const auto component = row * static_cast<std::int64_t>(axes) + static_cast<std::int64_t>(d);
      position[d] = static_cast<double>(axis.start(out[d]) + rest % axis.kernel * axis.dilation) +
                    static_cast<double>(offset[component * plane + o]);
    }
    shares_at(conv.windows, position, shares);
    const double factor = mask != nullptr ? static_cast<double>(mask[row * plane + o]) : 1.0;
    const std::int64_t first = k / taps * channels;
    for (std::int64_t c = first; c < first + channels; ++c) {
      const T* x = run.in<T>(0) + (image * conv.in_c + c) * in_plane;
      double sum = 0;
      for (const Share& share : shares) sum += share.weight * static_cast<double>(x[share.at]);
      column[static_cast<std::size_t>(c * taps + k % taps)] = sum * factor;
    }
  }
}

template <class T>
void run_as(const Deformable& conv, Run& run) {
  const std::int64_t taps = kernel_size(conv.windows), plane = out_size(conv.windows);
  if (plane == 0) return;
  const std::int64_t filter = conv.in_c / conv.groups * taps;
  const std::int64_t group_out = conv.out_c / conv.groups;
  const T* bias = run.in<T>(3);
  run.pool().parallel_for(conv.batch * plane, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<Share> shares;
    std::vector<double> column(static_cast<std::size_t>(conv.in_c * taps));
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / plane, o = i % plane;
      fill_column<T>(conv, run, image, o, shares, column);
      for (std::int64_t m = 0; m < conv.out_c; ++m) {
        const double* from = column.data() + m / group_out * filter;
        const T* w = run.in<T>(1) + m * filter;
        double sum = bias != nullptr ? static_cast<double>(bias[m]) : 0.0;
        for (std::int64_t k = 0; k < filter; ++k) sum += from[k] * static_cast<double>(w[k]);
        run.out<T>(0)[(image * conv.out_c + m) * plane + o] = static_cast<T>(sum);
      }
    }
  });
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [conv = deformable_of(op)](Run& run) { run_as<T>(conv, run); };
  });
  return choice;
}

void declare(Row& row, TypeSet types) {
  using Kind = FormalAttribute::Kind;
  row.attr("dilations", Kind::ints)
      .attr("group", 1)
      .attr("kernel_shape", Kind::ints)
      .attr("offset_group", 1)
      .attr("pads", Kind::ints)
      .attr("strides", Kind::ints)
      .in("X", types)
      .in("W", like(0))
      .in("offset", like(0))
      .in("B", like(0), Arity::optional)
      .in("mask", like(0), Arity::optional)
      .out("Y", like(0))
      .infer(infer)
      .kernel("reference", reference)
      .multiply_adds(multiply_adds);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(deform_conv) {
  declare(op("DeformConv").since(19), kFloats);
  declare(op("DeformConv").since(22), kFloatsBf16);
}
