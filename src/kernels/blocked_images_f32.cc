#include <hwy/cache_control.h>

#include <algorithm>
#include <limits>

#include "kernels/blocked_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blocked_images_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_block_rows_inl.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_pack_inl.h"

// What is done to images in the blocked layout besides convolving them.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

using std::int64_t;

namespace {

// Rows of a block's eight channels, [8][pixels], to [pixels][8].
void to_block(const float* from, int64_t pixels, float* to) {
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4) {
    for (int64_t c = 0; c < kBlockChannels; c += 4)
      transpose_4x4(from + c * pixels + p, pixels, to + p * kBlockChannels + c, kBlockChannels);
  }
  for (; p < pixels; ++p) {
    for (int64_t c = 0; c < kBlockChannels; ++c) to[p * kBlockChannels + c] = from[c * pixels + p];
  }
}

// Planes of a block each, [pixels][8], to rows, [8][pixels], past the caches.
void stream_blocks(const BlockedPlanes& s, const float* from, float* to, int64_t planes) {
  LineStream small_planes;
  for (int64_t i = 0; i < planes; ++i) {
    BlockRows rows(to, s.y_plane, 0, s.pixels, small_planes);
    const auto value = [&](int64_t pixel, int part) HWY_ATTR {
      return hn::LoadU(BlockF32(), from + pixel * kBlockChannels + part);
    };
    for (int64_t p = 0; p < s.pixels; p += kRunPixels)
      rows.add(p, std::min(p + kRunPixels, s.pixels), value);
    rows.finish();
    from += s.x_plane * kBlockChannels;
    to += s.y_plane * kBlockChannels;
  }
  small_planes.finish();
  hwy::FlushStream();
}

// Floats that are worth handing to another thread.
constexpr int64_t kCopyGrain = 1 << 14;

constexpr float kLowest = -std::numeric_limits<float>::infinity();

struct ScratchRow {};

// What windows give of rows [begin, end) of one plane: their elements are combined, from `fill` on,
// and finish(combined, row, column) is the output. The rows of a window are combined to one, whose
// neighbours are combined then: k_h + k_w values are looked at for an output, not k_h * k_w.
template <class Combine, class Finish>
void pool_rows(const PoolShape& s, const float* x, int64_t begin, int64_t end, float* y, float fill,
               const Combine& combine, const Finish& finish) {
  const BlockF32 d;
  constexpr int kChannels = kBlockChannels;
  const int64_t row_floats = s.in_w * kChannels;
  float* row = thread_scratch<ScratchRow>(row_floats);
  y += begin * s.out_w * kChannels;
  for (int64_t oh = begin; oh < end; ++oh, y += s.out_w * kChannels) {
    const int64_t top = oh * s.stride_h - s.pad_top;
    const Taps rows = taps_inside(top, s.in_h, s.k_h, s.dilation_h);
    const float* from = x + (top + rows.begin * s.dilation_h) * row_floats;
    const auto combine_rows = [&](auto tag, int64_t i) HWY_ATTR {
      auto all = hn::Set(tag, fill);
      for (int64_t kh = 0; kh < rows.end - rows.begin; ++kh)
        all = combine(all, hn::LoadU(tag, from + kh * s.dilation_h * row_floats + i));
      hn::StoreU(all, tag, row + i);
    };
    int64_t i = 0;
    for (; i + int64_t{kPairLanes} <= row_floats; i += kPairLanes) combine_rows(PairF32(), i);
    for (; i < row_floats; i += kPartLanes) combine_rows(d, i);
    for (int64_t ow = 0; ow < s.out_w; ++ow) {
      const int64_t left = ow * s.stride_w - s.pad_left;
      const Taps columns = taps_inside(left, s.in_w, s.k_w, s.dilation_w);
      for (int part = 0; part < kChannels; part += kPartLanes) {
        VecBlock all = hn::Set(d, fill);
        for (int64_t kw = columns.begin; kw < columns.end; ++kw) {
          const int64_t column = left + kw * s.dilation_w;
          all = combine(all, hn::LoadU(d, row + column * kChannels + part));
        }
        hn::StoreU(finish(all, oh, ow), d, y + ow * kChannels + part);
      }
    }
  }
}

