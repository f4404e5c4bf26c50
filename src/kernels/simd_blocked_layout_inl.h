// How a convolution in the blocked layout divides its work. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_LAYOUT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_LAYOUT_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_LAYOUT_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_LAYOUT_INL
#endif

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/shape.h"
#include "kernels/simd_blocked_half_inl.h"
#include "kernels/simd_blocked_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Steps of k of a block: a panel of weights of that length fills most of L1.
inline constexpr std::int64_t kBlockDepth = kGroupBlocks > 1 ? 256 : 192;
// Floats of x that a task reads for each panel of weights: half of the second-level cache at most,
// of which CPUs with wide vectors have a megabyte and more.
inline constexpr std::int64_t kTaskFloats = (kGroupBlocks > 1 ? 80 : 40) << 10;
// Floats of the images that are copied at a time.
inline constexpr std::int64_t kCopyFloats = 1 << 19;
// Output channels from which on a copy of x without what steps leave out pays.
inline constexpr std::int64_t kLeastSampled = 256;
// Pixels after which a flat image is cut: whole tiles.
inline constexpr std::int64_t kStretch = kGroupBlocks > 1 ? 56 : 48;

inline bool is_depthwise(const ConvShape& s) { return s.groups > 1; }

// What follows from a shape, but for depthwise convolutions.
struct BlockedLayout {
  explicit BlockedLayout(const ConvShape& s) : shape(s) {
    const bool blocked = s.in_c % kBlockChannels == 0;
    lanes = blocked ? kBlockChannels : 1;
    planes = s.in_c / lanes;
    const std::int64_t window_h = checked_mul(s.k_h - 1, s.dilation_h) + 1,
                       window_w = checked_mul(s.k_w - 1, s.dilation_w) + 1;
    image_h = checked_add(checked_mul(s.out_h - 1, s.stride_h), window_h);
    image_w = checked_add(checked_mul(s.out_w - 1, s.stride_w), window_w);
    by_tap = blocked && taps_lie_apart(s);
    if (by_tap) {
      columns = tap_parts(s.out_w, s.stride_w, s.pad_left, s.in_w, s.k_w, s.dilation_w);
      image_origin = -(s.pad_top * s.in_w + s.pad_left) * lanes;
    }
    // Pixels of which a window of one leaves some out lie together in a copy: half of each line
    // that a tile reads would else be for nothing, panel after panel.
    samples = blocked && s.k_h == 1 && s.k_w == 1 && s.stride_h * s.stride_w > 1 &&
              s.pad_top == 0 && s.pad_left == 0 && image_h <= s.in_h && image_w <= s.in_w &&
              s.out_c >= kLeastSampled;
    copies =
        samples ||
        (!by_tap && (s.pad_top != 0 || s.pad_left != 0 || image_h > s.in_h || image_w > s.in_w));
    if (samples) {
      image_h = s.out_h;
      image_w = s.out_w;
    } else if (!copies) {
      image_h = s.in_h;
      image_w = s.in_w;
    }
    stride_h = samples ? 1 : s.stride_h;
    stride_w = samples ? 1 : s.stride_w;
    plane_floats = checked_mul(copies ? checked_mul(image_h, image_w) : s.x_plane(), lanes);
    image_floats = checked_mul(planes, plane_floats);
    images = s.batch;
    if (copies) {
      const std::int64_t most =
          std::max<std::int64_t>(1, kCopyFloats / std::max<std::int64_t>(1, image_floats));
      images = ceil_div(s.batch, std::max<std::int64_t>(1, ceil_div(s.batch, most)));
    }
    step = stride_w * lanes;
    // Taps of a row of a plain image lie together as well; for rows of 3 there are kernels.
    const bool whole_rows = !blocked && s.dilation_w == 1 && s.k_w == 3;
    length = blocked ? kBlockChannels : whole_rows ? s.k_w : 1;
    segments = checked_mul(planes, checked_mul(s.k_h, whole_rows ? 1 : s.k_w));
    out_blocks = s.out_c / kBlockChannels;
    groups = ceil_div(out_blocks, kGroupBlocks);
    panels = ceil_div(groups, kTileGroups);
    pixels = checked_mul(s.out_h, s.out_w);
    // A window of one pixel at every pixel does not mind the ends of rows.
    const bool flat = (samples || !copies) && !by_tap && s.k_h == 1 && s.k_w == 1 &&
                      stride_h == 1 && stride_w == 1 && s.out_h == image_h && s.out_w == image_w;
    rows = flat ? 1 : s.out_h;
    row_pixels = flat ? pixels : s.out_w;
    // The last stretch takes what is left, so that none is much shorter.
    row_stretches = flat ? std::max<std::int64_t>(1, (pixels + kStretch / 2) / kStretch) : 1;
    stretch = row_stretches == 1 ? row_pixels : kStretch;
    row_floats = stride_h * image_w * lanes;
    block_segments = std::max<std::int64_t>(1, kBlockDepth / length);
    block_segments = ceil_div(segments, ceil_div(segments, block_segments));
  }

