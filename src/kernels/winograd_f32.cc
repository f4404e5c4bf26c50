#include "kernels/winograd_f32.h"

#include <algorithm>
#include <limits>

#include "base/shape.h"
#include "kernels/conv_groups.h"
#include "kernels/conv_taps.h"
#include "kernels/winograd_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/winograd_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_pack_inl.h"
#include "kernels/simd_winograd_inl.h"
#include "kernels/simd_winograd_tiles_inl.h"

// 3x3 convolution by Winograd's method (simd_winograd_inl.h): summed over channels, the products .*
// of all tiles become 36 matrix products [tiles, in_c] x [in_c, out_c].
//
// The tiles, counted through all images, are taken in blocks, the channels of y in panels and those
// of x in chunks:
//   V [36][panel of tiles][in_c][tiles of the panel]      transformed inputs of a block
//   W [panel of channels][in_c][9][kTileCols]             weights, packed ahead
//   U [6][channels of a chunk][kTileCols]                 a row of W of one panel, transformed
//   M [36][tile][kTileCols]                               products of one panel
// All of W transformed would be four times W, and is not kept. (Blocks do, where that is faster:
// tiles_of_blocks.)

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int64_t kLaneCount = kLanes;

// Channels of x whose transforms are written together: a cache line of each of V's products.
constexpr int64_t kGroup = 4;
static_assert(kChunkUnit % kGroup == 0);

struct ScratchRows {};
struct ScratchColumns {};

// First half of the input transform of one channel's segment: B' d along the columns, as six rows
// of `pitch` floats with zeros for the padding.
void transform_columns(const ConvShape& s, const Segment& segment, const float* plane, float* zeros,
                       int64_t pitch, float* rows) {
  const F32 d;
  const int64_t left = segment.column - s.pad_left, top = segment.row - s.pad_top;
  const int64_t width = segment.count * kTile + 2;
  const int64_t first = std::clamp<int64_t>(-left, 0, width);
  const int64_t end = std::clamp<int64_t>(s.in_w - left, first, width);
  const float* src[kInput];
  for (int r = 0; r < kInput; ++r) {
    const int64_t ih = top + r;
    const bool inside = ih >= 0 && ih < s.in_h && first < end;
    src[r] = inside ? plane + ih * s.in_w + left + first : zeros;
  }
  const auto fill = [&](int64_t from, int64_t to) HWY_ATTR {
    for (int r = 0; r < kInput; ++r) {
      for (int64_t j = from; j < to; j += kLaneCount)
        hn::StoreU(hn::Zero(d), d, rows + r * pitch + j);
    }
  };
  fill(0, first);
  const int64_t length = end - first;
  VecF32 x[kInput], out[kInput];
  int64_t j = 0;
  for (; j < length; j += kLaneCount) {
    const bool whole = j + kLaneCount <= length;
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) {
      x[r] = whole ? hn::LoadU(d, src[r] + j)
                   : load_n(d, src[r] + j, static_cast<std::size_t>(length - j));
    }
    transform_input(x, out);
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) hn::StoreU(out[r], d, rows + r * pitch + first + j);
  }
  fill(first + j, pitch - kLaneCount);
}

// B' d of one channel, sorted by column: [6][6][kColumnStride].
void transform_columns(const WinogradLayout& l, const Block& b, const float* x, int64_t channel,
                       float* columns) {
  const ConvShape& s = l.shape;
  const int64_t pitch = round_up(std::min(l.tiles_w, b.count), 4) * kTile + 4 + 2 * kLaneCount;
  float* rows = thread_scratch<ScratchRows>((kInput + 1) * pitch);
  float* zeros = rows + kInput * pitch;
  std::fill(zeros, zeros + pitch, 0.0f);
  for (int64_t t = 0; t < b.count;) {
    const Segment segment = segment_at(l, b.begin + t, b.begin + b.count);
    transform_columns(s, segment, x + (segment.image * s.in_c + channel) * s.in_h * s.in_w, zeros,
                      pitch, rows);
    for (int r = 0; r < kInput; ++r) {
      split_tiles(rows + r * pitch, segment.count, kColumnStride,
                  columns + r * kInput * kColumnStride + t);
    }
    t += segment.count;
  }
}

