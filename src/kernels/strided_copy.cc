#include "kernels/strided_copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/shape.h"
#include "kernels/repeat.h"
#include "kernels/transpose_tile.h"

namespace mezzo::kernels {
namespace {

// About 10 microseconds of copying on one core.
constexpr std::int64_t kPieceBytes = 64 * 1024;
// Edge of the square of bytes in which a transposition goes: a cache line.
constexpr std::int64_t kTileBytes = 64;
// A run of so many bytes takes no longer than the call of memcpy for it.
constexpr std::int64_t kShortRun = 256;
// Rows whose distance is a multiple of it share an eighth of the sets of a first-level cache (whose
// ways are 4 KiB), or fewer.
constexpr std::int64_t kFewSets = 512;

template <int N>
struct Bytes {
  unsigned char bytes[N];
};

// A square of 16 bytes' edge is transposed in registers: log2(rows) times, the lower and the upper
// half of the rows are interleaved, which each time rotates the bits of (row, column) by one place.
template <class Lane, int kLanes>
struct Square {
  static constexpr int kRows = kLanes;
  typedef Lane Vector __attribute__((vector_size(16)));

  template <std::size_t... I>
  static Vector low(Vector a, Vector b, std::index_sequence<I...>) {
    return __builtin_shufflevector(a, b, (I / 2 + (I % 2) * kLanes)...);
  }
  template <std::size_t... I>
  static Vector high(Vector a, Vector b, std::index_sequence<I...>) {
    return __builtin_shufflevector(a, b, (I / 2 + kLanes / 2 + (I % 2) * kLanes)...);
  }

  static void transpose(const char* source, std::int64_t source_stride, char* target,
                        std::int64_t target_stride) {
    Vector rows[kLanes], next[kLanes];
    for (int i = 0; i < kLanes; ++i) std::memcpy(&rows[i], source + i * source_stride, 16);
    constexpr auto kIndices = std::make_index_sequence<kLanes>();
    for (int stage = 1; stage < kLanes; stage *= 2) {
      for (int i = 0; i < kLanes / 2; ++i) {
        next[2 * i] = low(rows[i], rows[i + kLanes / 2], kIndices);
        next[2 * i + 1] = high(rows[i], rows[i + kLanes / 2], kIndices);
      }
      std::memcpy(rows, next, sizeof rows);
    }
    for (int i = 0; i < kLanes; ++i) std::memcpy(target + i * target_stride, &rows[i], 16);
  }
};

template <int N>
struct SquareOf {
  static constexpr int kRows = 0;
};
// clang-format off
template <> struct SquareOf<1> : Square<std::uint8_t, 16> {};
template <> struct SquareOf<2> : Square<std::uint16_t, 8> {};
template <> struct SquareOf<4> : Square<std::uint32_t, 4> {};
template <> struct SquareOf<8> : Square<std::uint64_t, 2> {};
// clang-format on

template <int N>
void copy_element(const char* source, char* target) {
  std::memcpy(target, source, N);
}

// target[c * N + r * target_stride] = source[r * N + c * source_stride]: `rows` is along the axis
// that is contiguous in the source.
template <int N>
void transpose_tile(const char* source, std::int64_t source_stride, char* target,
                    std::int64_t target_stride, std::int64_t rows, std::int64_t columns) {
  std::int64_t whole_rows = 0, whole_columns = 0;
  if constexpr (SquareOf<N>::kRows > 0) {
    constexpr std::int64_t kEdge = SquareOf<N>::kRows;
    whole_rows = rows / kEdge * kEdge;
    whole_columns = columns / kEdge * kEdge;
    for (std::int64_t r = 0; r < whole_rows; r += kEdge) {
      for (std::int64_t c = 0; c < whole_columns; c += kEdge) {
        SquareOf<N>::transpose(source + r * N + c * source_stride, source_stride,
                               target + c * N + r * target_stride, target_stride);
      }
    }
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      copy_element<N>(source + r * N + c * source_stride, target + r * target_stride + c * N);
    }
  }
}

// The same for a whole tile, by way of two small squares. Rows whose distance is a multiple of many
// cache lines fall into few sets of the cache and would throw each other out of it; so each line is
// touched but once.
template <int N>
void transpose_whole_tile(const char* source, std::int64_t source_stride, char* target,
                          std::int64_t target_stride) {
  constexpr std::int64_t kTile = kTileBytes / N;
  alignas(64) char from[kTile * kTileBytes], to[kTile * kTileBytes];
  for (std::int64_t c = 0; c < kTile; ++c) {
    std::memcpy(from + c * kTileBytes, source + c * source_stride, kTileBytes);
  }
  transpose_tile<N>(from, kTileBytes, to, kTileBytes, kTile, kTile);
  for (std::int64_t r = 0; r < kTile; ++r) {
    std::memcpy(target + r * target_stride, to + r * kTileBytes, kTileBytes);
  }
}

// `count` runs of `bytes` each. Short ones go by vectors, of which the last may overlap the one
// ahead.
void copy_runs(const char* source, std::int64_t source_stride, char* target,
               std::int64_t target_stride, std::int64_t count, std::int64_t bytes) {
  const bool is_short = bytes >= 16 && bytes <= kShortRun;
  for (; count > 0; --count, source += source_stride, target += target_stride) {
    if (!is_short) {
      std::memcpy(target, source, static_cast<std::size_t>(bytes));
      continue;
    }
    const std::int64_t last = bytes - 16;
    for (std::int64_t i = 0; i < last; i += 16) copy_element<16>(source + i, target + i);
    copy_element<16>(source + last, target + last);
  }
}

// Elements 0, 2, ... of the source: with a distance that the compiler knows, it takes vectors.
template <int N>
void every_other(const char* __restrict source, char* __restrict target, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) copy_element<N>(source + 2 * i * N, target + i * N);
}

