// The matrix of columns that turns a convolution into a matrix product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"
#include "ops/window.h"

namespace mezzo::ops {

/// Copies what the output positions [first, first + count) (row-major over all spatial axes) see of
/// `x` [channels, in extents] into columns [channel * taps + tap][count], with `padding` where they
/// see none of it.
template <class T>
void im2col(const Windows& windows, const T* x, std::int64_t channels, std::int64_t first,
            std::int64_t count, T padding, T* columns, ThreadPool& pool) {
  const WindowAxis& last = windows.back();
  const int lead = static_cast<int>(windows.size()) - 1;
  const std::int64_t taps = kernel_size(windows), plane = in_size(windows);
  constexpr std::int64_t kGrain = 65536;  // elements
  pool.parallel_for(
      channels * taps, 1 + kGrain / (count + 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const T* source = x + i / taps * plane;
          const std::int64_t tap = i % taps;
          const Taps inside = outputs_inside(last, tap % last.kernel);
          const std::int64_t shift = tap % last.kernel * last.dilation - last.pad_begin;
          T* target = columns + i * count;
          for (std::int64_t at = first; at < first + count;) {
            const std::int64_t row = at / last.out, from = at % last.out;
            const std::int64_t to = std::min(last.out, from + first + count - at);
            const std::int64_t in_row =
                input_index(windows, lead, output_position(windows, lead, row), tap / last.kernel);
            const std::int64_t begin_inside = in_row < 0 ? to : std::clamp(inside.begin, from, to);
            const std::int64_t end_inside = std::clamp(inside.end, begin_inside, to);
            std::fill(target, target + (begin_inside - from), padding);
            const T* in = source + std::max<std::int64_t>(in_row, 0) * last.in;
            for (std::int64_t o = begin_inside; o < end_inside; ++o) {
              target[o - from] = in[o * last.stride + shift];
            }
            std::fill(target + (end_inside - from), target + (to - from), padding);
            target += to - from;
            at += to - from;
          }
        }
      });
}

}  // namespace mezzo::ops
