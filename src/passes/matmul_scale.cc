// MatMul and a number that its result is multiplied with or divided by, as attention does with its
// scores.
#include <cmath>

#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// The factor that step `i` applies to `slot`; nothing where it is not a known number.
std::optional<float> factor_of(const Program& program, int i, int slot) {
  if (program.is(i, "Mul")) return program.number(program.other(i, slot));
  if (!program.is(i, "Div") || program.in(i, 0) != slot) return std::nullopt;
  const std::optional<float> divisor = program.number(program.in(i, 1));
  if (!divisor || *divisor == 0) return std::nullopt;
  return 1 / *divisor;
}

}  // namespace

void matmul_scale(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    for (int input = 0; input < 2; ++input) {
      if (!program.is(i, "Mul") && !program.is(i, "Div")) break;
      const int product = program.maker(i, input, "MatMul");
      if (product < 0) continue;
      const std::optional<float> factor = factor_of(program, i, program.in(i, input));
      if (!factor || !std::isfinite(*factor)) continue;
      Replacement fused{.op_type = "FusedMatMul", .domain = "com.microsoft", .opset = 1};
      fused.attributes = {attribute("alpha", *factor)};
      fused.in = program.step(product).in;
      fused.out = {program.step(i).out[0]};
      program.fuse({product, i}, std::move(fused));
    }
  }
}

}  // namespace mezzo::passes