// Row r of the transforms of a vector of tiles, from what transform_columns wrote.
HWY_INLINE void transform_row(const float* columns, int r, VecF32 (&out)[kInput]) {
  const F32 d;
  VecF32 in[kInput];
  MEZZO_UNROLL
  for (int i = 0; i < kInput; ++i) in[i] = hn::LoadU(d, columns + (r * kInput + i) * kColumnStride);
  transform_input(in, out);
}

// V of the groups of channels [begin, end).
void transform_inputs(const WinogradLayout& l, const Block& b, const float* x, int64_t begin,
                      int64_t end) {
  const F32 d;
  const int64_t v_stride = b.v_stride;
  float* columns = thread_scratch<ScratchColumns>(kGroup * kProducts * kColumnStride);
  for (int64_t group = begin; group < end; ++group) {
    const int64_t c0 = group * kGroup, k0 = c0 / l.chunk * l.chunk;
    const int64_t channels = std::min(kGroup, l.shape.in_c - c0);
    const int64_t depth = std::min(l.chunk, l.shape.in_c - k0);
    for (int64_t i = 0; i < channels; ++i)
      transform_columns(l, b, x, c0 + i, columns + i * kProducts * kColumnStride);
    int64_t panel = 0;
    if constexpr (kPairsOfPanels) {
      const hn::Half<F32> half;
      for (; (panel + 2) * kMaxRows <= b.count; panel += 2) {
        for (int r = 0; r < kInput; ++r) {
          const float* from = columns + panel * kMaxRows;
          float* to =
              b.v + r * kInput * v_stride + b.count * k0 + (panel * depth + c0 - k0) * kMaxRows;
          for (int64_t i = 0; i < channels; ++i) {
            VecF32 out[kInput];
            transform_row(from, r, out);
            MEZZO_UNROLL
            for (int j = 0; j < kInput; ++j) {
              hn::StoreU(hn::LowerHalf(half, out[j]), half, to + j * v_stride);
              hn::StoreU(hn::UpperHalf(half, out[j]), half, to + depth * kMaxRows + j * v_stride);
            }
            from += kProducts * kColumnStride;
            to += kMaxRows;
          }
        }
      }
    }
    for (; panel < b.panels; ++panel) {
      const int64_t first = b.panel_begin(panel), width = b.panel_begin(panel + 1) - first;
      for (int64_t i = 0; i < channels; ++i) {
        float* row = b.v + b.count * k0 + first * depth + (c0 + i - k0) * width;
        for (int64_t j = 0; j < width; j += kLaneCount) {
          // Whole vectors may overwrite rows of the panel that are written later.
          const bool whole = j + kLaneCount <= (channels - i) * width;
          float* to = row + j;
          for (int r = 0; r < kInput; ++r) {
            VecF32 out[kInput];
            transform_row(columns + i * kProducts * kColumnStride + first + j, r, out);
            MEZZO_UNROLL
            for (int q = 0; q < kInput; ++q, to += v_stride) {
              if (whole) {
                hn::StoreU(out[q], d, to);
              } else {
                store_n(out[q], d, to, static_cast<std::size_t>(width - j));
              }
            }
          }
        }
      }
    }
  }
}

