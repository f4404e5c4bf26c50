#include "kernels/blocked_few_f32.h"

#include <algorithm>
#include <vector>

#include "base/shape.h"
#include "kernels/blocked_f32.h"
#include "kernels/conv_taps.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blocked_few_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_pack_inl.h"

// Vectors are the channels of a pixel's block, and a sum of products for each pixel and output
// channel becomes a number at the end. Output channels are taken by threes at most, as many as
// there are registers for with four pixels.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// Where windows lie in memory: floats from a plane of blocks, a tap's row and a tap to the next.
struct FewSteps {
  int64_t planes, plane, row, tap, pixel;
  int64_t k_h, k_w;
};

// Four vectors' sums, as a vector.
template <class D>
HWY_INLINE hn::Vec<hn::CappedTag<float, 4>> sums_of(D d, hn::Vec<D> v0, hn::Vec<D> v1,
                                                    hn::Vec<D> v2, hn::Vec<D> v3) {
  transpose_blocks(d, v0, v1, v2, v3);
  const auto sum = hn::Add(hn::Add(v0, v1), hn::Add(v2, v3));
  if constexpr (hn::MaxLanes(D()) == 4) {
    return sum;
  } else {
    const hn::Half<D> half;
    return hn::Add(hn::LowerHalf(half, sum), hn::UpperHalf(half, sum));
  }
}

// sums [Out][Pixels, or 4]: those of so many pixels, of which the taps `rows` and `columns` of the
// window at x lie inside the image.
template <int Pixels, int Out>
HWY_NOINLINE void few_tile(const FewSteps& s, const float* x, const Taps& rows, const Taps& columns,
                           const float* weights, float* sums) {
  const BlockF32 d;
  VecBlock acc[Pixels][Out];
  MEZZO_UNROLL
  for (int p = 0; p < Pixels; ++p) {
    MEZZO_UNROLL
    for (int o = 0; o < Out; ++o) acc[p][o] = hn::Zero(d);
  }
  for (int64_t plane = 0; plane < s.planes; ++plane, x += s.plane) {
    for (int64_t kh = rows.begin; kh < rows.end; ++kh) {
      const float* at = x + kh * s.row + columns.begin * s.tap;
      const float* w =
          weights + ((plane * s.k_h + kh) * s.k_w + columns.begin) * Out * kBlockChannels;
      for (int64_t kw = columns.begin; kw < columns.end; ++kw, at += s.tap) {
        MEZZO_UNROLL
        for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
          VecBlock factors[Out];
          MEZZO_UNROLL
          for (int o = 0; o < Out; ++o)
            factors[o] = hn::LoadU(d, w + o * int{kBlockChannels} + part);
          MEZZO_UNROLL
          for (int p = 0; p < Pixels; ++p) {
            const VecBlock pixel = hn::LoadU(d, at + p * s.pixel + part);
            MEZZO_UNROLL
            for (int o = 0; o < Out; ++o) acc[p][o] = hn::MulAdd(pixel, factors[o], acc[p][o]);
          }
        }
        w += Out * kBlockChannels;
      }
    }
  }
  MEZZO_UNROLL
  for (int o = 0; o < Out; ++o) {
    MEZZO_UNROLL
    for (int p = 0; p < Pixels; p += 4, sums += 4) {
      const auto at = [&](int i) HWY_ATTR { return i < Pixels ? acc[i][o] : hn::Zero(d); };
      hn::StoreU(sums_of(d, at(p), at(p + 1), at(p + 2), at(p + 3)), hn::CappedTag<float, 4>(),
                 sums);
    }
  }
}

