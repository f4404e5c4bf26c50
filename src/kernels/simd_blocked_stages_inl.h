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
#include <type_traits>

#include "kernels/conv_f32.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_stream_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

inline constexpr float kOnes[kBlockChannels] = {1, 1, 1, 1, 1, 1, 1, 1};

// Pixels of a run: the first-level cache holds them. Small images are taken whole, as their rows
// then lie together.
inline constexpr std::int64_t kRunPixels = 256, kMostRunPixels = 1024;

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

// The values of `count` pixels of a block of channels to rows `stride` apart, [8][count];
// value(pixel, part) gives the vector of a pixel from that channel on.
template <class Value>
HWY_INLINE void to_rows(std::int64_t count, float* to, std::int64_t stride, const Value& value) {
  const BlockF32 d;
  std::int64_t p = 0;
  for (; p + kPartLanes <= count; p += kPartLanes) {
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
      VecBlock v[kPartLanes];
      MEZZO_UNROLL
      for (int i = 0; i < kPartLanes; ++i) v[i] = value(p + i, part);
      transpose(v);
      MEZZO_UNROLL
      for (int i = 0; i < kPartLanes; ++i) hn::StoreU(v[i], d, to + (part + i) * stride + p);
    }
  }
  for (; p < count; ++p) {
    HWY_ALIGN float values[kBlockChannels];
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes)
      hn::Store(value(p, part), d, values + part);
    for (std::int64_t c = 0; c < kBlockChannels; ++c) to[c * stride + p] = values[c];
  }
}

// `count` pixels of a block of channels, [count][8], to rows `stride` apart, [8][count].
inline void from_block(const float* from, std::int64_t count, float* to, std::int64_t stride) {
  to_rows(count, to, stride, [&](std::int64_t pixel, int part) HWY_ATTR {
    return hn::LoadU(BlockF32(), from + pixel * kBlockChannels + part);
  });
}

// Whether all rows of `pixels` begin at lines of the cache, as the one at `row` must.
inline bool are_lines(const float* row, std::int64_t pixels) {
  return pixels % kCacheLine == 0 &&
         reinterpret_cast<std::uintptr_t>(row) % (kCacheLine * sizeof(float)) == 0;
}

// What a stage makes of the vector at y + at, channels from `part` on; it takes the vector's place
// (Keep) or not.
template <bool Keep, class Op>
HWY_INLINE VecBlock stage_value(float* y, std::int64_t at, int part, const Op& op) {
  const BlockF32 d;
  const VecBlock v = op(hn::LoadU(d, y + at), at, part);
  if constexpr (Keep) hn::StoreU(v, d, y + at);
  return v;
}

// One stage of pixels [begin, end) of a block: op(y, floats from y, part of a block), which takes
// the place of y (Keep) or not, and the rows of that at `to`, `pixels` apart, unless it is null.
template <bool Keep, class Op>
void run_stage(std::int64_t begin, std::int64_t end, float* y, float* to, std::int64_t pixels,
               const Op& op) {
  const std::int64_t count = end - begin;
  const auto value = [&](std::int64_t pixel, int part) HWY_ATTR {
    return stage_value<Keep>(y, (begin + pixel) * kBlockChannels + part, part, op);
  };
  if (to == nullptr) {
    for (std::int64_t p = 0; p < count; ++p) {
      MEZZO_UNROLL
      for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) value(p, part);
    }
    return;
  }
  HWY_ALIGN float rows[kBlockChannels * kMostRunPixels];
  to_rows(count, rows, count, value);
  if (count == pixels) return stream(rows, kBlockChannels * count, to + begin);
  for (std::int64_t c = 0; c < kBlockChannels; ++c)
    stream(rows + c * count, count, to + c * pixels + begin);
}

// The same of whole lines of each row, which begin at lines, in one walk: up to where less than
// `Lines` are left.
template <int Lines, bool Keep, class Op>
std::int64_t run_stage_lines(std::int64_t begin, std::int64_t end, float* y, float* to,
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

// The stages of `count` pixels from pixel `begin` of image n on, of one block of channels, for
// which y holds what ahead_of_stages asks for. hwy::FlushStream() must follow.
inline void run_stages(const ConvShape& s, const ConvArgs& args, std::int64_t y_stride,
                       std::int64_t n, std::int64_t block, std::int64_t begin, std::int64_t count) {
  const BlockF32 d;
  const ConvStages& stages = args.stages;
  const std::int64_t pixels = s.out_h * s.out_w, channel = block * kBlockChannels;
  // Of the block's plane of the image, in all tensors but y.
  const std::int64_t plane = (n * s.out_c + channel) * pixels;
  float* y = args.y + n * y_stride + channel * pixels;
  const float* add = args.add == nullptr ? nullptr : args.add + plane;
  const VecBlock lo = hn::Set(d, args.min), hi = hn::Set(d, args.max);
  const auto of_block = [&](const float* channels, const float* otherwise) {
    return channels == nullptr ? otherwise : channels + channel;
  };
  const float *scale = of_block(stages.scale, kOnes), *unscale = of_block(stages.unscale, kOnes),
              *shift = of_block(stages.shift, kZeros), *bias = of_block(args.bias, kZeros);
  const std::int64_t most =
      pixels % kCacheLine != 0 && pixels <= kMostRunPixels ? kMostRunPixels : kRunPixels;
  // Lines of rows so far from each other wait for each other in the CPU's buffers: two beside each
  // other go at a time.
  const bool rows_collide = pixels % (16 * kCacheLine) == 0;
  for (const std::int64_t end = begin + count; begin < end; begin += most) {
    const std::int64_t run_end = std::min(begin + most, end);
    const auto run = [&](auto keep, float* to, const auto& op) HWY_ATTR {
      constexpr bool kKeep = keep();
      if (to == nullptr) return run_stage<kKeep>(begin, run_end, y, nullptr, pixels, op);
      to += plane;
      std::int64_t next = begin;
      if (are_lines(to + begin, pixels)) {
        if (rows_collide) next = run_stage_lines<2, kKeep>(next, run_end, y, to, pixels, op);
        next = run_stage_lines<1, kKeep>(next, run_end, y, to, pixels, op);
      }
      if (next < run_end) run_stage<kKeep>(next, run_end, y, to, pixels, op);
    };
    constexpr std::true_type kKeep;
    constexpr std::false_type kLeave;
    const auto scaled = [&](const float* factors, const float* terms) HWY_ATTR {
      return [=](VecBlock v, std::int64_t, int part) HWY_ATTR {
        return hn::MulAdd(v, hn::LoadU(d, factors + part), hn::LoadU(d, terms + part));
      };
    };
    if (stages.shift == nullptr) {
      if (stages.conv != nullptr)
        run(kLeave, stages.conv, [](VecBlock v, std::int64_t, int) HWY_ATTR { return v; });
    } else {
      if (stages.conv != nullptr) run(kLeave, stages.conv, scaled(unscale, bias));
      run(kKeep, stages.scaled, scaled(scale, shift));
    }
    if (add != nullptr) {
      run(kKeep, stages.sum, [&](VecBlock v, std::int64_t at, int) HWY_ATTR {
        return hn::Add(v, hn::LoadU(d, add + at));
      });
    }
    run(kKeep, stages.result,
        [&](VecBlock v, std::int64_t, int) HWY_ATTR { return clamp(v, lo, hi); });
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
