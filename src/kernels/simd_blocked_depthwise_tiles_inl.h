// Depthwise convolutions in the blocked layout: the kernels. Included per target, like simd.h.
//
// Every output vector is a sum of input vectors of the same channels, each times its tap's weights.
// Outputs come several at a time, those at the ends of a row with zeros for what is missing, row
// after row. A wide vector holds two pixels: x is read in pairs that begin at lines of the cache,
// of which shuffles make the pairs in between.

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_TILES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_TILES_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_TILES_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_DEPTHWISE_TILES_INL
#endif

#include <cstdint>

#include "kernels/simd_blocked_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Rows of outputs of one block of channels.
struct DepthwiseRows {
  const ConvShape& shape;
  std::int64_t x_row, y_row;    // floats of x and of outputs from one row to the next
  std::int64_t tap_h, tap_w;    // floats of x from one tap to the next
  std::int64_t weights_h;       // floats of the weights from one row of taps to the next
  const float *weights, *bias;  // of the block; bias may be null
  float min, max;
  // Row of x that the first row's first tap is of; how many rows.
  std::int64_t first = 0, rows = 0;
  // Of the first row, taps that are of rows of x: how many, floats of x ahead of them, weights.
  std::int64_t k_h = 0, skipped = 0;
  const float* row_weights = nullptr;
};

// Outputs beside each other, and the kernel that gets those of all rows, of which `x` is where the
// first tap lies, inside or not. `add` may be null.
struct DepthwiseTile {
  void (*kernel)(const DepthwiseRows&, const DepthwiseTile&, const float* x, const float* add,
                 float* y);
  std::int64_t output;  // the first one's number in its row
  int outputs;          // how many
  int left, right;      // pixels, or taps of a single output, missing at the ends of x
};

// What becomes of a vector of sums.
template <class D>
struct DepthwiseEnd {
  DepthwiseEnd(D d, const DepthwiseRows& r, std::int64_t part)
      : lo(hn::Set(d, r.min)), hi(hn::Set(d, r.max)), bias(hn::Zero(d)) {
    if (r.bias != nullptr) bias = load_pair(d, r.bias + part, 0);
  }
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> sum, const float* add, std::int64_t at) const {
    sum = hn::Add(sum, bias);
    if (add != nullptr) sum = hn::Add(sum, hn::LoadU(D(), add + at));
    return clamp(sum, lo, hi);
  }
  hn::Vec<D> lo, hi, bias;
};

// Pixels that may be missing at either end of what several outputs read, with K taps along the row.
template <int K>
inline constexpr int kMostMissing = K > 5 ? 3 : 2;