// Elements of two arrays in turns.
template <int N>
void interleave(const char* __restrict even, const char* __restrict odd, char* __restrict target,
                std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    copy_element<N>(even + i * N, target + 2 * i * N);
    copy_element<N>(odd + i * N, target + (2 * i + 1) * N);
  }
}

}  // namespace

struct StridedCopy::Span {
  const char* source;
  char* target;
  std::int64_t begin, end;  // of the inner part, in the unit of its pieces
};

StridedCopy::StridedCopy(std::int64_t element_bytes, const std::vector<std::int64_t>& extents,
                         const std::vector<std::int64_t>& source_strides,
                         const std::vector<std::int64_t>& target_strides)
    : element_(element_bytes) {
  // Planning comes before allocation, so nothing has said yet that these sizes are reasonable.
  if (checked_mul(element_count(extents), element_bytes) == 0) return;
  const auto to_bytes = [&](std::int64_t stride) {
    return stride < 0 ? -checked_mul(-stride, element_bytes) : checked_mul(stride, element_bytes);
  };
  for (std::size_t a = 0; a < extents.size(); ++a) {
    if (extents[a] == 1) continue;
    axes_.push_back({extents[a], to_bytes(source_strides[a]), to_bytes(target_strides[a])});
  }
  merge_axes();
  choose_inner();
}

void StridedCopy::merge_axes() {
  std::vector<Axis> merged;
  for (const Axis& axis : axes_) {
    if (!merged.empty() && merged.back().source == axis.source * axis.extent &&
        merged.back().target == axis.target * axis.extent) {
      merged.back() = {merged.back().extent * axis.extent, axis.source, axis.target};
    } else {
      merged.push_back(axis);
    }
  }
  axes_ = std::move(merged);
}

