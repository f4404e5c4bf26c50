// Depthwise convolutions in the blocked layout. Included per target, like simd.h.
//
// A plane's rows of outputs are cut into tiles, each for one kernel; outputs whose window reaches
// far beyond its row come by themselves.

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/simd_blocked_depthwise_tiles_inl.h"
#include "kernels/simd_blocked_stages_inl.h"
#include "kernels/task_grid.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

using DepthwiseKernel = decltype(DepthwiseTile::kernel);

template <int K, int Step, bool Ends, int... N>
constexpr std::array<DepthwiseKernel, sizeof...(N)> depthwise_kernels(
    std::integer_sequence<int, N...>) {
  return {depthwise_outputs<K, Step, Ends, N + 1>...};
}
template <class D, int K, int Step, bool Ends, bool Odd, int... N>
constexpr std::array<DepthwiseKernel, sizeof...(N)> depthwise_pair_kernels(
    std::integer_sequence<int, N...>) {
  return {depthwise_pairs<D, K, Step, Ends, Odd, N + 1>...};
}

// Kernels for `unit`, 2 * unit, ... up to `most` outputs, by whether x begins at the second pixel
// of a pair.
struct DepthwiseChoice {
  std::int64_t unit, most;
  std::int64_t missing;             // pixels that may be, at either end
  const DepthwiseKernel* inner[2];  // that miss nothing
  const DepthwiseKernel* ends[2];   // null: nothing may be missing
};

// Step: floats of x from one output to the next.
template <int K, int Step>
DepthwiseChoice depthwise_choice() {
  constexpr int kMost = HWY_ARCH_X86 && HWY_TARGET > HWY_AVX3 ? 8 : 12;
  using Counts = std::make_integer_sequence<int, kMost>;
  static constexpr auto kInner = depthwise_kernels<K, Step, false>(Counts{});
  if constexpr (K == 0) return {1, kMost, 0, {kInner.data(), kInner.data()}, {}};
  static constexpr auto kEnds = depthwise_kernels<K, Step, true>(Counts{});
  return {1, kMost, kMostMissing<K>, {kInner.data(), kInner.data()}, {kEnds.data(), kEnds.data()}};
}

// Step: pixels from one output to the next.
template <class D, int K, int Step>
DepthwiseChoice depthwise_pair_choice() {
  constexpr int kMost = 8;
  using Counts = std::make_integer_sequence<int, kMost>;
  static constexpr auto kInner = depthwise_pair_kernels<D, K, Step, false, false>(Counts{}),
                        kInnerOdd = depthwise_pair_kernels<D, K, Step, false, true>(Counts{}),
                        kEnds = depthwise_pair_kernels<D, K, Step, true, false>(Counts{}),
                        kEndsOdd = depthwise_pair_kernels<D, K, Step, true, true>(Counts{});
  return {2,
          2 * kMost,
          kMostMissing<K>,
          {kInner.data(), kInnerOdd.data()},
          {kEnds.data(), kEndsOdd.data()}};
}

// A template, so that other targets do not compile the pairs.
template <class D>
DepthwiseChoice depthwise_choice(const ConvShape& s) {
  constexpr int kOne = kBlockChannels, kTwo = 2 * kBlockChannels;
  const bool one = s.stride_w == 1, three = s.k_w == 3, seven = s.k_w == 7 && one;
  if (s.dilation_w != 1 || s.stride_w > 2 || (!three && s.k_w != 5 && !seven))
    return depthwise_choice<0, 0>();
  if constexpr (hn::MaxLanes(D()) == 2 * kBlockChannels) {
    if (s.k_h == s.k_w && s.stride_h == s.stride_w && s.dilation_h == 1) {
      if (seven) return depthwise_pair_choice<D, 7, 1>();
      if (three) return one ? depthwise_pair_choice<D, 3, 1>() : depthwise_pair_choice<D, 3, 2>();
      return one ? depthwise_pair_choice<D, 5, 1>() : depthwise_pair_choice<D, 5, 2>();
    }
  }
  if (seven) return depthwise_choice<7, kOne>();
  if (three) return one ? depthwise_choice<3, kOne>() : depthwise_choice<3, kTwo>();
  return one ? depthwise_choice<5, kOne>() : depthwise_choice<5, kTwo>();
}

