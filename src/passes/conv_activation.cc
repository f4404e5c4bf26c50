// Conv (or what other passes have made of it) and the activation behind it.
#include <cfloat>
#include <optional>

#include "passes/conv.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

struct Activation {
  std::string name;
  std::vector<float> parameters;
};

// The bounds of a Clip, where they are known. A bound that is absent is the greatest finite number.
std::optional<Activation> clip(const Program& program, int i) {
  const ops::Op& op = program.op(i);
  float low = -FLT_MAX, high = FLT_MAX;
  if (op.opset() < 11) {
    if (op.has_attr("min")) low = op.attr_float("min");
    if (op.has_attr("max")) high = op.attr_float("max");
    return Activation{"Clip", {low, high}};
  }
  for (const int input : {1, 2}) {
    const int slot = program.in(i, input);
    if (slot < 0) continue;
    const std::optional<float> bound = program.number(slot);
    if (!bound) return std::nullopt;
    (input == 1 ? low : high) = *bound;
  }
  return Activation{"Clip", {low, high}};
}

std::optional<Activation> activation_of(const Program& program, int i) {
  const Step& step = program.step(i);
  if (step.removed || step.op == nullptr || !step.op->row().domain().empty()) return std::nullopt;
  const ops::Op& op = *step.op;
  const std::string& name = op.row().name();
  if (name == "Relu" || name == "Sigmoid" || name == "Tanh") return Activation{name, {}};
  if (name == "LeakyRelu") return Activation{name, {op.attr_float("alpha")}};
  if (name == "HardSigmoid") {
    return Activation{name, {op.attr_float("alpha"), op.attr_float("beta")}};
  }
  return name == "Clip" ? clip(program, i) : std::nullopt;
}

}  // namespace

void conv_activation(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    const std::optional<Activation> activation = activation_of(program, i);
    if (!activation) continue;
    const int conv = conv_before(program, program.in(i, 0));
    if (conv < 0) continue;
    Replacement fused = as_fused_conv(program, conv);
    fused.attributes.push_back(attribute("activation", activation->name));
    if (!activation->parameters.empty()) {
      fused.attributes.push_back(attribute("activation_params", activation->parameters));
    }
    fused.out = {program.step(i).out[0]};
    program.fuse({conv, i}, std::move(fused));
  }
}

}  // namespace mezzo::passes
