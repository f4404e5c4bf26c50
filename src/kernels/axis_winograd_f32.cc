#include "kernels/axis_winograd_f32.h"

#include <algorithm>

#include "base/shape.h"
#include "kernels/blocked_f32.h"
#include "kernels/conv_taps.h"
#include "kernels/winograd_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/axis_winograd_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_blocked_stages_inl.h"
#include "kernels/simd_winograd_inl.h"
#include "kernels/simd_winograd_products_inl.h"
#include "kernels/simd_winograd_tiles_inl.h"

// F(4, 3) along one axis in the blocked layout, with the transforms of simd_winograd_inl.h: six
// products give four outputs of three taps. A longer window is cut into parts of three taps, whose
// products are summed up like those of further channels; a last part of one or two taps has a zero
// for the third, which needs no product with the point at infinity.
//   V [6][part][in_c / 8][tile][8]          transformed inputs
//   M [6][group][tile][channel of a group]  products of one panel of channels
//   weights [panel][part][in_c][3][channel of a panel], transformed in each run

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int64_t kTaps = 3;   // of a part
constexpr int64_t kTurn = 32;  // see Axis::turn
// Floats of V, which panel after panel reads; tiles of a block where that leaves few.
constexpr int64_t kMostV = 384 << 10, kLeastTiles = 24;

// A window along the axis. A line is all that lies along it at one place of the other axis; its
// tiles are those of each phase of a dilation.
struct Axis {
  explicit Axis(const ConvShape& s) : along_rows(s.k_h == 1), in_c(s.in_c) {
    in = along_rows ? s.in_w : s.in_h;
    out = along_rows ? s.out_w : s.out_h;
    taps = along_rows ? s.k_w : s.k_h;
    pad = along_rows ? s.pad_left : s.pad_top;
    dilation = along_rows ? s.dilation_w : s.dilation_h;
    lines = along_rows ? s.out_h : s.out_w;
    const int64_t x_row = s.in_w * kBlockChannels, y_row = s.out_w * kBlockChannels;
    x_step = along_rows ? kBlockChannels : x_row;
    x_line = along_rows ? x_row : kBlockChannels;
    y_step = along_rows ? kBlockChannels : y_row;
    y_line = along_rows ? y_row : kBlockChannels;
    parts = ceil_div(taps, kTaps);
    phase_tiles = ceil_div(ceil_div(out, dilation), kTile);
    line_tiles = checked_mul(phase_tiles, dilation);
    last = dilation == 1 ? (out - 1) % kTile + 1 : kTile;
    turn = dilation == 1 ? phase_tiles : kTurn;
    tiles = checked_mul(s.batch, checked_mul(lines, line_tiles));
    depth = checked_mul(parts, in_c);
    whole_depth = taps / kTaps * in_c;
    const int64_t most = tiles < kManyTiles ? kSmallChunk : kMaxChunk;
    chunk = round_up(ceil_div(depth, ceil_div(depth, most)), kChunkUnit);
  }
  // From a tile's output to the next one's.
  int64_t tile_step() const { return kTile * dilation; }

  bool along_rows;
  int64_t in_c, in, out, taps, pad, dilation, lines;
  int64_t x_step, x_line, y_step, y_line;  // floats from an element, or a line, to the next
  int64_t parts, phase_tiles, line_tiles, tiles;
  int64_t last;                // outputs of a line's last tile
  int64_t turn;                // tiles of a phase before those of the next
  int64_t depth, whole_depth;  // channels of all parts, and of those of three taps
  int64_t chunk;
};

// Tiles of so many outputs beside each other, along the rows of an image: of one line, or (down the
// columns) of neighbouring ones.
struct TileRun {
  int64_t image, line, position;  // line and position of the first tile's first output
  int64_t count, outputs;
  int64_t place;  // of the first tile in its block
};

// Tiles that are computed together. Those of four outputs have the first places in it, so that
// those of each product are side by side.
struct TileBlock {
  TileBlock(const Axis& a, int64_t begin, int64_t end) : begin(begin), count(end - begin) {
    int64_t all_wide = 0;
    for_runs(a, [&](const TileRun& tiles) {
      if (tiles.outputs == kTile) all_wide += tiles.count;
    });
    wide = all_wide;
    // Room as in Block.
    v_stride = checked_add(checked_mul(count, a.depth), 80);
    v = thread_scratch<ScratchV>(checked_mul(kInput, v_stride));
  }

