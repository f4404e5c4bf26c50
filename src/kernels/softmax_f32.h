// Softmax over contiguous rows of float32.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// y[r, :] = softmax(scale * x[r, :] + mask[(r % mask_rows), :]), the row's maximum subtracted
/// first. `mask` may be null. A row with a NaN or without anything above -inf gives NaNs, as the
/// formula does. y may be x.
struct SoftmaxArgs {
  float scale = 1;
  const float* mask = nullptr;  ///< [mask_rows, n], added to the scaled row
  std::int64_t mask_rows = 1;
  bool log = false;  ///< the logarithm of the softmax instead
};
void softmax_rows(const SoftmaxArgs& args, const float* x, float* y, std::int64_t rows,
                  std::int64_t n, ThreadPool& pool);

}  // namespace mezzo::kernels
