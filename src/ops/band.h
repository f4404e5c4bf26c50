// Bands: neighbouring rows (of axis 2) of the image that a step computes, where each thread
// computes some rows of its own.
#pragma once

#include <cstdint>

namespace mezzo::ops {

/// Which rows of input 0 an operator's output rows come from: row `o` from the rows o * stride -
/// pad on, `extent` of them, as far as they exist.
struct RowWindow {
  std::int64_t in = 1, out = 1;  ///< rows of the images
  std::int64_t extent = 1, stride = 1, pad = 0;
  std::int64_t unit = 1;  ///< rows that cost as much as one: kernels may compute several together
};

/// The rows of output 0 to be computed, and what there is for them. The operands' memory begins at
/// the first of these rows, and has so many rows for each plane.
struct Band {
  std::int64_t begin = 0, end = 0;         ///< of output 0, and of the summand
  std::int64_t in_begin = 0, in_end = 0;   ///< of input 0: what the windows see of it
  std::int64_t in_rows = 0, out_rows = 0;  ///< in memory, of input 0 and output 0
  std::int64_t add_rows = 0;               ///< in memory, of the summand
};

}  // namespace mezzo::ops
