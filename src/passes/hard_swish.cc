// HardSwish, written out: x * HardSigmoid(x) with 1/6 and 1/2, or x * Clip(x + 3, 0, 6) / 6, in
// which the 6 divides the Clip or the product.
#include <cmath>

#include "passes/passes.h"

namespace mezzo::passes {
namespace {

bool is_six_clip(const Program& program, int i) {
  const ops::Op& op = program.op(i);
  if (op.opset() < 11) {
    return op.has_attr("min") && op.has_attr("max") && op.attr_float("min") == 0 &&
           op.attr_float("max") == 6;
  }
  return program.number(program.in(i, 1)) == 0.0F && program.number(program.in(i, 2)) == 6.0F;
}

// Whether step `i` is a sixth of `slot`.
bool is_sixth(const Program& program, int i, int slot) {
  if (program.is(i, "Div"))
    return program.in(i, 0) == slot && program.is_number(program.in(i, 1), 6);
  return program.is(i, "Mul") && program.beside_number(i, 1.0 / 6) == slot;
}

// The step that takes a sixth of `slot`, or -1.
int sixth_of(const Program& program, int slot) {
  for (const int user : program.slot(slot).users) {
    if (program.step(user).op != nullptr && is_sixth(program, user, slot)) return user;
  }
  return -1;
}

// The step that multiplies `slot` with x.
int product_with(const Program& program, int slot, int x) {
  const int mul = program.user(slot, "Mul");
  return program.other(mul, slot) == x ? mul : -1;
}

void replace(Program& program, int x, std::vector<int> members) {
  Replacement swish{.op_type = "HardSwish", .domain = "", .opset = 14};
  swish.in = {x};
  swish.out = {program.step(members.back()).out[0]};
  program.fuse(std::move(members), std::move(swish));
}

void from_clip(Program& program, int clip) {
  const int add = program.maker(clip, 0, "Add");
  const int x = program.beside_number(add, 3);
  if (x < 0 || !is_six_clip(program, clip)) return;
  const int clipped = program.step(clip).out[0];
  const int mul = product_with(program, clipped, x);
  if (mul >= 0) {
    const int sixth = sixth_of(program, program.step(mul).out[0]);
    if (sixth >= 0) return replace(program, x, {add, clip, mul, sixth});
  }
  const int sixth = sixth_of(program, clipped);
  const int last = sixth < 0 ? -1 : product_with(program, program.step(sixth).out[0], x);
  if (last >= 0) replace(program, x, {add, clip, sixth, last});
}

void from_hard_sigmoid(Program& program, int gate) {
  const ops::Op& op = program.op(gate);
  if (std::abs(op.attr_float("alpha") - 1.0F / 6) > 1e-7F || op.attr_float("beta") != 0.5F) return;
  const int x = program.in(gate, 0);
  const int mul = product_with(program, program.step(gate).out[0], x);
  if (mul >= 0) replace(program, x, {gate, mul});
}

}  // namespace

void hard_swish(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (program.is(i, "Clip")) from_clip(program, i);
    if (program.is(i, "HardSigmoid")) from_hard_sigmoid(program, i);
  }
}

}  // namespace mezzo::passes
