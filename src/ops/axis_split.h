// A tensor seen as [outer, n, inner] around one of its axes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/shape.h"

namespace mezzo::ops {

/// The extents before an axis, of it, and after it, multiplied together.
struct AxisSplit {
  std::int64_t outer = 1;
  std::int64_t n = 1;
  std::int64_t inner = 1;
};

inline AxisSplit split_at(const Shape& shape, int axis) {
  return {product(shape, 0, axis), shape[static_cast<std::size_t>(axis)],
          product(shape, axis + 1, static_cast<int>(shape.size()))};
}

/// Calls visit(first element, columns) for columns [begin, end) along the axis, counted through
/// outer and inner, in groups of at most `most` that lie side by side.
template <class Visit>
void for_columns(const AxisSplit& split, std::int64_t begin, std::int64_t end, std::int64_t most,
                 const Visit& visit) {
  for (std::int64_t i = begin, columns; i < end; i += columns) {
    const std::int64_t outer = i / split.inner, column = i % split.inner;
    columns = std::min({most, end - i, split.inner - column});
    visit(outer * split.n * split.inner + column, columns);
  }
}

/// How many items make a chunk worth a thread, where one item takes `work` simple operations.
inline std::int64_t grain_for(std::int64_t work) {
  constexpr std::int64_t kWorthAThread = 20'000;  // about 20 us of plain code
  return std::max<std::int64_t>(1, kWorthAThread / std::max<std::int64_t>(1, work));
}

}  // namespace mezzo::ops
