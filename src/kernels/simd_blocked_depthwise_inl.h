// Depthwise convolutions in the blocked layout. Included per target, like simd.h.
//
// Every output vector is a sum of input vectors of the same channels, each times its tap's weights.
// Outputs whose windows lie inside the rows come several at a time; the few at the ends of a row
// by themselves.

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_INL
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/simd_blocked_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// What the outputs of one row of one block of channels have in common.
struct DepthwiseRow {
  std::int64_t k_h, k_w;      // taps inside the image; along the row all
  std::int64_t tap_h, tap_w;  // floats of x from one tap to the next
  std::int64_t step;          // floats of x from one output to the next
  std::int64_t weights_h;     // floats of the weights from one row of taps to the next
  const float* weights;       // of the first tap inside
  const float* bias;          // may be null
  float min, max;
};

template <int N>
HWY_INLINE void finish_depthwise(const DepthwiseRow& r, VecBlock* sums, std::int64_t part,
                                 const float* add, float* y) {
  const BlockF32 d;
  const VecBlock lo = hn::Set(d, r.min), hi = hn::Set(d, r.max);
  const VecBlock bias = r.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, r.bias + part);
  MEZZO_UNROLL
  for (int n = 0; n < N; ++n) {
    VecBlock sum = hn::Add(sums[n], bias);
    if (add != nullptr) sum = hn::Add(sum, hn::LoadU(d, add + n * kBlockChannels + part));
    hn::StoreU(clamp(sum, lo, hi), d, y + n * kBlockChannels + part);
  }
}

// N outputs, with all taps along the row. K of them, side by side, and outputs `Step` floats apart;
// or any, where K is 0.
template <int K, int Step, int N>
HWY_NOINLINE void depthwise_outputs(const DepthwiseRow& r, const float* x, const float* add,
                                    float* y) {
  const BlockF32 d;
  MEZZO_UNROLL
  for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
    VecBlock acc[N];
    MEZZO_UNROLL
    for (int n = 0; n < N; ++n) acc[n] = hn::Zero(d);
    const float *rows = x + part, *weights = r.weights + part;
    const std::int64_t step = K > 0 ? Step : r.step, tap_w = K > 0 ? kBlockChannels : r.tap_w;
    for (std::int64_t kh = 0; kh < r.k_h; ++kh, rows += r.tap_h, weights += r.weights_h) {
      const auto tap = [&](std::int64_t kw) HWY_ATTR {
        const VecBlock w = hn::LoadU(d, weights + kw * kBlockChannels);
        const float* xs = rows + kw * tap_w;
        MEZZO_UNROLL
        for (int n = 0; n < N; ++n) acc[n] = hn::MulAdd(hn::LoadU(d, xs + n * step), w, acc[n]);
      };
      if constexpr (K > 0) {
        MEZZO_UNROLL
        for (int kw = 0; kw < K; ++kw) tap(kw);
      } else {
        for (std::int64_t kw = 0; kw < r.k_w; ++kw) tap(kw);
      }
    }
    finish_depthwise<N>(r, acc, part, add, y);
  }
}

// One output, with taps [begin, end) along the row.
inline void depthwise_output(const DepthwiseRow& r, std::int64_t begin, std::int64_t end,
                             const float* x, const float* add, float* y) {
  const BlockF32 d;
  for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
    VecBlock sum = hn::Zero(d);
    const float *rows = x + part, *weights = r.weights + part;
    for (std::int64_t kh = 0; kh < r.k_h; ++kh, rows += r.tap_h, weights += r.weights_h) {
      for (std::int64_t kw = begin; kw < end; ++kw) {
        sum = hn::MulAdd(hn::LoadU(d, rows + kw * r.tap_w),
                         hn::LoadU(d, weights + kw * kBlockChannels), sum);
      }
    }
    finish_depthwise<1>(r, &sum, part, add, y);
  }
}

inline constexpr std::int64_t kDepthwiseOutputs = HWY_ARCH_X86 && HWY_TARGET > HWY_AVX3 ? 8 : 12;
using DepthwiseKernel = void (*)(const DepthwiseRow&, const float*, const float*, float*);
using DepthwiseKernels = std::array<DepthwiseKernel, kDepthwiseOutputs>;