void StridedCopy::choose_inner() {
  run_bytes_ = element_;
  if (!axes_.empty() && axes_.back().source == element_ && axes_.back().target == element_) {
    run_bytes_ *= axes_.back().extent;
    axes_.pop_back();
  }
  const bool one_element = run_bytes_ <= 16 && (run_bytes_ & (run_bytes_ - 1)) == 0;
  if (axes_.empty() || !one_element) {
    inner_ = Inner::run;
    outer_axes_ = axes_.size();
    piece_ = kPieceBytes;
    pieces_ = (run_bytes_ + piece_ - 1) / piece_;
  } else {
    element_ = run_bytes_;
    const auto contiguous_in = [&](std::int64_t Axis::*stride) {
      return std::find_if(axes_.begin(), axes_.end(),
                          [&](const Axis& a) { return a.*stride == element_; });
    };
    const auto in_source = contiguous_in(&Axis::source), in_target = contiguous_in(&Axis::target);
    const bool repeats_long = !axes_.empty() && axes_.back().source == 0 &&
                              axes_.back().target == element_ &&
                              axes_.back().extent * element_ >= kTileBytes;
    if (!repeats_long && in_source != in_target && in_source != axes_.end() &&
        in_target != axes_.end()) {
      inner_ = Inner::transpose;
      const Axis rows = *in_source, columns = *in_target;
      axes_.erase(std::max(in_source, in_target));
      axes_.erase(std::min(in_source, in_target));
      axes_.insert(axes_.end(), {rows, columns});
      outer_axes_ = axes_.size() - 2;
      const std::int64_t tile = std::max<std::int64_t>(kTileBytes / element_, 1);
      const std::int64_t row_bytes = axes_.back().extent * element_;
      piece_ = (std::max<std::int64_t>(kPieceBytes / row_bytes, 1) + tile - 1) / tile * tile;
      pieces_ = (axes_[outer_axes_].extent + piece_ - 1) / piece_;
    } else {
      inner_ = Inner::strided;
      outer_axes_ = axes_.size() - 1;
      piece_ = kPieceBytes / element_;
      pieces_ = (axes_.back().extent + piece_ - 1) / piece_;
    }
  }
  std::int64_t bytes = run_bytes_;
  for (std::size_t a = 0; a < axes_.size(); ++a) {
    if (a < outer_axes_) outer_count_ *= axes_[a].extent;
    if (a >= outer_axes_) bytes *= axes_[a].extent;
  }
  grain_ =
      pieces_ > 1 ? 1 : std::max<std::int64_t>(kPieceBytes / std::max<std::int64_t>(bytes, 1), 1);
}

template <class Element>
void StridedCopy::run_strided(const Span& span) const {
  constexpr int kBytes = sizeof(Element);
  const Axis& axis = axes_.back();
  const char* source = span.source + span.begin * axis.source;
  char* target = span.target + span.begin * axis.target;
  const std::int64_t count = span.end - span.begin;
  if (axis.source == 0 && axis.target == kBytes) {
    repeat<kBytes>(source, target, count * kBytes);
    return;
  }
  if (axis.source == 2 * kBytes && axis.target == kBytes)
    return every_other<kBytes>(source, target, count);
  for (std::int64_t i = 0; i < count; ++i) {
    copy_element<kBytes>(source + i * axis.source, target + i * axis.target);
  }
}

template <class Element>
void StridedCopy::run_transpose(const Span& span) const {
  constexpr int kBytes = sizeof(Element);
  constexpr std::int64_t kTile = std::max<std::int64_t>(kTileBytes / kBytes, 1);
  const Axis& rows = axes_[axes_.size() - 2];
  const Axis& columns = axes_.back();
  // Between pairs and two arrays: half of a block of depth, say.
  if (rows.extent == 2 && columns.source == 2 * kBytes) {
    for (std::int64_t r = span.begin; r < span.end; ++r) {
      every_other<kBytes>(span.source + r * kBytes, span.target + r * rows.target, columns.extent);
    }
    return;
  }
  if (columns.extent == 2 && rows.target == 2 * kBytes) {
    const char* source = span.source + span.begin * kBytes;
    return interleave<kBytes>(source, source + columns.source,
                              span.target + span.begin * rows.target, span.end - span.begin);
  }
  const TransposeTile wide = kBytes == 4 && kTile == kTransposeEdge ? transpose_tile() : nullptr;
  const bool few_sets = rows.target % kFewSets == 0 || columns.source % kFewSets == 0;
  for (std::int64_t r = span.begin; r < span.end; r += kTile) {
    const std::int64_t row_count = std::min(kTile, span.end - r);
    for (std::int64_t c = 0; c < columns.extent; c += kTile) {
      const std::int64_t column_count = std::min(kTile, columns.extent - c);
      const char* source = span.source + r * kBytes + c * columns.source;
      char* target = span.target + r * rows.target + c * kBytes;
      // So many lines far apart are fetched only by who asks for them.
      for (std::int64_t i = 0; i < row_count; ++i)
        __builtin_prefetch(target + i * rows.target + kTileBytes, 1);
      const bool whole = row_count == kTile && column_count == kTile;
      if (wide != nullptr && whole) {
        wide(source, columns.source, target, rows.target);
      } else if (few_sets && whole) {
        transpose_whole_tile<kBytes>(source, columns.source, target, rows.target);
      } else {
        transpose_tile<kBytes>(source, columns.source, target, rows.target, row_count,
                               column_count);
      }
    }
  }
}

