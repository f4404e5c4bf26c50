// A convolution and what follows it while the tensors in between are wanted.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "passes/conv.h"

namespace mezzo::passes {

/// Steps that one BlockedStagedConv can take the place of: a convolution and, each of which may be
/// missing, a norm, a sum, and an activation.
struct ConvStages {
  std::vector<int> members;                  ///< the convolution and what follows
  int weights = -1;                          ///< that take the place of its own; -1: none do
  int scale = -1, unscale = -1, shift = -1;  ///< the operator's, of the norm
  int summand = -1;
  std::optional<Activation> activation;  ///< a clamp behind the convolution
  int conv = -1, scaled = -1, sum = -1;  ///< the slots on the way that somebody asks for
  int y = -1;                            ///< what the last member gives
  bool gives_plain = true;               ///< whether y can be given plain as well
};

/// A Conv or FusedConv and the stages behind it. `fits` says of a summand's slot whether it may be
/// one, and `is_free` of a step whether it may be taken in.
ConvStages conv_stages(Program& program, int conv, const std::function<bool(int slot)>& fits,
                       const std::function<bool(int step)>& is_free);

}  // namespace mezzo::passes
