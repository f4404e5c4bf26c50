// Depthwise convolution: each channel has a window of its own. Windows of 3 x 3 and 5 x 5 with
// strides of 1 or 2 have code of their own, which depends on what masks cost. Included per target,
// like simd.h.

#if defined(MEZZO_KERNELS_SIMD_DEPTHWISE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_DEPTHWISE_INL
#undef MEZZO_KERNELS_SIMD_DEPTHWISE_INL
#else
#define MEZZO_KERNELS_SIMD_DEPTHWISE_INL
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/conv_f32.h"
#include "kernels/scratch.h"
#include "kernels/simd_depthwise_masked_inl.h"
#include "kernels/simd_depthwise_padded_inl.h"
#include "kernels/simd_depthwise_plane_inl.h"
#include "kernels/simd_planes_inl.h"
#include "kernels/task_grid.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

struct ScratchPlane {};

// Any window, over a copy of the plane.
inline void depthwise_copied(const DepthwisePlane& p, const PlaneLayout& l,
                             const std::int64_t* tap_offsets) {
  const F32 d;
  const SlidingWindow& s = *p.window;
  float* copy = thread_scratch<ScratchPlane>(l.plane_floats + static_cast<std::int64_t>(kLanes));
  copy_plane(l, p.x, 0.0f, copy);
  const VecF32 lo = hn::Set(d, p.min), hi = hn::Set(d, p.max);
  for (std::int64_t oh = 0; oh < s.out_h; ++oh, copy += l.out_row_floats) {
    for (std::int64_t ow = 0; ow < s.out_w; ow += kLanes) {
      VecF32 sum = hn::Set(d, p.bias);
      for (std::int64_t t = 0; t < s.k_h * s.k_w; ++t)
        sum = hn::MulAdd(hn::Set(d, p.weights[t]), hn::LoadU(d, copy + ow + tap_offsets[t]), sum);
      store_outputs(p, sum, oh * s.out_w + ow, s.out_w - ow, lo, hi);
    }
  }
}

// Planes that are run by what `start()` returns, which each task calls once.
template <class Start>
void run_planes(const SlidingWindow& s, std::int64_t batch, std::int64_t channels,
                const ConvArgs& args, std::int64_t y_stride, ThreadPool& pool, const Start& start) {
  const std::int64_t pixels = s.out_h * s.out_w, taps = s.k_h * s.k_w;
  // A row takes as long as the vectors that hold it.
  constexpr auto kCount = static_cast<std::int64_t>(kLanes);
  const std::int64_t row_lanes = (s.out_w + kCount - 1) / kCount * kCount;
  // About four multiply-adds a cycle, a quarter of what a tile does.
  const std::int64_t grain =
      std::max<std::int64_t>(1, kTaskWork / 4 / (s.out_h * row_lanes * taps));
  pool.parallel_for(batch * channels, grain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const auto run = start();
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t n = t / channels, c = t % channels;
      run(DepthwisePlane{&s, args.x + t * s.in_h * s.in_w, args.packed_weights + c * taps,
                         args.add == nullptr ? nullptr : args.add + t * pixels,
                         args.y + n * y_stride + c * pixels,
                         args.bias == nullptr ? 0.0f : args.bias[c], args.min, args.max});
    }
  });
}

// All planes of `batch` images; args.packed_weights are the weights as they come.
inline void run_depthwise(const PlaneLayout& l, const std::int64_t* tap_offsets, std::int64_t batch,
                          std::int64_t channels, const ConvArgs& args, std::int64_t y_stride,
                          ThreadPool& pool) {
  const SlidingWindow& s = l.window;
  const auto run = [&](const auto& start) {
    run_planes(s, batch, channels, args, y_stride, pool, start);
  };
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if (FlatMasks::apply(s)) {
    const FlatMasks masks(s);
    return run([&] { return [&](const DepthwisePlane& p) { masks.run(p); }; });
  }
  const bool special = with_square_window(s, [&](auto k, auto stride) {
    const auto rows = s.out_h * s.out_w >= 1024 ? depthwise_in_place<k, stride, true>
                                                : depthwise_in_place<k, stride, false>;
    run([&] {
      float* zeros = thread_scratch<ScratchPlane>(s.in_w);
      std::fill(zeros, zeros + s.in_w, 0.0f);
      return [=](DepthwisePlane p) {
        p.zeros = zeros;
        rows(p);
      };
    });
  });
#else
  const bool special =
      s.pad_left >= 0 && with_square_window(s, [&](auto k, auto stride) {
        const PaddedBand<k, stride> layout(s);
        run([&] {
          float* band = thread_scratch<ScratchBand>(layout.floats());
          std::fill(band, band + layout.floats(), 0.0f);
          return [&layout, band](const DepthwisePlane& p) { depthwise_padded(p, layout, band); };
        });
      });
#endif
  if (special) return;
  run([&] { return [&](const DepthwisePlane& p) { depthwise_copied(p, l, tap_offsets); }; });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
