// Conv and what only scales or shifts its channels: BatchNormalization (of inference), and Mul,
// Div, Add and Sub with a constant for each channel or for all. The convolution gets other weights
// and another bias, computed in double from those of the file.
#include "passes/conv.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

bool fold(Program& program, int conv, int i, const Affine& affine) {
  const auto [weights, bias] = folded(program, conv, affine);
  if (weights < 0 || bias < 0) return false;
  Replacement fused = as_fused_conv(program, conv);
  fused.in[1] = weights;
  fused.in[2] = bias;
  fused.out = {program.step(i).out[0]};
  return program.fuse({conv, i}, std::move(fused));
}

}  // namespace

void conv_scale(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    for (int data = 0; data < 2 && !program.step(i).removed; ++data) {
      const int conv = conv_before(program, program.in(i, data));
      if (conv < 0 || program.in(conv, 3) >= 0 || program.step(i).op == nullptr) continue;
      const ops::Op& op = program.op(conv);
      const Shape& y = op.out_shape(0);
      if (op.in(0).dtype != DType::f32 || !op.is_constant(1) ||
          (op.has_in(2) && !op.is_constant(2)) || program.op(i).out_shape(0) != y) {
        continue;
      }
      const std::optional<Affine> affine = affine_of(program, i, data, y);
      if (affine && fold(program, conv, i, *affine)) break;
    }
  }
}

}  // namespace mezzo::passes
