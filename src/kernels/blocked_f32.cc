#include "kernels/blocked_f32.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "base/shape.h"
#include "kernels/conv_groups.h"
#include "kernels/task_grid.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blocked_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_blocked_depthwise_inl.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_blocked_layout_inl.h"
#include "kernels/simd_blocked_stages_inl.h"
#include "kernels/simd_for_tiles_inl.h"
#include "kernels/simd_pack_inl.h"

// A convolution takes blocks of k (taps of input channels) in turn: panels of weights that stay in
// L1 meet all tiles of pixels of a stretch that stays in L2. Sums wait in y between blocks of k.
// Where windows reach beyond the image, it is copied first with its padding: as many images at a
// time as stay in L3.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// The image with its padding, or a part of it.
void copy_padded(const BlockedLayout& l, const float* x, float* copy) {
  const ConvShape& s = l.shape;
  const int64_t first = std::clamp<int64_t>(s.pad_left, 0, l.image_w);
  const int64_t end = std::clamp<int64_t>(s.in_w + s.pad_left, first, l.image_w);
  const auto bytes = [&](int64_t columns) {
    return static_cast<std::size_t>(columns * l.lanes) * sizeof(float);
  };
  for (int64_t r = 0; r < l.image_h; ++r, copy += l.image_w * l.lanes) {
    const int64_t row = r - s.pad_top;
    if (row < 0 || row >= s.in_h) {
      std::memset(copy, 0, bytes(l.image_w));
      continue;
    }
    std::memset(copy, 0, bytes(first));
    std::memcpy(copy + first * l.lanes, x + (row * s.in_w + first - s.pad_left) * l.lanes,
                bytes(end - first));
    std::memset(copy + end * l.lanes, 0, bytes(l.image_w - end));
  }
}

// The pixels of the image that windows of one pixel take.
void copy_sampled(const BlockedLayout& l, const float* x, float* copy) {
  const ConvShape& s = l.shape;
  const BlockF32 d;
  for (int64_t r = 0; r < l.image_h; ++r) {
    const float* row = x + r * s.stride_h * s.in_w * kBlockChannels;
    for (int64_t c = 0; c < l.image_w; ++c, copy += kBlockChannels) {
      MEZZO_UNROLL
      for (int part = 0; part < int{kBlockChannels}; part += kPartLanes)
        hn::StoreU(hn::LoadU(d, row + c * s.stride_w * kBlockChannels + part), d, copy + part);
    }
  }
}

// Stretches of pixels, counted through rows and all images, times panels of weights.
struct BlockedRange {
  int64_t stretch_begin, stretch_end, panel_begin, panel_end;
};

// Percent that a thread may wait for those with a panel more.
constexpr int64_t kMostUneven = 20;

// Stretches that are not parted: images are cut behind so many and their multiples.
int64_t stretches_together(const BlockedLayout& l, const ConvArgs& args, int64_t threads) {
  if (!args.stages.wanted()) return 1;
  const int64_t all = l.image_stretches(), lines = parts_of_whole_lines(l.stretch, all, l.pixels);
  if (lines > 0) return lines;
  if (all * l.stretch_floats() > 2 * kTaskFloats) return 1;
  // Unless there are too few panels: a thread without work costs more than the lines of a cut.
  const int64_t panels = l.images * l.panels;
  const bool uneven = 100 * round_up(panels, threads) > (100 + kMostUneven) * panels;
  return uneven ? ceil_div(all, threads) : all;
}

