// Depthwise convolution of planes where they lie, for targets whose masks cost nothing (AVX-512): a
// vector holds neighbouring outputs of a row; up to four rows are summed side by side, so that each
// vector of the image is loaded once for all outputs that meet it. Lanes outside the image are
// masked, rows outside it are rows of zeros; of a small plane a vector holds several rows. Included
// per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_DEPTHWISE_MASKED_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_DEPTHWISE_MASKED_INL
#undef MEZZO_KERNELS_SIMD_DEPTHWISE_MASKED_INL
#else
#define MEZZO_KERNELS_SIMD_DEPTHWISE_MASKED_INL
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/simd_depthwise_plane_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// How one vector of outputs reads the rows of x: for each tap the elements `Stride` apart. Where a
// part of them lies outside the row (`Edge`), that is masked; the masks serve all rows.
template <int K, int Stride, bool Edge>
class DepthwiseTaps {
 public:
  // `column`: that of tap 0 for the first output.
  HWY_INLINE DepthwiseTaps(std::int64_t column, std::int64_t width) : column_(column) {
    if constexpr (Edge) {
      for (int i = 0; i < kLoads; ++i) {
        const std::int64_t first = column + offset(i);
        inside_[i] = LaneRange(-first, width - first);
      }
    }
  }

  HWY_INLINE void load(const float* row, VecF32 (&x)[K]) const {
    const F32 d;
    const float* from = row + column_;
    if constexpr (Stride == 1) {
      MEZZO_UNROLL
      for (int kw = 0; kw < K; ++kw) x[kw] = load_one(from, kw);
    } else {
      MEZZO_UNROLL
      for (int kw = 0; kw < K; kw += 2) {
        const VecF32 low = load_one(from, kw), high = load_one(from, kw + 1);
        x[kw] = hn::ConcatEven(d, high, low);
        if (kw + 1 < K) x[kw + 1] = hn::ConcatOdd(d, high, low);
      }
    }
  }

 private:
  // One load a tap, or two for each pair of taps.
  static constexpr int kLoads = Stride == 1 ? K : (K + 1) / 2 * 2;

  static constexpr std::int64_t offset(int load) {
    return Stride == 1 ? load : load / 2 * 2 + load % 2 * static_cast<std::int64_t>(kLanes);
  }
  HWY_INLINE VecF32 load_one(const float* from, int i) const {
    if constexpr (Edge) return inside_[i].load(F32(), from + offset(i));
    return hn::LoadU(F32(), from + offset(i));
  }

  std::int64_t column_;
  LaneRange inside_[Edge ? kLoads : 1];
};

// R rows of outputs from `oh` on, for the vector of outputs at `ow`.
template <int K, int Stride, bool Edge, bool Ahead, int R>
HWY_INLINE void depthwise_rows(const DepthwisePlane& p, const VecF32 (&w)[K * K],
                               const DepthwiseTaps<K, Stride, Edge>& taps, std::int64_t oh,
                               std::int64_t ow) {
  const F32 d;
  const SlidingWindow& s = *p.window;
  VecF32 sums[R];
  MEZZO_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = hn::Set(d, p.bias);
  MEZZO_UNROLL
  for (int i = 0; i < Stride * (R - 1) + K; ++i) {
    const std::int64_t ih = oh * Stride - s.pad_top + i;
    const bool inside = ih >= 0 && ih < s.in_h;
    VecF32 x[K];
    taps.load(inside ? p.x + ih * s.in_w : p.zeros, x);
    add_row<K, Stride>(i, w, x, sums);
  }
  if constexpr (Ahead) {
    const std::int64_t ahead = oh + p.rows_ahead;
    MEZZO_UNROLL
    for (int i = 0; i < Stride * R; ++i) {
      const float* below = p.x + (ahead * Stride + i) * s.in_w + ow * Stride;
      MEZZO_UNROLL
      for (int j = 0; j < Stride; ++j) __builtin_prefetch(below + j * static_cast<int>(kLanes));
    }
    MEZZO_UNROLL
    for (int r = 0; r < R; ++r) __builtin_prefetch(p.y + (ahead + r) * s.out_w + ow, 1);
  }
  const VecF32 lo = hn::Set(d, p.min), hi = hn::Set(d, p.max);
  const std::int64_t rest = s.out_w - ow;
  MEZZO_UNROLL
  for (int r = 0; r < R; ++r) store_outputs(p, sums[r], (oh + r) * s.out_w + ow, rest, lo, hi);
}

