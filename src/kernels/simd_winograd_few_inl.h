// Winograd's products of few tiles, in the blocked layout. Included per target, like simd.h.
//
// To write a vector of transformed weights and to read it again takes as long as to multiply it
// with a few tiles. Here it stays in registers: a row of six comes from the taps of one channel,
// and each of four tiles adds its products with all of them, in the order of other kernels. On an
// Intel Xeon of 2023 a convolution of 512 channels on 7 x 7 pixels takes 0.72 of the time. With
// nine tiles both are as fast.

#if defined(MEZZO_KERNELS_SIMD_WINOGRAD_FEW_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_WINOGRAD_FEW_INL
#undef MEZZO_KERNELS_SIMD_WINOGRAD_FEW_INL
#else
#define MEZZO_KERNELS_SIMD_WINOGRAD_FEW_INL
#endif

#include <cstdint>
#include <utility>

#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_winograd_inl.h"
#include "kernels/simd_winograd_tiles_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Tiles that are taken at a time: with six sums each.
inline constexpr int kTilesAtATime = 4;

struct FewTiles {
  const float* taps;    // of a vector of outputs: [channel][3][3][kTileCols]
  std::int64_t blocks;  // of 8 channels
  const float* v;       // [block][tile][8] of a row's first product
  std::int64_t v_stride, v_block_stride;
  float* m;           // [tile][kLanes] of a row's first product; the others are kStrideM apart
  bool adds;          // to what is in m
  const float* next;  // taps that are needed soon
};

// Row R of the products of T tiles.
template <int R, int T>
HWY_NOINLINE void multiply_few(const FewTiles& few) {
  const F32 d;
  VecF32 sums[kInput][T];
  MEZZO_UNROLL
  for (int j = 0; j < kInput; ++j) {
    MEZZO_UNROLL
    for (int t = 0; t < T; ++t) sums[j][t] = hn::Zero(d);
  }
  const float *taps = few.taps, *v = few.v;
  // Each row asks for a sixth of the next taps: three of nine for every other channel.
  const float* next = few.next + R / 2 * 3 * kTileCols;
  for (std::int64_t block = 0; block < few.blocks; ++block, v += few.v_block_stride) {
    for (int c = 0; c < int{kBlockChannels}; ++c, taps += 9 * kTileCols, next += 9 * kTileCols) {
      if (c % 2 == R % 2) {
        MEZZO_UNROLL
        for (int i = 0; i < 3; ++i) prefetch_l2(next + i * kTileCols);
      }
      VecF32 u[kInput];
      transform_vector<R>(taps, u);
      const float* x = v + c;
      MEZZO_UNROLL
      for (int j = 0; j < kInput; ++j, x += few.v_stride) {
        MEZZO_UNROLL
        for (int t = 0; t < T; ++t)
          add_broadcast_product(d, sums[j][t], x + t * kBlockChannels, u[j]);
      }
    }
  }
  MEZZO_UNROLL
  for (int j = 0; j < kInput; ++j) {
    MEZZO_UNROLL
    for (int t = 0; t < T; ++t) {
      float* m = few.m + j * kStrideM + t * kLanes;
      hn::StoreU(few.adds ? hn::Add(sums[j][t], hn::LoadU(d, m)) : sums[j][t], d, m);
    }
  }
}

using FewTilesKernel = void (*)(const FewTiles&);

// The kernel for a row and up to kTilesAtATime tiles.
template <int... I>
FewTilesKernel few_tiles_kernel(std::int64_t row, std::int64_t tiles,
                                std::integer_sequence<int, I...>) {
  if constexpr (kFewTiles == 0) {
    return nullptr;
  } else {
    static constexpr FewTilesKernel kKernels[] = {
        multiply_few<I / kTilesAtATime, I % kTilesAtATime + 1>...};
    return kKernels[row * kTilesAtATime + tiles - 1];
  }
}

// Channels of x and their weights for a panel of outputs, in the order of the panel.
struct Chunk {
  std::int64_t begin, depth;
  const float *taps, *next;  // next: those of the chunk behind it, or taps
};

// M of `groups` groups of outputs: the products of a chunk are added to those of chunks before it.
inline void multiply_few(const Block& b, const Products& to, std::int64_t groups,
                         const Chunk& chunk) {
  const std::int64_t parts = ceil_div(to.count, std::int64_t{kTilesAtATime});
  for (std::int64_t row = 0; row < kInput; ++row) {
    const float* v = b.v + row * kInput * b.v_stride + chunk.begin * b.count;
    for (std::int64_t i = 0; i < groups * parts; ++i) {
      const std::int64_t channel = i / parts * kGroupChannels, part = i % parts;
      const std::int64_t first = to.count * part / parts,
                         tiles = to.count * (part + 1) / parts - first;
      const FewTiles few{chunk.taps + channel,
                         chunk.depth / kBlockChannels,
                         v + (to.begin + first) * kBlockChannels,
                         b.v_stride,
                         b.count * kBlockChannels,
                         to.m + row * kInput * kStrideM + channel * kMaxTiles + first * kLanes,
                         chunk.begin > 0,
                         (part == 0 ? chunk.next : chunk.taps) + channel};
      few_tiles_kernel(row, tiles, std::make_integer_sequence<int, kInput * kTilesAtATime>{})(few);
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