  // Calls run(const TileRun&) for all tiles.
  template <class Run>
  void for_runs(const Axis& a, const Run& run) const {
    const int64_t of_image = a.lines * a.line_tiles;
    int64_t wide_place = 0, narrow_place = wide;
    for (int64_t tile = begin, size = 0; tile < begin + count; tile += size) {
      const int64_t in_image = tile % of_image, left = begin + count - tile;
      TileRun tiles{tile / of_image, 0, 0, 0, kTile, wide_place};
      int64_t narrow = 0;
      if (a.along_rows) {
        // Phases take turns, so that none comes back to lines of the cache that have gone.
        tiles.line = in_image / a.line_tiles;
        const int64_t in_line = in_image % a.line_tiles, whole = a.turn * a.dilation;
        const int64_t turn = in_line / whole, in_turn = in_line % whole;
        const int64_t row = std::min(a.turn, a.phase_tiles - turn * a.turn);
        const int64_t first = turn * a.turn + in_turn % row;
        tiles.position = in_turn / row + first * a.tile_step();
        size = std::min(row - in_turn % row, left);
        if (a.last < kTile && first + size == a.phase_tiles) narrow = 1;
      } else {
        const int64_t row = in_image / a.lines, in_phase = row % a.phase_tiles;
        tiles.line = in_image % a.lines;
        tiles.position = row / a.phase_tiles + in_phase * a.tile_step();
        size = std::min(a.lines - tiles.line, left);
        if (a.last < kTile && in_phase + 1 == a.phase_tiles) narrow = size;
      }
      tiles.count = size - narrow;
      if (tiles.count > 0) run(tiles);
      if (narrow > 0) {
        if (a.along_rows) tiles.position += tiles.count * a.tile_step();
        run(TileRun{tiles.image, tiles.line, tiles.position, narrow, a.last, narrow_place});
      }
      wide_place += tiles.count;
      narrow_place += narrow;
    }
  }

  int64_t begin, count, wide = 0;
  int64_t v_stride;  // from a product to the next
  float* v;
};

// V of one block of channels and one part of the window, as many of its six products as there are
// points: x is the plane, v the first product.
template <int Points>
void transform_run(const Axis& a, const TileRun& tiles, int64_t part, const float* x,
                   int64_t v_stride, float* v) {
  const BlockF32 d;
  const int64_t step = a.dilation * a.x_step;
  int64_t position = tiles.position + part * kTaps * a.dilation - a.pad;
  x += tiles.line * a.x_line;
  for (int64_t i = 0; i < tiles.count; ++i, v += kBlockChannels) {
    const bool inside = position >= 0 && position + (Points - 1) * a.dilation < a.in;
    MEZZO_UNROLL
    for (int lanes = 0; lanes < int{kBlockChannels}; lanes += kPartLanes) {
      VecBlock in[kInput], out[kInput];
      MEZZO_UNROLL
      for (int r = 0; r < Points; ++r) {
        const int64_t at = position + r * a.dilation;
        in[r] = inside || (at >= 0 && at < a.in)
                    ? hn::LoadU(d, x + position * a.x_step + r * step + lanes)
                    : hn::Zero(d);
      }
      transform_input<Points>(in, out);
      MEZZO_UNROLL
      for (int c = 0; c < kInput; ++c) {
        if (has_point(Points, c)) hn::StoreU(out[c], d, v + c * v_stride + lanes);
      }
    }
    if (a.along_rows) {
      position += a.tile_step();
    } else {
      x += a.x_line;
    }
  }
}

// The functions for 3, 4, ... points.
constexpr decltype(&transform_run<kInput>) kTransformRun[kTile] = {
    transform_run<3>, transform_run<4>, transform_run<5>, transform_run<6>};

void transform_inputs(const ConvShape& s, const Axis& a, const TileBlock& b, const float* x) {
  const int64_t blocks = s.in_c / kBlockChannels;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t part = 0; part < a.parts; ++part) {
      const bool whole = part < a.taps / kTaps;
      b.for_runs(a, [&](const TileRun& tiles) {
        const int64_t points = tiles.outputs + 2;
        const int64_t taken = whole || !has_point(points, kInput - 1) ? points : points - 1;
        const int64_t plane = (tiles.image * blocks + block) * s.x_plane() * kBlockChannels;
        kTransformRun[taken - 3](
            a, tiles, part, x + plane, b.v_stride,
            b.v + ((part * blocks + block) * b.count + tiles.place) * kBlockChannels);
      });
    }
  }
}

// The transforms of weights g [depth][3][kTileCols]: element c goes to u + c * kStrideU.
void transform_part(const float* g, int64_t depth, float* u) {
  const F32 d;
  for (int64_t k = 0; k < depth; ++k, g += kTaps * kTileCols, u += kTileCols) {
    MEZZO_UNROLL
    for (int v = 0; v < kTileVectors; ++v) {
      VecF32 in[kTaps], out[kInput];
      MEZZO_UNROLL
      for (int i = 0; i < kTaps; ++i) in[i] = hn::LoadU(d, g + i * kTileCols + v * kLanes);
      transform_weights(in, out);
      MEZZO_UNROLL
      for (int c = 0; c < kInput; ++c) hn::StoreU(out[c], d, u + c * kStrideU + v * kLanes);
    }
  }
}

