// What follows a convolution in the blocked layout, stage by stage, where the tensors between the
// stages are wanted. Pixels are taken in runs while they are in the first-level cache. Included per
// target, like simd.h.
//
// What is given goes past the caches: eight rows at a time it would otherwise cost twice what
// writing one after another does.

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_STAGES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_STAGES_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_STAGES_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_STAGES_INL
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

#include "kernels/conv_f32.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_pack_inl.h"
#include "kernels/simd_stream_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

inline constexpr float kOnes[kBlockChannels] = {1, 1, 1, 1, 1, 1, 1, 1};

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
  BlockRows(float* to, std::int64_t pixels, std::int64_t begin, std::int64_t end,
            LineStream& planes)
      : planes_(planes),
        to_(to),
        pixels_(pixels),
        at_(begin),
        is_whole_(begin == 0 && end == pixels),
        is_one_run_(is_whole_ && pixels <= kRunPixels) {
    if (to != nullptr && !is_one_run_) streams_.emplace();
  }

  // Where the first row begins.
  float* to() const { return to_; }

  // Whether all rows go on at lines.
  bool are_lines() const { return pixels_ % kCacheLine == 0 && to_line(to_ + at_) == 0; }

  // The next pixels were written without this.
  void skip(std::int64_t count) { at_ += count; }

  // The next `count` pixels, whose rows are rows(run), stride() apart.
  void add(float* run, std::int64_t count) {
    if (is_one_run_) return planes_.add(rows(run), kBlockChannels * count, to_);
    for (int c = 0; c < int{kBlockChannels}; ++c) {
      float *from = rows(run) + c * kStride, *to = to_ + c * pixels_ + at_;
      std::int64_t begin = 0;
      if (is_whole_ && at_ == 0 && c > 0) {
        begin = streams_->begins[c] = std::min(count, to_line(to));
        std::copy_n(from, begin, rows(streams_->begin[c]));
      }
      streams_->rows[c].add(from + begin, count - begin, to + begin);
    }
    at_ += count;
  }

  void finish() {
    if (!streams_.has_value()) return;
    for (int c = 0; c < int{kBlockChannels}; ++c) {
      const int next = (c + 1) % int{kBlockChannels};
      if (streams_->begins[next] > 0) {
        streams_->rows[c].add(rows(streams_->begin[next]), streams_->begins[next],
                              to_ + next * pixels_);
      }
      streams_->rows[c].finish();
    }
  }

  static float* rows(float* run) { return run + kCacheLine; }
  std::int64_t stride() const { return is_one_run_ ? pixels_ : kStride; }

  static constexpr std::int64_t kStride = kRunPixels + kCacheLine;
  static constexpr std::int64_t kRunFloats = kCacheLine + kBlockChannels * kStride;

 private:
  LineStream& planes_;
  float* to_;
  std::int64_t pixels_, at_;
  bool is_whole_, is_one_run_;
  std::optional<RowStreams> streams_;
};

// Small planes on their way, by the stage that gives them: conv, scaled, sum, result.
struct StagePlanes {
  LineStream streams[4];

  // Everything is there for others to see.
  void finish() {
    for (LineStream& stream : streams) stream.finish();
    hwy::FlushStream();
  }
};

// What a stage makes of the vector at y + at, channels from `part` on; it takes the vector's place
// (Keep) or not.
template <bool Keep, class Float, class Op>
HWY_INLINE VecBlock stage_value(Float* y, std::int64_t at, int part, const Op& op) {
  const BlockF32 d;
  const VecBlock v = op(hn::LoadU(d, y + at), at, part);
  if constexpr (Keep) hn::StoreU(v, d, y + at);
  return v;
}

// One stage of pixels [begin, end) of a block: op(y, floats from y, part of a block), which takes
// the place of y (Keep) or not, and the rows of that unless nobody wants them.
template <bool Keep, class Float, class Op>
void run_stage(std::int64_t begin, std::int64_t end, Float* y, BlockRows& rows, const Op& op) {
  const std::int64_t count = end - begin;
  const auto value = [&](std::int64_t pixel, int part) HWY_ATTR {
    return stage_value<Keep>(y, (begin + pixel) * kBlockChannels + part, part, op);
  };
  if (rows.to() == nullptr) {
    for (std::int64_t p = 0; p < count; ++p) {
      MEZZO_UNROLL
      for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) value(p, part);
    }
    return;
  }
  HWY_ALIGN float run[BlockRows::kRunFloats];
  to_rows(count, BlockRows::rows(run), rows.stride(), value);
  rows.add(run, count);
}

