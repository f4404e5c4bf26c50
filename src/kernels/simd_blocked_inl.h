// The heart of convolutions in the blocked layout: a tile of pixels and output channels held in
// registers while all taps of all input channels run. Included per target, like simd.h.
//
// Output channels fill the vectors, and each step loads the weights of one input channel's tap and
// broadcasts that channel of each pixel. Weights come as panels [step][groups * channels of a
// group]: a group is one block, or the two that a wide vector holds.

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
#include "kernels/conv_taps.h"
#include "kernels/simd_gemm_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Vectors no wider than a block.
using BlockF32 = hn::CappedTag<float, kBlockChannels>;
using VecBlock = hn::Vec<BlockF32>;
inline constexpr int kPartLanes = HWY_MIN(HWY_LANES(float), int{kBlockChannels});
inline constexpr int kParts = int{kBlockChannels} / kPartLanes;  // vectors of a block

// Vectors of two blocks at most.
using PairF32 = hn::CappedTag<float, 2 * kBlockChannels>;
using VecPair = hn::Vec<PairF32>;
inline constexpr int kPairLanes = HWY_MIN(HWY_LANES(float), 2 * int{kBlockChannels});
inline constexpr std::int64_t kGroupBlocks = HWY_MAX(1, kPairLanes / int{kBlockChannels});
inline constexpr std::int64_t kGroupChannels = kGroupBlocks * kBlockChannels;

// A vector whose second block, if it has one, is `second` floats from its first. The first is
// written last, so that with a distance of 0 only it is there.
template <class D>
HWY_INLINE hn::Vec<D> load_pair(D d, const float* p, [[maybe_unused]] std::int64_t second) {
  if constexpr (hn::MaxLanes(D()) > kBlockChannels) {
    const hn::Half<D> half;
    return hn::Combine(d, hn::LoadU(half, p + second), hn::LoadU(half, p));
  } else {
    return hn::LoadU(d, p);
  }
}
template <class D>
HWY_INLINE void store_pair(hn::Vec<D> v, D d, float* p, [[maybe_unused]] std::int64_t second) {
  if constexpr (hn::MaxLanes(D()) > kBlockChannels) {
    const hn::Half<D> half;
    hn::StoreU(hn::UpperHalf(half, v), half, p + second);
    hn::StoreU(hn::LowerHalf(half, v), half, p);
  } else {
    hn::StoreU(v, d, p);
  }
}

// A vector of output channels, number `i` of those of blocks [first, first + blocks), and what
// becomes of its sums. Of a last group of one block its second half is nothing.
struct ChannelVector {
  static constexpr std::int64_t kOfGroup = kGroupChannels / kPairLanes;
  static std::int64_t count(std::int64_t blocks) {
    return ceil_div(blocks, kGroupBlocks) * kOfGroup;
  }

  ChannelVector(const ConvShape& s, const ConvArgs& args, std::int64_t first, std::int64_t blocks,
                std::int64_t i)
      : part(i % kOfGroup * kPairLanes),
        group(i / kOfGroup),
        channel((first + group * kGroupBlocks) * kBlockChannels),
        lo(hn::Set(PairF32(), args.min)),
        hi(hn::Set(PairF32(), args.max)),
        bias(hn::Zero(PairF32())) {
    const bool one = (group + 1) * kGroupBlocks > blocks;
    y_second = one ? 0 : s.y_plane() * kBlockChannels;
    add_second = one ? 0 : s.add_plane() * kBlockChannels;
    if (args.bias != nullptr)
      bias = load_pair(PairF32(), args.bias + channel + part, one ? 0 : kBlockChannels);
  }

  // Writes the first `width` of some pixels that lie `step` floats apart; `add` may be null.
  template <int N>
  HWY_INLINE void finish(const VecPair (&sums)[N], std::int64_t width, std::int64_t step, float* y,
                         const float* add) const {
    const PairF32 d;
    MEZZO_UNROLL
    for (int c = 0; c < N; ++c) {
      if (c >= width) break;
      VecPair sum = hn::Add(sums[c], bias);
      if (add != nullptr) sum = hn::Add(sum, load_pair(d, add + c * step, add_second));
      store_pair(clamp(sum, lo, hi), d, y + c * step, y_second);
    }
  }

