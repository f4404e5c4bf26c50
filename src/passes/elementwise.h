// The operators of float32 that work element by element.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace mezzo::passes {

/// Whether that is the name of an operator whose result at each place depends on what its inputs
/// hold at that place alone, and perhaps on numbers.
inline bool is_elementwise(std::string_view op_type) {
  // clang-format off
  static const std::set<std::string, std::less<>> kNames = {
      "Abs", "Add", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
      "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow", "QuickGelu", "Reciprocal",
      "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tanh",
      "ThresholdedRelu"};
  // clang-format on
  return kNames.contains(op_type);
}

}  // namespace mezzo::passes