template <int K, int Stride, bool Edge, bool Ahead>
HWY_INLINE void depthwise_strip(const DepthwisePlane& p, const VecF32 (&w)[K * K],
                                std::int64_t begin, std::int64_t end, std::int64_t ow) {
  const DepthwiseTaps<K, Stride, Edge> taps(ow * Stride - p.window->pad_left, p.window->in_w);
  std::int64_t oh = begin;
  for (; oh + 4 <= end; oh += 4) depthwise_rows<K, Stride, Edge, Ahead, 4>(p, w, taps, oh, ow);
  if (oh + 2 <= end) {
    depthwise_rows<K, Stride, Edge, Ahead, 2>(p, w, taps, oh, ow);
    oh += 2;
  }
  if (oh < end) depthwise_rows<K, Stride, Edge, Ahead, 1>(p, w, taps, oh, ow);
}

// `Ahead`: the plane is large. A strip reads a line or two of each row, which no prefetcher of the
// hardware follows, so the rows below are asked for; below the last row lies the next plane.
template <int K, int Stride, bool Ahead>
void depthwise_in_place(DepthwisePlane p) {
  constexpr auto kCount = static_cast<std::int64_t>(kLanes);
  // Strips one vector wide go down a band of rows that L1 holds.
  constexpr std::int64_t kBandFloats = 4096;
  const F32 d;
  const SlidingWindow& s = *p.window;
  VecF32 w[K * K];
  MEZZO_UNROLL
  for (int t = 0; t < K * K; ++t) w[t] = hn::Set(d, p.weights[t]);
  const std::int64_t band =
      std::max<std::int64_t>(1, kBandFloats / Stride / (4 * std::max(s.in_w, s.out_w))) * 4;
  p.rows_ahead = std::min(band, s.out_h);
  for (std::int64_t oh = 0; oh < s.out_h; oh += band) {
    const std::int64_t end = std::min(oh + band, s.out_h);
    for (std::int64_t ow = 0; ow < s.out_w; ow += kCount) {
      const std::int64_t column = ow * Stride - s.pad_left;
      const bool edge = column < 0 || column + Stride * kCount + K - 1 > s.in_w;
      if (edge) {
        depthwise_strip<K, Stride, true, Ahead>(p, w, oh, end, ow);
      } else {
        depthwise_strip<K, Stride, false, Ahead>(p, w, oh, end, ow);
      }
    }
  }
}

// Planes whose rows fill less than half of a vector (7 x 7), with as many columns as the outputs
// have: a vector holds outputs of several rows, which for each tap meet a stretch of x, but for the
// lanes whose element is outside the image. Those are the same in all planes.
class FlatMasks {
 public:
  static bool apply(const SlidingWindow& s) {
    return s.k_h == 3 && s.k_w == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
           s.dilation_w == 1 && s.out_w == s.in_w && 2 * s.out_w <= std::int64_t{kLanes};
  }

  explicit FlatMasks(const SlidingWindow& s) {
    const std::int64_t pixels = s.out_h * s.out_w;
    bits_.resize(static_cast<std::size_t>((pixels + kLanes - 1) / kLanes * kTaps));
    for (std::int64_t i = 0; i < pixels; ++i) {
      for (std::int64_t t = 0; t < kTaps; ++t) {
        const std::int64_t ih = i / s.out_w + t / 3 - s.pad_top,
                           iw = i % s.out_w + t % 3 - s.pad_left;
        if (ih < 0 || ih >= s.in_h || iw < 0 || iw >= s.in_w) continue;
        const std::int64_t vector = i / std::int64_t{kLanes}, lane = i % std::int64_t{kLanes};
        bits_[static_cast<std::size_t>(vector * kTaps + t)] |=
            static_cast<std::uint16_t>(1u << lane);
      }
    }
  }

  void run(const DepthwisePlane& p) const {
    const F32 d;
    const SlidingWindow& s = *p.window;
    VecF32 w[kTaps];
    MEZZO_UNROLL
    for (int t = 0; t < kTaps; ++t) w[t] = hn::Set(d, p.weights[t]);
    const VecF32 bias = hn::Set(d, p.bias), lo = hn::Set(d, p.min), hi = hn::Set(d, p.max);
    const std::int64_t pixels = s.out_h * s.out_w;
    const float* x = p.x - s.pad_top * s.in_w - s.pad_left;
    const std::uint16_t* bits = bits_.data();
    for (std::int64_t i = 0; i < pixels; i += kLanes, bits += kTaps) {
      VecF32 sum = bias;
      MEZZO_UNROLL
      for (int t = 0; t < kTaps; ++t) {
        const auto inside = hn::LoadMaskBits(d, reinterpret_cast<const std::uint8_t*>(bits + t));
        const float* from = x + i + t / 3 * s.in_w + t % 3;
        sum = hn::MulAdd(w[t], hn::MaskedLoad(inside, d, from), sum);
      }
      store_outputs(p, sum, i, pixels - i, lo, hi);
    }
  }

 private:
  static constexpr int kTaps = 9;
  std::vector<std::uint16_t> bits_;  // [vector of outputs][tap]
};

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
