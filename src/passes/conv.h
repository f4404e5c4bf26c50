// What the passes that add something to a convolution share.
#pragma once

#include "passes/program.h"

namespace mezzo::passes {

/// The Conv, or FusedConv that ends without an activation, that computes `slot`; else -1.
int conv_before(const Program& program, int slot);
/// Step `conv` as a FusedConv with four inputs, to be changed. Its output is to be set.
Replacement as_fused_conv(const Program& program, int conv);

}  // namespace mezzo::passes
