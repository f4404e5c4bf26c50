// Slice. Spec: Slice-1 (attributes), -10 (inputs, steps), -11 (negative steps), -13. StridedSlice
// is the planner's: the ranges of all axes as they are.
#include "ops/slice.h"

#include <algorithm>

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

// NumPy's rules: negative positions count from the end, and what is out of range is clamped to what
// exists.
AxisRange clamped(std::int64_t start, std::int64_t end, std::int64_t step, std::int64_t extent) {
  // A step of the extent or more takes one element at most; so shortened, nothing can overflow.
  const std::int64_t longest = std::max<std::int64_t>(extent, 1);
  step = std::clamp(step, -longest, longest);
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  const std::int64_t least = step > 0 ? 0 : -1;
  const std::int64_t most = step > 0 ? extent : extent - 1;
  start = std::clamp(start, step > 0 ? 0 : std::min<std::int64_t>(most, 0), std::max(most, least));
  end = std::clamp(end, least, std::max(most, least));
  const std::int64_t way = step > 0 ? end - start : start - end;
  const std::int64_t stride = std::abs(step);
  return {start, step, way <= 0 ? 0 : (way - 1) / stride + 1};
}

// StridedSlice's.
std::vector<AxisRange> given_ranges(const Op& op) {
  const std::vector<std::int64_t> starts = op.attr_ints("starts"), steps = op.attr_ints("steps"),
                                  counts = op.attr_ints("counts");
  const Shape& shape = op.in_shape(0);
  const std::size_t rank = shape.size();
  std::vector<AxisRange> ranges;
  bool fits = starts.size() == rank && steps.size() == rank && counts.size() == rank;
  for (std::size_t a = 0; fits && a < rank; ++a) {
    const AxisRange range{starts[a], steps[a], counts[a]};
    // How many steps lead from the start to the last element there is.
    const std::int64_t extent = shape[a];
    const bool begins = range.start >= 0 && range.start < extent;
    const std::int64_t most = !begins          ? -1
                              : range.step > 0 ? (extent - 1 - range.start) / range.step
                              : range.step < 0 && range.step >= -extent ? range.start / -range.step
                                                                        : -1;
    fits = range.count >= 0 && range.count <= most + 1;
    ranges.push_back(range);
  }
  if (!fits) {
    throw invalid("StridedSlice's starts, steps and counts do not lie in its input")
        .got(to_string(starts) + ", " + to_string(steps) + " and " + to_string(counts) + " for " +
             to_string(shape));
  }
  return ranges;
}

// Slice's, of the axes that it names.
std::vector<AxisRange> named_ranges(const Op& op) {
  const bool by_inputs = op.opset() >= 10;
  const std::vector<std::int64_t> starts = by_inputs ? op.ints(1) : op.attr_ints("starts");
  const std::vector<std::int64_t> ends = by_inputs ? op.ints(2) : op.attr_ints("ends");
  const std::vector<std::int64_t> axes = by_inputs ? op.ints(3) : op.attr_ints("axes");
  const std::vector<std::int64_t> steps = by_inputs ? op.ints(4) : std::vector<std::int64_t>{};
  const bool has_axes = by_inputs ? op.has_in(3) : op.has_attr("axes");
  const bool has_steps = by_inputs && op.has_in(4);
  const Shape& shape = op.in_shape(0);
  if (ends.size() != starts.size() || (has_axes && axes.size() != starts.size()) ||
      (has_steps && steps.size() != starts.size()) || starts.size() > shape.size()) {
    throw invalid("Slice's starts, ends, axes and steps must be equally many, one an axis at most")
        .got(std::to_string(starts.size()) + " starts, " + std::to_string(ends.size()) + " ends, " +
             std::to_string(axes.size()) + " axes, " + std::to_string(steps.size()) +
             " steps for " + to_string(shape));
  }
  std::vector<AxisRange> ranges;
  for (const std::int64_t extent : shape) ranges.push_back({0, 1, extent});
  std::vector<bool> seen(shape.size(), false);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const auto axis = static_cast<std::size_t>(has_axes ? normalize_axis(axes[i], op.in_rank(0))
                                                        : static_cast<int>(i));
    if (seen[axis]) throw invalid("Slice names an axis twice").got(to_string(axes));
    seen[axis] = true;
    const std::int64_t step = has_steps ? steps[i] : 1;
    if (step == 0) throw invalid("Slice with a step of 0").at("axis " + std::to_string(axis));
    ranges[axis] = clamped(starts[i], ends[i], step, shape[axis]);
  }
  return ranges;
}

void infer(Op& op) {
  Shape out;
  for (const AxisRange& range : slice_ranges(op)) out.push_back(range.count);
  op.set_out(0, op.in(0).dtype, std::move(out));
}

Choice by_size(Op& op) {
  const std::vector<AxisRange> ranges = slice_ranges(op);
  std::vector<std::int64_t> source_strides = strides_of(op.in_shape(0));
  const Shape& out = op.out_shape(0);
  std::int64_t offset = 0;
  if (element_count(out) > 0) {
    for (std::size_t a = 0; a < ranges.size(); ++a) {
      offset += ranges[a].start * source_strides[a];
      // With one element the step may lead out of the tensor.
      source_strides[a] = ranges[a].count == 1 ? 0 : source_strides[a] * ranges[a].step;
    }
  }
  return [mover = Mover(op.in(0).dtype, out, source_strides, strides_of(out), offset)](Run& run) {
    mover.run(run.in_data(0), run.out_data(0), run.pool());
  };
}

}  // namespace

std::vector<AxisRange> slice_ranges(const Op& op) {
  return op.row().name() == "Slice" ? named_ranges(op) : given_ranges(op);
}

}  // namespace mezzo::ops

MEZZO_FAMILY(slice) {
  op("Slice")
      .since(1)
      .attr("axes", Kind::ints)
      .required("ends", Kind::ints)
      .required("starts", Kind::ints)
      .in("data", kAllNoBf16)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
  op("Slice")
      .since(10, 11, 13)
      .in("data", kAllWithBf16)
      .in("starts", kIndices)
      .in("ends", like(1))
      .in("axes", like(1), Arity::optional)
      .in("steps", like(1), Arity::optional)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
  op("StridedSlice", "mezzo")
      .since(1)
      .required("starts", Kind::ints)
      .required("steps", Kind::ints)
      .required("counts", Kind::ints)
      .in("data", kAllWithBf16)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
}
