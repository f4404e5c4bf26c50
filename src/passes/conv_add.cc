// Conv and the sum of its result and another tensor, as at the end of a residual block. Of two
// convolutions the later one takes the sum: what the other computes is there by then.
#include <algorithm>

#include "passes/conv.h"
#include "passes/passes.h"

namespace mezzo::passes {

void conv_add(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "Add") && !program.is(i, "Sum")) continue;
    if (program.step(i).in.size() != 2) continue;
    const int left = program.in(i, 0), right = program.in(i, 1);
    if (program.slot(left).operand.shape != program.slot(right).operand.shape || left == right) {
      continue;
    }
    std::vector<std::pair<int, int>> candidates;  // a convolution, and the other summand
    for (const auto& [sum, other] : {std::pair(left, right), std::pair(right, left)}) {
      const int conv = conv_before(program, sum);
      if (conv >= 0 && program.in(conv, 3) < 0) candidates.emplace_back(conv, other);
    }
    std::sort(candidates.rbegin(), candidates.rend());
    for (const auto& [conv, other] : candidates) {
      Replacement fused = as_fused_conv(program, conv);
      fused.in[3] = other;
      fused.out = {program.step(i).out[0]};
      if (program.fuse({conv, i}, std::move(fused))) break;
    }
  }
}

}  // namespace mezzo::passes