void max_of_rows(const PoolShape& s, const float* x, int64_t begin, int64_t end, float* y) {
  pool_rows(
      s, x, begin, end, y, kLowest, [](auto a, auto b) HWY_ATTR { return max_or_nan(a, b); },
      [](VecBlock v, int64_t, int64_t) { return v; });
}

// The same for windows of K x K taps: those that lie inside the image take x86's maximum, which may
// lose a NaN, in a third of the time. False where there may have been one.
template <int K>
bool max_of_windows(const PoolShape& s, const float* x, int64_t begin, int64_t end, float* y) {
  const BlockF32 d;
  constexpr int kChannels = kBlockChannels;
  const int64_t step_w = s.dilation_w * kChannels, step_h = s.dilation_h * s.in_w * kChannels;
  const int64_t last = s.in_w - 1 - (s.k_w - 1) * s.dilation_w + s.pad_left;
  const int64_t inside = std::min(ceil_div(std::max<int64_t>(s.pad_left, 0), s.stride_w), s.out_w);
  const int64_t outside = last < 0 ? inside : std::clamp(last / s.stride_w + 1, inside, s.out_w);
  VecBlock watch = hn::Zero(d);
  y += begin * s.out_w * kChannels;
  for (int64_t oh = begin; oh < end; ++oh) {
    const int64_t top = oh * s.stride_h - s.pad_top;
    const Taps rows = taps_inside(top, s.in_h, s.k_h, s.dilation_h);
    const float* from = x + (top + rows.begin * s.dilation_h) * s.in_w * kChannels;
    const auto with_care = [&](int64_t first, int64_t last_end) HWY_ATTR {
      for (int64_t ow = first; ow < last_end; ++ow) {
        const int64_t left = ow * s.stride_w - s.pad_left;
        const Taps columns = taps_inside(left, s.in_w, s.k_w, s.dilation_w);
        for (int part = 0; part < kChannels; part += kPartLanes) {
          VecBlock best = hn::Set(d, kLowest);
          for (int64_t kh = 0; kh < rows.end - rows.begin; ++kh) {
            const float* taps = from + kh * step_h + left * kChannels + part;
            for (int64_t kw = columns.begin; kw < columns.end; ++kw)
              best = max_or_nan(best, hn::LoadU(d, taps + kw * step_w));
          }
          hn::StoreU(best, d, y + ow * kChannels + part);
        }
      }
    };
    if (rows.end - rows.begin != K) {
      with_care(0, s.out_w);
    } else {
      with_care(0, inside);
      for (int64_t ow = inside; ow < outside; ++ow) {
        const float* taps = from + (ow * s.stride_w - s.pad_left) * kChannels;
        MEZZO_UNROLL
        for (int part = 0; part < kChannels; part += kPartLanes) {
          VecBlock best = hn::LoadU(d, taps + part), sum = best;
          MEZZO_UNROLL
          for (int t = 1; t < K * K; ++t) {
            const VecBlock v = hn::LoadU(d, taps + t / K * step_h + t % K * step_w + part);
            best = hn::Max(best, v);
            sum = hn::Add(sum, v);
          }
          // NaN if one of them is, and from then on; perhaps where they are infinite, too.
          watch = hn::MulAdd(sum, hn::Zero(d), watch);
          hn::StoreU(best, d, y + ow * kChannels + part);
        }
      }
      with_care(outside, s.out_w);
    }
    y += s.out_w * kChannels;
  }
  return hn::AllFalse(d, hn::IsNaN(watch));
}

// body(plane of x, begin, end, plane of y) for rows [begin, end) of each plane; an output costs
// about `taps`. As in the convolution ahead, each thread takes some rows of all channels of an
// image: it finds in its own caches what it wrote there.
template <class Body>
void for_bands(int64_t batch, const PoolShape& s, int64_t taps, const float* x, float* y,
               ThreadPool& pool, const Body& body) {
  const int64_t out = s.out_h * s.out_w * kBlockChannels;
  const int64_t bands = std::min<int64_t>(pool.available(), s.out_h), planes = s.planes / batch;
  const auto run = [&](int64_t task) {
    const int64_t band = task / planes % bands, n = task / planes / bands;
    const int64_t plane = n * planes + task % planes;
    body(x + plane * s.x_plane() * kBlockChannels, s.out_h * band / bands,
         s.out_h * (band + 1) / bands, y + plane * s.y_plane() * kBlockChannels);
  };
  pool.parallel_for(batch * bands * planes, std::max<int64_t>(1, (1 << 17) * bands / (out * taps)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t task = begin; task < end; ++task) run(task);
                    });
}

}  // namespace

