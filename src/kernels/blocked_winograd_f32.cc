#include <algorithm>
#include <memory>
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
#include "kernels/simd_winograd_few_inl.h"
#include "kernels/simd_winograd_inl.h"
#include "kernels/simd_winograd_products_inl.h"
#include "kernels/simd_winograd_tiles_inl.h"

// Winograd's convolution (winograd_f32.cc) in the blocked layout: channels fill the vectors in the
// transforms of x and y as well, so that these look at whole pixels and sort nothing. The tiles of
// a block take the place of pixels:
//   V [36][in_c / 8][tile][8]            transformed inputs
//   M [36][group][tile][channel of a group] products of one panel of channels
// Weights are packed alike, and their transforms U are those of the plain layout; or they are
// transformed ahead, for 36 products or the 16 of F(2x2, 3x3), which has some of the same points:
//   W [panel of channels][chunk of in_c][product][channel of the chunk][kTileCols]

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

struct ScratchRows {};

// B' d along the columns of one block of channels of a segment of tiles of H rows: as many rows of
// `width` pixels as H needs of six.
template <int H>
void transform_columns(const ConvShape& s, const Segment& segment, const float* x, int64_t width,
                       float* rows) {
  const BlockF32 d;
  constexpr int kPoints = H + 2;
  const int64_t left = segment.column - s.pad_left, top = segment.row - s.pad_top;
  const int64_t row_step = s.dilation_h * s.in_w * kBlockChannels;
  const bool all_rows = top >= 0 && top + (kPoints - 1) * s.dilation_h < s.in_h;
  for (int64_t j = 0; j < width; ++j) {
    const int64_t column = left + j * s.dilation_w;
    const bool inside = column >= 0 && column < s.in_w;
    const float* from = x + (top * s.in_w + column) * kBlockChannels;
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
      VecBlock in[kInput], out[kInput];
      MEZZO_UNROLL
      for (int r = 0; r < kPoints; ++r) {
        const int64_t row = top + r * s.dilation_h;
        in[r] = inside && (all_rows || (row >= 0 && row < s.in_h))
                    ? hn::LoadU(d, from + r * row_step + part)
                    : hn::Zero(d);
      }
      transform_input<kPoints>(in, out);
      MEZZO_UNROLL
      for (int r = 0; r < kInput; ++r) {
        if (has_point(kPoints, r))
          hn::StoreU(out[r], d, rows + (r * width + j) * kBlockChannels + part);
      }
    }
  }
}

// B' d along the rows of `count` tiles of `height` x W outputs, from the rows of transform_columns.
template <int W>
void transform_rows(const float* rows, int64_t width, int64_t height, int64_t count,
                    int64_t v_stride, float* v) {
  const BlockF32 d;
  constexpr int kPoints = W + 2;
  for (; count > 0; --count, rows += W * kBlockChannels, v += kBlockChannels) {
    for (int r = 0; r < kInput; ++r) {
      if (!has_point(height + 2, r)) continue;
      const float* row = rows + r * width * kBlockChannels;
      MEZZO_UNROLL
      for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
        VecBlock in[kInput], out[kInput];
        MEZZO_UNROLL
        for (int c = 0; c < kPoints; ++c) in[c] = hn::LoadU(d, row + c * kBlockChannels + part);
        transform_input<kPoints>(in, out);
        MEZZO_UNROLL
        for (int c = 0; c < kInput; ++c) {
          if (has_point(kPoints, c)) hn::StoreU(out[c], d, v + (r * kInput + c) * v_stride + part);
        }
      }
    }
  }
}

// The functions for tiles of 1, 2, ... rows or columns.
constexpr decltype(&transform_columns<kTile>) kTransformColumns[kTile] = {
    transform_columns<1>, transform_columns<2>, transform_columns<3>, transform_columns<4>};
constexpr decltype(&transform_rows<kTile>) kTransformRows[kTile] = {
    transform_rows<1>, transform_rows<2>, transform_rows<3>, transform_rows<4>};

// V of the blocks of channels [begin, end).
void transform_inputs(const WinogradLayout& l, const Block& b, const float* x, int64_t begin,
                      int64_t end) {
  const ConvShape& s = l.shape;
  const int64_t most = std::min(l.tiles_w, b.count) * kTile + 2;
  float* rows = thread_scratch<ScratchRows>(kInput * most * kBlockChannels);
  for (int64_t block = begin; block < end; ++block) {
    b.for_rows(l, [&](const TileRow& tiles) {
      const Segment& segment = tiles.segment;
      const int64_t wide = tiles.wide.count() * l.tile;
      const int64_t width = wide + tiles.narrow.count() * l.last_w + 2;
      const int64_t plane = segment.image * s.in_c / kBlockChannels + block;
      kTransformColumns[tiles.height - 1](s, segment, x + plane * s.x_plane() * kBlockChannels,
                                          width, rows);
      float* v = b.v + block * b.count * kBlockChannels;
      kTransformRows[l.tile - 1](rows, width, tiles.height, tiles.wide.count(), b.v_stride,
                                 v + tiles.wide.begin * kBlockChannels);
      kTransformRows[l.last_w - 1](rows + wide * kBlockChannels, width, tiles.height,
                                   tiles.narrow.count(), b.v_stride,
                                   v + tiles.narrow.begin * kBlockChannels);
    });
  }
}

