// Depthwise convolution over padded copies: bands of rows of a plane are copied with their padding
// to memory that stays in L1, where nothing has to look at borders. The copy is cheap beside the
// nine or more multiply-adds for each element, and cheaper than masks where these take instructions
// of their own. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_DEPTHWISE_PADDED_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_DEPTHWISE_PADDED_INL
#undef MEZZO_KERNELS_SIMD_DEPTHWISE_PADDED_INL
#else
#define MEZZO_KERNELS_SIMD_DEPTHWISE_PADDED_INL
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/scratch.h"
#include "kernels/simd_depthwise_plane_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

struct ScratchBand {};

// A band of a padded plane, for square windows: [rows][Stride phases][pitch], phase being the
// column modulo the stride, so that neighbouring outputs take neighbouring elements.
template <int K, int Stride>
class PaddedBand {
 public:
  static constexpr auto kCount = static_cast<std::int64_t>(kLanes);

  explicit PaddedBand(const SlidingWindow& s)
      : window_(s),
        whole_(s.in_w / (Stride * kCount) * Stride * kCount),
        low_(0, s.in_w - whole_),
        high_(0, s.in_w - whole_ - kCount) {
    // Whole vectors of outputs are computed, and whole vectors of the row are copied.
    const auto vectors = [](std::int64_t n) { return (n + kCount - 1) / kCount * kCount; };
    pitch_ =
        std::max(vectors(s.out_w) + kCount, vectors((s.in_w + s.pad_left) / Stride + 1) + kCount);
    row_floats_ = Stride * pitch_;
    const std::int64_t rows = std::max<std::int64_t>(kBandFloats / row_floats_ - K, 0) / Stride + 1;
    outputs_ = std::min((rows + 3) / 4 * 4, s.out_h);
  }

  std::int64_t floats() const { return ((outputs_ - 1) * Stride + K) * row_floats_; }
  // Output rows of a band.
  std::int64_t outputs() const { return outputs_; }
  std::int64_t pitch() const { return pitch_; }

  // Copies what output rows [oh, oh + rows) meet to `band`, which must have begun as zeros: what is
  // not the image's stays so.
  void copy(const float* x, std::int64_t oh, std::int64_t rows, float* band) const {
    const std::int64_t in_h = window_.in_h, in_w = window_.in_w, row_floats = row_floats_;
    const std::int64_t pad = window_.pad_left, even = pad % Stride * pitch_ + pad / Stride,
                       odd = (pad + 1) % Stride * pitch_ + (pad + 1) / Stride;
    std::int64_t ih = oh * Stride - window_.pad_top;
    const float* from = x + ih * in_w;
    for (std::int64_t r = (rows - 1) * Stride + K; r > 0; --r, ++ih, from += in_w) {
      if (ih < 0 || ih >= in_h) {
        // In a band that holds the plane they always are the same rows.
        if (outputs_ < window_.out_h) std::fill(band, band + row_floats, 0.0f);
      } else if constexpr (Stride == 1) {
        copy_row(from, band + even);
      } else {
        split_row(from, band + even, band + odd);
      }
      band += row_floats;
    }
  }

 private:
  // Half of a usual L1, less what of the result is on its way.
  static constexpr std::int64_t kBandFloats = 3584;

  HWY_INLINE void copy_row(const float* from, float* to) const {
    const F32 d;
    std::int64_t j = 0;
    for (; j < whole_; j += kCount) hn::StoreU(hn::LoadU(d, from + j), d, to + j);
    if (j < window_.in_w) hn::StoreU(low_.load(d, from + j), d, to + j);
  }

  HWY_INLINE void split_row(const float* from, float* even, float* odd) const {
    const F32 d;
    std::int64_t j = 0;
    const auto split = [&](VecF32 low, VecF32 high) HWY_ATTR {
      hn::StoreU(hn::ConcatEven(d, high, low), d, even + j / 2);
      hn::StoreU(hn::ConcatOdd(d, high, low), d, odd + j / 2);
    };
    for (; j < whole_; j += 2 * kCount)
      split(hn::LoadU(d, from + j), hn::LoadU(d, from + j + kCount));
    if (j < window_.in_w) split(low_.load(d, from + j), high_.load(d, from + j + kCount));
  }