// The stages of one panel's stretches, image by image.
void run_panel_stages(const BlockedLayout& l, const ConvArgs& args, int64_t y_stride,
                      const BlockedRange& r, int64_t panel, StagePlanes& planes) {
  const int64_t per_image = l.image_stretches();
  const auto pixel_at = [&](int64_t stretch) {
    return stretch == per_image
               ? l.pixels
               : stretch / l.row_stretches * l.row_pixels + stretch % l.row_stretches * l.stretch;
  };
  for (int64_t begin = r.stretch_begin, end; begin < r.stretch_end; begin = end) {
    const int64_t n = begin / per_image, first = pixel_at(begin % per_image);
    end = std::min(r.stretch_end, (n + 1) * per_image);
    const int64_t count = pixel_at(end - n * per_image) - first;
    const int64_t block_end = std::min(l.panel_begin(panel + 1) * kGroupBlocks, l.out_blocks);
    for (int64_t i = l.panel_begin(panel) * kGroupBlocks; i < block_end; ++i)
      run_stages(l.shape, args, y_stride, n, i, first, count, planes);
  }
}

// The segments of a part of a row of results whose taps lie inside: runs that follow each other in
// the weights. Calls visit(begin, end) for each; for once with nothing where there are none.
template <class Visit>
void each_run_inside(const BlockedLayout& l, Taps rows, Taps columns, const Visit& visit) {
  const int64_t k_w = l.shape.k_w;
  if (rows.count() == 0 || columns.count() == 0) return visit(0, 0);
  if (columns.count() == k_w) return visit(rows.begin * k_w * l.planes, rows.end * k_w * l.planes);
  for (int64_t kh = rows.begin; kh < rows.end; ++kh)
    visit((kh * k_w + columns.begin) * l.planes, (kh * k_w + columns.end) * l.planes);
}

