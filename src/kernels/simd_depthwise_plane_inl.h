// One channel of a depthwise convolution. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL
#undef MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL
#else
#define MEZZO_KERNELS_SIMD_DEPTHWISE_PLANE_INL
#endif

#include <cstdint>

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
