#include "kernels/conv_f32.h"

#include <algorithm>
#include <vector>

#include "base/shape.h"
#include "kernels/task_grid.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_conv_inl.h"
#include "kernels/simd_depthwise_inl.h"
#include "kernels/simd_few_columns_inl.h"
#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_pack_inl.h"
#include "kernels/simd_planes_inl.h"

// A convolution is the product of the weights [out_c, K] with a matrix [K, pixels] that repeats the
// image, K being the taps of all channels. That matrix is never made whole: panels of it are packed
// as they are used.
//
// To pack them fast the image is first copied with its padding and, where the stride is not 1, with
// the columns sorted by phase (column modulo stride). Then every tap of every stretch of an output
// row reads contiguous memory, and nothing has to look at borders. A 1x1 convolution needs none of
// that and reads x itself.
//
// By default the weights are broadcast and pixels fill the vectors. Where an image has so few
// pixels that many lanes of AVX-512 would idle (7x7 fills 77% of four vectors), the roles are
// swapped: output channels fill the vectors, and tiles are transposed when stored. Narrower vectors
// leave few pixels over, which have kernels of their own.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// Floats of the packed panels of one task, to stay in L2 beside the weights.
constexpr int64_t kBlockFloats = 40 << 10;
constexpr int64_t kMaxBlockPanels = 16;
// Weights that each panel of pixels meets before the next one comes: as many as stay in L2 beside
// the pixels, so that the panel stays in L1. Tall tiles rather keep one panel of weights there.
constexpr int64_t kWeightBlockFloats = kMaxRows >= 12 ? 1 : 48 << 10;
// Weight panels of a task where channels are in the lanes: their tiles are kept until all of K is
// summed.
constexpr int64_t kMaxWeightPanels = 16;
// Output channels worth a task of their own, since each task packs its pixels.
constexpr int64_t kMinTaskRows = 32;
// Tiles are transposed in blocks of 4 rows.
constexpr int64_t kTileRowsPadded = (kMaxRows + 3) / 4 * 4;

struct ScratchPanels {};
struct ScratchTiles {};

// One group of one run: pointers to its parts.
struct Group {
  const float* image;  // of image 0: the copy, or x
  int64_t image_stride;
  const float* weights;
  const float* bias;
  const float* add;
  int64_t add_stride;
  float* y;
  int64_t y_stride;
  float min, max;
};

// A range of pixel panels, counted through all images, for a range of weight panels.
struct Range {
  int64_t panel_begin, panel_end, weight_begin, weight_end;
};

struct Panel {
  int64_t image, begin, count;
};

Panel panel_at(const ConvLayout& l, int64_t index, int64_t width) {
  const int64_t per_image = ceil_div(l.pixels, width);
  const int64_t begin = index % per_image * width;
  return {index / per_image, begin, std::min(width, l.pixels - begin)};
}

// A block of k.
struct Depth {
  int64_t begin, size;
  bool first, last;
  float min, max;
};

// y = clamp(sums + bias + add or, after the first block of k, sums + y) for rows of `count` pixels.
void finish_rows(const ConvLayout& l, const Group& g, const Depth& k, const Panel& panel,
                 int64_t row, int64_t rows, const float* sums, int64_t stride) {
  const F32 d;
  const VecF32 lo = hn::Set(d, k.min), hi = hn::Set(d, k.max);
  const int64_t offset = row * l.pixels + panel.begin;
  float* y = g.y + panel.image * g.y_stride + offset;
  const float* add = !k.first           ? y
                     : g.add == nullptr ? nullptr
                                        : g.add + panel.image * g.add_stride + offset;
  for (int64_t i = 0; i < rows; ++i, y += l.pixels, sums += stride) {
    const float start = k.first && g.bias != nullptr ? g.bias[row + i] : 0.0f;
    finish_row(sums, start, add == nullptr ? nullptr : add + i * l.pixels, y, panel.count, lo, hi);
  }
}

