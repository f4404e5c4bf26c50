// MatMul and a bias, or another tensor, that is added to its result.
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// A row for every row, or a tensor like the result.
bool fits(const Program& program, int slot, const Shape& y) {
  const Shape& shape = program.slot(slot).operand.shape;
  return shape == y || shape == Shape{y.back()};
}

}  // namespace

void matmul_add(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "Add")) continue;
    for (int input = 0; input < 2; ++input) {
      const int product = program.maker(i, input, "MatMul");
      const int summand = program.in(i, 1 - input);
      if (product < 0 || summand == program.in(i, input)) continue;
      const Shape& y = program.op(i).out_shape(0);
      if (y.size() < 2 || program.op(product).in_rank(0) < 2 ||
          program.op(product).in_rank(1) < 2 || program.op(product).out_shape(0) != y ||
          !fits(program, summand, y)) {
        continue;
      }
      Replacement fused{.op_type = "MatMulAdd", .domain = "mezzo", .opset = 1};
      fused.in = program.step(product).in;
      fused.in.push_back(summand);
      fused.out = {program.step(i).out[0]};
      if (program.fuse({product, i}, std::move(fused))) break;
    }
  }
}

}  // namespace mezzo::passes