// N outputs of one row. K taps along the row, side by side, and outputs `Step` floats apart, of
// whose pixels those that are missing are zero where Ends; or, where K is 0, any number of taps.
template <int K, int Step, bool Ends, int N>
HWY_NOINLINE void depthwise_outputs(const DepthwiseRows& r, [[maybe_unused]] const DepthwiseTile& t,
                                    const float* x, const float* add, float* y) {
  const BlockF32 d;
  constexpr int kChannels = kBlockChannels;
  [[maybe_unused]] const ConvShape& s = r.shape;
  MEZZO_UNROLL
  for (int part = 0; part < kChannels; part += kPartLanes) {
    VecBlock acc[N];
    MEZZO_UNROLL
    for (int n = 0; n < N; ++n) acc[n] = hn::Zero(d);
    const float *taps = x + r.skipped + part, *weights = r.row_weights + part;
    for (std::int64_t kh = 0; kh < r.k_h; ++kh, taps += r.tap_h, weights += r.weights_h) {
      if constexpr (K > 0) {
        constexpr int kPixels = (N - 1) * Step / kChannels + K;
        const auto pixel = [&](int p) HWY_ATTR {
          const float* from = taps + p * kChannels;
          if (Ends && p < kMostMissing<K> && p < t.left) from = kZeros;
          if (Ends && p >= kPixels - kMostMissing<K> && p >= kPixels - t.right) from = kZeros;
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
        for (std::int64_t kw = 0; kw < s.k_w; ++kw) {
          const VecBlock w = hn::LoadU(d, weights + kw * kChannels);
          const float* from = taps + kw * r.tap_w;
          MEZZO_UNROLL
          for (int n = 0; n < N; ++n) {
            const VecBlock pixel = hn::LoadU(d, from + n * s.stride_w * kChannels);
            acc[n] = hn::MulAdd(pixel, w, acc[n]);
          }
        }
      }
    }
    const DepthwiseEnd end(d, r, part);
    MEZZO_UNROLL
    for (int n = 0; n < N; ++n) {
      const std::int64_t at = n * kChannels + part;
      hn::StoreU(end(acc[n], add, at), d, y + at);
    }
  }
}

// One output of each row, whatever its window.
inline void depthwise_output(const DepthwiseRows& r, const DepthwiseTile& t, const float* x,
                             const float* add, float* y) {
  const BlockF32 d;
  const ConvShape& s = r.shape;
  for (std::int64_t row = 0; row < r.rows; ++row) {
    const Taps rows = taps_inside(r.first + row * s.stride_h, s.in_h, s.k_h, s.dilation_h);
    for (int part = 0; part < int{kBlockChannels}; part += kPartLanes) {
      VecBlock sum = hn::Zero(d);
      for (std::int64_t kh = rows.begin; kh < rows.end; ++kh) {
        for (std::int64_t kw = t.left; kw < s.k_w - t.right; ++kw) {
          const float* pixel = x + row * r.x_row + kh * r.tap_h + kw * r.tap_w + part;
          const float* weights = r.weights + (kh * s.k_w + kw) * kBlockChannels + part;
          sum = hn::MulAdd(hn::LoadU(d, pixel), hn::LoadU(d, weights), sum);
        }
      }
      const DepthwiseEnd end(d, r, part);
      const std::int64_t at = row * r.y_row + part;
      hn::StoreU(end(sum, add, at), d, y + at);
    }
  }
}

// What a row of x gives to so many pairs of outputs, K taps each and outputs `Step` pixels apart.
// The row begins at the second pixel of a pair where Odd; of the pixels the first `left` and the
// last `right` are zero where Ends.
template <class D, int K, int Step, bool Ends, bool Odd, int Pairs>
struct PairsOfRow {
  static constexpr int kPixels = (2 * Pairs - 1) * Step + K;
  static constexpr int kMayMissRight = kPixels - kMostMissing<K> - Step;
  // Vectors that the first pair of outputs reads; each of the others reads `Step` more.
  static constexpr int kFirst = (K - 1 + Step + Odd) / 2 + 1;

  HWY_INLINE hn::Vec<hn::Half<D>> pixel(int p) const {
    const hn::Half<D> half;
    if (p < 0 || p >= kPixels) return hn::Zero(half);  // beyond what is needed
    const float* from = row + p * kBlockChannels;
    if (Ends && p < kMostMissing<K> && p < left) from = kZeros;
    if (Ends && p >= kMayMissRight && p >= kPixels - right) from = kZeros;
    return hn::LoadU(half, from);
  }

  HWY_INLINE hn::Vec<D> vector(int i) const {
    const int p = 2 * i - Odd;
    const bool whole =
        p >= (Ends ? kMostMissing<K> : 0) && p + 1 < (Ends ? kMayMissRight : kPixels);
    return whole ? hn::LoadU(D(), row + p * kBlockChannels)
                 : hn::Combine(D(), pixel(p + 1), pixel(p));
  }

  // body(pair of outputs, tap along the row, pixels)
  template <class Body>
  HWY_INLINE void visit(const Body& body) const {
    const D d;
    hn::Vec<D> in[kFirst + (Pairs - 1) * Step];
    MEZZO_UNROLL
    for (int i = 0; i < kFirst; ++i) in[i] = vector(i);
    MEZZO_UNROLL
    for (int j = 0; j < Pairs; ++j) {
      MEZZO_UNROLL
      for (int kw = 0; kw < K; ++kw) {
        const int at = 2 * j * Step + kw + Odd, i = at / 2;
        // Pixels beside each other, or every other one.
        if (Step == 1) {
          body(j, kw, at % 2 == 0 ? in[i] : hn::ConcatLowerUpper(d, in[i + 1], in[i]));
        } else {
          body(j, kw,
               at % 2 == 0 ? hn::ConcatLowerLower(d, in[i + 1], in[i])
                           : hn::ConcatUpperUpper(d, in[i + 1], in[i]));
        }
      }
      if (j + 1 == Pairs) break;
      MEZZO_UNROLL
      for (int i = 0; i < Step; ++i) in[kFirst + j * Step + i] = vector(kFirst + j * Step + i);
    }
  }

  const float* row;
  int left, right;
};

// So many pairs of outputs of several rows, the last one of which may be missing where Ends;
// windows of K x K pixels beside each other, and outputs `Step` pixels apart. What two rows have in
// common is read once where there are registers for all weights.
template <class D, int K, int Step, bool Ends, bool Odd, int Pairs>
HWY_NOINLINE void depthwise_pairs(const DepthwiseRows& r, const DepthwiseTile& t, const float* x,
                                  const float* add, float* y) {
  const D d;
  const hn::Half<D> half;
  constexpr int kRows = K == 3 ? 2 : 1;
  const DepthwiseEnd end(d, r, 0);
  const DepthwiseEnd last_end(half, r, 0);
  hn::Vec<D> w[K * K];
  if constexpr (kRows > 1) {
    MEZZO_UNROLL
    for (int i = 0; i < K * K; ++i) w[i] = load_pair(d, r.weights + i * kBlockChannels, 0);
  }
  for (std::int64_t row = 0; row < r.rows; row += kRows) {
    hn::Vec<D> acc[kRows][Pairs];
    MEZZO_UNROLL
    for (int o = 0; o < kRows; ++o) {
      MEZZO_UNROLL
      for (int j = 0; j < Pairs; ++j) acc[o][j] = hn::Zero(d);
    }
    const std::int64_t first = r.first + row * Step;
    MEZZO_UNROLL
    for (int i = 0; i < (kRows - 1) * Step + K; ++i) {
      if (first + i < 0 || first + i >= r.shape.in_h) continue;
      if constexpr (kRows == 1) {
        MEZZO_UNROLL
        for (int kw = 0; kw < K; ++kw)
          w[i * K + kw] = load_pair(d, r.weights + (i * K + kw) * kBlockChannels, 0);
      }
      const PairsOfRow<D, K, Step, Ends, Odd, Pairs> in{x + row * r.x_row + i * r.tap_h, t.left,
                                                        t.right};
      in.visit([&](int j, int kw, hn::Vec<D> pixels) HWY_ATTR {
        MEZZO_UNROLL
        for (int o = 0; o < kRows; ++o) {
          const int kh = i - o * Step;
          if (kh >= 0 && kh < K) add_product(acc[o][j], pixels, w[kh * K + kw]);
        }
      });
    }
    MEZZO_UNROLL
    for (int o = 0; o < kRows; ++o) {
      if (row + o == r.rows) break;
      MEZZO_UNROLL
      for (int j = 0; j < Pairs; ++j) {
        const std::int64_t at = (row + o) * r.y_row + 2 * j * kBlockChannels;
        if (Ends && j == Pairs - 1 && t.outputs % 2 != 0) {
          hn::StoreU(last_end(hn::LowerHalf(half, acc[o][j]), add, at), half, y + at);
        } else {
          hn::StoreU(end(acc[o][j], add, at), d, y + at);
        }
      }
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