// `images` is the x, or its copy, of image first_image and those behind it.
void run_range(const BlockedLayout& l, const ConvArgs& all, const float* images,
               int64_t first_image, const int64_t* offsets, int64_t y_stride,
               const BlockedRange& r) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  static constexpr float kNoBias[kTileGroups * kGroupChannels] = {};
  const ConvArgs args = ahead_of_stages(all);
  const ConvShape& s = l.shape;
  const int64_t block_floats = s.y_plane() * kBlockChannels,
                add_block_floats = s.add_plane() * kBlockChannels;
  StagePlanes stage_planes;
  // A panel's weights from segment s on.
  const auto weights_at = [&](int64_t panel, int64_t s) {
    return args.packed_weights + l.panel_begin(panel) * l.k() * kGroupChannels +
           s * l.length * l.panel_width(panel);
  };
  for (int64_t s0 = 0; s0 < l.segments; s0 += l.block_segments) {
    const int64_t segments = std::min(l.block_segments, l.segments - s0);
    const bool last = s0 + segments == l.segments;
    for (int64_t panel = r.panel_begin; panel < r.panel_end; ++panel) {
      const int64_t group = l.panel_begin(panel), groups = l.panel_begin(panel + 1) - group;
      const int64_t channel = group * kGroupChannels;
      const bool half = l.has_half_kernel(panel);
      const float* weights = weights_at(panel, s0);
      // The panel after this one, or the first of the next block of k, is asked for, each tile
      // taking a part.
      const float* next = panel + 1 < r.panel_end ? weights_at(panel + 1, s0)
                          : last                  ? nullptr
                                                  : weights_at(r.panel_begin, s0 + segments);
      int64_t to_fetch = next == nullptr ? 0 : segments * l.length * l.panel_width(panel);
      BlockedOut out{nullptr,
                     block_floats,
                     add_block_floats,
                     s0 > 0                 ? nullptr
                     : args.bias == nullptr ? kNoBias
                                            : args.bias + channel,
                     nullptr,
                     last ? args.min : -kInfinity,
                     last ? args.max : kInfinity,
                     nullptr,
                     false,
                     1,
                     (group + groups) * kGroupBlocks > l.out_blocks};
      for (int64_t stretch = r.stretch_begin; stretch < r.stretch_end; ++stretch) {
        const int64_t part = stretch % l.row_stretches, begin = part * l.stretch;
        const int64_t row = stretch / l.row_stretches % l.rows,
                      n = stretch / l.row_stretches / l.rows;
        const int64_t count = part + 1 == l.row_stretches ? l.row_pixels - begin : l.stretch;
        const float* x = images + (n - first_image) * l.image_floats + row * l.row_floats +
                         begin * l.step + l.image_origin;
        const int64_t pixel = row * l.row_pixels + begin;
        float* y = args.y + n * y_stride + pixel * kBlockChannels + channel * s.y_plane();
        const float* add = args.add == nullptr
                               ? nullptr
                               : args.add + n * l.out_blocks * add_block_floats +
                                     pixel * kBlockChannels + channel * s.add_plane();
        // Segments [from, end) of the pixels [begin_pixel, end_pixel) of the stretch.
        const auto run_tiles = [&](int64_t begin_pixel, int64_t end_pixel, int64_t from,
                                   int64_t end, const float* panel_from) HWY_ATTR {
          for_tiles(end_pixel - begin_pixel, kTilePixels[groups - 1], 1,
                    [&](int64_t at, int64_t pixels, int64_t tiles) HWY_ATTR {
                      const int64_t first = begin_pixel + at;
                      out.y = y + first * kBlockChannels;
                      out.add = add == nullptr ? nullptr : add + first * kBlockChannels;
                      out.tiles = tiles;
                      out.fetches = to_fetch > 0;
                      out.fetch = next;
                      if (out.fetches) {
                        const int64_t fetched =
                            tiles * (end - from) * blocked_fetch_lines<0> * kCacheLine;
                        next += fetched;
                        to_fetch -= fetched;
                      }
                      l.kernel(pixels, groups, half)(x + first * l.step, offsets + from, end - from,
                                                     panel_from, out);
                    });
        };
        if (!l.by_tap) {
          run_tiles(0, count, s0, s0 + segments, weights);
          continue;
        }
        const Taps taps = taps_inside(row * s.stride_h - s.pad_top, s.in_h, s.k_h, s.dilation_h);
        for (const TapPart& columns : l.columns) {
          // The sums begin with the bias and end with the bounds.
          int64_t first_of_all = -1, end_of_all = 0;
          each_run_inside(l, taps, columns.taps, [&](int64_t from, int64_t end) {
            if (first_of_all < 0) first_of_all = from;
            end_of_all = end;
          });
          each_run_inside(l, taps, columns.taps, [&](int64_t from, int64_t end) HWY_ATTR {
            const int64_t begin = std::max(from, s0), stop = std::min(end, s0 + segments);
            const bool is_empty = from == end && s0 == 0;
            if (begin >= stop && !is_empty) return;
            const bool is_first = begin == first_of_all || is_empty,
                       is_last = stop == end_of_all || is_empty;
            out.bias = !is_first ? nullptr : args.bias == nullptr ? kNoBias : args.bias + channel;
            out.min = is_last ? args.min : -kInfinity;
            out.max = is_last ? args.max : kInfinity;
            run_tiles(columns.begin, columns.end, begin, std::max(begin, stop),
                      weights_at(panel, begin));
          });
        }
      }
      if (last && all.stages.wanted()) run_panel_stages(l, all, y_stride, r, panel, stage_planes);
    }
  }
  if (all.stages.wanted()) stage_planes.finish();
}

}  // namespace

int64_t blocked_weights_floats(const ConvShape& s) {
  const int64_t channels = is_depthwise(s) ? s.out_c : round_up(s.out_c, kGroupChannels);
  return checked_mul(channels, checked_mul(s.in_c / s.groups, checked_mul(s.k_h, s.k_w)));
}