namespace {

// Calls fn(Bytes<N>{}) for the N that is `element_bytes`.
template <class Fn>
void with_element(std::int64_t element_bytes, Fn&& fn) {
  switch (element_bytes) {
    case 1:
      return fn(Bytes<1>{});
    case 2:
      return fn(Bytes<2>{});
    case 4:
      return fn(Bytes<4>{});
    case 8:
      return fn(Bytes<8>{});
    default:
      return fn(Bytes<16>{});
  }
}

}  // namespace

void StridedCopy::run(const void* source, void* target, ThreadPool& pool) const {
  if (inner_ == Inner::nothing) return;
  const std::int64_t inner_units = inner_ == Inner::run         ? run_bytes_
                                   : inner_ == Inner::transpose ? axes_[outer_axes_].extent
                                                                : axes_.back().extent;
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    // An odometer over the outer axes, started at `begin`.
    std::vector<std::int64_t> index(outer_axes_, 0);
    std::int64_t piece = begin % pieces_;
    Span span{static_cast<const char*>(source), static_cast<char*>(target), 0, 0};
    std::int64_t rest = begin / pieces_;
    for (std::size_t a = outer_axes_; a-- > 0;) {
      index[a] = rest % axes_[a].extent;
      rest /= axes_[a].extent;
      span.source += index[a] * axes_[a].source;
      span.target += index[a] * axes_[a].target;
    }
    // Along the innermost of those axes whole runs are taken together.
    const bool is_many = inner_ == Inner::run && pieces_ == 1 && outer_axes_ > 0;
    for (std::int64_t item = begin, count = 1; item < end; item += count) {
      span.begin = piece * piece_;
      span.end = std::min(span.begin + piece_, inner_units);
      if (is_many) {
        const Axis& axis = axes_[outer_axes_ - 1];
        count = std::min(end - item, axis.extent - index.back());
        copy_runs(span.source, axis.source, span.target, axis.target, count, run_bytes_);
      } else if (inner_ == Inner::run) {
        std::memcpy(span.target + span.begin, span.source + span.begin,
                    static_cast<std::size_t>(span.end - span.begin));
      } else {
        with_element(element_, [&](auto element) {
          using Element = decltype(element);
          inner_ == Inner::strided ? run_strided<Element>(span) : run_transpose<Element>(span);
        });
      }
      if (++piece < pieces_) continue;
      piece = 0;
      for (std::size_t a = outer_axes_; a-- > 0;) {
        const std::int64_t steps = a + 1 == outer_axes_ ? count : 1;
        span.source += steps * axes_[a].source;
        span.target += steps * axes_[a].target;
        if ((index[a] += steps) < axes_[a].extent) break;
        span.source -= index[a] * axes_[a].source;
        span.target -= index[a] * axes_[a].target;
        index[a] = 0;
      }
    }
  };
  pool.parallel_for(outer_count_ * pieces_, grain_, body);
}

}  // namespace mezzo::kernels
