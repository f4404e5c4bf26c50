// Which of the SIMD kernels for float32 arithmetic serves a broadcast.
#pragma once

#include <optional>

#include "kernels/elementwise_f32.h"
#include "ops/broadcast.h"

namespace mezzo::ops {

/// The pattern of a loop over two inputs; none where the kernels don't know it.
std::optional<kernels::Broadcast> broadcast_of(const BroadcastLoop& loop);
/// The same of inputs of these shapes, both of which can be broadcast to `output`.
std::optional<kernels::Broadcast> broadcast_of(const Shape& a, const Shape& b, const Shape& output);

/// A chooser of a SIMD function of two float32 tensors.
struct BinaryF32 {
  kernels::Binary function;
  Choice operator()(Op& op) const;
};

}  // namespace mezzo::ops
