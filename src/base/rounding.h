// Numbers rounded up.
#pragma once

#include <cstdint>

#include "base/shape.h"

namespace mezzo {

/// a / b rounded up, and the next multiple of b; a >= 0, b > 0.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

/// The same multiple; throws Error(limit) on overflow.
inline std::int64_t checked_round_up(std::int64_t a, std::int64_t b) {
  return checked_add(a, b - 1) / b * b;
}

}  // namespace mezzo
