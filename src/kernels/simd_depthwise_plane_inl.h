// One channel of a depthwise convolution. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL
#undef MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL
#else
#define MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL
#endif

#include <cstdint>
#include <type_traits>

#include "kernels/simd_tail_inl.h"
#include "kernels/sliding_window.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// One plane of a depthwise convolution.
struct DepthwisePlane {
  const SlidingWindow* window;
  const float* x;
  const float* weights;
  const float* add;  // may be null
  float* y;
  float bias, min, max;
  // For masked rows:
  const float* zeros = nullptr;  // as long as a row of x
  std::int64_t rows_ahead = 0;   // where `Ahead`, how far below the rows in work is asked for
};

// Adds to R rows of sums, one vector each, what image row number `i` of those they meet gives: x
// are its values at the K taps.
template <int K, int Stride, int R>
HWY_INLINE void add_row(int i, const VecF32 (&w)[K * K], const VecF32 (&x)[K], VecF32 (&sums)[R]) {
  MEZZO_UNROLL
  for (int r = 0; r < R; ++r) {
    const int kh = i - Stride * r;
    if (kh < 0 || kh >= K) continue;
    MEZZO_UNROLL
    for (int kw = 0; kw < K; ++kw) sums[r] = hn::MulAdd(w[kh * K + kw], x[kw], sums[r]);
  }
}

// Calls run(K, Stride), both of them constants, if the window is a square of 3 or 5 without gaps,
// with a stride of 1 or 2; says whether it did.
template <class Run>
bool with_square_window(const SlidingWindow& s, const Run& run) {
  if (s.dilation_h != 1 || s.dilation_w != 1 || s.k_h != s.k_w || s.stride_h != s.stride_w)
    return false;
  const auto with_stride = [&](auto k) {
    if (s.stride_w == 1) run(k, std::integral_constant<int, 1>());
    if (s.stride_w == 2) run(k, std::integral_constant<int, 2>());
    return s.stride_w <= 2;
  };
  if (s.k_w == 3) return with_stride(std::integral_constant<int, 3>());
  if (s.k_w == 5) return with_stride(std::integral_constant<int, 5>());
  return false;
}

// Stores the vector of outputs at `at`, of which `rest` are still to come.
HWY_INLINE void store_outputs(const DepthwisePlane& p, VecF32 sum, std::int64_t at,
                              std::int64_t rest, VecF32 lo, VecF32 hi) {
  const F32 d;
  if (rest >= static_cast<std::int64_t>(kLanes)) {
    if (p.add != nullptr) sum = hn::Add(sum, hn::LoadU(d, p.add + at));
    hn::StoreU(clamp(sum, lo, hi), d, p.y + at);
  } else {
    const auto n = static_cast<std::size_t>(rest);
    if (p.add != nullptr) sum = hn::Add(sum, load_n(d, p.add + at, n));
    store_n(clamp(sum, lo, hi), d, p.y + at, n);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