  std::int64_t part, group, channel;  // floats into the group; the group; the group's first channel
  std::int64_t y_second, add_second;  // from the first block to the second
  VecPair lo, hi, bias;
};

// The most groups of a tile, and the pixels of tiles with 1, 2, ... of them: as many sums as there
// are registers, but for those of the operands.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr int kTileGroups = 2, kTilePixels[] = {14, 14};
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
inline constexpr int kTileGroups = 3, kTilePixels[] = {12, 6, 4};
#elif HWY_ARCH_X86
inline constexpr int kTileGroups = 1, kTilePixels[] = {6};
#else
inline constexpr int kTileGroups = 2, kTilePixels[] = {12, 6};
#endif

// y := clamp(sums + (bias + add, or what is in y), min, max), for some tiles beside each other.
struct BlockedOut {
  float* y;
  std::int64_t block_floats, add_block_floats;  // from one block of y's, or add's, to the next
  const float* bias;                            // null: sums are added to y
  const float* add;                             // like y; may be null
  float min, max;
  const float* fetch;  // memory that is needed soon: blocked_fetch_lines for each segment
  bool fetches;
  std::int64_t tiles;
  bool ends_in_half;  // the last group has one block, not two
};

// Winograd's few tiles have as many weights to fetch as a convolution's many.
template <int Width>
inline constexpr int blocked_fetch_lines = kGroupBlocks > 1 ? 4
                                           : Width != 0     ? 3
                                                            : 2;

// A segment's part of the memory that is needed soon.
template <int Width>
HWY_INLINE void fetch_lines(const BlockedOut& out, const float*& fetch) {
  if (!out.fetches) return;
  constexpr int kLines = blocked_fetch_lines<Width>;
  MEZZO_UNROLL
  for (int i = 0; i < kLines; ++i) prefetch_l2(fetch + i * kCacheLine);
  fetch += kLines * kCacheLine;
}

// Few sums would wait for each other: they take several steps side by side.
constexpr int blocked_sets(int vectors, int length) {
  return length % 4 != 0 ? 1 : vectors <= 3 ? 4 : vectors <= 6 ? 2 : 1;
}

// y of vector v of a tile's channels, of which sum(pixel) are the sums; `one`: of its first block
// alone.
template <int P, class Sum>
HWY_INLINE void finish_group(const BlockedOut& out, int v, bool one, const Sum& sum, float* to,
                             const float* add) {
  const PairF32 d;
  const VecPair lo = hn::Set(d, out.min), hi = hn::Set(d, out.max);
  const int block = v * kPairLanes / int{kBlockChannels};
  const std::int64_t channel = v * kPairLanes % kBlockChannels;
  const std::int64_t second = one ? 0 : out.block_floats;
  float* y = to + block * out.block_floats + channel;
  if (out.bias == nullptr) {
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p, y += kBlockChannels)
      store_pair(clamp(hn::Add(sum(p), load_pair(d, y, second)), lo, hi), d, y, second);
    return;
  }
  const VecPair bias = load_pair(d, out.bias + v * kPairLanes, one ? 0 : kBlockChannels);
  if (add == nullptr) {
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p, y += kBlockChannels)
      store_pair(clamp(hn::Add(sum(p), bias), lo, hi), d, y, second);
    return;
  }
  add += block * out.add_block_floats + channel;
  const std::int64_t add_second = one ? 0 : out.add_block_floats;
  MEZZO_UNROLL
  for (int p = 0; p < P; ++p, y += kBlockChannels, add += kBlockChannels) {
    const VecPair summand = load_pair(d, add, add_second);
    store_pair(clamp(hn::Add(hn::Add(sum(p), bias), summand), lo, hi), d, y, second);
  }
}

