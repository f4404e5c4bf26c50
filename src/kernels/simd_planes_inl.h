// Copies of image planes in which every tap of every sliding window reads contiguous memory.
// Included per target, like simd.h.
//
// The copy includes the padding, and where the stride is not 1 the columns are sorted by phase
// (column modulo stride): neighbouring outputs then take neighbouring elements, and nothing has to
// look at borders.

#if defined(MEZZO_KERNELS_SIMD_PLANES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_PLANES_INL
#undef MEZZO_KERNELS_SIMD_PLANES_INL
#else
#define MEZZO_KERNELS_SIMD_PLANES_INL
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/shape.h"
#include "kernels/simd_tail_inl.h"
#include "kernels/sliding_window.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// [image rows][phases][pitch], for the windows' rows and columns alone: rows between windows are
// left out, so that the copy for a 1x1 window is as dense as the output.
struct PlaneLayout {
  explicit PlaneLayout(const SlidingWindow& w) : window(w) {
    const std::int64_t reach_w = checked_mul(w.k_w - 1, w.dilation_w);
    window_h = checked_mul(w.k_h - 1, w.dilation_h) + 1;
    image_h = checked_add(checked_mul(w.out_h - 1, w.stride_h), window_h);
    const std::int64_t image_w = checked_add(checked_mul(w.out_w - 1, w.stride_w), reach_w) + 1;
    phases = std::min(w.stride_w, reach_w + 1);
    pitch = checked_add(image_w, w.stride_w - 1) / w.stride_w;
    row_floats = checked_mul(phases, pitch);
    out_row_floats = checked_mul(std::min(w.stride_h, window_h), row_floats);
    plane_floats =
        checked_add(checked_mul(w.out_h - 1, out_row_floats), checked_mul(window_h, row_floats));
  }

  // Where the tap of output (0, 0) lies; the one of output (oh, ow) is oh * out_row_floats + ow
  // further on.
  std::int64_t tap_offset(std::int64_t kh, std::int64_t kw) const {
    const std::int64_t column = kw * window.dilation_w;
    return kh * window.dilation_h * row_floats + column % window.stride_w * pitch +
           column / window.stride_w;
  }

  std::vector<std::int64_t> tap_offsets() const {
    std::vector<std::int64_t> offsets;
    for (std::int64_t kh = 0; kh < window.k_h; ++kh) {
      for (std::int64_t kw = 0; kw < window.k_w; ++kw) offsets.push_back(tap_offset(kh, kw));
    }
    return offsets;
  }

  SlidingWindow window;
  std::int64_t window_h;  // with dilation
  std::int64_t image_h, phases, pitch, row_floats;
  std::int64_t out_row_floats;  // from one output row's windows to the next one's
  std::int64_t plane_floats;
};

// Rows are short (7 to 112 elements in most networks): calls of memmove and memset would cost more
// than the work.
HWY_INLINE void fill_row(float* dst, std::int64_t n, VecF32 fill) {
  const F32 d;
  for (; n >= static_cast<std::int64_t>(kLanes); n -= kLanes, dst += kLanes)
    hn::StoreU(fill, d, dst);
  if (n > 0) store_n(fill, d, dst, static_cast<std::size_t>(n));
}

HWY_INLINE void copy_row(const float* src, float* dst, std::int64_t n) {
  const F32 d;
  for (; n >= static_cast<std::int64_t>(kLanes); n -= kLanes, src += kLanes, dst += kLanes)
    hn::StoreU(hn::LoadU(d, src), d, dst);
  if (n > 0)
    store_n(load_n(d, src, static_cast<std::size_t>(n)), d, dst, static_cast<std::size_t>(n));
}

// Every second element.
HWY_INLINE void copy_even(const float* src, float* dst, std::int64_t n) {
  const F32 d;
  constexpr auto kLaneCount = static_cast<std::int64_t>(kLanes);
  // The last vector's worth is read by halves that stop at its last element.
  for (; n > kLaneCount; n -= kLaneCount, src += 2 * kLaneCount, dst += kLaneCount) {
    hn::StoreU(hn::ConcatEven(d, hn::LoadU(d, src + kLaneCount), hn::LoadU(d, src)), d, dst);
  }
  const std::int64_t used = 2 * n - 1;
  if (used >= kLaneCount) {
    const VecF32 upper = load_n(d, src + kLaneCount, static_cast<std::size_t>(used - kLaneCount));
    store_n(hn::ConcatEven(d, upper, hn::LoadU(d, src)), d, dst, static_cast<std::size_t>(n));
  } else if (used > 0) {
    store_n(hn::ConcatEven(d, hn::Zero(d), load_n(d, src, static_cast<std::size_t>(used))), d, dst,
            static_cast<std::size_t>(n));
  }
}

// Copies the plane x [in_h, in_w], the padding being `fill`.
inline void copy_plane(const PlaneLayout& l, const float* x, float fill, float* copy) {
  const SlidingWindow& w = l.window;
  const VecF32 filling = hn::Set(F32(), fill);
  for (std::int64_t phase = 0; phase < l.phases; ++phase, copy += l.pitch) {
    // Position q holds column q * stride_w - shift; [first, end) are those inside the image.
    const std::int64_t shift = w.pad_left - phase;
    const auto ceil_to_position = [&](std::int64_t column) {
      return column <= 0 ? 0 : w.stride_w == 1 ? column : (column + w.stride_w - 1) / w.stride_w;
    };
    const std::int64_t first = std::min(ceil_to_position(shift), l.pitch);
    const std::int64_t end = std::clamp(ceil_to_position(w.in_w + shift), first, l.pitch);
    float* dst = copy;
    for (std::int64_t r = 0; r < l.image_h; ++r) {
      if (l.window_h < w.stride_h && r % w.stride_h >= l.window_h) continue;
      float* to = dst;
      dst += l.row_floats;
      const std::int64_t ih = r - w.pad_top;
      if (ih < 0 || ih >= w.in_h || first == end) {
        fill_row(to, l.pitch, filling);
        continue;
      }
      fill_row(to, first, filling);
      fill_row(to + end, l.pitch - end, filling);
      const float* src = x + ih * w.in_w + (first * w.stride_w - shift);
      if (w.stride_w == 1) {
        copy_row(src, to + first, end - first);
      } else if (w.stride_w == 2) {
        copy_even(src, to + first, end - first);
      } else {
        for (std::int64_t q = 0; q < end - first; ++q) to[first + q] = src[q * w.stride_w];
      }
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
