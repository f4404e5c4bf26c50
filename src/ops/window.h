// Window arithmetic of convolutions and pools: kernels, strides, dilations, paddings, output
// extents. Formulas: the documentation of ai.onnx Conv-11, MaxPool-22 and ConvTranspose-11.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace mezzo::ops {

/// One spatial axis. The window of output position `o` sees the input positions
/// o * stride - pad_begin + tap * dilation with 0 <= tap < kernel, as far as they exist.
struct WindowAxis {
  std::int64_t in = 1, out = 1;
  std::int64_t kernel = 1, stride = 1, dilation = 1;
  std::int64_t pad_begin = 0, pad_end = 0;

  /// Input positions from a window's first tap to its last, both included.
  std::int64_t extent() const { return (kernel - 1) * dilation + 1; }
  std::int64_t start(std::int64_t o) const { return o * stride - pad_begin; }
};
using Windows = std::vector<WindowAxis>;

/// More spatial axes than this are refused as unsupported.
inline constexpr int kMaxSpatialAxes = 8;

/// The kernel extents of a convolution: those of its weights (input 1, [., ., k1, ...]). Throws
/// Error(invalid_model) where kernel_shape says otherwise.
std::vector<std::int64_t> kernel_of_weights(const Op& op);

/// The windows that an operator's attributes kernel_shape (where `kernel` is empty), strides,
/// dilations, pads, auto_pad and ceil_mode, as far as its row declares them, give on the spatial
/// axes of `x` ([N, C, ...]). Throws Error(invalid_model) where they do not fit each other; crops
/// (negative pads) are let through only where `allow_crop`.
Windows windows_of(const Op& op, const Shape& x, std::vector<std::int64_t> kernel, bool allow_crop);

/// The windows of a transposed convolution of `x`, seen as those of the convolution that it is the
/// transpose of: `in` is the extent of Y, `out` that of X. Reads output_padding and output_shape as
/// well.
Windows transposed_windows_of(const Op& op, const Shape& x,
                              const std::vector<std::int64_t>& kernel);

/// The spatial extents of what was pooled to `x`, as far as kernel_shape, strides and pads tell:
/// MaxUnpool.
std::vector<std::int64_t> unpooled_extents(const Op& op, const Shape& x);

/// [N, C, out extents].
Shape shape_of(std::int64_t batch, std::int64_t channels, const Windows& windows);

/// The product of the extents of the axes [begin, end).
std::int64_t in_size(const Windows& windows);
std::int64_t out_size(const Windows& windows);
std::int64_t kernel_size(const Windows& windows);

/// A range of taps.
struct Taps {
  std::int64_t begin, end;
};

/// The taps of the window at `o` that lie inside the input.
inline Taps taps_inside(const WindowAxis& axis, std::int64_t o) {
  const std::int64_t start = axis.start(o);
  const std::int64_t begin = start >= 0 ? 0 : (-start + axis.dilation - 1) / axis.dilation;
  const std::int64_t end =
      start >= axis.in ? 0 : std::min(axis.kernel, (axis.in - 1 - start) / axis.dilation + 1);
  return {begin, std::max(begin, end)};
}

/// The output positions [begin, end) whose tap number `tap` lies inside the input.
inline Taps outputs_inside(const WindowAxis& axis, std::int64_t tap) {
  const std::int64_t shift = tap * axis.dilation - axis.pad_begin;  // input position of output 0
  const std::int64_t begin = shift >= 0 ? 0 : (-shift + axis.stride - 1) / axis.stride;
  const std::int64_t end =
      shift >= axis.in ? 0 : std::min(axis.out, (axis.in - 1 - shift) / axis.stride + 1);
  return {std::min(begin, std::max(begin, end)), std::max(begin, end)};
}

/// A position along several axes.
using Position = std::array<std::int64_t, kMaxSpatialAxes>;

/// Takes `at` apart along the first `axes` axes of `windows`, the output seen as row-major.
inline Position output_position(const Windows& windows, int axes, std::int64_t at) {
  Position position{};
  for (int d = axes - 1; d >= 0; --d) {
    const std::int64_t extent = windows[static_cast<std::size_t>(d)].out;
    position[static_cast<std::size_t>(d)] = at % extent;
    at /= extent;
  }
  return position;
}

/// The row-major input index, along the first `axes` axes, of tap `tap` (row-major as well) of the
/// window at `position`; -1 where that lies in the padding.
inline std::int64_t input_index(const Windows& windows, int axes, const Position& position,
                                std::int64_t tap) {
  std::int64_t index = 0, scale = 1;
  for (int d = axes - 1; d >= 0; --d) {
    const auto at = static_cast<std::size_t>(d);
    const WindowAxis& axis = windows[at];
    const std::int64_t in = axis.start(position[at]) + tap % axis.kernel * axis.dilation;
    if (in < 0 || in >= axis.in) return -1;
    tap /= axis.kernel;
    index += in * scale;
    scale *= axis.in;
  }
  return index;
}

/// Calls visit(input index, tap index) for each tap, along the first `axes` axes, of the window at
/// `position` that lies inside the input, in ascending order. The indices are row-major over those
/// axes; without axes it is called once with zeros.
template <class Visit>
void for_each_tap(const Windows& windows, int axes, const Position& position, Visit&& visit) {
  std::array<Taps, kMaxSpatialAxes> range;
  Position tap{};
  for (int d = 0; d < axes; ++d) {
    const auto at = static_cast<std::size_t>(d);
    range[at] = taps_inside(windows[at], position[at]);
    if (range[at].begin == range[at].end) return;
    tap[at] = range[at].begin;
  }
  while (true) {
    std::int64_t in_index = 0, tap_index = 0;
    for (int d = 0; d < axes; ++d) {
      const auto at = static_cast<std::size_t>(d);
      const WindowAxis& axis = windows[at];
      in_index = in_index * axis.in + axis.start(position[at]) + tap[at] * axis.dilation;
      tap_index = tap_index * axis.kernel + tap[at];
    }
    visit(in_index, tap_index);
    int d = axes - 1;
    for (; d >= 0; --d) {
      const auto at = static_cast<std::size_t>(d);
      if (++tap[at] < range[at].end) break;
      tap[at] = range[at].begin;
    }
    if (d < 0) return;
  }
}

/// Declares the attributes that convolutions have in common.
Row& convolution_attributes(Row& row);

/// Calls body(plane, position, output index) for every window of all `planes`, in parallel. An
/// output index counts over all planes.
template <class Body>
void for_each_window(const Windows& windows, std::int64_t planes, ThreadPool& pool, Body&& body) {
  const std::int64_t out_plane = out_size(windows);
  const int axes = static_cast<int>(windows.size());
  pool.parallel_for(planes, 1 + 4096 / (out_plane + 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane) {
      for (std::int64_t o = 0; o < out_plane; ++o) {
        body(plane, output_position(windows, axes, o), plane * out_plane + o);
      }
    }
  });
}

}  // namespace mezzo::ops
