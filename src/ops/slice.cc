// Slice. Spec: Slice-1 (attributes), -10 (inputs, steps), -11 (negative steps), -13.

#include <algorithm>

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

// Along an axis: elements start, start + step, ... (count of them).
struct Range {
  std::int64_t start = 0, step = 1, count = 0;
};

// NumPy's rules: negative positions count from the end, and what is out of range is clamped to what
// exists.
Range clamped(std::int64_t start, std::int64_t end, std::int64_t step, std::int64_t extent) {
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

std::vector<Range> ranges_of(const Op& op) {
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
  std::vector<Range> ranges;
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
  for (const Range& range : ranges_of(op)) out.push_back(range.count);
  op.set_out(0, op.in(0).dtype, std::move(out));
}

Choice by_size(Op& op) {
  const std::vector<Range> ranges = ranges_of(op);
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
      .kernel("by element size", by_size);
  op("Slice")
      .since(10, 11, 13)
      .in("data", kAllWithBf16)
      .in("starts", kIndices)
      .in("ends", like(1))
      .in("axes", like(1), Arity::optional)
      .in("steps", like(1), Arity::optional)
      .out("output", like(0))
      .infer(infer)
      .kernel("by element size", by_size);
}