// How the outputs of a row are divided; those whose window reaches beyond the row by more than what
// a kernel takes come by themselves.
inline std::vector<DepthwiseTile> depthwise_tiles(const ConvShape& s,
                                                  const DepthwiseChoice& choice) {
  std::vector<DepthwiseTile> tiles;
  const auto by_themselves = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t ow = from; ow < to; ++ow) {
      const Taps taps = taps_inside(ow * s.stride_w - s.pad_left, s.in_w, s.k_w, s.dilation_w);
      tiles.push_back({depthwise_output, ow, 1, static_cast<int>(taps.begin),
                       static_cast<int>(s.k_w - taps.end)});
    }
  };
  // The windows' first columns run from -pad on.
  const std::int64_t reach = (s.k_w - 1) * s.dilation_w;
  const std::int64_t before = std::max<std::int64_t>(0, s.pad_left - choice.missing);
  const std::int64_t inside = std::min(ceil_div(before, s.stride_w), s.out_w);
  const std::int64_t last =
      s.in_w - 1 + choice.missing - reach + s.pad_left;  // first column, plus pad
  const std::int64_t outside =
      last < 0 ? inside : std::clamp(last / s.stride_w + 1, inside, s.out_w);
  by_themselves(0, inside);
  const std::int64_t count = outside - inside, units = ceil_div(count, choice.unit),
                     kernel_tiles = ceil_div(count, choice.most);
  for (std::int64_t t = 0; t < kernel_tiles; ++t) {
    const std::int64_t first = units * t / kernel_tiles,
                       tile_units = units * (t + 1) / kernel_tiles - first;
    const std::int64_t ow = inside + first * choice.unit, column = ow * s.stride_w - s.pad_left;
    // Of whole units, the last output of which may be missing.
    const std::int64_t whole = tile_units * choice.unit, outputs = std::min(whole, outside - ow);
    const std::int64_t beyond = column + (whole - 1) * s.stride_w + reach + 1 - s.in_w;
    const bool is_inner = column >= 0 && beyond <= 0 && outputs == whole;
    const DepthwiseKernel* kernels = (is_inner ? choice.inner : choice.ends)[column & 1];
    tiles.push_back({kernels[tile_units - 1], ow, static_cast<int>(outputs),
                     static_cast<int>(std::max<std::int64_t>(0, -column)),
                     static_cast<int>(std::max<std::int64_t>(0, beyond))});
  }
  by_themselves(outside, s.out_w);
  return tiles;
}

// Rows [begin, end) of one block of channels of image n, so many at a time.
inline void blocked_depthwise(const ConvShape& s, const ConvArgs& args, std::int64_t y_stride,
                              const std::vector<DepthwiseTile>& tiles, std::int64_t at_a_time,
                              std::int64_t n, std::int64_t block, std::int64_t begin,
                              std::int64_t end) {
  constexpr std::int64_t kChannels = kBlockChannels;
  const std::int64_t plane = n * s.out_c / kChannels + block;
  const float* x = args.x + plane * s.x_plane() * kChannels;
  const float* add = args.add == nullptr ? nullptr : args.add + plane * s.add_plane() * kChannels;
  float* y = args.y + n * y_stride + block * s.y_plane() * kChannels;
  DepthwiseRows r{s,
                  s.stride_h * s.in_w * kChannels,
                  s.out_w * kChannels,
                  s.dilation_h * s.in_w * kChannels,
                  s.dilation_w * kChannels,
                  s.k_w * kChannels,
                  args.packed_weights + block * s.k_h * s.k_w * kChannels,
                  args.bias == nullptr ? nullptr : args.bias + block * kChannels,
                  args.min,
                  args.max};
  for (std::int64_t oh = begin; oh < end; oh += r.rows) {
    r.first = oh * s.stride_h - s.pad_top;
    r.rows = std::min(at_a_time, end - oh);
    const Taps inside = taps_inside(r.first, s.in_h, s.k_h, s.dilation_h);
    r.k_h = inside.end - inside.begin;
    r.skipped = inside.begin * r.tap_h;
    r.row_weights = r.weights + inside.begin * r.weights_h;
    const float* row = x + (r.first * s.in_w - s.pad_left) * kChannels;
    for (const DepthwiseTile& tile : tiles) {
      const std::int64_t at = oh * r.y_row + tile.output * kChannels;
      tile.kernel(r, tile, row + tile.output * s.stride_w * kChannels,
                  add == nullptr ? nullptr : add + at, y + at);
    }
  }
}

// A depthwise convolution, with its stages; y_stride: floats from one image of y to the next.
inline void run_blocked_depthwise(const ConvShape& s, const ConvArgs& all, std::int64_t y_stride,
                                  ThreadPool& pool) {
  const ConvArgs args = ahead_of_stages(all);
  const std::int64_t blocks = s.out_c / kBlockChannels, taps = s.k_h * s.k_w;
  const DepthwiseChoice choice = depthwise_choice<PairF32>(s);
  const std::vector<DepthwiseTile> tiles = depthwise_tiles(s, choice);
  // The kernels for pairs take one row behind another.
  const std::int64_t at_a_time = choice.unit > 1 ? s.out_h : 1;
  // Pixels of a block ahead of its stages.
  constexpr std::int64_t kStagePixels = 256;
  // Rows of large planes are tasks of their own.
  const std::int64_t row_work = s.out_w * taps * kBlockChannels;
  const std::int64_t parts = std::clamp<std::int64_t>(s.out_h * row_work / kTaskWork, 1, s.out_h);
  const std::int64_t tasks = s.batch * blocks * parts;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kTaskWork / 4 * parts / (s.out_h * row_work));
  pool.parallel_for(tasks, grain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    StagePlanes planes;
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t part = t % parts, block = t / parts % blocks, n = t / parts / blocks;
      const std::int64_t last = s.out_h * (part + 1) / parts;
      // Stages follow a few rows, of whole lines together, that are still in L1.
      const std::int64_t rows =
          !all.stages.wanted() ? s.out_h : round_up(ceil_div(kStagePixels, s.out_w), 4);
      for (std::int64_t row = s.out_h * part / parts; row < last; row += rows) {
        blocked_depthwise(s, args, y_stride, tiles, at_a_time, n, block, row,
                          std::min(row + rows, last));
        if (all.stages.wanted()) {
          run_stages(s, all, y_stride, n, block, row * s.out_w,
                     std::min(rows, last - row) * s.out_w, planes);
        }
      }
    }
    if (all.stages.wanted()) planes.finish();
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
