// Conv (or what other passes have made of it) and the activation behind it.
#include "passes/conv.h"
#include "passes/passes.h"

namespace mezzo::passes {
void conv_activation(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    const std::optional<Activation> activation = activation_of(program, i);
    if (!activation) continue;
    const int conv = conv_before(program, program.in(i, 0));
    if (conv < 0) continue;
    Replacement fused = as_fused_conv(program, conv);
    add_activation(*activation, fused);
    fused.out = {program.step(i).out[0]};
    program.fuse({conv, i}, std::move(fused));
  }
}

}  // namespace mezzo::passes
