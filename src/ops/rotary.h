// Rotary embedding (RoPE, https://arxiv.org/abs/2104.09864) of one head.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "mezzo/error.h"

namespace mezzo::ops {

/// Pairs of numbers of a head that are turned by angles of their own; the rest stays.
struct RotaryHead {
  std::int64_t size = 0, half = 0;  // numbers of a head, pairs that turn
  bool interleaved = false;         // pairs (0, 1), (2, 3), ... and not (i, i + half)

  /// `cosines` and `sines` have one element for each pair. y may be x.
  void turn(const float* x, float* y, const float* cosines, const float* sines) const {
    const std::int64_t step = interleaved ? 2 : 1, partner = interleaved ? 1 : half;
    for (std::int64_t i = 0; i < half; ++i) {
      const float re = x[i * step], im = x[i * step + partner];
      y[i * step] = cosines[i] * re - sines[i] * im;
      y[i * step + partner] = sines[i] * re + cosines[i] * im;
    }
    if (y != x) std::copy(x + 2 * half, x + size, y + 2 * half);
  }
};

/// The row of the caches of the token that is `after` others behind one at `position`, or an error
/// of input `input`, which tells that.
inline std::int64_t rotary_row(int input, std::int64_t position, std::int64_t after,
                               std::int64_t rows) {
  if (position >= 0 && position < rows && after < rows - position) return position + after;
  throw Error(ErrorCode::runtime, "a position is out of range")
      .at("input " + std::to_string(input))
      .expected("0 to " + std::to_string(rows - 1))
      .got(std::to_string(position) + (after > 0 ? " + " + std::to_string(after) : ""));
}

}  // namespace mezzo::ops