void run_to_blocked(int64_t planes, int64_t pixels, const float* x, float* y, ThreadPool& pool) {
  const int64_t floats = pixels * kBlockChannels;
  const int64_t grain = std::max<int64_t>(1, kCopyGrain / floats);
  pool.parallel_for(planes, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to_block(x + i * floats, pixels, y + i * floats);
  });
}

void run_from_blocked(const BlockedPlanes& s, const float* x, float* y, bool streamed,
                      ThreadPool& pool) {
  const int64_t x_floats = s.x_plane * kBlockChannels, y_floats = s.y_plane * kBlockChannels;
  const int64_t grain = std::max<int64_t>(1, kCopyGrain / (s.pixels * kBlockChannels));
  pool.parallel_for(s.planes, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    if (streamed) return stream_blocks(s, x + begin * x_floats, y + begin * y_floats, end - begin);
    // No zeros behind rows that another thread may go on with.
    const int64_t whole = s.pixels / kPartLanes * kPartLanes;
    for (int64_t i = begin; i < end; ++i) {
      const float* from = x + i * x_floats;
      float* to = y + i * y_floats;
      to_rows(whole, to, s.y_plane, [&](int64_t pixel, int part) HWY_ATTR {
        return hn::LoadU(BlockF32(), from + pixel * kBlockChannels + part);
      });
      for (int64_t p = whole; p < s.pixels; ++p) {
        for (int64_t c = 0; c < kBlockChannels; ++c)
          to[c * s.y_plane + p] = from[p * kBlockChannels + c];
      }
    }
  });
}

// Between [batch, pixels, channels] and [batch, channels / 8, pixels, 8], some pixels at a time, of
// which all channels stay in the first-level cache.
void run_reorder_last(bool to_blocks, int64_t batch, int64_t channels, int64_t pixels,
                      const float* x, float* y, ThreadPool& pool) {
  const BlockF32 d;
  const int64_t together = std::clamp<int64_t>(kCopyGrain / 2 / channels, 1, pixels);
  const int64_t parts = ceil_div(pixels, together);
  const int64_t grain = std::max<int64_t>(1, kCopyGrain / (together * channels));
  const auto copy = [&](int64_t in_blocks, int64_t last) HWY_ATTR {
    const float* from = x + (to_blocks ? last : in_blocks);
    float* to = y + (to_blocks ? in_blocks : last);
    MEZZO_UNROLL
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes)
      hn::StoreU(hn::LoadU(d, from + part), d, to + part);
  };
  pool.parallel_for(batch * parts, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / parts * pixels * channels, first = i % parts * together;
      const int64_t past = std::min(first + together, pixels);
      if (to_blocks) {
        for (int64_t c = 0; c < channels; c += kBlockChannels) {
          for (int64_t p = first; p < past; ++p)
            copy(image + c * pixels + p * kBlockChannels, image + p * channels + c);
        }
      } else {
        for (int64_t p = first; p < past; ++p) {
          for (int64_t c = 0; c < channels; c += kBlockChannels)
            copy(image + c * pixels + p * kBlockChannels, image + p * channels + c);
        }
      }
    }
  });
}

void run_blocked_max_pool(int64_t batch, const PoolShape& s, const float* x, float* y,
                          ThreadPool& pool) {
  const auto fast = s.k_h != s.k_w ? nullptr
                    : s.k_h == 3   ? max_of_windows<3>
                    : s.k_h == 2   ? max_of_windows<2>
                                   : nullptr;
  const int64_t taps = fast != nullptr ? s.k_h * s.k_w : s.k_h + s.k_w;
  for_bands(batch, s, taps, x, y, pool,
            [&](const float* from, int64_t begin, int64_t end, float* to) {
              if (fast == nullptr || !fast(s, from, begin, end, to))
                max_of_rows(s, from, begin, end, to);
            });
}

