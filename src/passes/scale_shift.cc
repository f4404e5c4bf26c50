// A BatchNormalization (of inference) that no convolution has taken in, as ahead of the
// convolutions of DenseNet and ResNet v2, and the Relu or Clip behind it: each channel scaled,
// shifted and clamped, in one walk and in whatever layout.
#include "passes/affine.h"
#include "passes/conv.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// Whether the pass `layout` may take step `i` into the convolution ahead of it as one of its
// stages.
bool may_be_stage(const Program& program, int x) {
  return conv_before(program, x) >= 0 && !program.slot(x).kept.empty() &&
         program.slot(x).users.size() == 1;
}

// The bounds that step `i` sets, if it is a Relu or a Clip.
std::vector<graph::AttributePointer> bounds_of(const Program& program, int i) {
  const std::optional<Activation> activation = activation_of(program, i);
  if (!activation) return {};
  if (activation->name == "Relu") return {attribute("min", 0.0F)};
  if (activation->name != "Clip") return {};
  return {attribute("min", activation->parameters[0]), attribute("max", activation->parameters[1])};
}

void replace(Program& program, int norm) {
  const int x = program.in(norm, 0), y = program.step(norm).out[0];
  const ops::Operand operand = program.slot(x).operand;
  if (!operand.known || operand.dtype != DType::f32 || operand.shape.size() < 3 ||
      may_be_stage(program, x)) {
    return;
  }
  const std::optional<Affine> affine = affine_of(program, norm, 0, operand.shape);
  if (!affine) return;
  Replacement alone{.op_type = "ScaleShift", .domain = "mezzo"};
  alone.in = {x, constant_of(program, *affine, " factors", factors(*affine)),
              constant_of(program, *affine, " new bias", shifted(*affine, false))};
  alone.out = {y};
  if (alone.in[1] < 0 || alone.in[2] < 0) return;
  if (const std::vector<int>& users = program.slot(y).users; users.size() == 1) {
    const int user = users[0];
    Replacement both = alone;
    both.attributes = bounds_of(program, user);
    both.out = {program.step(user).out[0]};
    if (!both.attributes.empty() && program.fuse({norm, user}, std::move(both))) return;
  }
  program.fuse({norm}, std::move(alone));
}

}  // namespace

void scale_shift(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (program.is(i, "BatchNormalization")) replace(program, i);
  }
}

}  // namespace mezzo::passes
