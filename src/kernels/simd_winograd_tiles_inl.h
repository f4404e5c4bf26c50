// How Winograd's convolution divides its work: tiles in blocks and panels, channels in panels and
// chunks. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_WINOGRAD_TILES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_WINOGRAD_TILES_INL
#undef MEZZO_KERNELS_SIMD_WINOGRAD_TILES_INL
#else
#define MEZZO_KERNELS_SIMD_WINOGRAD_TILES_INL
#endif

#include <algorithm>
#include <cstdint>

#include "base/shape.h"
#include "kernels/conv_f32.h"
#include "kernels/scratch.h"
#include "kernels/simd_winograd_inl.h"
#include "kernels/winograd_work.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Multiply-adds worth handing to another thread: some ten microseconds.
inline constexpr std::int64_t kWinogradTaskWork = std::int64_t{1} << 19;
// Tiles of a block: so many that transforming the weights for them costs little, so few that their
// products fit L2, and their inputs, of kBlockFloats at most, a third-level cache.
inline constexpr std::int64_t kMinTiles = 16, kMaxTiles = 128, kBlockFloats = 1 << 20;
static_assert(kMinTiles >= kMaxRows);
// Channels of a chunk. Where tiles are few, U is read hardly more often than it is written: a row
// of it is to fit L1, beside the weights that it comes from. Where they are many it may wait in L2,
// and products are summed up in fewer passes over M.
inline constexpr std::int64_t kSmallChunk = kLanes > 8 ? 24 : 48, kMaxChunk = 128, kManyTiles = 24;
// From one of U's and M's products to the next: no power of two, which would put the streams into
// the same sets of the caches.
inline constexpr std::int64_t kStrideU = kMaxChunk * kTileCols + kCacheLine;
inline constexpr std::int64_t kStrideM = kMaxTiles * kTileCols + kCacheLine;
// From one column of the tiles of a block to the next.
inline constexpr std::int64_t kColumnStride = round_up(kMaxTiles, kLanes) + kLanes;
// Whether a vector of tiles is two whole panels.
inline constexpr bool kPairsOfPanels = kLanes == 2 * kMaxRows;
// As many tiles as this are few (simd_winograd_few_inl.h). Vectors must hold two blocks, and there
// must be 32 of them.
inline constexpr std::int64_t kFewTiles = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 ? 8 : 0;
// A chunk is whole blocks of channels.
inline constexpr std::int64_t kChunkUnit = 8;
// Tiles of an image from which on reading transformed weights takes less than transforming them,
// up to a block: more tiles share a transform, and memory is the dearer.
inline constexpr std::int64_t kLeastAhead = 9;

// How images in blocks are taken. Of fewer tiles, F(2x2, 3x3) has not half as many weights to read,
// which it shares among four times as many. Vectors of eight, as others were not measured.
inline WinogradTiles tiles_of_blocks(const ConvShape& s) {
  if (kLanes != 8) return {};
  const std::int64_t tiles = tiles_of_image(s);
  if (images_of(s) * tiles < kLeastAhead) return {2, true};
  return {kTile, tiles >= kLeastAhead && tiles <= kMaxTiles};
}

// A dilated convolution is one of each of its phases: the pixels whose rows, and whose columns,
// leave the same when they are divided by the dilation, are an image of their own.
struct WinogradLayout {
  // `blocked`: tiles_of_blocks, and the last tiles of an image have as many rows and columns of
  // outputs as are left, and take fewer products.
  WinogradLayout(const ConvShape& s, int threads, bool blocked) : shape(s) {
    if (blocked) kind = tiles_of_blocks(s);
    tile = last_h = last_w = kind.rows;
    tiles_w = ceil_div(ceil_div(s.out_w, s.dilation_w), tile);
    tiles_per_phase = checked_mul(ceil_div(ceil_div(s.out_h, s.dilation_h), tile), tiles_w);
    tiles_per_image = checked_mul(tiles_per_phase, checked_mul(s.dilation_h, s.dilation_w));
    tiles = checked_mul(s.batch, tiles_per_image);
    if (blocked && tiles > kFewTiles && s.dilation_h == 1 && s.dilation_w == 1) {
      last_h = (s.out_h - 1) % tile + 1;
      last_w = (s.out_w - 1) % tile + 1;
    }
    channel_panels = ceil_div(s.out_c, kTileCols);
    panels = ceil_div(tiles, kMaxRows);
    const std::int64_t block_tiles =
        std::clamp(kBlockFloats / checked_mul(kProducts, s.in_c), kMinTiles, kMaxTiles);
    blocks = ceil_div(panels, block_tiles / kMaxRows);
    // As many for each thread, unless they got too small.
    const std::int64_t rounded = round_up(blocks, threads);
    if (blocks > 1 && panels / rounded >= kMinTiles / kMaxRows) blocks = rounded;
    // By the tiles of all images: how a tile is summed must not depend on the threads, nor on what
    // runs together. Weights that are transformed ahead know nothing of the batch.
    const bool many = kind.ahead || images_of(s) * tiles_of_image(s) >= kManyTiles;
    const std::int64_t most = many ? kMaxChunk : kSmallChunk;
    chunk = round_up(ceil_div(s.in_c, ceil_div(s.in_c, most)), kChunkUnit);
  }
  // Whole panels, for the same reason.
  std::int64_t block_begin(std::int64_t block) const {
    return std::min(tiles, panels * block / blocks * kMaxRows);
  }
  bool is_ragged() const { return last_h < tile || last_w < tile; }
  // Whether tiles have the products of a row's point, or a column's.
  bool has(int point) const { return has_point(tile + 2, point); }

