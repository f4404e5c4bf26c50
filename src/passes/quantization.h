// What the passes share that look at QuantizeLinear and DequantizeLinear.
#pragma once

#include <optional>

#include "passes/program.h"

namespace mezzo::passes {

/// The scale and zero point of a QuantizeLinear or DequantizeLinear.
struct QuantizationOf {
  float scale = 0;
  int zero_point = 0;
  bool operator==(const QuantizationOf&) const = default;
};
/// Those of step `i`, if they are known and the same for the whole tensor.
std::optional<QuantizationOf> quantization_of(const Program& program, int i);

/// Whether step `i` is a QuantizeLinear that divides float32 in float32.
bool quantizes_f32(const Program& program, int i);

/// A float32 tensor that a DequantizeLinear makes of integers: slots.
struct Quantized {
  int q, scale, zero_point;  ///< zero_point: -1 where it is omitted
  int step;                  ///< the DequantizeLinear; -1: its result is a constant
  std::int64_t axis = 1;     ///< of the scales, where they are more than one
  std::int64_t block = 0;    ///< along it, how many elements share a scale; 0: they do not
};
/// One with a scale for the whole or for each index of an axis.
std::optional<Quantized> quantized(const Program& program, int slot);
/// The same of any scales, of blocks, too.
std::optional<Quantized> dequantized(const Program& program, int slot);

}  // namespace mezzo::passes
