// How convolutions see their operands: what follows from a shape, and panels of pixels packed from
// an image. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_CONV_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_CONV_INL
#undef MEZZO_KERNELS_SIMD_CONV_INL
#else
#define MEZZO_KERNELS_SIMD_CONV_INL
#endif

#include <algorithm>
#include <cstdint>

#include "base/shape.h"
#include "kernels/conv_f32.h"
#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_pack_inl.h"
#include "kernels/simd_planes_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

enum class ConvMethod { depthwise, pixels_in_lanes, channels_in_lanes };

inline constexpr std::int64_t kConvLanes = kLanes;

// What follows from a shape.
struct ConvLayout {
  explicit ConvLayout(const ConvShape& s)
      : shape(s),
        plane({s.in_h, s.in_w, s.out_h, s.out_w, s.k_h, s.k_w, s.stride_h, s.stride_w, s.pad_top,
               s.pad_left, s.dilation_h, s.dilation_w}) {
    rows = s.out_c / s.groups;
    depth_c = s.in_c / s.groups;
    taps = checked_mul(s.k_h, s.k_w);
    k = checked_mul(depth_c, taps);
    pixels = checked_mul(s.out_h, s.out_w);
    block = depth_block(k);
    in_place = s.k_h == 1 && s.k_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
               s.pad_left == 0 && s.out_h == s.in_h && s.out_w == s.in_w;
    if (s.groups == s.in_c && s.groups == s.out_c && s.groups > 1) {
      method = ConvMethod::depthwise;
    } else {
      const auto filled = [](std::int64_t n) {
        return static_cast<double>(n) / static_cast<double>(round_up(n, kConvLanes));
      };
      const bool swap = kMaxRows >= 12 && pixels <= 8 * kConvLanes && k >= 4 * kConvLanes &&
                        filled(pixels) < 0.92 * filled(rows);
      method = swap ? ConvMethod::channels_in_lanes : ConvMethod::pixels_in_lanes;
    }
    dense = taps == 1;
    // Larger than the pages that a CPU's tables have at hand, and than most third-level caches.
    far = dense && checked_mul(k, pixels) >= std::int64_t{4} << 20;
    height = tile_rows(method == ConvMethod::channels_in_lanes ? pixels : rows);
  }

  // Floats of one group's packed weights.
  std::int64_t group_floats() const {
    return checked_mul(method == ConvMethod::channels_in_lanes
                           ? checked_mul(ceil_div(rows, kTileCols), kTileCols)
                           : rows,
                       k);
  }

  const ConvShape& shape;
  PlaneLayout plane;  // of each channel's copy
  ConvMethod method;
  std::int64_t rows, depth_c, taps, k, pixels;  // of one group
  std::int64_t block;                           // of k
  bool in_place;                                // x is read where it is, not copied
  bool dense;           // the matrix of taps is the image as it is, or its copy
  bool far;             // and so large that it is slow to go from channel to channel
  std::int64_t height;  // of a tile: output channels, or pixels where channels are in the lanes
};

// A vector of pixels of one output row, as it is copied for each row of a panel.
struct PixelCopy {
  std::int64_t source;  // from the tap's value for output (0, 0)
  std::int64_t lane;
};

inline constexpr std::int64_t kMaxPanelWidth = std::max(kTileCols, kMaxRows);

// The copies that make pixels [begin, begin + count) up, in the order in which each may overwrite
// what the one before has written too much. Returns their number, at most `count`.
inline int find_copies(const ConvLayout& l, std::int64_t begin, std::int64_t count,
                       PixelCopy* copies) {
  const ConvShape& s = l.shape;
  int n = 0;
  std::int64_t oh = begin / s.out_w, ow = begin % s.out_w;
  for (std::int64_t lane = 0; lane < count; ++oh, ow = 0) {
    const std::int64_t length = std::min(count - lane, s.out_w - ow);
    for (std::int64_t j = 0; j < length; j += kConvLanes)
      copies[n++] = {oh * l.plane.out_row_floats + ow + j, lane + j};
    lane += length;
  }
  return n;
}

// The rows of a panel for one number of copies, or any number where N is 0: the usual few stay in
// registers.
template <int N>
void copy_taps(const ConvLayout& l, const std::int64_t* tap_offsets, const float* image,
               std::int64_t k0, std::int64_t depth, const PixelCopy* list, int count,
               std::int64_t width, float* panel) {
  const F32 d;
  PixelCopy copies[std::max(N, 1)];
  for (int i = 0; i < N; ++i) copies[i] = list[i];
  const float* plane = image + k0 / l.taps * l.plane.plane_floats;
  std::int64_t tap = k0 % l.taps;
  for (std::int64_t p = 0; p < depth; ++p, panel += width) {
    const float* src = plane + tap_offsets[tap];
    if constexpr (N == 0) {
      for (int i = 0; i < count; ++i)
        hn::StoreU(hn::LoadU(d, src + list[i].source), d, panel + list[i].lane);
    } else {
      MEZZO_UNROLL
      for (int i = 0; i < N; ++i)
        hn::StoreU(hn::LoadU(d, src + copies[i].source), d, panel + copies[i].lane);
    }
    if (++tap == l.taps) {
      tap = 0;
      plane += l.plane.plane_floats;
    }
  }
}

// Packs whole panels of a dense image, from pixel `begin` on, channel by channel: as much as
// possible of each at a time.
inline void pack_whole_panels(const ConvLayout& l, const float* image, std::int64_t k0,
                              std::int64_t depth, std::int64_t begin, std::int64_t panels,
                              float* packed) {
  const F32 d;
  const float* from = image + k0 * l.pixels + begin;
  for (std::int64_t k = 0; k < depth; ++k, from += l.pixels, packed += kTileCols) {
    for (std::int64_t p = 0; p < panels; ++p) {
      MEZZO_UNROLL
      for (int v = 0; v < kTileVectors; ++v) {
        const std::int64_t at = v * kConvLanes;
        hn::StoreU(hn::LoadU(d, from + p * kTileCols + at), d, packed + p * depth * kTileCols + at);
      }
    }
  }
}

// Packs rows [k0, k0 + depth) of the matrix of taps for `count` pixels from `begin` on, as a panel
// of `width` columns. `image` is the copied group of channels, or x itself. Up to a vector past the
// panel may be overwritten.
inline void pack_pixels(const ConvLayout& l, const std::int64_t* tap_offsets, const float* image,
                        std::int64_t k0, std::int64_t depth, std::int64_t begin, std::int64_t count,
                        std::int64_t width, float* panel) {
  if (l.dense)
    return pack_panel(image + k0 * l.pixels + begin, 1, l.pixels, count, width, depth, panel);
  PixelCopy copies[kMaxPanelWidth];
  const int n = find_copies(l, begin, count, copies);
  // Columns past the pixels hold what the last copy brings along, and zeros behind it.
  if (copies[n - 1].lane + kConvLanes < width) std::fill(panel, panel + depth * width, 0.0f);
  const auto run = n == 1   ? copy_taps<1>
                   : n == 2 ? copy_taps<2>
                   : n == 3 ? copy_taps<3>
                   : n == 4 ? copy_taps<4>
                   : n == 5 ? copy_taps<5>
                            : copy_taps<0>;
  run(l, tap_offsets, image, k0, depth, copies, n, width, panel);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