void run_blocked_average_pool(int64_t batch, const PoolShape& s, const float* row_shares,
                              const float* col_shares, const float* x, float* y, ThreadPool& pool) {
  const auto finish = [&](VecBlock sum, int64_t row, int64_t column) HWY_ATTR {
    return hn::Mul(sum, hn::Set(BlockF32(), row_shares[row] * col_shares[column]));
  };
  for_bands(batch, s, s.k_h + s.k_w, x, y, pool,
            [&](const float* from, int64_t begin, int64_t end, float* to) HWY_ATTR {
              pool_rows(
                  s, from, begin, end, to, 0.0F,
                  [](auto a, auto b) HWY_ATTR { return hn::Add(a, b); }, finish);
            });
}

void run_blocked_mean(int64_t planes, int64_t pixels, const float* x, float* y, ThreadPool& pool) {
  const BlockF32 d;
  const int64_t floats = pixels * kBlockChannels;
  pool.parallel_for(
      planes, std::max<int64_t>(1, (1 << 15) / floats), [&](int64_t begin, int64_t end) HWY_ATTR {
        constexpr int kSums = 4;
        const VecBlock scale = hn::Set(d, 1.0f / static_cast<float>(pixels));
        for (int64_t plane = begin; plane < end; ++plane) {
          for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
            const float* from = x + plane * floats + part;
            VecBlock sums[kSums] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
            int64_t p = 0;
            for (; p + kSums <= pixels; p += kSums) {
              MEZZO_UNROLL
              for (int i = 0; i < kSums; ++i)
                sums[i] = hn::Add(sums[i], hn::LoadU(d, from + (p + i) * kBlockChannels));
            }
            for (; p < pixels; ++p)
              sums[0] = hn::Add(sums[0], hn::LoadU(d, from + p * kBlockChannels));
            const VecBlock sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
            hn::StoreU(hn::Mul(sum, scale), d, y + plane * kBlockChannels + part);
          }
        }
      });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_to_blocked);
HWY_EXPORT(run_from_blocked);
HWY_EXPORT(run_reorder_last);
HWY_EXPORT(run_blocked_max_pool);
HWY_EXPORT(run_blocked_average_pool);
HWY_EXPORT(run_blocked_mean);
}  // namespace

void to_blocked(std::int64_t batch, std::int64_t channels, std::int64_t pixels, const float* x,
                float* y, ThreadPool& pool) {
  MEZZO_DISPATCH(run_to_blocked)(batch * channels / kBlockChannels, pixels, x, y, pool);
}

void from_blocked(const BlockedPlanes& planes, const float* x, float* y, bool streamed,
                  ThreadPool& pool) {
  MEZZO_DISPATCH(run_from_blocked)(planes, x, y, streamed, pool);
}

void to_blocked_from_last(std::int64_t batch, std::int64_t channels, std::int64_t pixels,
                          const float* x, float* y, ThreadPool& pool) {
  MEZZO_DISPATCH(run_reorder_last)(true, batch, channels, pixels, x, y, pool);
}

void from_blocked_to_last(std::int64_t batch, std::int64_t channels, std::int64_t pixels,
                          const float* x, float* y, ThreadPool& pool) {
  MEZZO_DISPATCH(run_reorder_last)(false, batch, channels, pixels, x, y, pool);
}

void blocked_max_pool(std::int64_t batch, const PoolShape& shape, const float* x, float* y,
                      ThreadPool& pool) {
  MEZZO_DISPATCH(run_blocked_max_pool)(batch, shape, x, y, pool);
}

void blocked_average_pool(std::int64_t batch, const PoolShape& shape, const float* row_shares,
                          const float* col_shares, const float* x, float* y, ThreadPool& pool) {
  MEZZO_DISPATCH(run_blocked_average_pool)(batch, shape, row_shares, col_shares, x, y, pool);
}

void blocked_mean(std::int64_t planes, std::int64_t pixels, const float* x, float* y,
                  ThreadPool& pool) {
  MEZZO_DISPATCH(run_blocked_mean)(planes, pixels, x, y, pool);
}
}  // namespace mezzo::kernels
#endif
