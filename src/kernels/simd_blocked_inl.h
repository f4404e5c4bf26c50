// The heart of convolutions in the blocked layout: a tile of pixels and output channels held in
// registers while all taps of all input channels run. Included per target, like simd.h.
//
// Output channels fill the vectors, and each step loads the weights of one input channel's tap and
// broadcasts that channel of each pixel. Weights come as panels [step][blocks * 8].

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_INL
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/blocked_f32.h"
#include "kernels/simd_gemm_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Vectors no wider than a block.
using BlockF32 = hn::CappedTag<float, kBlockChannels>;
using VecBlock = hn::Vec<BlockF32>;
inline constexpr int kPartLanes = HWY_MIN(HWY_LANES(float), int{kBlockChannels});
inline constexpr int kParts = int{kBlockChannels} / kPartLanes;  // vectors of a block

// The taps [begin, end) of a window that begins at position `first` that lie inside an image.
struct Taps {
  std::int64_t begin, end;
};
inline Taps taps_inside(std::int64_t first, std::int64_t in, std::int64_t k,
                        std::int64_t dilation) {
  const std::int64_t begin = first >= 0 ? 0 : std::min(k, ceil_div(-first, dilation));
  return {begin, first >= in ? begin : std::clamp(ceil_div(in - first, dilation), begin, k)};
}

// The most output blocks of a tile, and the pixels of tiles with 1, 2, ... of them: as many sums as
// there are registers, but for those of the operands.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr int kTileBlocks = 4, kTilePixels[] = {14, 12, 8, 6};
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
inline constexpr int kTileBlocks = 3, kTilePixels[] = {12, 6, 4};
#elif HWY_ARCH_X86
inline constexpr int kTileBlocks = 1, kTilePixels[] = {6};
#else
inline constexpr int kTileBlocks = 2, kTilePixels[] = {12, 6};
#endif

// sums := clamp(sums + (bias + add, or what is in y), min, max) into y.
struct BlockedOut {
  float* y;
  std::int64_t block_floats;  // from one block of y's channels to the next
  const float* bias;          // null: sums are added to y
  const float* add;           // like y; may be null
  float min, max;
  const float* fetch;  // memory that is needed soon, two lines a segment
  std::int64_t fetch_step;
};

// Steps of k that lie together: the channels of a block, or one channel of a plain image.
template <int Step>
inline constexpr int kSegment = Step >= kBlockChannels ? int{kBlockChannels} : 1;

// Few sums would wait for each other: they take several steps side by side.
constexpr int blocked_sets(int vectors, int step) {
  return step < kBlockChannels ? 1 : vectors <= 3 ? 4 : vectors <= 6 ? 2 : 1;
}

// P pixels, `Step` floats apart, times B blocks of output channels, in `Sets` sets of sums. Segment
// s of the input begins at x + offsets[s]; the weights' steps are `Width` floats apart.
template <int P, int B, int Step, int Width, int Sets>
HWY_NOINLINE void blocked_tile(const float* HWY_RESTRICT x, const std::int64_t* offsets,
                               std::int64_t segments, const float* HWY_RESTRICT weights,
                               const BlockedOut& out) {
  const BlockF32 d;
  constexpr int V = B * kParts, kLength = kSegment<Step>;
  VecBlock acc[Sets][P][V];
  MEZZO_UNROLL
  for (int s = 0; s < Sets; ++s) {
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) acc[s][p][v] = hn::Zero(d);
    }
  }
  const float* fetch = out.fetch;
  for (std::int64_t s = 0; s < segments; ++s) {
    const float* xs = x + offsets[s];
    if constexpr (kLength > 1) {
      prefetch_l2(fetch);
      prefetch_l2(fetch + kCacheLine);
      fetch += out.fetch_step;
    }
    MEZZO_UNROLL
    for (int c = 0; c < kLength; ++c) {
      VecBlock w[V];
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) w[v] = hn::LoadU(d, weights + v * kPartLanes);
      weights += Width;
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p) {
        const VecBlock xi = hn::Set(d, xs[p * Step + c]);
        MEZZO_UNROLL
        for (int v = 0; v < V; ++v) add_product(acc[c % Sets][p][v], xi, w[v]);
      }
    }
  }
  MEZZO_UNROLL
  for (int s = 1; s < Sets; ++s) {
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) acc[0][p][v] = hn::Add(acc[0][p][v], acc[s][p][v]);
    }
  }
  const VecBlock lo = hn::Set(d, out.min), hi = hn::Set(d, out.max);
  MEZZO_UNROLL
  for (int v = 0; v < V; ++v) {
    const std::int64_t at = v / kParts * out.block_floats + v % kParts * kPartLanes;
    float* y = out.y + at;
    const float* add = out.add;
    if (out.bias == nullptr) {
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p) {
        float* to = y + p * kBlockChannels;
        hn::StoreU(clamp(hn::Add(acc[0][p][v], hn::LoadU(d, to)), lo, hi), d, to);
      }
    } else if (add == nullptr) {
      const VecBlock bias = hn::LoadU(d, out.bias + v * kPartLanes);
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p)
        hn::StoreU(clamp(hn::Add(acc[0][p][v], bias), lo, hi), d, y + p * kBlockChannels);
    } else {
      const VecBlock bias = hn::LoadU(d, out.bias + v * kPartLanes);
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p) {
        const VecBlock sum = hn::Add(acc[0][p][v], bias);
        hn::StoreU(clamp(hn::Add(sum, hn::LoadU(d, add + at + p * kBlockChannels)), lo, hi), d,
                   y + p * kBlockChannels);
      }
    }
  }
}

using BlockedTile = void (*)(const float*, const std::int64_t*, std::int64_t, const float*,
                             const BlockedOut&);

template <int B, int Step, int Width, int... P>
constexpr std::array<BlockedTile, kTilePixels[0]> blocked_tiles(std::integer_sequence<int, P...>) {
  constexpr int kOwn = B * int{kBlockChannels};
  if constexpr (Width == 0) {
    return {blocked_tile<P + 1, B, Step, kOwn, blocked_sets((P + 1) * B * kParts, Step)>...};
  } else {
    return {blocked_tile<P + 1, B, Step, Width, 1>...};
  }
}

// Of weights that are `Width` wide, 0 standing for a tile's own width. All tiles of a given width
// sum in the same order, whatever the number of their pixels.
template <int Step, int Width, int... B>
BlockedTile blocked_tile_of(std::int64_t pixels, std::int64_t blocks,
                            std::integer_sequence<int, B...>) {
  static constexpr std::array<BlockedTile, kTilePixels[0]> kKernels[] = {
      blocked_tiles<B + 1, Step, Width>(std::make_integer_sequence<int, kTilePixels[B]>{})...};
  return kKernels[blocks - 1][static_cast<std::size_t>(pixels - 1)];
}

// The kernel for so many pixels, at most kTilePixels[blocks - 1], that are `step` floats apart.
inline BlockedTile blocked_tile_kernel(std::int64_t pixels, std::int64_t blocks,
                                       std::int64_t step) {
  constexpr std::make_integer_sequence<int, kTileBlocks> kBlocks;
  switch (step) {
    case 1:
      return blocked_tile_of<1, 0>(pixels, blocks, kBlocks);
    case 2:
      return blocked_tile_of<2, 0>(pixels, blocks, kBlocks);
    case 8:
      return blocked_tile_of<8, 0>(pixels, blocks, kBlocks);
    default:
      return blocked_tile_of<16, 0>(pixels, blocks, kBlocks);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
