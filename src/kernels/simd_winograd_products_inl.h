// The products of Winograd's convolutions in the blocked layout: tiles take the place of pixels.
// Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_WINOGRAD_PRODUCTS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_WINOGRAD_PRODUCTS_INL
#undef MEZZO_KERNELS_SIMD_WINOGRAD_PRODUCTS_INL
#else
#define MEZZO_KERNELS_SIMD_WINOGRAD_PRODUCTS_INL
#endif

#include <array>
#include <cstdint>
#include <utility>

#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_for_tiles_inl.h"
#include "kernels/simd_winograd_tiles_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

inline constexpr std::int64_t kPanelBlocks = kTileCols / kBlockChannels,
                              kPanelGroups = kTileCols / kGroupChannels;
static_assert(kTileCols % kGroupChannels == 0 && kPanelGroups <= kTileGroups);
static_assert(kChunkUnit == kBlockChannels);

// Products of so many tiles, at most kTilePixels[groups - 1], and groups of channels.
inline BlockedTiles product_kernel(std::int64_t tiles, std::int64_t groups) {
  return blocked_tiles_kernel<int{kBlockChannels}, int{kBlockChannels}, int{kTileCols}>(
      tiles, groups, std::make_integer_sequence<int, kPanelGroups>{});
}

// A chunk of the channels of x, at most kMaxChunk, of which a tile's blocks lie `count` tiles
// apart in V; and the weights that are needed behind it, which the products ask for.
struct ProductChunk {
  ProductChunk(std::int64_t count, std::int64_t depth, bool adds, const float* next,
               std::int64_t next_floats)
      : blocks(depth / kBlockChannels), adds(adds), next(next), to_fetch(next_floats) {
    for (std::int64_t i = 0; i < blocks; ++i)
      offsets[static_cast<std::size_t>(i)] = i * count * kBlockChannels;
  }

  // Other weights instead.
  void ask_for(const float* from, std::int64_t floats) {
    next = from;
    to_fetch = floats;
  }

  std::int64_t blocks;
  bool adds;  // to what M holds
  const float* next;
  std::int64_t to_fetch;
  std::array<std::int64_t, kMaxChunk / kBlockChannels> offsets;
};

// One of the products of `count` tiles beside each other, v and m being the first one's, and groups
// of channels of a panel with the transformed weights u.
inline void multiply_product(std::int64_t count, std::int64_t groups, ProductChunk& chunk,
                             const float* v, const float* u, float* m) {
  for_tiles(count, kTilePixels[groups - 1], 1,
            [&](std::int64_t first, std::int64_t size, std::int64_t tiles) HWY_ATTR {
              const BlockedOut out{m + first * kGroupChannels,
                                   kMaxTiles * kGroupChannels,
                                   0,
                                   chunk.adds ? nullptr : kZeros,
                                   nullptr,
                                   0,
                                   0,
                                   chunk.next,
                                   chunk.to_fetch > 0,
                                   tiles,
                                   false};
              product_kernel(size, groups)(v + first * kBlockChannels, chunk.offsets.data(),
                                           chunk.blocks, u, out);
              const std::int64_t fetched =
                  tiles * chunk.blocks * blocked_fetch_lines<kTileCols> * kCacheLine;
              chunk.next += fetched;
              chunk.to_fetch -= fetched;
            });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
