// A Slice of what a Slice gives, as where an exporter has written one for each axis.
#include "ops/slice.h"

#include <optional>

#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// What a Slice takes of its input, where that is known.
std::optional<std::vector<ops::AxisRange>> ranges_of(const Program& program, int step) {
  const ops::Op& op = program.op(step);
  if (!op.in(0).known) return {};
  for (int i = 1; i < static_cast<int>(program.step(step).in.size()); ++i) {
    if (op.has_in(i) && !op.is_constant(i)) return {};
  }
  return ops::slice_ranges(op);
}

void join(Program& program, int first, int second) {
  const auto outer = ranges_of(program, first), inner = ranges_of(program, second);
  if (!outer || !inner) return;
  std::vector<std::int64_t> starts, steps, counts;
  for (std::size_t a = 0; a < outer->size(); ++a) {
    const ops::AxisRange &of = (*outer)[a], &range = (*inner)[a];
    if (range.count == 0) return;
    starts.push_back(of.start + range.start * of.step);
    steps.push_back(range.count == 1 ? 1 : of.step * range.step);
    counts.push_back(range.count);
  }
  Replacement joined{.op_type = "StridedSlice", .domain = "mezzo", .opset = 1};
  joined.attributes = {attribute("starts", std::move(starts)), attribute("steps", std::move(steps)),
                       attribute("counts", std::move(counts))};
  joined.in = {program.in(first, 0)};
  joined.out = program.step(second).out;
  program.fuse({first, second}, std::move(joined));
}

}  // namespace

void slice(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "Slice")) continue;
    int before = program.maker(i, 0, "Slice");
    if (before < 0) before = program.maker(i, 0, "StridedSlice", "mezzo");
    if (before >= 0) join(program, before, i);
  }
}

}  // namespace mezzo::passes