// M of a panel of channels, with `weights` its part of W.
void multiply(const WinogradLayout& l, const Block& b, const float* weights, int64_t channels,
              const Products& to) {
  const int64_t in_c = l.shape.in_c;
  float* u = thread_scratch<ScratchU>(kInput * kStrideU);
  for (int64_t k0 = 0; k0 < in_c; k0 += l.chunk) {
    const int64_t depth = std::min(l.chunk, in_c - k0);
    const float* taps = weights + k0 * 9 * kTileCols;
    const float* next_taps = taps + depth * 9 * kTileCols;
    for (int row = 0; row < kInput; ++row) {
      transform_taps(row, taps, depth, kStrideU, u);
      for (int64_t column = 0; column < kInput; ++column) {
        const int64_t product = row * kInput + column;
        const float* v = b.v + product * b.v_stride + b.count * k0;
        float* m = to.m + product * kStrideM;
        // The first tiles of each product fetch a 36th of the next weights.
        Fetch fetch = fetch_part(next_taps + product * depth * kTileCols / 4, kTileCols, depth, 0);
        for (int64_t p = to.begin_panel; p < to.end_panel; fetch = {}) {
          const int64_t first = b.panel_begin(p), height = b.panel_begin(p + 1) - first;
          TileOut out = sums_into(m + (first - to.begin) * kTileCols, k0 != 0, fetch);
          // All that are of this height, where they are sure to be.
          if (kPairsOfPanels && fetch.step == 0) out.tiles = (to.begin + to.count - first) / height;
          tile_kernel(height, channels, fetch)(v + first * depth, u + column * kStrideU, kTileCols,
                                               depth, out);
          p += out.tiles;
        }
      }
    }
  }
}

// y of a panel of channels.
void transform_outputs(const WinogradLayout& l, const Block& b, const ConvArgs& args, int64_t panel,
                       const Products& from) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const F32 d;
  const ConvShape& s = l.shape;
  const int64_t pixels = s.out_h * s.out_w;
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * pixels;
  const int64_t panel_end = std::min(s.out_c, (panel + 1) * kTileCols);
  const VecF32 lo = hn::Set(d, args.min), hi = hn::Set(d, args.max);
  HWY_ALIGN float tile[kLaneCount * kTile * kTile];
  for (int64_t channel = panel * kTileCols; channel < panel_end; channel += kLaneCount) {
    const int64_t channels = std::min(kLaneCount, panel_end - channel);
    const VecF32 bias = args.bias == nullptr
                            ? hn::Zero(d)
                            : load_n(d, args.bias + channel, static_cast<std::size_t>(channels));
    const float* m = from.m + channel % kTileCols;
    for (int64_t t = 0; t < from.count;) {
      const int64_t first = b.begin + from.begin;
      const Segment segment = segment_at(l, first + t, first + from.count);
      const int64_t oh = segment.row, height = std::min<int64_t>(kTile, s.out_h - oh);
      for (int64_t i = 0; i < segment.count; ++i, ++t) {
        const int64_t ow = segment.column + i * kTile;
        const int64_t width = std::min<int64_t>(kTile, s.out_w - ow);
        const int64_t at = channel * pixels + oh * s.out_w + ow;
        float* y = args.y + segment.image * y_stride + at;
        const float* add =
            args.add == nullptr ? nullptr : args.add + segment.image * s.out_c * pixels + at;
        const float* products = m + t * kTileCols;
        if (add == nullptr && channels == kLaneCount && height == kTile && width == kTile) {
          transform_tile(products, kStrideM, bias, lo, hi, y, pixels, s.out_w);
          continue;
        }
        transform_tile(products, kStrideM, bias, hn::Set(d, -kInfinity), hn::Set(d, kInfinity),
                       tile, kTile * kTile, kTile);
        const auto finish = width == 4   ? finish_tile<4>
                            : width == 3 ? finish_tile<3>
                            : width == 2 ? finish_tile<2>
                                         : finish_tile<1>;
        finish(tile, channels, height, add, y, pixels, s.out_w, args.min, args.max);
      }
    }
  }
}

}  // namespace

int64_t winograd_floats(const ConvShape& s) {
  return checked_mul(9, checked_mul(s.in_c, round_up(s.out_c, kTileCols)));
}

void run_pack_winograd(const ConvShape& s, const float* weights, float* packed, ThreadPool& pool) {
  pool.parallel_for(ceil_div(s.out_c, kTileCols), 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t w = begin; w < end; ++w) {
      const int64_t taps = s.in_c * 9, channels = std::min(kTileCols, s.out_c - w * kTileCols);
      pack_panel(weights + w * kTileCols * taps, taps, 1, channels, kTileCols, taps,
                 packed + w * kTileCols * taps);
    }
  });
}

