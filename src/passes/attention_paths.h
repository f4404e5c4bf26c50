// Where the queries, keys and values of attention come from: ways back over what splits rows into
// heads.
#pragma once

#include <cstdint>
#include <vector>

#include "passes/program.h"

namespace mezzo::passes {

using Axes = std::vector<std::int64_t>;

/// The steps that led to a slot from another, and the factor that they multiplied by.
struct Path {
  int slot = -1;
  double factor = 1;
  std::vector<int> members = {};
  std::int64_t part = -1;         ///< of packed rows: 0 queries, 1 keys, 2 values
  bool by_heads = false;          ///< [B, H, S, D]
  std::vector<int> repeats = {};  ///< the Expand of heads that are shared, or of a condition
};

/// The slot that was written, whatever name a slot gives its memory.
int whole(const Program& program, int slot);

/// Goes up over products with numbers.
void skip_factors(const Program& program, Path& path);

/// From heads back to the rows [B, S, H, D] that they were split from, or to where they were made:
/// `axes` says which axes of the rows the product takes, in its order, `heads_axes` which of the
/// heads. Heads may be one axis with the batch, [B * H, S, D], and rows without a batch of one,
/// [S, H, D]. The slot is -1 where that is not how they were made.
Path source_of(const Program& program, int heads, const Axes& axes, const Axes& heads_axes);

/// From rows that a Split took side by side, [B, S, 3 * H * D], back to those.
void skip_split(const Program& program, Path& queries, Path& keys, Path& values);

/// What a path leads to: [B, S, H, D].
Shape rows_at(const Program& program, const Path& path);

/// The same as FusedAttention takes it.
Shape taken(const Program& program, const Path& path);

}  // namespace mezzo::passes
