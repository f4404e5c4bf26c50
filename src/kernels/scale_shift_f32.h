// Channels of float32 images, each scaled and shifted.
#pragma once

#include <cstdint>
#include <limits>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// Planes of one channel each, or (of the blocked layout) of kBlockChannels side by side.
struct ScaleShift {
  std::int64_t planes = 0, image_planes = 1;  ///< of all images, and of each
  std::int64_t n = 0;                         ///< floats of a plane that are computed
  std::int64_t x_step = 0, y_step = 0;        ///< floats in memory from one plane to the next
  bool blocked = false;                       ///< n is then a multiple of kBlockChannels
  /// One each for every channel of an image, those of the next image `image_step` behind them (0:
  /// the same for all); null: 1 and nothing.
  const float *scale = nullptr, *shift = nullptr;
  std::int64_t image_step = 0;
  float min = -std::numeric_limits<float>::infinity();
  float max = std::numeric_limits<float>::infinity();
};

/// y = min(max(x * scale + shift, s.min), s.max); NaN is carried through. y may be x.
void scale_shift(const ScaleShift& s, const float* x, float* y, ThreadPool& pool);

/// y = x < 0 ? x * scale : x; what else `s` has does not matter. y may be x.
void scale_negative(const ScaleShift& s, const float* x, float* y, ThreadPool& pool);

}  // namespace mezzo::kernels