  const ConvShape& shape;
  WinogradTiles kind;           // of four rows, unless blocks are taken otherwise
  std::int64_t tile;            // kind.rows, and as many columns
  std::int64_t last_h, last_w;  // outputs of an image's last tiles
  std::int64_t tiles_w, tiles_per_phase, tiles_per_image, tiles;
  std::int64_t panels, blocks;  // of tiles
  std::int64_t channel_panels;
  std::int64_t chunk;  // of in_c
};

// Tiles beside each other in one image (or phase of it).
struct Segment {
  std::int64_t image, row, column, count;  // row and column of the first tile's first output
};

inline Segment segment_at(const WinogradLayout& l, std::int64_t tile, std::int64_t end) {
  const ConvShape& s = l.shape;
  const std::int64_t in_image = tile % l.tiles_per_image, phase = in_image / l.tiles_per_phase;
  const std::int64_t in_phase = in_image % l.tiles_per_phase, column = in_phase % l.tiles_w;
  return {tile / l.tiles_per_image,
          phase / s.dilation_w + in_phase / l.tiles_w * l.tile * s.dilation_h,
          phase % s.dilation_w + column * l.tile * s.dilation_w,
          std::min(l.tiles_w - column, end - tile)};
}

// Places [begin, end) of a block's tiles.
struct Places {
  std::int64_t begin, end;
  std::int64_t count() const { return end - begin; }
};
inline Places common(const Places& a, const Places& b) {
  const std::int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

// A segment's tiles at their places in the block, of `height` rows: those of four columns of
// outputs, and the one behind them that may be narrower.
struct TileRow {
  Segment segment;
  std::int64_t height;
  Places wide, narrow;
};

// A block of tiles and where its transforms lie. Where tiles are ragged they are sorted: low and
// wide ones, whole ones, narrow ones, and those that are low and narrow. So those that take part in
// a product are beside each other.
struct Block {
  Block(const WinogradLayout& l, std::int64_t index) {
    begin = l.block_begin(index);
    count = l.block_begin(index + 1) - begin;
    whole = {0, count};
    if (l.is_ragged()) {
      std::int64_t low = 0, narrow = 0, corners = 0;
      for_rows(l, [&](const TileRow& row) {
        const bool is_low = row.height < l.tile;
        low += is_low ? row.wide.count() : 0;
        (is_low ? corners : narrow) += row.narrow.count();
      });
      whole = {low, count - narrow - corners};
      corner = count - corners;
    }
    panels = ceil_div(count, kMaxRows);
    // Room for a vector that is stored whole; and no power of two, as with U.
    v_stride = checked_add(checked_mul(round_up(count, 16), l.shape.in_c), 80);
  }
  std::int64_t panel_begin(std::int64_t panel) const {
    return kPairsOfPanels ? std::min(count, panel * kMaxRows) : count * panel / panels;
  }
  // The tiles that have the product of a row's point and a column's.
  Places with_product(const WinogradLayout& l, int row, int column) const {
    const Places all{0, count};
    return common(has_point(l.last_h + 2, row) ? all : Places{whole.begin, corner},
                  has_point(l.last_w + 2, column) ? all : Places{0, whole.end});
  }
  // Calls run(const TileRow&) for all tiles, in the image's order.
  template <class Run>
  void for_rows(const WinogradLayout& l, const Run& run) const {
    std::int64_t low = 0, high = whole.begin, narrow = whole.end, low_narrow = corner;
    for (std::int64_t tile = begin; tile < begin + count;) {
      const Segment segment = segment_at(l, tile, begin + count);
      tile += segment.count;
      const bool is_low = l.last_h < l.tile && segment.row + l.last_h == l.shape.out_h;
      const bool has_narrow = l.last_w < l.tile && tile % l.tiles_w == 0;
      std::int64_t &wide = is_low ? low : high, &last = is_low ? low_narrow : narrow;
      const TileRow row{segment,
                        is_low ? l.last_h : l.tile,
                        {wide, wide + segment.count - has_narrow},
                        {last, last + has_narrow}};
      wide = row.wide.end;
      last = row.narrow.end;
      run(row);
    }
  }

  std::int64_t begin, count, panels;
  Places whole;             // tiles of four rows and columns
  std::int64_t corner = 0;  // the first place of those with less of both
  std::int64_t v_stride;    // from one of the 36 products to the next
  float* v = nullptr;
};

// Tiles of a block, from and up to the first one of a panel, and where their products lie.
struct Products {
  Products(const Block& b, std::int64_t begin_panel, std::int64_t end_panel)
      : begin_panel(begin_panel),
        end_panel(end_panel),
        begin(b.panel_begin(begin_panel)),
        count(b.panel_begin(end_panel) - begin) {}

  Places places() const { return {begin, begin + count}; }

  std::int64_t begin_panel, end_panel, begin, count;
  float* m = nullptr;
};

// A transform costs about as much as so many multiply-adds of the products for each of the 36.
inline constexpr std::int64_t kTransformWork = 10;
// Percent of a convolution's work that may be done again so that threads share less memory.
inline constexpr std::int64_t kMostRepeated = 6;

struct ScratchV {};
struct ScratchU {};
struct ScratchM {};

// Whether each thread that takes part in a block is to transform all inputs for itself: what
// another core wrote is slow to read, and slower to write over the next time.
inline bool repeats_inputs(const WinogradLayout& l, std::int64_t threads) {
  return threads > 1 &&
         100 * kTransformWork * (threads - 1) <= kMostRepeated * l.channel_panels * kTileCols;
}

// Runs one block: `inputs(l, b, begin, end)` transforms the inputs of a range of channels, counted
// in units of `unit`, and `panel(l, b, panel, products)` multiplies for a panel of output channels
// and transforms back.
template <class Inputs, class Panel>
void run_winograd_block(const WinogradLayout& l, std::int64_t index, std::int64_t unit,
                        const Inputs& inputs, const Panel& panel, ThreadPool& pool) {
  const std::int64_t in_c = l.shape.in_c;
  Block b(l, index);
  const std::int64_t v_floats = checked_mul(kProducts, b.v_stride);
  const auto grain = [&](std::int64_t work) {
    return std::max<std::int64_t>(1, kWinogradTaskWork / work);
  };
  const std::int64_t units = ceil_div(in_c, unit), threads = pool.available();
  if (repeats_inputs(l, threads)) {
    pool.parallel_for(threads, 1, [&](std::int64_t first, std::int64_t last) {
      Block own = b;
      own.v = thread_scratch<ScratchV>(v_floats);
      inputs(l, own, 0, units);
      Products products(own, 0, own.panels);
      products.m = thread_scratch<ScratchM>(kProducts * kStrideM);
      const std::int64_t end = l.channel_panels * last / threads;
      for (std::int64_t i = l.channel_panels * first / threads; i < end; ++i)
        panel(l, own, i, products);
    });
    return;
  }
  b.v = thread_scratch<ScratchV>(v_floats);
  pool.parallel_for(units, grain(b.count * kProducts * kTransformWork * unit),
                    [&](std::int64_t begin, std::int64_t end) { inputs(l, b, begin, end); });
  // Where panels of channels are too few for the threads, tiles are divided too: each part
  // transforms the weights again.
  const std::int64_t parts = std::clamp<std::int64_t>(
      ceil_div(2 * pool.available(), l.channel_panels), 1, pool.available() == 1 ? 1 : b.panels);
  const std::int64_t work = b.count * kProducts * in_c * kTileCols / parts;
  pool.parallel_for(
      l.channel_panels * parts, grain(work), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t part = i % parts;
          Products products(b, b.panels * part / parts, b.panels * (part + 1) / parts);
          products.m = thread_scratch<ScratchM>(kProducts * kStrideM);
          panel(l, b, i / parts, products);
        }
      });
}

template <class Inputs, class Panel>
void run_winograd_blocks(const ConvShape& s, bool blocked, std::int64_t unit, const Inputs& inputs,
                         const Panel& panel, ThreadPool& pool) {
  const WinogradLayout l(s, pool.available(), blocked);
  // A thread that has a block to itself keeps it in its own caches. Where blocks are few, all
  // threads share each of them.
  if (l.blocks % pool.available() == 0) {
    pool.parallel_for(l.blocks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        run_winograd_block(l, i, unit, inputs, panel, pool);
    });
  } else {
    for (std::int64_t i = 0; i < l.blocks; ++i) run_winograd_block(l, i, unit, inputs, panel, pool);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