template <int K, int Step, int... N>
constexpr DepthwiseKernels depthwise_kernels(std::integer_sequence<int, N...>) {
  return {depthwise_outputs<K, Step, N + 1>...};
}

// The kernels for 1, 2, ... outputs.
inline const DepthwiseKernels& depthwise_kernels(const ConvShape& s) {
  using Outputs = std::make_integer_sequence<int, kDepthwiseOutputs>;
  constexpr int kOne = kBlockChannels, kTwo = 2 * kBlockChannels;
  static constexpr DepthwiseKernels kAny = depthwise_kernels<0, 0>(Outputs{}),
                                    kOf3[] = {depthwise_kernels<3, kOne>(Outputs{}),
                                              depthwise_kernels<3, kTwo>(Outputs{})},
                                    kOf5[] = {depthwise_kernels<5, kOne>(Outputs{}),
                                              depthwise_kernels<5, kTwo>(Outputs{})};
  if (s.dilation_w != 1 || s.stride_w > 2) return kAny;
  return s.k_w == 3 ? kOf3[s.stride_w - 1] : s.k_w == 5 ? kOf5[s.stride_w - 1] : kAny;
}

// Rows [begin, end) of one block of channels of one image.
inline void blocked_depthwise(const ConvShape& s, const float* x, const float* weights,
                              const float* bias, const float* add, float* y, float min, float max,
                              std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kChannels = kBlockChannels;
  DepthwiseRow r;
  r.k_w = s.k_w;
  r.tap_h = s.dilation_h * s.in_w * kChannels;
  r.tap_w = s.dilation_w * kChannels;
  r.step = s.stride_w * kChannels;
  r.weights_h = s.k_w * kChannels;
  r.bias = bias;
  r.min = min;
  r.max = max;
  // The windows' first columns run from -pad on; those of outputs [inside, outside) lie, with all
  // of their taps, in the row.
  const std::int64_t reach = (s.k_w - 1) * s.dilation_w;
  const std::int64_t inside = std::clamp<std::int64_t>(
      ceil_div(std::max<std::int64_t>(s.pad_left, 0), s.stride_w), 0, s.out_w);
  const std::int64_t last = s.in_w - 1 - reach + s.pad_left;  // the last first column, plus pad
  const std::int64_t outside =
      last < 0 ? inside : std::clamp(last / s.stride_w + 1, inside, s.out_w);
  const DepthwiseKernels& kernels = depthwise_kernels(s);
  const std::int64_t count = outside - inside, tiles = ceil_div(count, kDepthwiseOutputs);
  const auto taps_inside = [](std::int64_t first, std::int64_t in, std::int64_t k,
                              std::int64_t dilation) {
    const std::int64_t from = first >= 0 ? 0 : std::min(k, ceil_div(-first, dilation));
    const std::int64_t to =
        first >= in ? from : std::clamp<std::int64_t>(ceil_div(in - first, dilation), from, k);
    return std::pair(from, to);
  };
  for (std::int64_t oh = begin; oh < end; ++oh) {
    const std::int64_t first = oh * s.stride_h - s.pad_top;
    const auto [from_h, to_h] = taps_inside(first, s.in_h, s.k_h, s.dilation_h);
    r.k_h = to_h - from_h;
    r.weights = weights + from_h * r.weights_h;
    const float* row = x + (first + from_h * s.dilation_h) * s.in_w * kChannels;
    const std::int64_t at = oh * s.out_w;
    const auto outputs = [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t ow = from; ow < to; ++ow) {
        const std::int64_t column = ow * s.stride_w - s.pad_left;
        const auto [from_w, to_w] = taps_inside(column, s.in_w, s.k_w, s.dilation_w);
        depthwise_output(r, from_w, to_w, row + column * kChannels,
                         add == nullptr ? nullptr : add + (at + ow) * kChannels,
                         y + (at + ow) * kChannels);
      }
    };
    outputs(0, inside);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t ow = inside + count * t / tiles, n = inside + count * (t + 1) / tiles - ow;
      kernels[static_cast<std::size_t>(n - 1)](
          r, row + (ow * s.stride_w - s.pad_left) * kChannels,
          add == nullptr ? nullptr : add + (at + ow) * kChannels, y + (at + ow) * kChannels);
    }
    outputs(outside, s.out_w);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
