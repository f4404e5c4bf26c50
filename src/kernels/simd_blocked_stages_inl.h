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
#include <numeric>
#include <type_traits>

#include "kernels/conv_f32.h"
#include "kernels/simd_block_rows_inl.h"
#include "kernels/simd_blocked_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

inline constexpr float kOnes[kBlockChannels] = {1, 1, 1, 1, 1, 1, 1, 1};

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
// the place of y (Keep) or not, and the rows of that unless nobody wants them. Behind the last,
// rows.finish() must follow.
template <bool Keep, class Float, class Op>
void run_stage(std::int64_t begin, std::int64_t end, Float* y, BlockRows& rows, const Op& op) {
  const auto value = [&](std::int64_t pixel, int part) HWY_ATTR {
    return stage_value<Keep>(y, pixel * kBlockChannels + part, part, op);
  };
  if (rows.to() != nullptr) return rows.add(begin, end, value);
  for (; begin < end; ++begin) {
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) value(begin, part);
  }
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
  const auto rows_of = [&](int stage, float* to, float* also = nullptr) {
    return BlockRows(to == nullptr ? nullptr : to + plane * pixels, pixels, begin, end,
                     planes.streams[stage], also == nullptr ? 0 : also - to);
  };
  BlockRows conv = rows_of(0, stages.conv), after_norm = rows_of(1, stages.scaled),
            sum = rows_of(2, stages.sum), result = rows_of(3, stages.result, stages.copy);
  for (; begin < end; begin += kRunPixels) {
    const std::int64_t run_end = std::min(begin + kRunPixels, end);
    const auto run = [&](auto keep, BlockRows& rows, const auto& op)
                         HWY_ATTR { run_stage<keep()>(begin, run_end, y, rows, op); };
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

// Of `parts` parts of an image, of so many pixels each but for the last: how many end with a line
// of the cache together, in whole lines of which stages are written; 0 where only all of them do.
inline std::int64_t parts_of_whole_lines(std::int64_t part_pixels, std::int64_t parts,
                                         std::int64_t pixels) {
  const std::int64_t together = kCacheLine / std::gcd(kCacheLine, part_pixels);
  return pixels % kCacheLine == 0 && together < parts ? together : 0;
}

// The stages of all images, plane by plane.
inline void run_all_stages(const ConvShape& s, const ConvArgs& args, ThreadPool& pool) {
  const std::int64_t blocks = s.out_c / kBlockChannels, pixels = s.out_h * s.out_w;
  const std::int64_t y_stride =
      args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.y_plane();
  pool.parallel_for(s.batch * blocks, 1, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    StagePlanes planes;
    for (std::int64_t i = begin; i < end; ++i)
      run_stages(s, args, y_stride, i / blocks, i % blocks, 0, pixels, planes);
    planes.finish();
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
