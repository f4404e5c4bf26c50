// What is concatenated along the outermost axis is written in its place at once, and need not be
// copied. (With a batch of one, that is so for channels.) Nothing vanishes and no arithmetic
// changes, so this is for all types; a part that is fetched needs memory of its own.
#include "base/shape.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

bool is_outermost(const Shape& shape, std::int64_t axis) {
  if (axis < 0) axis += static_cast<std::int64_t>(shape.size());
  for (std::int64_t i = 0; i < axis; ++i) {
    if (shape[static_cast<std::size_t>(i)] != 1) return false;
  }
  return true;
}

}  // namespace

void concat(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "Concat")) continue;
    const ops::Op& op = program.op(i);
    const DType dtype = op.out(0).dtype;
    const std::int64_t axis = op.has_attr("axis") ? op.attr_int("axis") : 1;
    if (!is_plain(dtype) || bits_of(dtype) < 8 || !is_outermost(op.out_shape(0), axis)) continue;
    std::int64_t begin = 0;
    int placed = 0;
    for (int input = 0; input < op.inputs(); ++input) {
      if (program.place_inside(program.in(i, input), program.step(i).out[0], begin, i)) ++placed;
      begin += static_cast<std::int64_t>(bytes_of(dtype, element_count(op.in_shape(input))));
    }
    if (placed > 0) program.mark(i);
    if (placed == op.inputs()) program.set_placed(i);
  }
}

}  // namespace mezzo::passes
