// Depthwise convolutions in the blocked layout. Included per target, like simd.h.
//
// Every output vector is a sum of input vectors of the same channels, each times its tap's weights.
// Outputs come several at a time, those at the ends of a row with zeros for what is missing; where
// a window reaches far beyond its row, they come by themselves.

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
#include "kernels/simd_blocked_stages_inl.h"
#include "kernels/task_grid.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// What the outputs of one row of one block of channels have in common.
struct DepthwiseRow {
  std::int64_t k_h, k_w;      // taps inside the image; along the row all
  std::int64_t tap_h, tap_w;  // floats of x from one tap to the next
  std::int64_t step;          // floats of x from one output to the next
  std::int64_t weights_h;     // floats of the weights from one row of taps to the next
  const float* weights;       // of the first tap inside
  const float* bias;          // of the block; may be null
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

// Pixels that may be missing at either end of what N outputs read.
inline constexpr int kMostMissing = 2;

// N outputs. K taps along the row, side by side, and outputs `Step` floats apart, of whose pixels
// the first `left` and the last `right` are zero where Ends; or, where K is 0, any number of taps.
template <int K, int Step, bool Ends, int N>
HWY_NOINLINE void depthwise_outputs(const DepthwiseRow& r, [[maybe_unused]] int left,
                                    [[maybe_unused]] int right, const float* x, const float* add,
                                    float* y) {
  const BlockF32 d;
  constexpr int kChannels = kBlockChannels;
  MEZZO_UNROLL
  for (int part = 0; part < kChannels; part += kPartLanes) {
    VecBlock acc[N];
    MEZZO_UNROLL
    for (int n = 0; n < N; ++n) acc[n] = hn::Zero(d);
    const float *rows = x + part, *weights = r.weights + part;
    for (std::int64_t kh = 0; kh < r.k_h; ++kh, rows += r.tap_h, weights += r.weights_h) {
      if constexpr (K > 0) {
        constexpr int kPixels = (N - 1) * Step / kChannels + K;
        const auto pixel = [&](int p) HWY_ATTR {
          const float* from = rows + p * kChannels;
          if (Ends && p < kMostMissing && p < left) from = kZeros;
          if (Ends && p >= kPixels - kMostMissing && p >= kPixels - right) from = kZeros;
          return hn::LoadU(d, from);
        };
        MEZZO_UNROLL
        for (int kw = 0; kw < K; ++kw) {
          const VecBlock w = hn::LoadU(d, weights + kw * kChannels);
          MEZZO_UNROLL
          for (int n = 0; n < N; ++n)
            acc[n] = hn::MulAdd(pixel(n * Step / kChannels + kw), w, acc[n]);
        }
      } else {
        for (std::int64_t kw = 0; kw < r.k_w; ++kw) {
          const VecBlock w = hn::LoadU(d, weights + kw * kChannels);
          const float* from = rows + kw * r.tap_w;
          MEZZO_UNROLL
          for (int n = 0; n < N; ++n)
            acc[n] = hn::MulAdd(hn::LoadU(d, from + n * r.step), w, acc[n]);
        }
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
using DepthwiseKernel = void (*)(const DepthwiseRow&, int, int, const float*, const float*, float*);
using DepthwiseKernels = std::array<DepthwiseKernel, kDepthwiseOutputs>;

template <int K, int Step, bool Ends, int... N>
constexpr DepthwiseKernels depthwise_kernels(std::integer_sequence<int, N...>) {
  return {depthwise_outputs<K, Step, Ends, N + 1>...};
}

// The kernels for 1, 2, ... outputs.
struct DepthwiseChoice {
  const DepthwiseKernels* inner;  // that miss nothing
  const DepthwiseKernels* ends;   // null: these must not miss anything
};

template <int K, int Step>
DepthwiseChoice depthwise_choice() {
  using Outputs = std::make_integer_sequence<int, kDepthwiseOutputs>;
  static constexpr DepthwiseKernels kInner = depthwise_kernels<K, Step, false>(Outputs{});
  if constexpr (K == 0) return {&kInner, nullptr};
  static constexpr DepthwiseKernels kEnds = depthwise_kernels<K, Step, true>(Outputs{});
  return {&kInner, &kEnds};
}

inline DepthwiseChoice depthwise_choice(const ConvShape& s) {
  constexpr int kOne = kBlockChannels, kTwo = 2 * kBlockChannels;
  if (s.dilation_w == 1 && s.stride_w <= 2) {
    const bool one = s.stride_w == 1;
    if (s.k_w == 3) return one ? depthwise_choice<3, kOne>() : depthwise_choice<3, kTwo>();
    if (s.k_w == 5) return one ? depthwise_choice<5, kOne>() : depthwise_choice<5, kTwo>();
  }
  return depthwise_choice<0, 0>();
}

// Rows [begin, end) of one block of channels of image n.
inline void blocked_depthwise(const ConvShape& s, const ConvArgs& args, std::int64_t y_stride,
                              std::int64_t n, std::int64_t block, std::int64_t begin,
                              std::int64_t end) {
  constexpr std::int64_t kChannels = kBlockChannels;
  const std::int64_t plane = n * s.out_c / kChannels + block,
                     out_floats = s.out_h * s.out_w * kChannels;
  const float* x = args.x + plane * s.in_h * s.in_w * kChannels;
  const float* weights = args.packed_weights + block * s.k_h * s.k_w * kChannels;
  const float* add = args.add == nullptr ? nullptr : args.add + plane * out_floats;
  float* y = args.y + n * y_stride + block * out_floats;
  DepthwiseRow r;
  r.k_w = s.k_w;
  r.tap_h = s.dilation_h * s.in_w * kChannels;
  r.tap_w = s.dilation_w * kChannels;
  r.step = s.stride_w * kChannels;
  r.weights_h = s.k_w * kChannels;
  r.bias = args.bias == nullptr ? nullptr : args.bias + block * kChannels;
  r.min = args.min;
  r.max = args.max;
  // The windows' first columns run from -pad on. Those of outputs [inside, outside) reach beyond
  // the row by no more than what their kernel takes.
  const DepthwiseChoice choice = depthwise_choice(s);
  const std::int64_t missing = choice.ends == nullptr ? 0 : kMostMissing;
  const std::int64_t reach = (s.k_w - 1) * s.dilation_w;
  const std::int64_t before = std::max<std::int64_t>(0, s.pad_left - missing);
  const std::int64_t inside = std::min(ceil_div(before, s.stride_w), s.out_w);
  const std::int64_t last = s.in_w - 1 + missing - reach + s.pad_left;  // first column, plus pad
  const std::int64_t outside =
      last < 0 ? inside : std::clamp(last / s.stride_w + 1, inside, s.out_w);
  const std::int64_t count = outside - inside, tiles = ceil_div(count, kDepthwiseOutputs);
  for (std::int64_t oh = begin; oh < end; ++oh) {
    const std::int64_t first = oh * s.stride_h - s.pad_top;
    const Taps rows = taps_inside(first, s.in_h, s.k_h, s.dilation_h);
    r.k_h = rows.end - rows.begin;
    r.weights = weights + rows.begin * r.weights_h;
    const float* row = x + (first + rows.begin * s.dilation_h) * s.in_w * kChannels;
    const std::int64_t at = oh * s.out_w;
    const auto by_themselves = [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t ow = from; ow < to; ++ow) {
        const std::int64_t column = ow * s.stride_w - s.pad_left;
        const Taps taps = taps_inside(column, s.in_w, s.k_w, s.dilation_w);
        depthwise_output(r, taps.begin, taps.end, row + column * kChannels,
                         add == nullptr ? nullptr : add + (at + ow) * kChannels,
                         y + (at + ow) * kChannels);
      }
    };
    by_themselves(0, inside);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t ow = inside + count * t / tiles,
                         outputs = inside + count * (t + 1) / tiles - ow;
      const std::int64_t column = ow * s.stride_w - s.pad_left;
      const std::int64_t beyond = column + (outputs - 1) * s.stride_w + reach + 1 - s.in_w;
      const DepthwiseKernels& kernels = column < 0 || beyond > 0 ? *choice.ends : *choice.inner;
      kernels[static_cast<std::size_t>(outputs - 1)](
          r, static_cast<int>(std::max<std::int64_t>(0, -column)),
          static_cast<int>(std::max<std::int64_t>(0, beyond)), row + column * kChannels,
          add == nullptr ? nullptr : add + (at + ow) * kChannels, y + (at + ow) * kChannels);
    }
    by_themselves(outside, s.out_w);
  }
}

// A depthwise convolution, with its stages; y_stride: floats from one image of y to the next.
inline void run_blocked_depthwise(const ConvShape& s, const ConvArgs& all, std::int64_t y_stride,
                                  ThreadPool& pool) {
  const ConvArgs args = ahead_of_stages(all);
  const std::int64_t blocks = s.out_c / kBlockChannels, taps = s.k_h * s.k_w;
  // Pixels of a block ahead of its stages.
  constexpr std::int64_t kStagePixels = 256;
  // Rows of large planes are tasks of their own.
  const std::int64_t row_work = s.out_w * taps * kBlockChannels;
  const std::int64_t parts = std::clamp<std::int64_t>(s.out_h * row_work / kTaskWork, 1, s.out_h);
  const std::int64_t tasks = s.batch * blocks * parts;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kTaskWork / 4 * parts / (s.out_h * row_work));
  pool.parallel_for(tasks, grain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    StagePlanes planes;
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t part = t % parts, block = t / parts % blocks, n = t / parts / blocks;
      const std::int64_t last = s.out_h * (part + 1) / parts;
      // Stages follow a few rows, of whole lines together, that are still in L1.
      const std::int64_t rows =
          !all.stages.wanted() ? s.out_h : round_up(ceil_div(kStagePixels, s.out_w), 4);
      for (std::int64_t row = s.out_h * part / parts; row < last; row += rows) {
        blocked_depthwise(s, args, y_stride, n, block, row, std::min(row + rows, last));
        if (all.stages.wanted()) {
          run_stages(s, all, y_stride, n, block, row * s.out_w,
                     std::min(rows, last - row) * s.out_w, planes);
        }
      }
    }
    if (all.stages.wanted()) planes.finish();
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
