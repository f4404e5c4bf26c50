// What single steps can do in the blocked layout (ops/blocked.h), whatever is around them: for the
// pass `layout`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "passes/conv_stages.h"
#include "passes/program.h"

namespace mezzo::passes {

inline constexpr const char* kBlockedDomain = "mezzo";

/// How a step would take part: which slots of its inputs and of its outputs would be in blocks.
struct LayoutPart {
  std::vector<int> taken, given;  // given: the step's first outputs
  std::string op_type = "";       // the operator that takes its place; none: it stays what it is
  std::vector<int> in = {};       // of that; none: all inputs and attributes that the step has
  std::vector<graph::AttributePointer> attributes = {};
  double gain = 0;                        // microseconds
  std::optional<ConvStages> stages = {};  // of a convolution; it is the last of its steps

  bool takes_part() const { return !given.empty() || !taken.empty(); }
  bool takes(int slot) const { return contains(taken, slot); }
};

/// Whether a float32 tensor, or one of 8-bit integers, can be in blocks.
bool fits_blocks(const Program& program, int slot);
bool bytes_fit_blocks(const Program& program, int slot);

/// Whether the step is a convolution that is not of bytes.
bool is_float_convolution(const Program& program, int i);
/// Whether the step is of an operator that blocks are good for: all others only follow such.
bool may_gain(const Program& program, int i);

/// The part of a step that is no convolution of float32; one that takes no part where it can't.
LayoutPart layout_part(Program& program, int i);

/// The attributes of the BlockedSlice that gives `slot`, whose first block is number `begin`; and
/// how many blocks it has.
std::vector<graph::AttributePointer> slice_of(const Program& program, std::int64_t begin, int slot);
std::int64_t blocks_of(const Program& program, int slot);

}  // namespace mezzo::passes
