#include <algorithm>
#include <utility>

#include "kernels/blocked_f32.h"
#include "kernels/conv_groups.h"
#include "kernels/winograd_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blocked_winograd_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_blocked_stages_inl.h"
#include "kernels/simd_for_tiles_inl.h"
#include "kernels/simd_winograd_few_inl.h"
#include "kernels/simd_winograd_inl.h"
#include "kernels/simd_winograd_tiles_inl.h"

// Winograd's convolution (winograd_f32.cc) in the blocked layout: channels fill the vectors in the
// transforms of x and y as well, so that these look at whole pixels and sort nothing. The tiles of
// a block take the place of pixels:
//   V [36][in_c / 8][tile][8]            transformed inputs
//   M [36][group][tile][channel of a group] products of one panel of channels
// Weights are packed alike, and their transforms U are those of the plain layout.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int64_t kPanelBlocks = kTileCols / kBlockChannels,
                  kPanelGroups = kTileCols / kGroupChannels;
static_assert(kTileCols % kGroupChannels == 0 && kPanelGroups <= kTileGroups);
static_assert(kChunkUnit == kBlockChannels);

struct ScratchRows {};

// B' d along the columns of one block of channels of a segment: six rows of `width` pixels.
void transform_columns(const ConvShape& s, const Segment& segment, const float* x, int64_t width,
                       float* rows) {
  const BlockF32 d;
  const int64_t left = segment.column - s.pad_left, top = segment.row - s.pad_top;
  for (int64_t j = 0; j < width; ++j) {
    const int64_t column = left + j * s.dilation_w;
    const bool inside = column >= 0 && column < s.in_w;
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
      VecBlock in[kInput], out[kInput];
      MEZZO_UNROLL
      for (int r = 0; r < kInput; ++r) {
        const int64_t row = top + r * s.dilation_h;
        in[r] = inside && row >= 0 && row < s.in_h
                    ? hn::LoadU(d, x + (row * s.in_w + column) * kBlockChannels + part)
                    : hn::Zero(d);
      }
      transform_input(in, out);
      MEZZO_UNROLL
      for (int r = 0; r < kInput; ++r)
        hn::StoreU(out[r], d, rows + (r * width + j) * kBlockChannels + part);
    }
  }
}

// V of the blocks of channels [begin, end).
void transform_inputs(const WinogradLayout& l, const Block& b, const float* x, int64_t begin,
                      int64_t end) {
  const BlockF32 d;
  const ConvShape& s = l.shape;
  const int64_t most = std::min(l.tiles_w, b.count) * kTile + 2;
  float* rows = thread_scratch<ScratchRows>(kInput * most * kBlockChannels);
  for (int64_t block = begin; block < end; ++block) {
    for (int64_t t = 0; t < b.count;) {
      const Segment segment = segment_at(l, b.begin + t, b.begin + b.count);
      const int64_t width = segment.count * kTile + 2;
      const int64_t plane = segment.image * s.in_c / kBlockChannels + block;
      transform_columns(s, segment, x + plane * s.x_plane() * kBlockChannels, width, rows);
      for (int64_t i = 0; i < segment.count; ++i, ++t) {
        float* to = b.v + (block * b.count + t) * kBlockChannels;
        for (int r = 0; r < kInput; ++r) {
          const float* from = rows + (r * width + i * kTile) * kBlockChannels;
          MEZZO_UNROLL
          for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
            VecBlock in[kInput], out[kInput];
            MEZZO_UNROLL
            for (int c = 0; c < kInput; ++c) in[c] = hn::LoadU(d, from + c * kBlockChannels + part);
            transform_input(in, out);
            MEZZO_UNROLL
            for (int c = 0; c < kInput; ++c)
              hn::StoreU(out[c], d, to + (r * kInput + c) * b.v_stride + part);
          }
        }
      }
    }
  }
}

// Products of so many tiles, at most kTilePixels[groups - 1], and groups of channels.
BlockedTiles product_kernel(int64_t tiles, int64_t groups) {
  return blocked_tiles_kernel<int{kBlockChannels}, int{kBlockChannels}, int{kTileCols}>(
      tiles, groups, std::make_integer_sequence<int, kPanelGroups>{});
}

