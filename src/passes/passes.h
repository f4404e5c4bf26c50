// Which passes there are, and which of them a session runs.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "passes/program.h"

namespace mezzo::passes {

/// Goes through all steps and replaces what it recognises.
using Run = void (*)(Program& program);

struct Pass {
  const char* name;  ///< its switch, and what `explain` calls it
  Run run;           ///< null: the planner's own, on the steps that the others leave
};

/// All passes, in the order in which they run.
const std::vector<Pass>& all();

/// The passes that are left when `disabled` and the environment's MEZZO_PASSES have had their say:
/// a list of "all", "none", NAME and -NAME, read from left to right. Throws Error(invalid_argument)
/// on a name that no pass has.
std::vector<Pass> enabled(const std::vector<std::string>& disabled);
/// The same with `switches` in place of the environment.
std::vector<Pass> enabled(const std::vector<std::string>& disabled, std::string_view switches);

// One file each.
void pad(Program& program);
void slice(Program& program);
void layer_norm(Program& program);
void skip_layer_norm(Program& program);
void attention(Program& program);
void gelu(Program& program);
void swish(Program& program);
void hard_swish(Program& program);
void transposes(Program& program);
void integers(Program& program);
void byte_table(Program& program);
void fake_quantize(Program& program);
void matmul_nbits(Program& program);
void concat(Program& program);
void matmul_scale(Program& program);
void matmul_add(Program& program);
void gemm_activation(Program& program);
void conv_scale(Program& program);
void norm_scale(Program& program);
void conv_add(Program& program);
void conv_activation(Program& program);
void scale_shift(Program& program);
void layout(Program& program);
void pointwise(Program& program);

}  // namespace mezzo::passes