// M of a panel of channels, with `weights` its part of W.
void multiply(const WinogradLayout& l, const Block& b, const float* weights, int64_t blocks,
              const Products& to) {
  const int64_t in_c = l.shape.in_c, groups = ceil_div(blocks, kGroupBlocks);
  const int64_t width = weights_of_pair(l.kind) * kTileCols;
  float* scratch = l.kind.ahead ? nullptr : thread_scratch<ScratchU>(kInput * kStrideU);
  for (int64_t k0 = 0; k0 < in_c; k0 += l.chunk) {
    const int64_t depth = std::min(l.chunk, in_c - k0);
    const int64_t next_depth = std::min(l.chunk, in_c - k0 - depth);
    const float* taps = weights + k0 * width;
    const float* next = taps + depth * width;
    // From one of U's products to the next.
    const int64_t stride = l.kind.ahead ? depth * kTileCols : kStrideU;
    if (!l.kind.ahead && l.tiles <= kFewTiles) {
      multiply_few(b, to, groups, {k0, depth, taps, next_depth > 0 ? next : taps});
      continue;
    }
    ProductChunk chunk(b.count, depth, k0 > 0, next, next_depth * width);
    const float* u = taps;
    for (int row = 0; row < kInput; ++row) {
      if (!l.has(row)) continue;
      if (!l.kind.ahead) {
        transform_taps(row, taps, depth, stride, scratch);
        u = scratch;
      }
      for (int column = 0; column < kInput; ++column) {
        if (!l.has(column)) continue;
        const float* weights_of_product = std::exchange(u, u + stride);
        const Places places = common(to.places(), b.with_product(l, row, column));
        if (places.count() == 0) continue;
        const int product = row * kInput + column;
        // Each product asks for the weights of the next one.
        if (l.kind.ahead) chunk.ask_for(u, stride);
        multiply_product(
            places.count(), groups, chunk,
            b.v + product * b.v_stride + (k0 * b.count + places.begin * kBlockChannels),
            weights_of_product,
            to.m + product * kStrideM + (places.begin - to.begin) * kGroupChannels);
      }
    }
  }
}

// A' m A of `count` tiles of H x W outputs beside each other: of the tiles' rows and columns as
// many are written as there are in the image. y and add (null: nothing) are the first tile's first
// pixel.
template <int H, int W>
void transform_tiles(const ConvShape& s, const ChannelVector& channels, int64_t count,
                     int64_t height, int64_t width, const float* m, float* y, const float* add) {
  const PairF32 d;
  const int64_t step = s.dilation_w * kBlockChannels, row = s.dilation_h * s.out_w * kBlockChannels;
  for (int64_t i = 0; i < count; ++i, m += kGroupChannels) {
    VecPair columns[kInput][H];
    MEZZO_UNROLL
    for (int c = 0; c < kInput; ++c) {
      if (!has_point(W + 2, c)) continue;
      VecPair in[kInput];
      MEZZO_UNROLL
      for (int r = 0; r < kInput; ++r) {
        if (has_point(H + 2, r)) in[r] = hn::LoadU(d, m + (r * kInput + c) * kStrideM);
      }
      transform_output<H + 2>(in, columns[c]);
    }
    const int64_t at = i * W * step;
    MEZZO_UNROLL
    for (int r = 0; r < H; ++r) {
      if (r >= height) break;
      VecPair in[kInput], sums[W];
      MEZZO_UNROLL
      for (int c = 0; c < kInput; ++c) {
        if (has_point(W + 2, c)) in[c] = columns[c][r];
      }
      transform_output<W + 2>(in, sums);
      channels.finish(sums, width - i * W, step, y + at + r * row,
                      add == nullptr ? nullptr : add + at + r * row);
    }
  }
}

// The function for tiles of so many rows and columns.
template <int... I>
decltype(&transform_tiles<kTile, kTile>) transform_tiles_of(int64_t height, int64_t width,
                                                            std::integer_sequence<int, I...>) {
  static constexpr decltype(&transform_tiles<kTile, kTile>) kFunctions[] = {
      transform_tiles<I / kTile + 1, I % kTile + 1>...};
  return kFunctions[(height - 1) * kTile + width - 1];
}