// M of a panel of so many blocks of channels.
void multiply(const Axis& a, const TileBlock& b, const float* weights, int64_t blocks, float* m) {
  const int64_t groups = ceil_div(blocks, kGroupBlocks);
  float* u = thread_scratch<ScratchU>(kInput * kStrideU);
  for (int64_t k0 = 0; k0 < a.depth; k0 += a.chunk) {
    const int64_t depth = std::min(a.chunk, a.depth - k0), rest = a.depth - k0 - depth;
    const float* next = weights + depth * kTaps * kTileCols;
    ProductChunk chunk(b.count, depth, k0 > 0, next, std::min(a.chunk, rest) * kTaps * kTileCols);
    transform_part(weights, depth, u);
    for (int c = 0; c < kInput; ++c) {
      if (c + 1 == kInput) chunk.blocks = std::min(depth, a.whole_depth - k0) / kBlockChannels;
      const int64_t count = has_point(a.last + 2, c) ? b.count : b.wide;
      if (chunk.blocks <= 0 || count == 0) continue;
      multiply_product(count, groups, chunk, b.v + c * b.v_stride + k0 * b.count, u + c * kStrideU,
                       m + c * kStrideM);
    }
    weights = next;
  }
}

// y of tiles of N outputs, of a vector of channels; y and add (null: nothing) are the planes.
template <int N>
void transform_back(const Axis& a, const TileRun& tiles, const ChannelVector& channels,
                    const float* m, float* y, const float* add) {
  const PairF32 d;
  const int64_t step = a.dilation * a.y_step;
  int64_t at = tiles.line * a.y_line + tiles.position * a.y_step + channels.part;
  int64_t left = ceil_div(a.out - tiles.position, a.dilation);
  for (int64_t t = 0; t < tiles.count; ++t, m += kGroupChannels) {
    VecPair in[kInput], sums[N];
    MEZZO_UNROLL
    for (int c = 0; c < kInput; ++c) {
      if (has_point(N + 2, c)) in[c] = hn::LoadU(d, m + c * kStrideM);
    }
    transform_output<N + 2>(in, sums);
    channels.finish(sums, left, step, y + at, add == nullptr ? nullptr : add + at);
    at += a.along_rows ? kTile * step : a.y_line;
    left -= a.along_rows ? kTile : 0;
  }
}

// The functions for tiles of 1, 2, ... outputs.
constexpr decltype(&transform_back<kTile>) kTransformBack[kTile] = {
    transform_back<1>, transform_back<2>, transform_back<3>, transform_back<4>};

// y of a panel of channels.
void transform_outputs(const ConvShape& s, const Axis& a, const TileBlock& b, const ConvArgs& args,
                       int64_t block, int64_t blocks, const float* m) {
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.y_plane();
  for (int64_t i = 0; i < ChannelVector::count(blocks); ++i) {
    const ChannelVector channels(s, args, block, blocks, i);
    const float* of_vector = m + channels.group * kMaxTiles * kGroupChannels + channels.part;
    b.for_runs(a, [&](const TileRun& tiles) {
      const int64_t plane = (tiles.image * s.out_c + channels.channel) * s.add_plane();
      kTransformBack[tiles.outputs - 1](
          a, tiles, channels, of_vector + tiles.place * kGroupChannels,
          args.y + tiles.image * y_stride + channels.channel * s.y_plane(),
          args.add == nullptr ? nullptr : args.add + plane);
    });
  }
}

void run_axis_winograd(const ConvShape& s, const ConvArgs& all, ThreadPool& pool) {
  const ConvArgs args = ahead_of_stages(all);
  const Axis a(s);
  const int64_t threads = pool.available(), panels = ceil_div(s.out_c, kTileCols);
  const int64_t of_tile = checked_mul(kInput, a.depth);
  int64_t blocks = ceil_div(a.tiles, std::clamp(kMostV / of_tile, kLeastTiles, kMaxTiles));
  // As many for each thread; where they would be small, threads divide the panels of channels, and
  // each transforms x for itself.
  if (const int64_t rounded = round_up(blocks, threads);
      blocks < 4 * threads && a.tiles / rounded >= kMinTiles)
    blocks = rounded;
  const int64_t shares = std::clamp<int64_t>(threads / blocks, 1, panels);
  pool.parallel_for(checked_mul(blocks, shares), 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / shares, share = i % shares;
      const TileBlock b(a, a.tiles * block / blocks, a.tiles * (block + 1) / blocks);
      float* m = thread_scratch<ScratchM>(kInput * kStrideM);
      transform_inputs(s, a, b, args.x);
      for (int64_t panel = panels * share / shares; panel < panels * (share + 1) / shares;
           ++panel) {
        const int64_t of_y = panel * kPanelBlocks;
        const int64_t panel_blocks = std::min(kPanelBlocks, s.out_c / kBlockChannels - of_y);
        multiply(a, b, args.packed_weights + panel * a.depth * kTaps * kTileCols, panel_blocks, m);
        transform_outputs(s, a, b, args, of_y, panel_blocks, m);
      }
    }
  });
  if (all.stages.wanted()) run_all_stages(s, all, pool);
}

