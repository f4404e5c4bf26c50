// A residual sum and the LayerNormalization or RMSNormalization of it, in one walk over the rows.
// The sum itself is given as well where somebody wants it, as the next residual sum does.
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

bool is_row(const Program& program, int slot, const Shape& x) {
  return slot < 0 || program.slot(slot).operand.shape == Shape{x.back()};
}

}  // namespace

void skip_layer_norm(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    const bool is_rms = program.is(i, "RMSNormalization");
    if (!is_rms && !program.is(i, "LayerNormalization")) continue;
    const ops::Op& norm = program.op(i);
    const int add = program.maker(i, 0, "Add");
    if (add < 0 || norm.has_out(1) || norm.has_out(2)) continue;
    const Shape& x = norm.in_shape(0);
    const std::int64_t axis = norm.attr_int("axis");
    if (axis != -1 && axis != static_cast<std::int64_t>(x.size()) - 1) continue;
    if (program.op(add).in_shape(0) != x || program.op(add).in_shape(1) != x ||
        !is_row(program, program.in(i, 1), x) || !is_row(program, program.in(i, 2), x)) {
      continue;
    }
    const int sum = program.in(i, 0);
    const bool is_wanted = !program.slot(sum).kept.empty() || program.slot(sum).users.size() > 1;
    Replacement fused{
        .op_type = is_rms ? "SkipSimplifiedLayerNormalization" : "SkipLayerNormalization",
        .domain = "com.microsoft",
        .opset = 1};
    fused.attributes = {attribute("epsilon", norm.attr_float("epsilon"))};
    fused.in = {program.in(add, 0), program.in(add, 1), program.in(i, 1)};
    if (!is_rms) fused.in.push_back(program.in(i, 2));
    fused.out = {program.step(i).out[0]};
    if (is_wanted) fused.out = {program.step(i).out[0], -1, -1, sum};
    program.fuse({add, i}, std::move(fused));
  }
}

}  // namespace mezzo::passes