  const SlidingWindow& window_;
  std::int64_t whole_;    // elements of a row in whole vectors (pairs of vectors)
  LaneRange low_, high_;  // the rest
  std::int64_t pitch_, row_floats_, outputs_;
};

// Rows of outputs of a band: what does not change from one vector to the next.
template <int K, int Stride>
struct PaddedRows {
  const DepthwisePlane& p;
  std::int64_t pitch, out_w;
  float* end;  // of y
  VecF32 w[K * K];

  // R rows of outputs at y, for the vector whose first tap is at `from`; `rest` of their lanes are
  // outputs.
  template <int R>
  HWY_INLINE void run(const float* from, float* y, std::int64_t rest) const {
    const F32 d;
    VecF32 sums[R];
    MEZZO_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = hn::Set(d, p.bias);
    MEZZO_UNROLL
    for (int i = 0; i < Stride * (R - 1) + K; ++i, from += Stride * pitch) {
      // Or GCC keeps a pointer for each row, in memory.
      asm("" : "+r"(from));
      VecF32 x[K];
      MEZZO_UNROLL
      for (int kw = 0; kw < K; ++kw)
        x[kw] = hn::LoadU(d, from + (kw % Stride == 0 ? 0 : pitch) + kw / Stride);
      add_row<K, Stride>(i, w, x, sums);
    }
    const VecF32 lo = hn::Set(d, p.min), hi = hn::Set(d, p.max);
    // What a whole vector writes too much is the next row's, which is stored later. But the summand
    // may be y itself, and then is still needed there.
    if (p.add == nullptr && (R - 1) * out_w + static_cast<std::int64_t>(kLanes) <= end - y) {
      MEZZO_UNROLL
      for (int r = 0; r < R; ++r) hn::StoreU(clamp(sums[r], lo, hi), d, y + r * out_w);
    } else {
      for (int r = 0; r < R; ++r) store_outputs(p, sums[r], y + r * out_w - p.y, rest, lo, hi);
    }
  }
};

// One plane; `band` has begun as zeros.
template <int K, int Stride>
void depthwise_padded(const DepthwisePlane& p, const PaddedBand<K, Stride>& layout, float* band) {
  constexpr auto kCount = static_cast<std::int64_t>(kLanes);
  const F32 d;
  const SlidingWindow& s = *p.window;
  PaddedRows<K, Stride> outputs{p, layout.pitch(), s.out_w, p.y + s.out_h * s.out_w, {}};
  MEZZO_UNROLL
  for (int t = 0; t < K * K; ++t) outputs.w[t] = hn::Set(d, p.weights[t]);
  const std::int64_t last_vector = (s.out_w - 1) / kCount * kCount;
  for (std::int64_t oh = 0; oh < s.out_h; oh += layout.outputs()) {
    const std::int64_t end = std::min(layout.outputs(), s.out_h - oh);
    layout.copy(p.x, oh, end, band);
    for (std::int64_t row = 0; row < end; row += 4) {
      const float* from = band + row * Stride * Stride * outputs.pitch;
      float* y = p.y + (oh + row) * s.out_w;
      // From the right: see PaddedRows.
      const auto run = [&](auto rows) HWY_ATTR {
        for (std::int64_t ow = last_vector; ow >= 0; ow -= kCount)
          outputs.template run<rows>(from + ow, y + ow, s.out_w - ow);
      };
      switch (end - row) {
        case 1:
          run(std::integral_constant<int, 1>());
          break;
        case 2:
          run(std::integral_constant<int, 2>());
          break;
        case 3:
          run(std::integral_constant<int, 3>());
          break;
        default:
          run(std::integral_constant<int, 4>());
      }
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
