// The packed form of what products by tiles of bfloat16 take; see simd_bf16x3_inl.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/rounding.h"
#include "base/shape.h"

namespace mezzo::kernels {

/// Columns of a panel of packed B, and the bytes of a step of it, 32 numbers along k: three parts
/// of two tiles.
inline constexpr std::int64_t kPanelCols = 32, kStepBytes = 6 * 1024;

/// Steps of so many numbers.
constexpr std::int64_t bf16x3_steps(std::int64_t k) { return ceil_div(k, std::int64_t{32}); }

/// Bytes of B packed: so many columns, and steps; behind them a line that says whether there is
/// anything that tiles cannot take.
inline std::int64_t packed_bf16x3_bytes(std::int64_t cols, std::int64_t steps) {
  return checked_add(checked_mul(checked_mul(ceil_div(cols, kPanelCols), steps), kStepBytes), 64);
}

/// What that line says: some number of B is 2^127 or more, or not finite.
inline bool has_large_numbers(const std::uint8_t* packed, std::int64_t cols, std::int64_t steps) {
  std::uint32_t flag = 0;
  std::memcpy(&flag, packed + ceil_div(cols, kPanelCols) * steps * kStepBytes, sizeof flag);
  return flag != 0;
}

}  // namespace mezzo::kernels