int64_t axis_winograd_floats(const ConvShape& s) {
  const int64_t panels = ceil_div(s.out_c, kTileCols);
  return checked_mul(checked_mul(panels * kTileCols, kTaps * Axis(s).parts), s.in_c);
}

void run_pack_axis_winograd(const ConvShape& s, const float* weights, float* packed,
                            ThreadPool& pool) {
  const Axis a(s);
  pool.parallel_for(ceil_div(s.out_c, kTileCols), 1, [&](int64_t begin, int64_t end) {
    float* to = packed + begin * a.depth * kTaps * kTileCols;
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t tap = 0; tap < a.parts * kTaps; ++tap) {
        const int64_t part = tap / kTaps;
        for (int64_t k = 0; k < s.in_c; ++k) {
          float* row = to + ((part * s.in_c + k) * kTaps + tap % kTaps) * kTileCols;
          for (int64_t c = 0; c < kTileCols; ++c) {
            const int64_t channel = panel * kTileCols + c;
            row[c] = channel < s.out_c && tap < a.taps
                         ? weights[(channel * s.in_c + k) * a.taps + tap]
                         : 0;
          }
        }
      }
      to += a.depth * kTaps * kTileCols;
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(axis_winograd_floats);
HWY_EXPORT(run_pack_axis_winograd);
HWY_EXPORT(run_axis_winograd);
}  // namespace

bool axis_winograd_applies(const ConvShape& s) {
  const bool along_rows = s.k_h == 1 && s.k_w >= 3 && s.pad_top == 0 && s.out_h == s.in_h;
  const bool along_columns = s.k_w == 1 && s.k_h >= 3 && s.pad_left == 0 && s.out_w == s.in_w;
  return (along_rows || along_columns) && s.stride_h == 1 && s.stride_w == 1 && s.groups == 1 &&
         s.in_c % kBlockChannels == 0 && s.out_c % kBlockChannels == 0;
}

double axis_winograd_work(const ConvShape& s) {
  // The transforms of x and y take as long as so many multiply-adds for each tile of a channel;
  // those of the weights as the products of so many tiles.
  constexpr double kTransforms = 40, kWeights = 6;
  const bool along_rows = s.k_h == 1;
  const std::int64_t out = along_rows ? s.out_w : s.out_h,
                     dilation = along_rows ? s.dilation_w : s.dilation_h;
  const std::int64_t tiles = tiles_along(out, dilation);
  const std::int64_t taps = std::max(s.k_h, s.k_w), parts = ceil_div(taps, std::int64_t{3});
  // Of a line. A last part of less than three taps has a product less.
  const std::int64_t products =
      parts * points_along(out, dilation, true) - (taps % 3 != 0 ? tiles : 0);
  const auto lines =
      static_cast<double>(images_of(s)) * static_cast<double>(along_rows ? s.out_h : s.out_w);
  const auto in_c = static_cast<double>(s.in_c), out_c = static_cast<double>(s.out_c);
  return in_c * static_cast<double>(round_up(s.out_c, 16)) *
             (lines * static_cast<double>(products) + kWeights * static_cast<double>(6 * parts)) +
         kTransforms * lines * static_cast<double>(tiles) *
             (static_cast<double>(parts) * in_c + out_c);
}

bool axis_winograd_pays(const ConvShape& s) {
  // Of so many channels of all parts, V would be a few megabytes for the fewest tiles.
  constexpr std::int64_t kMostDepth = 8192;
  if (checked_mul(ceil_div(std::max(s.k_h, s.k_w), std::int64_t{3}), s.in_c) > kMostDepth)
    return false;
  return axis_winograd_work(s) < direct_work(s) * taken_taps(s);
}

std::size_t axis_winograd_weights_bytes(const ConvShape& s) {
  return static_cast<std::size_t>(
      checked_mul(MEZZO_DISPATCH(axis_winograd_floats)(s), sizeof(float)));
}

void pack_axis_winograd_weights(const ConvShape& s, const float* weights, float* packed,
                                ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_axis_winograd)(s, weights, packed, pool);
}

void axis_winograd_conv(const ConvShape& s, const ConvArgs& args, ThreadPool& pool) {
  MEZZO_DISPATCH(run_axis_winograd)(s, args, pool);
}
}  // namespace mezzo::kernels
#endif
