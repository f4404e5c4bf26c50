// Tasks in a grid: how ThreadPool's ranges of a loop become few rectangles.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mezzo::kernels {

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