void run_pack_blocked(const ConvShape& s, const float* weights, float* packed, ThreadPool& pool) {
  const int64_t taps = s.k_h * s.k_w, depth = s.in_c / s.groups;
  const BlockedLayout l(s);
  const int64_t panels = is_depthwise(s) ? l.out_blocks : l.panels;
  pool.parallel_for(panels, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t panel = begin; panel < end; ++panel) {
      // Depthwise weights are panels of one block.
      const int64_t channel =
          is_depthwise(s) ? panel * kBlockChannels : l.panel_begin(panel) * kGroupChannels;
      const int64_t width = is_depthwise(s) ? kBlockChannels : l.panel_width(panel);
      const int64_t valid = std::min(width, s.out_c - channel);
      const int64_t lanes = is_depthwise(s) ? 1 : l.lanes;
      float* to = packed + channel * depth * taps;
      const float* from = weights + channel * depth * taps;
      // Steps of k are in the order of the file but where blocks of channels come between taps, or
      // taps one after the other.
      const bool as_they_are = lanes == 1 || taps == 1;
      const int64_t parts = as_they_are ? 1 : depth / lanes * taps, steps = depth * taps / parts;
      for (int64_t i = 0; i < parts; ++i, to += steps * width) {
        const bool by_tap = !as_they_are && l.by_tap;
        const int64_t plane = by_tap ? i % l.planes : i / taps,
                      tap = by_tap ? i / l.planes : i % taps;
        pack_panel(from + plane * lanes * taps + tap, depth * taps, as_they_are ? 1 : taps, valid,
                   width, steps, to);
      }
    }
  });
}

int64_t blocked_scratch_floats(const ConvShape& s) {
  if (is_depthwise(s)) return 0;
  const BlockedLayout l(s);
  return l.copies ? checked_mul(l.images, l.image_floats) : 0;
}

// The images [first, first + count).
void run_images(const BlockedLayout& l, const ConvArgs& args, int64_t y_stride,
                const int64_t* offsets, int64_t first, int64_t count, float* scratch,
                ThreadPool& pool) {
  const ConvShape& s = l.shape;
  const float* images = args.x + first * s.in_c * s.x_plane();
  if (l.copies) {
    pool.parallel_for(count * l.planes, std::max<int64_t>(1, (1 << 15) / l.plane_floats),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t t = begin; t < end; ++t) {
                          (l.samples ? copy_sampled : copy_padded)(
                              l, images + t * s.x_plane() * l.lanes, scratch + t * l.plane_floats);
                        }
                      });
    images = scratch;
  }
  // Parts of images, which are cut between stretches.
  const int64_t together = stretches_together(l, args, pool.available()),
                image_parts = ceil_div(l.image_stretches(), together), parts = count * image_parts;
  const auto first_stretch = [&](int64_t part) {
    return (first + part / image_parts) * l.image_stretches() + part % image_parts * together;
  };
  const int64_t part_floats = std::max<int64_t>(1, together * l.stretch_floats());
  const int64_t most = std::clamp<int64_t>(kTaskFloats / part_floats, 1, parts);
  // A thread takes its share in a few parts, each of which reads either all weights or all of x:
  // the smaller, where x need not be cut.
  const bool by_panel = parts <= most && s.out_c * l.k() > count * l.image_floats;
  const int64_t most_major = by_panel ? l.panels : parts, most_minor = by_panel ? parts : l.panels;
  const int64_t work = count * l.pixels * s.out_c * l.k();
  int64_t major = 1, minor = 1;
  if (pool.available() > 1)
    divide(16 * pool.available(), work, kTaskWork, major, most_major, minor, most_minor);
  const int64_t tasks = major * minor;
  const int64_t grain = std::max<int64_t>(1, kTaskWork * tasks / std::max<int64_t>(work, 1));
  pool.parallel_for(tasks, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for_rectangles(begin, end, minor, [&](const Rectangle& r) HWY_ATTR {
      const int64_t major_begin = most_major * r.major_begin / major,
                    major_end = most_major * r.major_end / major,
                    minor_begin = most_minor * r.minor_begin / minor,
                    minor_end = most_minor * r.minor_end / minor;
      const int64_t panel_begin = by_panel ? major_begin : minor_begin,
                    panel_end = by_panel ? major_end : minor_end;
      const int64_t part_begin = by_panel ? minor_begin : major_begin,
                    range = (by_panel ? minor_end : major_end) - part_begin;
      // As many stretches at a time as stay in L2.
      const int64_t turns = ceil_div(range, most);
      for (int64_t i = 0; i < turns; ++i) {
        run_range(l, args, images, first, offsets, y_stride,
                  {first_stretch(part_begin + range * i / turns),
                   first_stretch(part_begin + range * (i + 1) / turns), panel_begin, panel_end});
      }
    });
  });
}

