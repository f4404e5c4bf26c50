// Conversion between element types, as the ONNX operator Cast defines it.
#pragma once

#include <cstdint>

#include "mezzo/dtype.h"

namespace mezzo {

/// How values that the target cannot hold are treated.
struct CastRules {
  /// To 8-bit floats: the largest finite value instead of infinity or NaN. (Those of 6 and 4 bits
  /// have nothing else; what is NaN becomes negative zero.)
  bool saturate = true;
  enum class RoundMode { up, down, nearest } round_mode = RoundMode::up;  ///< to float8e8m0 only
};

/// Converts `count` elements. Floats go to integers by truncation; what an integer type cannot hold
/// wraps (and NaN becomes 0), so that no input is undefined behaviour. Strings are not handled
/// here. The two ranges may not overlap.
void convert(DType from, const void* source, DType to, void* target, std::int64_t count,
             const CastRules& rules = {});

/// One element of a sub-byte or 8-bit float type, as f32. `dtype` is one of the f8, f6 and f4
/// types; `bits` its pattern.
float decode_small_float(DType dtype, unsigned bits) noexcept;
/// The pattern nearest to `value`, ties to even.
unsigned encode_small_float(DType dtype, float value, const CastRules& rules = {}) noexcept;

/// Reads or writes element `index` of packed 2- or 4-bit integers (or f4e2m1 patterns),
/// sign-extended where the type is signed.
int read_packed(DType dtype, const void* data, std::int64_t index) noexcept;
/// The bits of element `index` of those that have `bits` (1, 2, 4 or 8) each, without a sign.
inline int packed_field(int bits, const void* data, std::int64_t index) noexcept {
  const std::int64_t at = index * bits;
  return static_cast<const std::uint8_t*>(data)[at / 8] >> (at % 8) & ((1 << bits) - 1);
}
void write_packed(DType dtype, void* data, std::int64_t index, int value) noexcept;

}  // namespace mezzo
