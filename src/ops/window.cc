#include "ops/window.h"

#include <string>

#include "base/shape.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// Larger than any sensible window, and small enough that products of two fit 64 bits.
constexpr std::int64_t kLimit = std::int64_t{1} << 30;

// An attribute with one number for each of `count` places, or as many times `fallback` where it is
// absent (or, as some exporters write, empty).
std::vector<std::int64_t> numbers(const Op& op, const char* name, std::size_t count,
                                  std::int64_t fallback, std::int64_t least) {
  std::vector<std::int64_t> values;
  if (op.declares(name)) values = op.attr_ints(name);
  if (values.empty()) values.assign(count, fallback);
  const bool in_range = std::all_of(values.begin(), values.end(), [&](std::int64_t value) {
    return value >= least && value <= kLimit;
  });
  if (values.size() != count || !in_range) {
    throw invalid("an attribute does not fit the operator's spatial axes")
        .at("attribute '" + std::string(name) + "'")
        .expected(std::to_string(count) + " numbers, at least " + std::to_string(least))
        .got(to_string(values));
  }
  return values;
}

enum class AutoPad { not_set, same_upper, same_lower, valid };

AutoPad auto_pad_of(const Op& op) {
  const std::string text = op.declares("auto_pad") ? op.attr_string("auto_pad") : "";
  if (text == "NOTSET" || text.empty()) return AutoPad::not_set;
  if (text == "SAME_UPPER") return AutoPad::same_upper;
  if (text == "SAME_LOWER") return AutoPad::same_lower;
  if (text == "VALID") return AutoPad::valid;
  throw invalid("an unknown way of padding")
      .at("attribute 'auto_pad'")
      .expected("NOTSET, SAME_UPPER, SAME_LOWER or VALID")
      .got(text);
}

// Kernel, stride and dilation of each axis.
Windows shapes_of(const Op& op, const Shape& x, std::vector<std::int64_t> kernel) {
  if (x.size() < 3) {
    throw invalid("the input has no spatial axes")
        .at("input 0")
        .expected("[N, C, D1, ...]")
        .got(to_string(x));
  }
  const std::size_t axes = x.size() - 2;
  if (axes > kMaxSpatialAxes) {
    throw Error(ErrorCode::unsupported, "too many spatial axes")
        .expected("at most " + std::to_string(kMaxSpatialAxes))
        .got(std::to_string(axes));
  }
  if (kernel.empty()) {
    if (!op.has_attr("kernel_shape")) {
      throw invalid("a required attribute is missing").expected("attribute 'kernel_shape'");
    }
    kernel = numbers(op, "kernel_shape", axes, 1, 1);
  }
  const auto strides = numbers(op, "strides", axes, 1, 1);
  const auto dilations = numbers(op, "dilations", axes, 1, 1);
  Windows windows(axes);
  for (std::size_t d = 0; d < axes; ++d) {
    if (kernel[d] < 1 || kernel[d] > kLimit) {
      throw invalid("a window without extent or beyond all bounds").got(to_string(kernel));
    }
    windows[d].in = x[d + 2];
    windows[d].kernel = kernel[d];
    windows[d].stride = strides[d];
    windows[d].dilation = dilations[d];
  }
  return windows;
}

// Distributes a padding in total over both ends; an odd one more at the end for SAME_UPPER.
void share_padding(WindowAxis& axis, std::int64_t total, bool more_at_end) {
  axis.pad_begin = more_at_end ? total / 2 : total - total / 2;
  axis.pad_end = total - axis.pad_begin;
}

}  // namespace

std::vector<std::int64_t> kernel_of_weights(const Op& op) {
  const Shape& w = op.in_shape(1);
  const std::vector<std::int64_t> kernel(w.begin() + 2, w.end());
  const auto declared = op.attr_ints("kernel_shape");
  if (!declared.empty() && declared != kernel) {
    throw invalid("kernel_shape is not that of the weights")
        .expected(to_string(kernel))
        .got(to_string(declared));
  }
  return kernel;
}