void run_blocked_conv(const ConvShape& s, const ConvArgs& args, float* scratch, ThreadPool& pool) {
  const int64_t y_stride =
      args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.out_h * s.out_w;
  if (is_depthwise(s)) return run_blocked_depthwise(s, args, y_stride, pool);
  const BlockedLayout l(s);
  const std::vector<int64_t> offsets = l.offsets();
  for (int64_t n = 0; n < s.batch; n += l.images) {
    run_images(l, args, y_stride, offsets.data(), n, std::min(l.images, s.batch - n), scratch,
               pool);
  }
}

// Vectors of fewer lanes have tiles of another kind.
bool run_blocked_pays() { return kLanes >= kBlockChannels; }

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(blocked_weights_floats);
HWY_EXPORT(run_pack_blocked);
HWY_EXPORT(blocked_scratch_floats);
HWY_EXPORT(run_blocked_conv);
HWY_EXPORT(run_blocked_pays);

struct ScratchGroup {};

}  // namespace

bool blocked_conv_applies(const ConvShape& s) {
  const std::int64_t out = s.out_c / s.groups;
  if (s.groups > 1 && s.groups == s.in_c) return out == 1 && s.out_c % kBlockChannels == 0;
  return out % kBlockChannels == 0 && s.stride_w <= 2 &&
         (s.groups == 1 || s.in_c / s.groups % kBlockChannels == 0);
}

bool blocked_layout_pays() { return MEZZO_DISPATCH(run_blocked_pays)(); }

bool blocked_conv_takes_blocked(const ConvShape& s) { return s.in_c % kBlockChannels == 0; }

std::size_t blocked_weights_bytes(const ConvShape& shape) {
  const std::int64_t floats =
      checked_mul(groups_of(shape), MEZZO_DISPATCH(blocked_weights_floats)(group_of(shape)));
  return static_cast<std::size_t>(checked_mul(floats, sizeof(float)));
}

void pack_blocked_weights(const ConvShape& shape, const float* weights, float* packed,
                          ThreadPool& pool) {
  pack_groups(shape, weights, packed, MEZZO_DISPATCH(blocked_weights_floats)(group_of(shape)),
              [&](const ConvShape& group, const float* of_group, float* to) {
                MEZZO_DISPATCH(run_pack_blocked)(group, of_group, to, pool);
              });
}

std::size_t blocked_scratch_bytes(const ConvShape& shape) {
  if (is_grouped(shape)) return 0;
  return static_cast<std::size_t>(
      checked_mul(MEZZO_DISPATCH(blocked_scratch_floats)(shape), sizeof(float)));
}

void blocked_conv(const ConvShape& shape, const ConvArgs& args, void* scratch, ThreadPool& pool) {
  const auto conv = MEZZO_DISPATCH(run_blocked_conv);
  if (!is_grouped(shape)) return conv(shape, args, static_cast<float*>(scratch), pool);
  const ConvShape group = group_of(shape);
  const std::int64_t scratch_floats = MEZZO_DISPATCH(blocked_scratch_floats)(group);
  run_groups(shape, args, MEZZO_DISPATCH(blocked_weights_floats)(group), pool,
             [&](const ConvShape& s, const ConvArgs& of_group) {
               conv(s, of_group, thread_scratch<ScratchGroup>(scratch_floats), pool);
             });
}

}  // namespace mezzo::kernels
#endif
