// What the passes that add something to a convolution share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "passes/affine.h"
#include "passes/program.h"

namespace mezzo::passes {

/// The Conv, or FusedConv that ends without an activation, that computes `slot`; else -1.
int conv_before(const Program& program, int slot);
/// Step `conv` as a FusedConv with four inputs, to be changed. Its output is to be set.
Replacement as_fused_conv(const Program& program, int conv);

/// A convolution's weights and bias, slots, that have taken in what follows; -1 where they can't.
struct Folded {
  int weights, bias;
};
Folded folded(Program& program, int conv, const Affine& affine);

/// An activation as FusedConv names it.
struct Activation {
  std::string name;
  std::vector<float> parameters;
};

/// The activation that step `i` is, if FusedConv knows it and its parameters are constants.
std::optional<Activation> activation_of(const Program& program, int i);
void add_activation(const Activation& activation, Replacement& conv);

}  // namespace mezzo::passes