Windows windows_of(const Op& op, const Shape& x, std::vector<std::int64_t> kernel,
                   bool allow_crop) {
  Windows windows = shapes_of(op, x, std::move(kernel));
  const AutoPad auto_pad = auto_pad_of(op);
  const bool ceil_mode = op.declares("ceil_mode") && op.attr_int("ceil_mode") != 0;
  std::vector<std::int64_t> pads(2 * windows.size(), 0);
  if (auto_pad == AutoPad::not_set) {
    pads = numbers(op, "pads", pads.size(), 0, allow_crop ? -kLimit : 0);
  }
  for (std::size_t d = 0; d < windows.size(); ++d) {
    WindowAxis& axis = windows[d];
    if (auto_pad == AutoPad::same_upper || auto_pad == AutoPad::same_lower) {
      axis.out = (axis.in + axis.stride - 1) / axis.stride;
      const std::int64_t total =
          std::max<std::int64_t>(0, (axis.out - 1) * axis.stride + axis.extent() - axis.in);
      share_padding(axis, axis.out > 0 ? total : 0, auto_pad == AutoPad::same_upper);
      continue;
    }
    axis.pad_begin = pads[d];
    axis.pad_end = pads[windows.size() + d];
    const std::int64_t room = axis.in + axis.pad_begin + axis.pad_end - axis.extent();
    if (room < 0) {
      if (axis.in == 0) {
        axis.out = 0;
        continue;
      }
      throw invalid("the window is larger than the padded input")
          .at("spatial axis " + std::to_string(d))
          .expected("a padded extent of at least " + std::to_string(axis.extent()))
          .got(std::to_string(axis.in + axis.pad_begin + axis.pad_end));
    }
    // VALID gives the same extent with ceil_mode as without: ceil((room + 1) / stride).
    const bool up = ceil_mode && auto_pad == AutoPad::not_set;
    axis.out = (up ? room + axis.stride - 1 : room) / axis.stride + 1;
    // Rounding up, a window that would start in the padding at the end is ignored.
    if (up && (axis.out - 1) * axis.stride >= axis.in + axis.pad_begin) --axis.out;
  }
  return windows;
}

Windows transposed_windows_of(const Op& op, const Shape& x,
                              const std::vector<std::int64_t>& kernel) {
  Windows windows = shapes_of(op, x, kernel);
  const std::size_t axes = windows.size();
  const AutoPad auto_pad = auto_pad_of(op);
  const auto output_padding = numbers(op, "output_padding", axes, 0, 0);
  const bool given = !op.attr_ints("output_shape").empty();
  std::vector<std::int64_t> wanted(axes);
  if (given) {
    // Some exporters list the batch and channel axes as well.
    const bool all_axes = op.attr_ints("output_shape").size() == axes + 2;
    wanted = numbers(op, "output_shape", all_axes ? axes + 2 : axes, 0, 0);
    if (all_axes) wanted.erase(wanted.begin(), wanted.begin() + 2);
  }
  const bool same = auto_pad == AutoPad::same_upper || auto_pad == AutoPad::same_lower;
  std::vector<std::int64_t> pads(2 * axes, 0);
  if (!given && auto_pad == AutoPad::not_set) pads = numbers(op, "pads", pads.size(), 0, -kLimit);
  for (std::size_t d = 0; d < axes; ++d) {
    WindowAxis& axis = windows[d];
    axis.out = axis.in;
    const std::int64_t full = axis.out == 0 ? 0
                                            : checked_add(checked_mul(axis.stride, axis.out - 1),
                                                          axis.extent() + output_padding[d]);
    if (given || same) {
      axis.in = given ? wanted[d] : checked_mul(axis.out, axis.stride);
      share_padding(axis, std::max<std::int64_t>(0, full - axis.in),
                    auto_pad == AutoPad::same_upper);
      continue;
    }
    axis.pad_begin = pads[d];
    axis.pad_end = pads[axes + d];
    axis.in = axis.out == 0 ? 0 : full - axis.pad_begin - axis.pad_end;
    if (axis.in < 0) {
      throw invalid("the paddings leave nothing of the output")
          .at("spatial axis " + std::to_string(d))
          .got("an extent of " + std::to_string(axis.in));
    }
  }
  return windows;
}

std::vector<std::int64_t> unpooled_extents(const Op& op, const Shape& x) {
  const Windows windows = shapes_of(op, x, {});
  const auto pads = numbers(op, "pads", 2 * windows.size(), 0, 0);
  std::vector<std::int64_t> extents;
  for (std::size_t d = 0; d < windows.size(); ++d) {
    const WindowAxis& axis = windows[d];
    const std::int64_t full =
        axis.in == 0 ? 0 : checked_add(checked_mul(axis.stride, axis.in - 1), axis.kernel);
    extents.push_back(std::max<std::int64_t>(0, full - pads[d] - pads[windows.size() + d]));
  }
  return extents;
}

Shape shape_of(std::int64_t batch, std::int64_t channels, const Windows& windows) {
  Shape shape = {batch, channels};
  for (const WindowAxis& axis : windows) shape.push_back(axis.out);
  return shape;
}

std::int64_t in_size(const Windows& windows) {
  std::int64_t size = 1;
  for (const WindowAxis& axis : windows) size *= axis.in;
  return size;
}

std::int64_t out_size(const Windows& windows) {
  std::int64_t size = 1;
  for (const WindowAxis& axis : windows) size *= axis.out;
  return size;
}

std::int64_t kernel_size(const Windows& windows) {
  std::int64_t size = 1;
  for (const WindowAxis& axis : windows) size = checked_mul(size, axis.kernel);
  return size;
}

Row& convolution_attributes(Row& row) {
  using Kind = FormalAttribute::Kind;
  return row.attr("auto_pad", "NOTSET")
      .attr("dilations", Kind::ints)
      .attr("group", 1)
      .attr("kernel_shape", Kind::ints)
      .attr("pads", Kind::ints)
      .attr("strides", Kind::ints);
}

}  // namespace mezzo::ops
