// Tiles whose last group of output channels is one block alone. Included per target, like simd.h.
//
// Half of a wide vector would be idle. It takes the block of the next pixel instead: four channels
// of two pixels are loaded at a time, and shuffles broadcast one of each. Every sum is made in the
// order of whole groups, so that equal weights give equal outputs. Weights come as panels of
// whole groups and the block, [step][groups' channels, 8].

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_HALF_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_HALF_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_HALF_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_HALF_INL
#endif

#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/simd_blocked_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// y of one block, two pixels a vector.
template <int P, class D>
HWY_INLINE void finish_pairs(D d, const BlockedOut& out, const hn::Vec<D> (&pairs)[(P + 1) / 2],
                             const float* bias, const float* add, float* y) {
  const auto finish = [&](auto tag, auto sum, int at) HWY_ATTR {
    if (bias == nullptr) {
      sum = hn::Add(sum, hn::LoadU(tag, y + at));
    } else {
      sum = hn::Add(sum, load_pair(tag, bias, 0));
      if (add != nullptr) sum = hn::Add(sum, hn::LoadU(tag, add + at));
    }
    hn::StoreU(clamp(sum, hn::Set(tag, out.min), hn::Set(tag, out.max)), tag, y + at);
  };
  MEZZO_UNROLL
  for (int p = 0; p < P; p += 2) {
    if (p + 1 < P) {
      finish(d, pairs[p / 2], p * int{kBlockChannels});
    } else {
      const hn::Half<D> half;
      finish(half, hn::LowerHalf(half, pairs[p / 2]), p * int{kBlockChannels});
    }
  }
}

// Like blocked_tiles for segments of eight steps, with G whole groups and a block.
template <class D, int P, int G, int Step>
HWY_NOINLINE void blocked_half_tiles(const float* HWY_RESTRICT x, const std::int64_t* offsets,
                                     std::int64_t segments, const float* HWY_RESTRICT weights,
                                     const BlockedOut& out) {
  const D d;
  const hn::Half<D> half;
  constexpr int kPairs = (P + 1) / 2, kWidth = G * int{kGroupChannels} + int{kBlockChannels};
  const float *fetch = out.fetch, *add = out.add;
  float* y = out.y;
  for (std::int64_t tile = 0; tile < out.tiles; ++tile) {
    hn::Vec<D> acc[G + 1][P], pairs[kPairs];
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p) {
      pairs[p / 2] = hn::Zero(d);
      MEZZO_UNROLL
      for (int g = 0; g < G; ++g) acc[g][p] = hn::Zero(d);
    }
    const float* step = weights;
    for (std::int64_t s = 0; s < segments; ++s) {
      const float* xs = x + offsets[s];
      fetch_lines<0>(out, fetch);
      MEZZO_UNROLL
      for (int c = 0; c < kBlockChannels; c += 4) {
        // Pixel 2q's channels in the lower half, twice, and those of the next in the upper.
        hn::Vec<D> four[kPairs];
        MEZZO_UNROLL
        for (int q = 0; q < kPairs; ++q) {
          const int next = 2 * q + 1 < P ? 2 * q + 1 : 2 * q;
          four[q] = hn::Combine(d, hn::LoadDup128(half, xs + next * Step + c),
                                hn::LoadDup128(half, xs + 2 * q * Step + c));
        }
        const auto multiply = [&](auto channel) HWY_ATTR {
          constexpr int kChannel = decltype(channel)::value;
          MEZZO_UNROLL
          for (int g = 0; g < G; ++g) {
            const auto w = hn::LoadU(d, step + g * kGroupChannels);
            MEZZO_UNROLL
            for (int p = 0; p < P; ++p)
              add_broadcast_product(d, acc[g][p], xs + p * Step + c + kChannel, w);
          }
          const auto w = load_pair(d, step + G * kGroupChannels, 0);
          MEZZO_UNROLL
          for (int q = 0; q < kPairs; ++q)
            add_product(pairs[q], hn::Broadcast<kChannel>(four[q]), w);
          step += kWidth;
        };
        multiply(std::integral_constant<int, 0>{});
        multiply(std::integral_constant<int, 1>{});
        multiply(std::integral_constant<int, 2>{});
        multiply(std::integral_constant<int, 3>{});
      }
    }
    MEZZO_UNROLL
    for (int g = 0; g < G; ++g)
      finish_group<P>(
          out, g, false, [&](int p) HWY_ATTR { return acc[g][p]; }, y, add);
    constexpr std::int64_t kBlocks = G * kGroupBlocks;
    finish_pairs<P>(d, out, pairs, out.bias == nullptr ? nullptr : out.bias + G * kGroupChannels,
                    add == nullptr ? nullptr : add + kBlocks * out.add_block_floats,
                    y + kBlocks * out.block_floats);
    x += P * Step;
    y += P * kBlockChannels;
    if (add != nullptr) add += P * kBlockChannels;
  }
}

template <class D, int G, int Step, int... P>
constexpr std::array<BlockedTiles, sizeof...(P)> blocked_half_tiles_of(
    std::integer_sequence<int, P...>) {
  return {blocked_half_tiles<D, P + 1, G, Step>...};
}

// The kernel for tiles of so many pixels, of so many groups the last of which is a half one.
template <class D, int Step, int... G>
BlockedTiles blocked_half_tiles_kernel(std::int64_t pixels, std::int64_t groups,
                                       std::integer_sequence<int, G...>) {
  using Pixels = std::make_integer_sequence<int, kTilePixels[0]>;
  static constexpr std::array<BlockedTiles, kTilePixels[0]> kKernels[] = {
      blocked_half_tiles_of<D, G, Step>(Pixels{})...};
  return kKernels[groups - 1][static_cast<std::size_t>(pixels - 1)];
}

// Templates, so that targets whose vectors are no wider than a block do not compile the kernels.
template <class D>
constexpr bool has_half_kernels() {
  return hn::MaxLanes(D()) == 2 * kBlockChannels;
}
template <class D>
BlockedTiles half_kernel(bool one_apart, std::int64_t pixels, std::int64_t groups) {
  if constexpr (has_half_kernels<D>()) {
    constexpr std::make_integer_sequence<int, kTileGroups> kGroups;
    constexpr int kBlock = kBlockChannels;
    return one_apart ? blocked_half_tiles_kernel<D, kBlock>(pixels, groups, kGroups)
                     : blocked_half_tiles_kernel<D, 2 * kBlock>(pixels, groups, kGroups);
  }
  return nullptr;
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