// The products of weight panels [begin, end) with a panel of pixels, number `pass` of the range's:
// it lies packed at `b`, or (`packs`) is packed there by the first of them.
void multiply_panel(const ConvLayout& l, const Group& g, const Range& r, const Depth& k,
                    const Panel& panel, int64_t pass, int64_t begin, int64_t end, bool packs,
                    float* b) {
  HWY_ALIGN float tile[kMaxRows * kTileCols];
  const int64_t ldb = round_up(panel.count, kConvLanes);
  const float* image = g.image + panel.image * g.image_stride + k.begin * l.pixels + panel.begin;
  float* y = g.y + panel.image * g.y_stride + panel.begin;
  const float* add =
      g.add == nullptr || !k.first ? nullptr : g.add + panel.image * g.add_stride + panel.begin;
  TileOut out{y, l.pixels, k.first ? Start::row_bias : Start::c, kZeros, k.min, k.max, {}, add, b};
  for (int64_t w = begin; w < end; w += out.tiles) {
    const int64_t row = w * l.height, rows = std::min(l.height, l.rows - row);
    const float* weights = g.weights + l.rows * k.begin + row * k.size;
    // The panel after this one, or the first of the next block of k.
    const int64_t next_k = k.begin + k.size;
    const float* next = w + 1 < r.weight_end ? weights + rows * k.size
                        : k.last             ? nullptr
                                             : g.weights + l.rows * next_k +
                                       r.weight_begin * l.height * std::min(l.block, l.k - next_k);
    // Short panels follow each other so closely that the hardware fetches them.
    if (kAlwaysFetch) out.fetch = fetch_part(next, rows, k.size, pass);
    out.tiles = 1;
    if (panel.count != ldb) {
      tile_kernel(rows, ldb, out.fetch)(weights, b, ldb, k.size, sums_into(tile, false, out.fetch));
      finish_rows(l, g, k, panel, row, rows, tile, kTileCols);
      continue;
    }
    out.c = y + row * l.pixels;
    if (g.bias != nullptr) out.bias = g.bias + row;
    if (add != nullptr) out.add = add + row * l.pixels;
    if (packs) {
      packing_tile_kernel(rows)(weights, image, l.pixels, k.size, out);
      packs = false;
    } else {
      // All that are of this height.
      if (!kAlwaysFetch) out.tiles = std::max<int64_t>(1, std::min(end, l.rows / l.height) - w);
      tile_kernel(rows, ldb, out.fetch)(weights, b, ldb, k.size, out);
    }
  }
}

// The same for a packed panel of few pixels.
void multiply_few(const ConvLayout& l, const Group& g, const Depth& k, const Panel& panel,
                  int64_t begin, int64_t end, const float* b) {
  HWY_ALIGN float tile[kFewTileRows * kFewColumns];
  const int64_t most = few_columns_panels(panel.count);
  for (int64_t w = begin; w < end; w += most) {
    const int64_t row = w * kFewRows, panels = std::min(most, end - w);
    few_columns(panel.count, panels, g.weights + l.rows * k.begin + row * k.size, b, kConvLanes,
                k.size, tile);
    finish_rows(l, g, k, panel, row, panels * kFewRows, tile, kFewColumns);
  }
}