// M of a panel of channels, with `weights` its part of W.
void multiply(const WinogradLayout& l, const Block& b, const float* weights, int64_t blocks,
              const Products& to) {
  const int64_t in_c = l.shape.in_c, groups = ceil_div(blocks, kGroupBlocks);
  float* u = thread_scratch<ScratchU>(kInput * kStrideU);
  int64_t offsets[kMaxChunk / kBlockChannels];
  for (int64_t i = 0; i < kMaxChunk / kBlockChannels; ++i)
    offsets[i] = i * b.count * kBlockChannels;
  for (int64_t k0 = 0; k0 < in_c; k0 += l.chunk) {
    const int64_t depth = std::min(l.chunk, in_c - k0);
    const float* taps = weights + k0 * 9 * kTileCols;
    // The products fetch the next weights.
    const float* next = taps + depth * 9 * kTileCols;
    int64_t to_fetch = k0 + depth < in_c ? std::min(l.chunk, in_c - k0 - depth) * 9 * kTileCols : 0;
    if (l.tiles <= kFewTiles) {
      multiply_few(b, to, groups, {k0, depth, taps, to_fetch > 0 ? next : taps});
      continue;
    }
    for (int row = 0; row < kInput; ++row) {
      transform_taps(row, taps, depth, kStrideU, u);
      for (int column = 0; column < kInput; ++column) {
        const int product = row * kInput + column;
        const float* v = b.v + product * b.v_stride + (k0 * b.count + to.begin * kBlockChannels);
        float* m = to.m + product * kStrideM;
        for_tiles(to.count, kTilePixels[groups - 1], 1,
                  [&](int64_t first, int64_t size, int64_t tiles) HWY_ATTR {
                    const BlockedOut out{m + first * kGroupChannels,
                                         kMaxTiles * kGroupChannels,
                                         0,
                                         k0 == 0 ? kZeros : nullptr,
                                         nullptr,
                                         0,
                                         0,
                                         next,
                                         to_fetch > 0,
                                         tiles,
                                         false};
                    product_kernel(size, groups)(v + first * kBlockChannels, offsets,
                                                 depth / kBlockChannels, u + column * kStrideU,
                                                 out);
                    const int64_t fetched = tiles * (depth / kBlockChannels) *
                                            blocked_fetch_lines<kTileCols> * kCacheLine;
                    next += fetched;
                    to_fetch -= fetched;
                  });
      }
    }
  }
}

// y of a panel of channels.
void transform_outputs(const WinogradLayout& l, const Block& b, const ConvArgs& args, int64_t block,
                       int64_t blocks, const Products& from) {
  const PairF32 d;
  const ConvShape& s = l.shape;
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.y_plane();
  for (int64_t i = 0; i < ChannelVector::count(blocks); ++i) {
    const ChannelVector channels(s, args, block, blocks, i);
    const float* m = from.m + channels.group * kMaxTiles * kGroupChannels + channels.part;
    for (int64_t t = 0; t < from.count;) {
      const int64_t first = b.begin + from.begin;
      const Segment segment = segment_at(l, first + t, first + from.count);
      const int64_t oh = segment.row, height = ceil_div(s.out_h - oh, s.dilation_h);
      for (int64_t j = 0; j < segment.count; ++j, ++t, m += kGroupChannels) {
        const int64_t ow = segment.column + j * kTile * s.dilation_w;
        const int64_t width = ceil_div(s.out_w - ow, s.dilation_w);
        const int64_t at = (oh * s.out_w + ow) * kBlockChannels + channels.part;
        float* y = args.y + segment.image * y_stride + channels.channel * s.y_plane() + at;
        const float* add =
            args.add == nullptr
                ? nullptr
                : args.add + (segment.image * s.out_c + channels.channel) * s.add_plane() + at;
        VecPair columns[kInput][kTile];
        MEZZO_UNROLL
        for (int c = 0; c < kInput; ++c) {
          VecPair in[kInput];
          MEZZO_UNROLL
          for (int r = 0; r < kInput; ++r) in[r] = hn::LoadU(d, m + (r * kInput + c) * kStrideM);
          transform_output(in, columns[c]);
        }
        MEZZO_UNROLL
        for (int r = 0; r < kTile; ++r) {
          if (r >= height) break;
          VecPair in[kInput], sums[kTile];
          MEZZO_UNROLL
          for (int c = 0; c < kInput; ++c) in[c] = columns[c][r];
          transform_output(in, sums);
          const int64_t row = r * s.dilation_h * s.out_w * kBlockChannels;
          channels.finish(sums, width, s.dilation_w * kBlockChannels, y + row,
                          add == nullptr ? nullptr : add + row);
        }
      }
    }
  }
}

}  // namespace

void run_blocked_winograd(const ConvShape& s, const ConvArgs& all, ThreadPool& pool) {
  const ConvArgs args = ahead_of_stages(all);
  run_winograd_blocks(
      s, kBlockChannels,
      [&](const WinogradLayout& l, const Block& b, int64_t begin, int64_t end)
          HWY_ATTR { transform_inputs(l, b, args.x, begin, end); },
      [&](const WinogradLayout& l, const Block& b, int64_t panel, const Products& products)
          HWY_ATTR {
            const int64_t block = panel * kPanelBlocks,
                          blocks = std::min(kPanelBlocks, s.out_c / kBlockChannels - block);
            multiply(l, b, args.packed_weights + panel * s.in_c * 9 * kTileCols, blocks, products);
            transform_outputs(l, b, args, block, blocks, products);
          },
      pool);
  // A few rows of tiles are no whole lines: stages follow plane by plane.
  if (all.stages.wanted()) run_all_stages(s, all, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_blocked_winograd);
}  // namespace

void blocked_winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool) {
  run_groups(shape, args, winograd_group_floats(shape), pool,
             [&](const ConvShape& group, const ConvArgs& of_group) {
               MEZZO_DISPATCH(run_blocked_winograd)(group, of_group, pool);
             });
}
}  // namespace mezzo::kernels
#endif