// The same of whole lines of each row, which begin at lines, in one walk: up to where less than
// `Lines` are left.
template <int Lines, bool Keep, class Float, class Op>
std::int64_t run_stage_lines(std::int64_t begin, std::int64_t end, Float* y, float* to,
                             std::int64_t pixels, const Op& op) {
  const BlockF32 d;
  constexpr std::int64_t kPixels = Lines * kCacheLine;
  constexpr int kGroups = int{kPixels} / kPartLanes;
  for (; begin + kPixels <= end; begin += kPixels) {
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
      VecBlock v[kGroups][kPartLanes];
      MEZZO_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        MEZZO_UNROLL
        for (int i = 0; i < kPartLanes; ++i) {
          const std::int64_t at = (begin + g * kPartLanes + i) * kBlockChannels + part;
          v[g][i] = stage_value<Keep>(y, at, part, op);
        }
        transpose(v[g]);
      }
      MEZZO_UNROLL
      for (int i = 0; i < kPartLanes; ++i) {
        float* row = to + (part + i) * pixels + begin;
        MEZZO_UNROLL
        for (int g = 0; g < kGroups; g += kPairLanes / kPartLanes) {
          if constexpr (kPairLanes > kPartLanes) {
            const PairF32 pair;
            hn::Stream(hn::Combine(pair, v[g + 1][i], v[g][i]), pair, row + g * kPartLanes);
          } else {
            hn::Stream(v[g][i], d, row + g * kPartLanes);
          }
        }
      }
    }
  }
  return begin;
}

// The arguments for what comes ahead of the stages.
inline ConvArgs ahead_of_stages(ConvArgs args) {
  if (!args.stages.wanted()) return args;
  if (args.stages.shift != nullptr) args.bias = nullptr;
  args.add = nullptr;
  args.min = -std::numeric_limits<float>::infinity();
  args.max = std::numeric_limits<float>::infinity();
  return args;
}

// One stage of pixels [begin, end) of a block: straight from vectors to lines, where rows are whole
// lines, or through the caches. Behind the last, rows.finish() must follow.
template <bool Keep, class Float, class Op>
void run_stage_rows(std::int64_t begin, std::int64_t end, Float* y, std::int64_t pixels,
                    BlockRows& rows, const Op& op) {
  std::int64_t next = begin;
  if (rows.to() != nullptr && rows.are_lines()) {
    // Lines of rows so far from each other wait for each other in the CPU's buffers: two beside
    // each other go at a time.
    if (pixels % (16 * kCacheLine) == 0)
      next = run_stage_lines<2, Keep>(next, end, y, rows.to(), pixels, op);
    next = run_stage_lines<1, Keep>(next, end, y, rows.to(), pixels, op);
    rows.skip(next - begin);
  }
  if (next < end) run_stage<Keep>(next, end, y, rows, op);
}

// The stages of `count` pixels from pixel `begin` of image n on, of one block of channels, for
// which y holds what ahead_of_stages asks for. planes.finish() must follow.
inline void run_stages(const ConvShape& s, const ConvArgs& args, std::int64_t y_stride,
                       std::int64_t n, std::int64_t block, std::int64_t begin, std::int64_t count,
                       StagePlanes& planes) {
  const BlockF32 d;
  const ConvStages& stages = args.stages;
  const std::int64_t pixels = s.stage_plane(), channel = block * kBlockChannels;
  // The block's first, in all tensors but y.
  const std::int64_t plane = n * s.out_c + channel;
  float* y = args.y + n * y_stride + channel * s.y_plane();
  const float* add = args.add == nullptr ? nullptr : args.add + plane * s.add_plane();
  const VecBlock lo = hn::Set(d, args.min), hi = hn::Set(d, args.max);
  const auto of_block = [&](const float* channels, const float* otherwise) {
    return channels == nullptr ? otherwise : channels + channel;
  };
  const float *scale = of_block(stages.scale, kOnes), *unscale = of_block(stages.unscale, kOnes),
              *shift = of_block(stages.shift, kZeros), *bias = of_block(args.bias, kZeros);
  const std::int64_t end = begin + count;
  const auto rows_of = [&](int stage, float* to) {
    return BlockRows(to == nullptr ? nullptr : to + plane * pixels, pixels, begin, end,
                     planes.streams[stage]);
  };
  BlockRows conv = rows_of(0, stages.conv), after_norm = rows_of(1, stages.scaled),
            sum = rows_of(2, stages.sum), result = rows_of(3, stages.result);
  for (; begin < end; begin += kRunPixels) {
    const std::int64_t run_end = std::min(begin + kRunPixels, end);
    const auto run = [&](auto keep, BlockRows& rows, const auto& op)
                         HWY_ATTR { run_stage_rows<keep()>(begin, run_end, y, pixels, rows, op); };
    constexpr std::true_type kKeep;
    constexpr std::false_type kLeave;
    const auto scaled = [&](const float* factors, const float* terms) HWY_ATTR {
      return [=](VecBlock v, std::int64_t, int part) HWY_ATTR {
        return hn::MulAdd(v, hn::LoadU(d, factors + part), hn::LoadU(d, terms + part));
      };
    };
    if (stages.shift == nullptr) {
      if (stages.conv != nullptr)
        run(kLeave, conv, [](VecBlock v, std::int64_t, int) HWY_ATTR { return v; });
    } else {
      if (stages.conv != nullptr) run(kLeave, conv, scaled(unscale, bias));
      run(kKeep, after_norm, scaled(scale, shift));
    }
    if (add != nullptr) {
      run(kKeep, sum, [&](VecBlock v, std::int64_t at, int) HWY_ATTR {
        return hn::Add(v, hn::LoadU(d, add + at));
      });
    }
    run(kKeep, result, [&](VecBlock v, std::int64_t, int) HWY_ATTR { return clamp(v, lo, hi); });
  }
  for (BlockRows* rows : {&conv, &after_norm, &sum, &result}) rows->finish();
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