void run_pixels_in_lanes(const ConvLayout& l, const int64_t* tap_offsets, const Group& g,
                         const Range& r) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const int64_t panels = r.panel_end - r.panel_begin;
  float* packed = thread_scratch<ScratchPanels>(panels * l.block * kTileCols + kConvLanes);
  for (int64_t k0 = 0; k0 < l.k; k0 += l.block) {
    const int64_t depth = std::min(l.block, l.k - k0);
    const bool last = k0 + depth == l.k;
    const Depth k{k0, depth, k0 == 0, last, last ? g.min : -kInfinity, last ? g.max : kInfinity};
    // Whole panels of pixels that lie as they are wanted are packed by the first product that reads
    // them.
    for (int64_t p = 0, some = 1; p < panels; p += some) {
      const Panel panel = panel_at(l, r.panel_begin + p, kTileCols);
      const float* image = g.image + panel.image * g.image_stride;
      float* to = packed + p * depth * kTileCols;
      some = 1;
      if (!l.dense || panel.count < kTileCols) {
        pack_pixels(l, tap_offsets, image, k0, depth, panel.begin, panel.count,
                    round_up(panel.count, kConvLanes), to);
      } else if (l.far) {
        some = std::min(panels - p, (l.pixels - panel.begin) / kTileCols);
        pack_whole_panels(l, image, k0, depth, panel.begin, some, to);
      }
    }
    const int64_t group = std::max<int64_t>(1, kWeightBlockFloats / (l.height * depth));
    for (int64_t begin = r.weight_begin; begin < r.weight_end; begin += group) {
      const int64_t end = std::min(begin + group, r.weight_end);
      for (int64_t p = 0; p < panels; ++p) {
        const Panel panel = panel_at(l, r.panel_begin + p, kTileCols);
        float* b = packed + p * depth * kTileCols;
        if (kHasFewColumns && panel.count <= kFewColumns && l.rows % kFewRows == 0) {
          multiply_few(l, g, k, panel, begin, end, b);
        } else {
          const bool packs =
              l.dense && !l.far && panel.count == kTileCols && begin == r.weight_begin;
          multiply_panel(l, g, r, k, panel, p, begin, end, packs, b);
        }
      }
    }
  }
}

void run_channels_in_lanes(const ConvLayout& l, const int64_t* tap_offsets, const Group& g,
                           const Range& r) {
  constexpr int64_t kTileFloats = kTileRowsPadded * kTileCols;
  const F32 d;
  const int64_t panels = r.panel_end - r.panel_begin, weight_panels = r.weight_end - r.weight_begin;
  const int64_t padded_rows = round_up(l.rows, kTileCols);
  float* packed = thread_scratch<ScratchPanels>(panels * l.block * l.height + kConvLanes);
  float* tiles = thread_scratch<ScratchTiles>(panels * weight_panels * kTileFloats);
  for (int64_t k0 = 0; k0 < l.k; k0 += l.block) {
    const int64_t depth = std::min(l.block, l.k - k0);
    float* panel_start = packed;
    for (int64_t p = 0; p < panels; ++p) {
      const Panel panel = panel_at(l, r.panel_begin + p, l.height);
      pack_pixels(l, tap_offsets, g.image + panel.image * g.image_stride, k0, depth, panel.begin,
                  panel.count, panel.count, panel_start);
      panel_start += depth * panel.count;
    }
    float* tile = tiles;
    for (int64_t w = r.weight_begin; w < r.weight_end; ++w) {
      const float* weights = g.weights + padded_rows * k0 + w * kTileCols * depth;
      const int64_t channels = std::min(kTileCols, l.rows - w * kTileCols);
      const int64_t next_k = k0 + depth;
      const float* next = w + 1 < r.weight_end ? weights + kTileCols * depth
                          : next_k == l.k
                              ? nullptr
                              : g.weights + padded_rows * next_k +
                                    r.weight_begin * kTileCols * std::min(l.block, l.k - next_k);
      const float* pixels = packed;
      for (int64_t p = 0; p < panels; ++p, tile += kTileFloats) {
        const Panel panel = panel_at(l, r.panel_begin + p, l.height);
        const int64_t count = panel.count;
        if (g.add != nullptr && next_k == l.k) {
          // Asked for ahead of its use in the store; each row is about a line.
          const float* add = g.add + panel.image * g.add_stride + panel.begin;
          for (int64_t j = 0; j < channels; ++j) prefetch_l2(add + (w * kTileCols + j) * l.pixels);
        }
        const Fetch fetch = fetch_part(next, kTileCols, depth, p);
        tile_kernel(count, channels, fetch)(pixels, weights, kTileCols, depth,
                                            sums_into(tile, k0 != 0, fetch));
        pixels += depth * count;
      }
    }
  }

  HWY_ALIGN float turned[kTileCols * kTileRowsPadded];
  const VecF32 lo = hn::Set(d, g.min), hi = hn::Set(d, g.max);
  const float* tile = tiles;
  for (int64_t w = r.weight_begin; w < r.weight_end; ++w) {
    const int64_t row = w * kTileCols, channels = std::min(kTileCols, l.rows - row);
    for (int64_t p = 0; p < panels; ++p, tile += kTileFloats) {
      const Panel panel = panel_at(l, r.panel_begin + p, l.height);
      for (int64_t i = 0; i < panel.count; i += 4)
        transpose_4_rows(tile + i * kTileCols, kTileCols, channels, turned + i, kTileRowsPadded);
      const int64_t offset = row * l.pixels + panel.begin;
      float* y = g.y + panel.image * g.y_stride + offset;
      const float* add = g.add == nullptr ? nullptr : g.add + panel.image * g.add_stride + offset;
      for (int64_t j = 0; j < channels; ++j) {
        finish_row(turned + j * kTileRowsPadded, g.bias == nullptr ? 0.0f : g.bias[row + j],
                   add == nullptr ? nullptr : add + j * l.pixels, y + j * l.pixels, panel.count, lo,
                   hi);
      }
    }
  }
}

}  // namespace

