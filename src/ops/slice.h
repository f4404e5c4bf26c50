// What a Slice takes of its input, for who joins two of them.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace mezzo::ops {

/// Along an axis: the elements start, start + step, ... (count of them).
struct AxisRange {
  std::int64_t start = 0, step = 1, count = 0;
};

/// The ranges of all axes of a Slice, ONNX's or the planner's, whose input has a known shape and
/// whose other inputs are constants. Throws Error(invalid_model) where they do not fit.
std::vector<AxisRange> slice_ranges(const Op& op);

}  // namespace mezzo::ops
