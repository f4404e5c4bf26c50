#include "passes/layout_part.h"

#include <algorithm>
#include <set>

#include "base/shape.h"
#include "ops/blocked.h"
#include "ops/quantized_conv.h"
#include "ops/resampling.h"
#include "passes/elementwise.h"

namespace mezzo::passes {
namespace {

// Operators of one image that are others in blocks.
struct OfImage {
  const char *plain, *domain, *blocked;
};
constexpr OfImage kImages[] = {{"MaxPool", "", "BlockedMaxPool"},
                               {"AveragePool", "", "BlockedAveragePool"},
                               {"ScaleShift", kBlockedDomain, "BlockedScaleShift"}};

// The shape of what a number for each channel of each image is: `shape` of one pixel.
Shape one_pixel(Shape shape) {
  std::fill(shape.begin() + 2, shape.end(), 1);
  return shape;
}

bool is_free(const Program& program, int slot) {
  return slot >= 0 && program.slot(slot).inside < 0 && !program.is_constant(slot);
}

bool is_mean_of_image(const Program& program, int i) {
  if (!program.is(i, "GlobalAveragePool") && !program.is(i, "ReduceMean")) return false;
  const int x = program.in(i, 0);
  return fits_blocks(program, x) && program.slot(program.step(i).out[0]).operand.shape ==
                                        one_pixel(program.slot(x).operand.shape);
}

// Whether there is a number for each channel, which all images share, whose pixels have that shape.
bool are_shared(Shape numbers, Shape pixel) {
  if (numbers.size() > pixel.size()) return false;
  numbers.insert(numbers.begin(), pixel.size() - numbers.size(), 1);
  pixel[0] = 1;
  return numbers == pixel;
}

// Of an image and a number for each of its channels, which are plain: that is the same.
LayoutPart by_channel(const Program& program, int i) {
  const bool multiplies = program.is(i, "Mul");
  const int y = program.step(i).out[0];
  if (!fits_blocks(program, y)) return {};
  const Shape& shape = program.slot(y).operand.shape;
  const Shape pixel = one_pixel(shape);
  if (program.is(i, "PRelu") && fits_blocks(program, program.in(i, 0)) &&
      are_shared(program.slot(program.in(i, 1)).operand.shape, pixel))
    return {{program.in(i, 0)}, {y}, "BlockedPRelu", program.step(i).in};
  if (!multiplies && !program.is(i, "Add")) return {};
  for (const int data : {0, 1}) {
    const int x = program.in(i, data), numbers = program.in(i, 1 - data);
    if (!fits_blocks(program, x) || program.slot(x).operand.shape != shape || shape == pixel)
      continue;
    const Shape& of_channels = program.slot(numbers).operand.shape;
    if (of_channels == pixel)
      return {{x}, {y}, multiplies ? "BlockedChannelMul" : "BlockedChannelAdd", {x, numbers}};
    if (are_shared(of_channels, pixel))
      return {{x}, {y}, multiplies ? "BlockedSharedMul" : "BlockedSharedAdd", {x, numbers}};
  }
  return {};
}

// Operators whose result at each place depends on what the inputs hold at that place, and perhaps
// on numbers.
LayoutPart elementwise(const Program& program, int i) {
  // Those besides the operators of float32.
  static const std::set<std::string, std::less<>> kOthers = {
      "ByteTable",  "DequantizeLinear", "FakeQuantize", "PRelu",
      "QLinearAdd", "QuantizeLinear",   "QuantizedAdd"};
  const Step& step = program.step(i);
  const auto fits = [&](int slot) {
    return fits_blocks(program, slot) || bytes_fit_blocks(program, slot);
  };
  const std::string& name = step.op->row().name();
  if ((!is_elementwise(name) && !kOthers.contains(name)) || !fits(step.out[0])) return {};
  LayoutPart result{{}, {step.out[0]}};
  const Shape& shape = program.slot(step.out[0]).operand.shape;
  for (const int slot : step.in) {
    if (slot < 0) continue;
    const Shape& other = program.slot(slot).operand.shape;
    if (fits(slot) && other == shape) {
      result.taken.push_back(slot);
    } else if (other.size() > 4 || element_count(other) != 1) {
      return {};
    }
  }
  return result.taken.empty() ? LayoutPart{} : result;
}

bool is_quantized_convolution(const Program& program, int i) {
  return program.is(i, "QLinearConv") || program.is(i, "QuantizedConv", kBlockedDomain);
}

// A convolution of bytes; of few input channels they stay plain.
LayoutPart quantized_conv(Program& program, int i) {
  const Step& step = program.step(i);
  const ops::Op& op = program.op(i);
  if (const std::string reason = ops::quantized_stays_plain(op); !reason.empty()) {
    program.miss(i, reason);
    return {};
  }
  LayoutPart result{{}, {step.out[0]}, "BlockedQuantizedConv"};
  result.gain = ops::quantized_gain(op);
  if (ops::bytes_can_be_blocked(op.in(0))) result.taken = {step.in[0]};
  const bool fit = bytes_fit_blocks(program, step.out[0]) &&
                   (result.taken.empty() || bytes_fit_blocks(program, step.in[0]));
  return fit ? std::move(result) : LayoutPart{};
}

// Whether that axis of a tensor is its channels.
bool is_of_channels(std::int64_t axis, const Program& program, int slot) {
  const auto rank = static_cast<std::int64_t>(program.slot(slot).operand.shape.size());
  return (axis < 0 ? axis + rank : axis) == 1;
}

// Of channels, which are then blocks.
LayoutPart concat(const Program& program, int i) {
  const Step& step = program.step(i);
  const ops::Op& op = program.op(i);
  const bool of_bytes = program.is(i, "QLinearConcat", "com.microsoft");
  const auto fits = of_bytes ? bytes_fit_blocks : fits_blocks;
  std::vector<int> parts = step.in;
  if (of_bytes) {
    // A scale and zero point, then triples of a part and its own.
    parts.clear();
    for (std::size_t k = 2; k < step.in.size(); k += 3) parts.push_back(step.in[k]);
  }
  const std::int64_t axis = op.has_attr("axis") ? op.attr_int("axis") : 1;
  const bool fit =
      std::all_of(parts.begin(), parts.end(), [&](int slot) { return fits(program, slot); });
  if (!fits(program, step.out[0]) || !fit || !is_of_channels(axis, program, step.out[0])) return {};
  return {std::move(parts), {step.out[0]}};
}

// Of channels as well: a BlockedSlice for each part, of which this is the first.
LayoutPart split(const Program& program, int i) {
  const std::vector<int>& out = program.step(i).out;
  const int x = program.in(i, 0);
  const std::int64_t axis = program.op(i).has_attr("axis") ? program.op(i).attr_int("axis") : 0;
  if (!fits_blocks(program, x) || !is_of_channels(axis, program, x) ||
      !std::all_of(out.begin(), out.end(), [&](int slot) { return fits_blocks(program, slot); }))
    return {};
  return {{x}, out, "BlockedSlice", {x}, slice_of(program, 0, out[0])};
}

// A Transpose that takes the channels of an image to the end, or back from there: it moves blocks
// of them instead.
LayoutPart transpose(const Program& program, int i) {
  using Axes = std::vector<std::int64_t>;
  const int x = program.in(i, 0), y = program.step(i).out[0];
  const ops::Op& op = program.op(i);
  if (op.in_rank(0) != 4 || !op.has_attr("perm")) return {};
  const Axes perm = op.attr_ints("perm");
  const graph::AttributePointer last = attribute("channels_last", std::int64_t{1});
  if (perm == Axes{0, 3, 1, 2} && fits_blocks(program, y))
    return {{}, {y}, "ToBlocked", {x}, {last}};
  if (perm == Axes{0, 2, 3, 1} && fits_blocks(program, x))
    return {{x}, {}, "FromBlocked", {x}, {last}};
  return {};
}

}  // namespace

bool fits_blocks(const Program& program, int slot) {
  return is_free(program, slot) && ops::can_be_blocked(program.slot(slot).operand);
}

bool bytes_fit_blocks(const Program& program, int slot) {
  return is_free(program, slot) && ops::bytes_can_be_blocked(program.slot(slot).operand);
}

bool is_float_convolution(const Program& program, int i) {
  return program.is(i, "FusedConv", "com.microsoft") || program.is(i, "Conv");
}

bool may_gain(const Program& program, int i) {
  return is_float_convolution(program, i) || is_quantized_convolution(program, i);
}

LayoutPart layout_part(Program& program, int i) {
  if (program.is(i, "Split")) return split(program, i);
  if (is_quantized_convolution(program, i)) return quantized_conv(program, i);
  const std::vector<int>& out = program.step(i).out;
  if (std::any_of(out.begin() + 1, out.end(), [](int slot) { return slot >= 0; })) return {};
  if (program.is(i, "Transpose")) return transpose(program, i);
  const int x = program.in(i, 0), y = program.step(i).out[0];
  if (is_mean_of_image(program, i)) {
    const auto axes = static_cast<std::int64_t>(program.slot(x).operand.shape.size()) - 2;
    return {{x}, {}, "BlockedGlobalAveragePool", {x}, {attribute("axes", axes)}};
  }
  for (const auto& [plain, domain, blocked] : kImages) {
    if (program.is(i, plain, domain) && fits_blocks(program, x) && fits_blocks(program, y))
      return {{x}, {y}, blocked};
  }
  if (program.is(i, "MaxPool") && bytes_fit_blocks(program, x) && bytes_fit_blocks(program, y))
    return {{x}, {y}, "BlockedMaxPool"};
  if (program.is(i, "Concat") || program.is(i, "QLinearConcat", "com.microsoft"))
    return concat(program, i);
  if (fits_blocks(program, x) && fits_blocks(program, y)) {
    if (const std::optional<ops::NearestImage> nearest = ops::nearest_image(program.op(i))) {
      return {{x},
              {y},
              "BlockedNearest",
              {x},
              {attribute("rows", nearest->rows), attribute("columns", nearest->columns)}};
    }
  }
  LayoutPart part = by_channel(program, i);
  return part.takes_part() ? std::move(part) : elementwise(program, i);
}

std::vector<graph::AttributePointer> slice_of(const Program& program, std::int64_t begin,
                                              int slot) {
  return {attribute("begin", begin), attribute("blocks", blocks_of(program, slot))};
}

std::int64_t blocks_of(const Program& program, int slot) {
  return ops::blocked_shape(program.slot(slot).operand.shape)[1];
}

}  // namespace mezzo::passes