// One tile of blocked_tiles.
template <int P, int G, int Step, int Length, int Width>
HWY_INLINE void blocked_tile(const float* HWY_RESTRICT x, const std::int64_t* offsets,
                             std::int64_t segments, const float* HWY_RESTRICT weights,
                             const BlockedOut& out, const float*& fetch, float* to,
                             const float* add) {
  const PairF32 d;
  constexpr int V = G * int{kGroupChannels} / kPairLanes;
  constexpr int kSets = Width != 0 ? 1 : blocked_sets(P * V, Length);
  constexpr int kWidth = Width != 0 ? Width : G * int{kGroupChannels};
  VecPair acc[kSets][P][V];
  MEZZO_UNROLL
  for (int s = 0; s < kSets; ++s) {
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) acc[s][p][v] = hn::Zero(d);
    }
  }
  for (std::int64_t s = 0; s < segments; ++s) {
    const float* xs = x + offsets[s];
    if constexpr (Length == kBlockChannels) fetch_lines<Width>(out, fetch);
    MEZZO_UNROLL
    for (int c = 0; c < Length; ++c) {
      // Neighbours' windows overlap: compilers would hold on to what they have broadcast, and there
      // are no registers for that.
      if constexpr (Step < Length) asm("" : "+r"(xs));
      VecPair w[V];
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) w[v] = hn::LoadU(d, weights + v * kPairLanes);
      weights += kWidth;
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p) add_products(d, acc[c % kSets][p], xs + p * Step + c, w, p);
    }
  }
  MEZZO_UNROLL
  for (int s = 1; s < kSets; ++s) {
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) acc[0][p][v] = hn::Add(acc[0][p][v], acc[s][p][v]);
    }
  }
  MEZZO_UNROLL
  for (int v = 0; v < V; ++v) {
    const auto sum = [&](int p) HWY_ATTR { return acc[0][p][v]; };
    if constexpr (Width == 0) {
      finish_group<P>(out, v, v + 1 == V && out.ends_in_half, sum, to, add);
    } else {
      constexpr int kGroup = kGroupChannels;
      float* y = to + v * kPairLanes / kGroup * out.block_floats + v * kPairLanes % kGroup;
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p, y += kGroup)
        hn::StoreU(out.bias == nullptr ? hn::Add(sum(p), hn::LoadU(d, y)) : sum(p), d, y);
    }
  }
}

// `out.tiles` tiles beside each other, of P pixels, `Step` floats apart, times G groups of output
// channels. Segment s of the input, `Length` steps of k that lie together, begins at x +
// offsets[s]. Where Width is given the weights' steps are that many floats apart, not a tile's
// width; the sums then go to y [group][pixel][channel of a group] as they are, or (no bias) are
// added to it, and are summed in the same order in tiles of any size.
template <int P, int G, int Step, int Length, int Width>
HWY_NOINLINE void blocked_tiles(const float* HWY_RESTRICT x, const std::int64_t* offsets,
                                std::int64_t segments, const float* HWY_RESTRICT weights,
                                const BlockedOut& out) {
  const float *fetch = out.fetch, *add = out.add;
  float* y = out.y;
  constexpr int kChannels = Width == 0 ? kBlockChannels : kGroupChannels;
  for (std::int64_t tile = 0; tile < out.tiles; ++tile, x += P * Step, y += P * kChannels) {
    blocked_tile<P, G, Step, Length, Width>(x, offsets, segments, weights, out, fetch, y, add);
    if (add != nullptr) add += P * kBlockChannels;
  }
}

using BlockedTiles = void (*)(const float*, const std::int64_t*, std::int64_t, const float*,
                              const BlockedOut&);

template <int G, int Step, int Length, int Width, int... P>
constexpr std::array<BlockedTiles, kTilePixels[0]> blocked_tiles_of(
    std::integer_sequence<int, P...>) {
  return {blocked_tiles<P + 1, G, Step, Length, Width>...};
}

// The kernel for tiles of so many pixels, at most kTilePixels[groups - 1].
template <int Step, int Length, int Width, int... G>
BlockedTiles blocked_tiles_kernel(std::int64_t pixels, std::int64_t groups,
                                  std::integer_sequence<int, G...>) {
  static constexpr std::array<BlockedTiles, kTilePixels[0]> kKernels[] = {
      blocked_tiles_of<G + 1, Step, Length, Width>(
          std::make_integer_sequence<int, kTilePixels[G]>{})...};
  return kKernels[groups - 1][static_cast<std::size_t>(pixels - 1)];
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