int64_t weights_floats(const ConvShape& s) {
  const ConvLayout l(s);
  return checked_mul(l.group_floats(), s.groups);
}

void run_pack_weights(const ConvShape& s, const float* weights, float* packed, ThreadPool& pool) {
  const ConvLayout l(s);
  if (l.method == ConvMethod::depthwise) {
    std::copy(weights, weights + l.taps * s.groups, packed);
    return;
  }
  const bool in_lanes = l.method == ConvMethod::channels_in_lanes;
  const int64_t width = in_lanes ? kTileCols : l.height,
                extent = in_lanes ? round_up(l.rows, kTileCols) : l.rows;
  const int64_t panels = ceil_div(l.rows, width), blocks = ceil_div(l.k, l.block);
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / (width * l.block));
  pool.parallel_for(s.groups * blocks * panels, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t panel = t % panels, k0 = t / panels % blocks * l.block,
                    group = t / panels / blocks;
      const int64_t depth = std::min(l.block, l.k - k0),
                    valid = std::min(width, l.rows - panel * width);
      pack_panel(weights + (group * l.rows + panel * width) * l.k + k0, l.k, 1, valid,
                 in_lanes ? width : valid, depth,
                 packed + group * l.group_floats() + extent * k0 + panel * width * depth);
    }
  });
}

int64_t scratch_floats(const ConvShape& s) {
  const ConvLayout l(s);
  if (l.in_place || l.method == ConvMethod::depthwise) return 0;
  return checked_add(checked_mul(checked_mul(s.batch, s.in_c), l.plane.plane_floats), kConvLanes);
}

