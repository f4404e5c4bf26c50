// x * Sigmoid(x) and x * Sigmoid(alpha x) are Swish (SiLU).
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

void recognise(Program& program, int sigmoid, int mul) {
  const int gate = program.step(sigmoid).out[0];
  const int x = program.other(mul, gate);
  const int argument = program.in(sigmoid, 0);
  Replacement swish{.op_type = "Swish", .domain = "", .opset = 24};
  swish.in = {x};
  swish.out = {program.step(mul).out[0]};
  std::vector<int> members = {sigmoid, mul};
  if (x < 0 || x == gate) return;
  if (argument != x) {
    const int scale = program.maker_of(argument, "Mul");
    const int factor = program.other(scale, x);
    const std::optional<float> alpha = program.number(factor);
    if (!alpha) return;
    swish.attributes = {attribute("alpha", *alpha)};
    members.push_back(scale);
  }
  program.fuse(std::move(members), std::move(swish));
}

}  // namespace

void swish(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "Sigmoid")) continue;
    const int mul = program.user(program.step(i).out[0], "Mul");
    if (mul >= 0) recognise(program, i, mul);
  }
}

}  // namespace mezzo::passes
