// Squares of elements of 4 bytes, transposed in wide vectors.
#pragma once

#include <cstdint>

namespace mezzo::kernels {

/// Elements along each edge: those of a line of the cache.
inline constexpr std::int64_t kTransposeEdge = 16;

/// Transposes a tile: target[c * 4 + r * target_stride] is source[r * 4 + c *
/// source_stride], in bytes. No alignment is needed.
using TransposeTile = void (*)(const char* source, std::int64_t source_stride, char* target,
                               std::int64_t target_stride);

/// The active target's; null if it has no vectors of 8 such elements.
TransposeTile transpose_tile();

}  // namespace mezzo::kernels
