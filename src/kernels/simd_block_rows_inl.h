// Blocks of pixels with kBlockChannels values each, side by side, as rows of one value each on
// their way past the caches: transposed in registers, and gathered to whole lines. Included per
// target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_BLOCK_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCK_ROWS_INL
#undef MEZZO_KERNELS_SIMD_BLOCK_ROWS_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCK_ROWS_INL
#endif

#include <algorithm>
#include <cstdint>
#include <optional>

#include "kernels/cpu.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_pack_inl.h"
#include "kernels/simd_stream_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Pixels of a run: the first-level cache holds them.
inline constexpr std::int64_t kRunPixels = 256;

// Rows become columns.
inline void transpose(VecBlock (&v)[kPartLanes]) {
  const BlockF32 d;
  MEZZO_UNROLL
  for (int i = 0; i < kPartLanes; i += 4) transpose_blocks(d, v[i], v[i + 1], v[i + 2], v[i + 3]);
  if constexpr (kPartLanes == 8) {
    MEZZO_UNROLL
    for (int i = 0; i < 4; ++i) {
      const VecBlock low = v[i], high = v[i + 4];
      v[i] = hn::ConcatLowerLower(d, high, low);
      v[i + 4] = hn::ConcatUpperUpper(d, high, low);
    }
  }
}

// The values of `count` pixels of a block of channels to rows `stride` apart, [8][count], and up to
// kPartLanes - 1 zeros behind the last; value(pixel, part) gives the vector of a pixel from that
// channel on.
template <class Value>
HWY_INLINE void to_rows(std::int64_t count, float* to, std::int64_t stride, const Value& value) {
  const BlockF32 d;
  const auto columns = [&](std::int64_t p, int pixels) HWY_ATTR {
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
      VecBlock v[kPartLanes];
      MEZZO_UNROLL
      for (int i = 0; i < kPartLanes; ++i) v[i] = i < pixels ? value(p + i, part) : hn::Zero(d);
      transpose(v);
      MEZZO_UNROLL
      for (int i = 0; i < kPartLanes; ++i) hn::StoreU(v[i], d, to + (part + i) * stride + p);
    }
  };
  // The last ones first: their zeros may lie where the next row begins.
  const std::int64_t whole = count / kPartLanes * kPartLanes;
  if (whole < count) columns(whole, static_cast<int>(count - whole));
  for (std::int64_t p = 0; p < whole; p += kPartLanes) columns(p, kPartLanes);
}

// Two vectors beside each other, past the caches.
template <class D>
HWY_INLINE void stream_two(D pair, VecBlock first, VecBlock second, float* to) {
  if constexpr (hn::MaxLanes(D()) > kPartLanes) {
    hn::Stream(hn::Combine(pair, second, first), pair, to);
  } else {
    const BlockF32 d;
    hn::Stream(first, d, to);
    hn::Stream(second, d, to + kPartLanes);
  }
}

// The same straight from vectors to lines, of pixels [begin, end) of rows of `pixels`, the first of
// which begins at `to`, and once more `further` floats behind, if that is not 0: up to where less
// than `Lines` lines of each row are left.
template <int Lines, class Value>
std::int64_t to_lines(std::int64_t begin, std::int64_t end, float* to, std::int64_t further,
                      std::int64_t pixels, const Value& value) {
  constexpr std::int64_t kPixels = Lines * kCacheLine;
  constexpr int kGroups = int{kPixels} / kPartLanes;
  for (; begin + kPixels <= end; begin += kPixels) {
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
      VecBlock v[kGroups][kPartLanes];
      MEZZO_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        MEZZO_UNROLL
        for (int i = 0; i < kPartLanes; ++i) v[g][i] = value(begin + g * kPartLanes + i, part);
        transpose(v[g]);
      }
      MEZZO_UNROLL
      for (int i = 0; i < kPartLanes; ++i) {
        float* row = to + (part + i) * pixels + begin;
        const auto give = [&](float* place) HWY_ATTR {
          MEZZO_UNROLL
          for (int g = 0; g < kGroups; g += 2)
            stream_two(PairF32(), v[g][i], v[g + 1][i], place + g * kPartLanes);
        };
        give(row);
        if (further != 0) give(row + further);
      }
    }
  }
  return begin;
}

// The state of rows that do not go as one run.
struct RowStreams {
  LineStream rows[kBlockChannels];
  std::int64_t begins[kBlockChannels] = {};  // floats of a row that wait ahead of its first line
  HWY_ALIGN float begin[kBlockChannels][2 * kCacheLine];
};