// A row of y, of Out channels from `first` on.
template <int Out>
void few_row(const ConvShape& s, const ConvArgs& args, const FewSteps& steps,
             const std::vector<TapPart>& columns, int64_t n, int64_t row, int64_t first) {
  // One channel alone has too few sums: they would wait for each other.
  constexpr int kPixels = Out == 1 ? 8 : 4;
  const int64_t top = row * s.stride_h - s.pad_top, plane = n * s.out_c + first;
  const Taps rows = taps_inside(top, s.in_h, s.k_h, s.dilation_h);
  const float* x = args.x + n * s.in_c * s.x_plane() + top * s.in_w * kBlockChannels;
  const float* weights = args.packed_weights + first * s.in_c * s.k_h * s.k_w;
  HWY_ALIGN float sums[Out * kPixels];
  const auto finish = [&](int64_t begin, int64_t count, int64_t stride) {
    for (int o = 0; o < Out; ++o) {
      const float bias = args.bias == nullptr ? 0 : args.bias[first + o];
      const int64_t pixel = row * s.out_w + begin;
      float* y = args.y + (plane + o) * s.y_plane() + pixel;
      const float* add =
          args.add == nullptr ? nullptr : args.add + (plane + o) * s.add_plane() + pixel;
      for (int64_t p = 0; p < count; ++p) {
        float value = sums[o * stride + p] + bias;
        if (add != nullptr) value += add[p];
        y[p] = std::min(std::max(value, args.min), args.max);
      }
    }
  };
  for (const TapPart& part : columns) {
    int64_t p = part.begin;
    const auto x_at = [&](int64_t pixel) {
      return x + (pixel * s.stride_w - s.pad_left) * kBlockChannels;
    };
    for (; p + kPixels <= part.end; p += kPixels) {
      few_tile<kPixels, Out>(steps, x_at(p), rows, part.taps, weights, sums);
      finish(p, kPixels, kPixels);
    }
    for (; p < part.end; ++p) {
      few_tile<1, Out>(steps, x_at(p), rows, part.taps, weights, sums);
      finish(p, 1, 4);
    }
  }
}

}  // namespace

void run_blocked_few(const ConvShape& s, const ConvArgs& args, ThreadPool& pool) {
  const FewSteps steps{s.in_c / kBlockChannels,
                       s.x_plane() * kBlockChannels,
                       s.dilation_h * s.in_w * kBlockChannels,
                       s.dilation_w * kBlockChannels,
                       s.stride_w * kBlockChannels,
                       s.k_h,
                       s.k_w};
  const std::vector<TapPart> columns =
      tap_parts(s.out_w, s.stride_w, s.pad_left, s.in_w, s.k_w, s.dilation_w);
  const int64_t work = s.out_c * s.in_c * s.k_h * s.k_w * s.out_w;
  pool.parallel_for(s.batch * s.out_h, 1 + (1 << 18) / (work + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t first = 0, together; first < s.out_c; first += together) {
        together = few_together(s.out_c, first);
        const auto row = together == 1 ? few_row<1> : together == 2 ? few_row<2> : few_row<3>;
        row(s, args, steps, columns, i / s.out_h, i % s.out_h, first);
      }
    }
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_blocked_few);
}  // namespace

bool blocked_few_applies(const ConvShape& s) {
  constexpr std::int64_t kMostFew = 12;
  return s.groups == 1 && s.in_c % kBlockChannels == 0 && s.out_c % kBlockChannels != 0 &&
         s.out_c <= kMostFew;
}

std::size_t blocked_few_weights_bytes(const ConvShape& s) {
  return static_cast<std::size_t>(
      checked_mul(checked_mul(s.out_c, s.in_c), checked_mul(checked_mul(s.k_h, s.k_w), 4)));
}

void pack_blocked_few_weights(const ConvShape& s, const float* weights, float* packed,
                              ThreadPool&) {
  const std::int64_t taps = s.k_h * s.k_w;
  for (std::int64_t first = 0, together; first < s.out_c; first += together) {
    together = few_together(s.out_c, first);
    for (std::int64_t block = 0; block < s.in_c; block += kBlockChannels) {
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        for (std::int64_t o = first; o < first + together; ++o) {
          for (std::int64_t c = block; c < block + kBlockChannels; ++c)
            *packed++ = weights[(o * s.in_c + c) * taps + tap];
        }
      }
    }
  }
}

void blocked_few_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool) {
  MEZZO_DISPATCH(run_blocked_few)(shape, args, pool);
}

}  // namespace mezzo::kernels
#endif
