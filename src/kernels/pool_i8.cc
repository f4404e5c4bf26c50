#include "kernels/pool_i8.h"

#include <algorithm>
#include <cstring>

#include "base/rounding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool_i8.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_quads_inl.h"

// The rows of a window are combined to one first, between paddings, and its neighbours then.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;
using std::uint8_t;

struct ScratchByteRow {};

template <class Byte>
struct Maxima {
  using Tag = hn::Repartition<Byte, QuadI32>;
  static constexpr int64_t kBytes = 4 * int64_t{kQuadLanes};

  static HWY_INLINE hn::Vec<QuadU8> larger(hn::Vec<QuadU8> a, hn::Vec<QuadU8> b) {
    const Tag d;
    return hn::BitCast(QuadU8(), hn::Max(hn::BitCast(d, a), hn::BitCast(d, b)));
  }

  // to[i] = the maximum of x[i + step * k] for k < count, n bytes.
  static void rows(const uint8_t* x, int64_t step, int64_t count, int64_t n, uint8_t* to) {
    const QuadU8 d;
    int64_t i = 0;
    for (; i + kBytes <= n; i += kBytes) {
      auto all = hn::LoadU(d, x + i);
      for (int64_t k = 1; k < count; ++k) all = larger(all, hn::LoadU(d, x + i + k * step));
      hn::StoreU(all, d, to + i);
    }
    for (; i < n; ++i) {
      auto all = static_cast<Byte>(x[i]);
      for (int64_t k = 1; k < count; ++k) all = std::max(all, static_cast<Byte>(x[i + k * step]));
      to[i] = static_cast<uint8_t>(all);
    }
  }

  // The maxima of `taps` neighbours, `step` pixels of the row apart: `count` outputs, of which
  // `store` pixels may be overwritten. There is memory behind the row for whole vectors.
  template <class Pixel, int Stride>
  static void neighbours(const uint8_t* row, int64_t taps, int64_t step, int64_t count,
                         int64_t store, uint8_t* y) {
    constexpr int64_t kPixel = sizeof(Pixel), kPixels = kBytes / kPixel;
    const QuadU8 d;
    for (int64_t c = 0; c < count; c += kPixels) {
      const uint8_t* from = row + c * Stride * kPixel;
      auto all = load_pixels<Pixel, Stride>(from);
      for (int64_t k = 1; k < taps; ++k)
        all = larger(all, load_pixels<Pixel, Stride>(from + k * step * kPixel));
      if (c + kPixels <= store) {
        hn::StoreU(all, d, y + c * kPixel);
      } else {
        HWY_ALIGN uint8_t rest[kBytes];
        hn::Store(all, d, rest);
        std::memcpy(y + c * kPixel, rest, static_cast<std::size_t>((store - c) * kPixel));
      }
    }
  }

  // The same with any step from one output to the next.
  static void strided(const uint8_t* row, int64_t taps, int64_t step, int64_t count, int64_t stride,
                      int64_t pixel, uint8_t* y) {
    for (int64_t i = 0; i < count * pixel; ++i) {
      const uint8_t* from = row + i / pixel * stride * pixel + i % pixel;
      auto all = static_cast<Byte>(*from);
      for (int64_t k = 1; k < taps; ++k)
        all = std::max(all, static_cast<Byte>(from[k * step * pixel]));
      y[i] = static_cast<uint8_t>(all);
    }
  }
};

template <class Byte, class Pixel>
void pool_plane(const PoolShape& s, const uint8_t* x, uint8_t* y) {
  constexpr int64_t kPixel = sizeof(Pixel), kLeast = std::numeric_limits<Byte>::min();
  using Of = Maxima<Byte>;
  const int64_t width = (s.out_w - 1) * s.stride_w + (s.k_w - 1) * s.dilation_w + 1;
  const int64_t first = std::clamp<int64_t>(s.pad_left, 0, width),
                end = std::clamp(s.in_w + s.pad_left, first, width);
  const int64_t row_bytes = width * kPixel + 4 * Of::kBytes;
  auto* row =
      reinterpret_cast<uint8_t*>(thread_scratch<ScratchByteRow>(ceil_div(row_bytes, int64_t{4})));
  std::memset(row, static_cast<int>(kLeast), static_cast<std::size_t>(row_bytes));
  const int64_t x_row = s.in_w * kPixel;
  for (int64_t oh = 0; oh < s.out_h; ++oh, y += s.out_w * kPixel) {
    const int64_t top = oh * s.stride_h - s.pad_top;
    const Taps rows = taps_inside(top, s.in_h, s.k_h, s.dilation_h);
    if (rows.begin < rows.end) {
      Of::rows(x + (top + rows.begin * s.dilation_h) * x_row + (first - s.pad_left) * kPixel,
               s.dilation_h * x_row, rows.end - rows.begin, (end - first) * kPixel,
               row + first * kPixel);
    } else {
      std::memset(row + first * kPixel, static_cast<int>(kLeast),
                  static_cast<std::size_t>((end - first) * kPixel));
    }
    const int64_t store = (s.out_h - oh) * s.out_w;
    if (s.stride_w == 1) {
      Of::template neighbours<Pixel, 1>(row, s.k_w, s.dilation_w, s.out_w, store, y);
    } else if (s.stride_w == 2) {
      Of::template neighbours<Pixel, 2>(row, s.k_w, s.dilation_w, s.out_w, store, y);
    } else {
      Of::strided(row, s.k_w, s.dilation_w, s.out_w, s.stride_w, kPixel, y);
    }
  }
}

}  // namespace

void run_max_pool_i8(const PoolShape& s, int64_t lanes, bool is_signed, const uint8_t* x,
                     uint8_t* y, ThreadPool& pool) {
  using Signed = std::int8_t;
  const auto run = lanes == 1
                       ? is_signed ? pool_plane<Signed, uint8_t> : pool_plane<uint8_t, uint8_t>
                   : is_signed ? pool_plane<Signed, std::uint64_t>
                               : pool_plane<uint8_t, std::uint64_t>;
  const int64_t work = s.out_h * s.out_w * lanes * (s.k_h + s.k_w);
  pool.parallel_for(s.planes, std::max<int64_t>(1, (1 << 18) / work),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i)
                        run(s, x + i * s.x_plane() * lanes, y + i * s.y_plane() * lanes);
                    });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_max_pool_i8);
}  // namespace

void max_pool_i8(const PoolShape& shape, std::int64_t lanes, bool is_signed, const std::uint8_t* x,
                 std::uint8_t* y, ThreadPool& pool) {
  MEZZO_DISPATCH(run_max_pool_i8)(shape, lanes, is_signed, x, y, pool);
}

}  // namespace mezzo::kernels
#endif