// The rows of a block's channels on their way past the caches, a run of pixels at a time. Those of
// a plane that is one run go with the planes beside it. Else the end of a row waits for the start
// of the one behind it, which lies in the same line.
class BlockRows {
 public:
  // Pixels [begin, end) of rows of `pixels`, the first of which begins at `to`; null: of none.
  // `further`: as in LineStream::give_also.
  BlockRows(float* to, std::int64_t pixels, std::int64_t begin, std::int64_t end,
            LineStream& planes, std::int64_t further = 0)
      : planes_(planes),
        to_(to),
        further_(further),
        pixels_(pixels),
        at_(begin),
        is_whole_(begin == 0 && end == pixels),
        is_one_run_(is_whole_ && pixels <= kRunPixels) {
    planes_.give_also(further);
  }

  // Where the first row begins.
  float* to() const { return to_; }

  // Pixels [begin, end), kRunPixels at most, the first of which is the next: value(pixel, part) as
  // in to_rows. Straight from vectors to lines, where rows are whole lines, or through the caches.
  template <class Value>
  void add(std::int64_t begin, std::int64_t end, const Value& value) {
    std::int64_t next = begin;
    if (pixels_ % kCacheLine == 0 && to_line(to_ + at_) == 0) {
      // Where lines so far from each other wait for each other, two beside each other go at a time.
      // (CPUs with wide vectors are not like that.)
      if constexpr (kPairLanes == kPartLanes) {
        if (pixels_ % (16 * kCacheLine) == 0 && far_lines_wait())
          next = to_lines<2>(next, end, to_, further_, pixels_, value);
      }
      next = to_lines<1>(next, end, to_, further_, pixels_, value);
      at_ += next - begin;
    }
    if (next == end) return;
    if (!is_one_run_ && !streams_.has_value()) {
      streams_.emplace();
      for (LineStream& row : streams_->rows) row.give_also(further_);
    }
    alignas(kPage * sizeof(float)) float run[kRunFloats];
    float* const first = run + first_row();
    lead(first);
    to_rows(end - next, first, stride(),
            [&](std::int64_t pixel, int part) HWY_ATTR { return value(next + pixel, part); });
    add_run(first, end - next);
  }

  void finish() {
    if (!streams_.has_value()) return;
    for (int c = 0; c < int{kBlockChannels}; ++c) {
      const int next = (c + 1) % int{kBlockChannels};
      if (streams_->begins[next] > 0) {
        float *from = streams_->begin[next] + kCacheLine, *to = to_ + next * pixels_;
        streams_->rows[c].lead(from, to);
        streams_->rows[c].add(from, streams_->begins[next], to);
      }
      streams_->rows[c].finish();
    }
  }

 private:
  static constexpr std::int64_t kPage = 4096 / sizeof(float);
  static constexpr std::int64_t kStride = kRunPixels + kCacheLine;
  static constexpr std::int64_t kRunFloats = kCacheLine + kBlockChannels * kStride;

  std::int64_t stride() const { return is_one_run_ ? pixels_ : kStride; }

  // Where the first row lies in a run that begins with a page. A store across the border of two
  // pages makes the CPU wait until all lines on their way have left, so rows that need not begin
  // with a vector lie in one page, or the border is that between two vectors of the fifth.
  std::int64_t first_row() const {
    if (!is_one_run_ || kCacheLine + kBlockChannels * (pixels_ + 1) <= kPage) return kCacheLine;
    return std::max<std::int64_t>(kCacheLine,
                                  kPage - kBlockChannels / 2 * pixels_ - kBlockChannels);
  }

  // What waits of earlier runs goes ahead of the rows that are to come.
  void lead(float* first) {
    if (is_one_run_) return planes_.lead(first, to_);
    for (int c = 0; c < int{kBlockChannels}; ++c)
      streams_->rows[c].lead(first + c * kStride, to_ + c * pixels_ + at_);
  }

  // The next `count` pixels, whose rows are stride() apart.
  void add_run(float* first, std::int64_t count) {
    if (is_one_run_) return planes_.add(first, kBlockChannels * count, to_);
    for (int c = 0; c < int{kBlockChannels}; ++c) {
      float *from = first + c * kStride, *to = to_ + c * pixels_ + at_;
      std::int64_t begin = 0;
      if (is_whole_ && at_ == 0 && c > 0) {
        begin = streams_->begins[c] = std::min(count, to_line(to));
        std::copy_n(from, begin, streams_->begin[c] + kCacheLine);
      }
      streams_->rows[c].add(from + begin, count - begin, to + begin);
    }
    at_ += count;
  }

  LineStream& planes_;
  float* to_;
  std::int64_t further_, pixels_, at_;
  bool is_whole_, is_one_run_;
  std::optional<RowStreams> streams_;
};

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
