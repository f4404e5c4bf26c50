// Copies of the nearest elements: what Resize does to those of any type.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "ops/resampling.h"

namespace mezzo::ops {

/// y, along all axes, from the elements of x that are nearest. `Element` has the size of the
/// elements, and `extrapolation` is taken outside.
template <class Element>
void copy_nearest(const Resampling& how, const std::vector<ResampledAxis>& axes,
                  const Element& extrapolation, const Element* x, Element* y, ThreadPool& pool) {
  if (out_count(axes) == 0) return;
  // Axes after the last one that changes are copied as blocks.
  std::size_t rank = axes.size();
  std::int64_t block = 1;
  while (rank > 0 && axes[rank - 1].is_identity(how)) block *= axes[--rank].in;
  if (rank == 0) {
    std::copy(x, x + block, y);
    return;
  }
  std::vector<std::vector<std::int64_t>> indices;
  for (std::size_t d = 0; d < rank; ++d) indices.push_back(nearest_indices(how, axes[d]));
  const std::vector<std::int64_t>& last = indices.back();
  const bool plain =
      block == 1 && std::all_of(last.begin(), last.end(), [](std::int64_t i) { return i >= 0; });
  const std::int64_t row_length = axes[rank - 1].out * block;
  const std::int64_t rows = out_count(axes) / row_length;
  pool.parallel_for(rows, 1 + 16384 / row_length, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t copied = -1;  // the input row that the previous output row was made of
    for (std::int64_t row = begin; row < end; ++row) {
      std::int64_t source = 0, scale = 1, rest = row;
      bool outside = false;
      for (std::size_t d = rank - 1; d-- > 0; rest /= axes[d].out, scale *= axes[d].in) {
        const std::int64_t index = indices[d][static_cast<std::size_t>(rest % axes[d].out)];
        outside = outside || index < 0;
        source += index * scale;
      }
      Element* target = y + row * row_length;
      if (outside) {
        std::fill_n(target, row_length, extrapolation);
        copied = -1;
        continue;
      }
      if (source == copied) {
        std::copy(target - row_length, target, target);
        continue;
      }
      copied = source;
      const Element* from = x + source * axes[rank - 1].in * block;
      if (plain) {
        for (std::size_t j = 0; j < last.size(); ++j) target[j] = from[last[j]];
        continue;
      }
      for (const std::int64_t index : last) {
        if (index < 0) {
          std::fill_n(target, block, extrapolation);
        } else {
          std::copy_n(from + index * block, block, target);
        }
        target += block;
      }
    }
  });
}

}  // namespace mezzo::ops