void run_conv(const ConvShape& s, const ConvArgs& args, float* scratch, ThreadPool& pool) {
  const ConvLayout l(s);
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * l.pixels;
  const std::vector<int64_t> tap_offsets = l.plane.tap_offsets();
  if (l.method == ConvMethod::depthwise)
    return run_depthwise(l.plane, tap_offsets.data(), s.batch, s.in_c, args, y_stride, pool);

  if (!l.in_place) {
    pool.parallel_for(s.batch * s.in_c, std::max<int64_t>(1, (1 << 15) / l.plane.plane_floats),
                      [&](int64_t begin, int64_t end) HWY_ATTR {
                        for (int64_t t = begin; t < end; ++t)
                          copy_plane(l.plane, args.x + t * s.in_h * s.in_w, 0.0f,
                                     scratch + t * l.plane.plane_floats);
                      });
  }

  const bool in_lanes = l.method == ConvMethod::channels_in_lanes;
  const int64_t width = in_lanes ? l.height : kTileCols;
  const int64_t panels = s.batch * ceil_div(l.pixels, width),
                weight_panels = ceil_div(l.rows, in_lanes ? kTileCols : l.height);
  const int64_t most_panels =
      std::clamp<int64_t>(kBlockFloats / (l.block * width), in_lanes ? 4 : 1, kMaxBlockPanels);
  int64_t panel_groups = ceil_div(panels, most_panels);
  int64_t weight_groups = in_lanes ? ceil_div(weight_panels, kMaxWeightPanels) : 1;
  const int64_t most_weight_groups =
      in_lanes ? weight_panels : std::max<int64_t>(1, l.rows / kMinTaskRows);
  // Too few tasks for the threads: smaller ones, while they are worth it.
  const int64_t work = s.batch * s.groups * l.rows * l.k * l.pixels;
  if (pool.available() > 1) {
    const int64_t wanted = ceil_div(16 * pool.available(), s.groups), group_work = work / s.groups;
    if (in_lanes) {
      divide(wanted, group_work, kTaskWork, weight_groups, most_weight_groups, panel_groups,
             panels);
    } else {
      divide(wanted, group_work, kTaskWork, panel_groups, panels, weight_groups,
             most_weight_groups);
    }
  }
  const int64_t tasks = panel_groups * weight_groups * s.groups;
  const int64_t grain = std::max<int64_t>(1, kTaskWork * tasks / std::max<int64_t>(work, 1));
  pool.parallel_for(tasks, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end;) {
      const int64_t w = t % weight_groups, p = t / weight_groups % panel_groups,
                    group = t / weight_groups / panel_groups;
      // Neighbouring tasks are taken together, so that pixels are packed once, and weights read
      // once.
      int64_t w_end = w + 1, p_end = p + 1;
      if (!in_lanes) w_end = std::min(weight_groups, w + end - t);
      const auto first_panel = [&](int64_t i) { return panels * i / panel_groups; };
      while (w == 0 && w_end == weight_groups && p_end < panel_groups &&
             t + (p_end + 1 - p) * weight_groups <= end &&
             first_panel(p_end + 1) - first_panel(p) <= most_panels) {
        ++p_end;
      }
      t += (p_end - p - 1) * weight_groups + w_end - w;
      const int64_t in_plane = l.plane.plane_floats, channel = group * l.rows;
      const Group g{(l.in_place ? args.x : scratch) + group * l.depth_c * in_plane,
                    s.in_c * in_plane,
                    args.packed_weights + group * l.group_floats(),
                    args.bias == nullptr ? nullptr : args.bias + channel,
                    args.add == nullptr ? nullptr : args.add + channel * l.pixels,
                    s.out_c * l.pixels,
                    args.y + channel * l.pixels,
                    y_stride,
                    args.min,
                    args.max};
      const Range range{first_panel(p), first_panel(p_end), weight_panels * w / weight_groups,
                        weight_panels * w_end / weight_groups};
      (in_lanes ? run_channels_in_lanes : run_pixels_in_lanes)(l, tap_offsets.data(), g, range);
    }
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(weights_floats);
HWY_EXPORT(run_pack_weights);
HWY_EXPORT(scratch_floats);
HWY_EXPORT(run_conv);
}  // namespace

std::size_t packed_weights_bytes(const ConvShape& shape) {
  return static_cast<std::size_t>(
      checked_mul(MEZZO_DISPATCH(weights_floats)(shape), sizeof(float)));
}

void pack_weights(const ConvShape& shape, const float* weights, float* packed, ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_weights)(shape, weights, packed, pool);
}

std::size_t scratch_bytes(const ConvShape& shape) {
  return static_cast<std::size_t>(
      checked_mul(MEZZO_DISPATCH(scratch_floats)(shape), sizeof(float)));
}

void conv(const ConvShape& shape, const ConvArgs& args, void* scratch, ThreadPool& pool) {
  MEZZO_DISPATCH(run_conv)(shape, args, static_cast<float*>(scratch), pool);
}
}  // namespace mezzo::kernels
#endif