// y of a panel of channels.
void transform_outputs(const WinogradLayout& l, const Block& b, const ConvArgs& args, int64_t block,
                       int64_t blocks, const Products& from) {
  const ConvShape& s = l.shape;
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.y_plane();
  for (int64_t i = 0; i < ChannelVector::count(blocks); ++i) {
    const ChannelVector channels(s, args, block, blocks, i);
    const float* m = from.m + channels.group * kMaxTiles * kGroupChannels + channels.part;
    b.for_rows(l, [&](const TileRow& tiles) {
      const Segment& segment = tiles.segment;
      const int64_t oh = segment.row;
      // Of the segment's tiles `all`, the first of them at output column `ow`, those of `from`.
      const auto transform = [&](const Places& all, int64_t tile_width, int64_t ow) {
        const Places places = common(from.places(), all);
        if (places.count() == 0) return;
        ow += (places.begin - all.begin) * l.tile * s.dilation_w;
        const int64_t at = (oh * s.out_w + ow) * kBlockChannels + channels.part;
        transform_tiles_of(tiles.height, tile_width,
                           std::make_integer_sequence<int, kTile * kTile>{})(
            s, channels, places.count(), ceil_div(s.out_h - oh, s.dilation_h),
            ceil_div(s.out_w - ow, s.dilation_w), m + (places.begin - from.begin) * kGroupChannels,
            args.y + segment.image * y_stride + channels.channel * s.y_plane() + at,
            args.add == nullptr
                ? nullptr
                : args.add + (segment.image * s.out_c + channels.channel) * s.add_plane() + at);
      };
      transform(tiles.wide, l.tile, segment.column);
      transform(tiles.narrow, l.last_w, segment.column + tiles.wide.count() * l.tile);
    });
  }
}

}  // namespace

// W from the weights as they are packed for transforms in each run.
void run_transform_weights(const ConvShape& s, const float* taps, float* transformed,
                           ThreadPool& pool) {
  const WinogradLayout l(s, 1, true);
  pool.parallel_for(l.channel_panels, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    const float* from = taps + begin * s.in_c * 9 * kTileCols;
    float* to = transformed + begin * s.in_c * weights_of_pair(l.kind) * kTileCols;
    float* u = thread_scratch<ScratchU>(kInput * kStrideU);
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t k0 = 0; k0 < s.in_c; k0 += l.chunk) {
        const int64_t depth = std::min(l.chunk, s.in_c - k0), stride = depth * kTileCols;
        for (int row = 0; row < kInput; ++row) {
          if (!l.has(row)) continue;
          transform_taps(row, from, depth, kStrideU, u);
          for (int column = 0; column < kInput; ++column) {
            if (l.has(column)) to = std::copy_n(u + column * kStrideU, stride, to);
          }
        }
        from += 9 * stride;
      }
    }
  });
}

void run_blocked_winograd(const ConvShape& s, const ConvArgs& all, ThreadPool& pool) {
  const ConvArgs args = ahead_of_stages(all);
  run_winograd_blocks(
      s, true, kBlockChannels,
      [&](const WinogradLayout& l, const Block& b, int64_t begin, int64_t end)
          HWY_ATTR { transform_inputs(l, b, args.x, begin, end); },
      [&](const WinogradLayout& l, const Block& b, int64_t panel,
          const Products& products) HWY_ATTR {
        const int64_t block = panel * kPanelBlocks,
                      blocks = std::min(kPanelBlocks, s.out_c / kBlockChannels - block);
        multiply(l, b, args.packed_weights + panel * s.in_c * weights_of_pair(l.kind) * kTileCols,
                 blocks, products);
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
HWY_EXPORT(tiles_of_blocks);
HWY_EXPORT(run_transform_weights);
HWY_EXPORT(run_blocked_winograd);

// Floats of the packed weights from one group to the next.
std::int64_t group_floats(const ConvShape& shape) {
  return checked_mul(weights_of_pair(blocked_winograd_tiles(shape)),
                     winograd_group_floats(shape) / 9);
}
}  // namespace

WinogradTiles blocked_winograd_tiles(const ConvShape& shape) {
  return MEZZO_DISPATCH(tiles_of_blocks)(group_of(shape));
}

std::size_t blocked_winograd_weights_bytes(const ConvShape& shape) {
  return static_cast<std::size_t>(
      checked_mul(checked_mul(groups_of(shape), group_floats(shape)), sizeof(float)));
}

void pack_blocked_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                                   ThreadPool& pool) {
  if (!blocked_winograd_tiles(shape).ahead)
    return pack_winograd_weights(shape, weights, packed, pool);
  pack_groups(shape, weights, packed, group_floats(shape),
              [&](const ConvShape& group, const float* of_group, float* to) {
                const auto taps = std::make_unique_for_overwrite<float[]>(
                    winograd_weights_bytes(group) / sizeof(float));
                pack_winograd_weights(group, of_group, taps.get(), pool);
                MEZZO_DISPATCH(run_transform_weights)(group, taps.get(), to, pool);
              });
}

void blocked_winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool) {
  run_groups(shape, args, group_floats(shape), pool,
             [&](const ConvShape& group, const ConvArgs& of_group) {
               MEZZO_DISPATCH(run_blocked_winograd)(group, of_group, pool);
             });
}
}  // namespace mezzo::kernels
#endif
