#include "passes/conv.h"

#include <cfloat>

namespace mezzo::passes {
namespace {

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

}  // namespace

int conv_before(const Program& program, int slot) {
  const int plain = program.maker_of(slot, "Conv");
  if (plain >= 0) return plain;
  const int fused = program.maker_of(slot, "FusedConv", "com.microsoft");
  return fused >= 0 && program.op(fused).attr_string("activation").empty() ? fused : -1;
}

Replacement as_fused_conv(const Program& program, int conv) {
  Replacement fused;
  fused.op_type = "FusedConv";
  fused.domain = "com.microsoft";
  fused.attributes = program.op(conv).node().attributes;
  fused.in = program.step(conv).in;
  fused.in.resize(4, -1);
  return fused;
}

Folded folded(Program& program, int conv, const Affine& affine) {
  const auto channels = static_cast<std::int64_t>(affine.numbers->factor.size());
  Folded result = {program.in(conv, 1), program.in(conv, 2)};
  if (affine.numbers->scales) {
    result.weights = program.derive(result.weights, affine.sources, affine.key + " weights",
                                    program.op(conv).in_shape(1), scaled(affine));
  }
  const bool had_bias = result.bias >= 0;
  result.bias = program.derive(had_bias ? result.bias : affine.sources.back(), affine.sources,
                               affine.key + (had_bias ? " bias" : " new bias"), {channels},
                               shifted(affine, had_bias));
  return result;
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

void add_activation(const Activation& activation, Replacement& conv) {
  conv.attributes.push_back(attribute("activation", activation.name));
  if (!activation.parameters.empty())
    conv.attributes.push_back(attribute("activation_params", activation.parameters));
}

}  // namespace mezzo::passes
