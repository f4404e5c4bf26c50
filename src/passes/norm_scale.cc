// BatchNormalization (of inference) without a convolution before it, and Mul, Div, Add and Sub with
// a constant for each channel behind it: the scale and the bias of the one take in the other.
#include "passes/affine.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

constexpr int kScale = 1, kBias = 2;

void fold(Program& program, int norm, int i, const Affine& affine) {
  const ops::Op& op = program.op(norm);
  Replacement folded{.op_type = "BatchNormalization", .domain = "", .opset = op.opset()};
  folded.attributes = op.node().attributes;
  folded.in = program.step(norm).in;
  folded.in[kScale] = program.derive(folded.in[kScale], affine.sources, affine.key + " scale",
                                     op.in_shape(kScale), scaled(affine));
  folded.in[kBias] = program.derive(folded.in[kBias], affine.sources, affine.key + " bias",
                                    op.in_shape(kBias), shifted(affine, true));
  if (folded.in[kScale] < 0 || folded.in[kBias] < 0) return;
  folded.out = {program.step(i).out[0]};
  program.fuse({norm, i}, std::move(folded));
}

}  // namespace

void norm_scale(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    for (int data = 0; data < 2 && !program.step(i).removed; ++data) {
      const int norm = program.maker(i, data, "BatchNormalization");
      if (norm < 0 || program.step(i).op == nullptr) continue;
      const Shape y = program.op(norm).out_shape(0);
      if (y.size() < 2 || program.op(i).out_shape(0) != y ||
          program.op(norm).in(kScale).dtype != DType::f32 ||
          program.op(norm).in(kBias).dtype != DType::f32 || !affine_of(program, norm, 0, y)) {
        continue;
      }
      const std::optional<Affine> affine = affine_of(program, i, data, y);
      if (!affine) continue;
      fold(program, norm, i, *affine);
      break;
    }
  }
}

}  // namespace mezzo::passes
