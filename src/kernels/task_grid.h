// Tasks: what is worth one, how many a grid has, and how ThreadPool's ranges of them become few
// rectangles.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mezzo::kernels {

/// Multiply-adds of float32 worth handing to another thread: some ten microseconds.
inline constexpr std::int64_t kTaskWork = std::int64_t{1} << 19;

/// Doubles the parts of a grid, of the first axis before the second, up to `most`, until there are
/// `wanted` tasks, as long as each has more than `least` of the `work`.
inline void divide(std::int64_t wanted, std::int64_t work, std::int64_t least, std::int64_t& first,
                   std::int64_t most_first, std::int64_t& second, std::int64_t most_second) {
  while (first * second < wanted && work / (first * second) > least) {
    if (first < most_first) {
      first = std::min(2 * first, most_first);
    } else if (second < most_second) {
      second = std::min(2 * second, most_second);
    } else {
      break;
    }
  }
}

struct Rectangle {
  std::int64_t major_begin, major_end, minor_begin, minor_end;
};

/// Covers the tasks [begin, end), counted with the `minor` ones beside each other, by few
/// rectangles.
template <class Run>
void for_rectangles(std::int64_t begin, std::int64_t end, std::int64_t minor, const Run& run) {
  while (begin < end) {
    const std::int64_t major = begin / minor, first = begin % minor;
    const bool whole = first == 0 && end - begin >= minor;
    const Rectangle r{major, whole ? end / minor : major + 1, first,
                      whole ? minor : std::min(minor, first + end - begin)};
    run(r);
    begin = (r.major_end - 1) * minor + r.minor_end;
  }
}

}  // namespace mezzo::kernels