  std::int64_t image_stretches() const { return rows * row_stretches; }

  // Floats of x that a panel of weights reads for a stretch.
  std::int64_t stretch_floats() const {
    return stretch * block_segments * length / (shape.k_h * shape.k_w) *
           std::min(stride_h, shape.k_h) * stride_w;
  }

  // The first group of a panel.
  std::int64_t panel_begin(std::int64_t panel) const { return groups * panel / panels; }
  std::int64_t k() const { return segments * length; }

  // Whether a panel's last group is one block alone, and there are kernels for that.
  bool has_half_kernel(std::int64_t panel) const {
    return has_half_kernels<PairF32>() && length == kBlockChannels && panel + 1 == panels &&
           out_blocks % kGroupBlocks != 0;
  }
  // Floats of a step of a panel's weights.
  std::int64_t panel_width(std::int64_t panel) const {
    const std::int64_t whole = (panel_begin(panel + 1) - panel_begin(panel)) * kGroupChannels;
    return has_half_kernel(panel) ? whole - kBlockChannels : whole;
  }

  // The kernel for tiles of so many pixels and groups of output channels, the last of which is one
  // block where `half`.
  BlockedTiles kernel(std::int64_t tile_pixels, std::int64_t tile_groups, bool half) const {
    constexpr std::make_integer_sequence<int, kTileGroups> kGroups;
    constexpr int kBlock = kBlockChannels;
    const bool one = stride_w == 1;
    if (half) return half_kernel<PairF32>(one, tile_pixels, tile_groups);
    if (length == kBlock) {
      return one ? blocked_tiles_kernel<kBlock, kBlock, 0>(tile_pixels, tile_groups, kGroups)
                 : blocked_tiles_kernel<2 * kBlock, kBlock, 0>(tile_pixels, tile_groups, kGroups);
    }
    if (length == 3) {
      return one ? blocked_tiles_kernel<1, 3, 0>(tile_pixels, tile_groups, kGroups)
                 : blocked_tiles_kernel<2, 3, 0>(tile_pixels, tile_groups, kGroups);
    }
    return one ? blocked_tiles_kernel<1, 1, 0>(tile_pixels, tile_groups, kGroups)
               : blocked_tiles_kernel<2, 1, 0>(tile_pixels, tile_groups, kGroups);
  }

  std::vector<std::int64_t> offsets() const {
    std::vector<std::int64_t> list;
    list.reserve(static_cast<std::size_t>(segments));
    const auto offset = [&](std::int64_t p, std::int64_t kh, std::int64_t kw) {
      return p * plane_floats + (kh * shape.dilation_h * image_w + kw * shape.dilation_w) * lanes;
    };
    for (std::int64_t tap = 0; by_tap && tap < shape.k_h * shape.k_w; ++tap) {
      for (std::int64_t p = 0; p < planes; ++p)
        list.push_back(offset(p, tap / shape.k_w, tap % shape.k_w));
    }
    if (by_tap) return list;
    for (std::int64_t p = 0; p < planes; ++p) {
      for (std::int64_t kh = 0; kh < shape.k_h; ++kh) {
        for (std::int64_t kw = 0; kw < shape.k_w; kw += lanes == 1 ? length : 1) {
          list.push_back(offset(p, kh, kw));
        }
      }
    }
    return list;
  }

  const ConvShape& shape;
  std::int64_t lanes, planes;     // of x: channels of a block or 1, and how many such planes
  bool samples;                   // pixels that windows leave out are left out of x
  bool copies;                    // x is copied so, or with its padding
  bool by_tap;                    // segments go tap by tap, those that lie inside
  std::vector<TapPart> columns;   // then: of a row of results
  std::int64_t image_origin = 0;  // then: where the first window begins in x, or would
  std::int64_t image_h, image_w, plane_floats, image_floats;
  std::int64_t stride_h, stride_w;                      // along the copy, if there is one
  std::int64_t images;                                  // that are taken at a time
  std::int64_t step, length, segments, block_segments;  // floats between pixels; steps of a segment
  std::int64_t out_blocks, groups, panels, pixels;
  std::int64_t rows, row_pixels, row_floats;  // rows of output pixels, and x's floats between them
  std::int64_t row_stretches, stretch;        // pixels of a row that are taken together
};

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