void run_winograd(const ConvShape& s, const ConvArgs& args, ThreadPool& pool) {
  run_winograd_blocks(
      s, false, kGroup,
      [&](const WinogradLayout& l, const Block& b, int64_t begin, int64_t end)
          HWY_ATTR { transform_inputs(l, b, args.x, begin, end); },
      [&](const WinogradLayout& l, const Block& b, int64_t panel, const Products& products)
          HWY_ATTR {
            multiply(l, b, args.packed_weights + panel * s.in_c * 9 * kTileCols,
                     std::min(kTileCols, s.out_c - panel * kTileCols), products);
            transform_outputs(l, b, args, panel, products);
          },
      pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(winograd_floats);
HWY_EXPORT(run_pack_winograd);
HWY_EXPORT(run_winograd);

// `transforms`: of x and y, for one tile of one channel; `ragged`: last tiles are no larger than
// what the image has left.
double work(const ConvShape& shape, double transforms, bool ragged, std::int64_t rows) {
  const ConvShape s = group_of(shape);
  // Transforming the weights, or reading those of small tiles, costs as much as so many products.
  const double weights = rows == kWinogradRows ? 6 * 36 : 5 * 16;
  const double tiles = static_cast<double>(images_of(s)) *
                       static_cast<double>(tiles_along(s.out_h, s.dilation_h, rows) *
                                           tiles_along(s.out_w, s.dilation_w, rows));
  const auto points = [&](std::int64_t out, std::int64_t dilation) {
    return static_cast<double>(points_along(out, dilation, ragged, rows));
  };
  const double products = static_cast<double>(images_of(s)) * points(s.out_h, s.dilation_h) *
                          points(s.out_w, s.dilation_w);
  // Products fill whole vectors.
  const double pairs = static_cast<double>(s.in_c) * static_cast<double>(round_up(s.out_c, 16));
  const double of_group =
      pairs * (products + weights) + transforms * tiles * static_cast<double>(s.in_c + s.out_c);
  return is_grouped(shape) ? static_cast<double>(images_of(shape) * shape.groups) * of_group
                           : of_group;
}

bool has_channels(const ConvShape& s) { return s.in_c >= 8 * s.groups && s.out_c >= 8 * s.groups; }
}  // namespace

bool winograd_applies(const ConvShape& s) {
  return blocked_winograd_applies(s) && s.dilation_h == 1 && s.dilation_w == 1;
}

bool blocked_winograd_applies(const ConvShape& s) {
  return s.k_h == 3 && s.k_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         (s.groups == 1 || is_grouped(s));
}

double winograd_work(const ConvShape& shape) { return work(shape, 800, false, kWinogradRows); }
double blocked_winograd_work(const ConvShape& shape) {
  const std::int64_t rows = blocked_winograd_tiles(shape).rows;
  return work(shape, rows == kWinogradRows ? 350 : 160, true, rows);
}

bool winograd_pays(const ConvShape& shape) {
  // `conv` looks for its pixels as well.
  return has_channels(shape) && winograd_work(shape) < 1.3 * direct_work(shape);
}

bool blocked_winograd_pays(const ConvShape& shape) {
  return has_channels(shape) &&
         blocked_winograd_work(shape) < direct_work(shape) * taken_taps(shape);
}

std::size_t winograd_weights_bytes(const ConvShape& shape) {
  return static_cast<std::size_t>(
      checked_mul(checked_mul(groups_of(shape), winograd_group_floats(shape)), sizeof(float)));
}

void pack_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                           ThreadPool& pool) {
  pack_groups(shape, weights, packed, winograd_group_floats(shape),
              [&](const ConvShape& group, const float* of_group, float* to) {
                MEZZO_DISPATCH(run_pack_winograd)(group, of_group, to, pool);
              });
}

std::int64_t winograd_group_floats(const ConvShape& shape) {
  return MEZZO_DISPATCH(winograd_floats)(group_of(shape));
}

void winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool) {
  run_groups(shape, args, winograd_group_floats(shape), pool,
             [&](const ConvShape& group, const ConvArgs& of_group) {
               MEZZO_DISPATCH(run_winograd)(group, of_group, pool);
             });
}
}  // namespace mezzo::kernels
#endif
