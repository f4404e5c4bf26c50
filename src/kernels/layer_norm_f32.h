// Normalisation of contiguous rows of float32.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// Rows that are taken together, so that the sums of one need not wait for those of another: who
/// makes rows on the way gives so many at a time.
inline constexpr std::int64_t kNormRows = 4;

/// y[r, i] = (x[r, i] - mean_r) / sqrt(variance_r + epsilon) * scale[i] + bias[i], the variance
/// over n, taken in a second pass around the mean. `scale`, `bias`, `mean` [rows] and `inv_std`
/// [rows] (outputs) may be null. y may be x.
struct LayerNormArgs {
  float epsilon = 1e-5f;
  const float* scale = nullptr;
  const float* bias = nullptr;
  float* mean = nullptr;
  float* inv_std = nullptr;
};
void layer_norm_rows(const LayerNormArgs& args, const float* x, float* y, std::int64_t rows,
                     std::int64_t n, ThreadPool& pool);

/// y[r, i] = x[r, i] / sqrt(mean of squares + epsilon) * scale[i]. Null pointers as above; `bias`
/// and `mean` are ignored.
void rms_norm_rows(const LayerNormArgs& args, const float* x, float* y, std::int64_t rows,
                   std::int64_t n, ThreadPool& pool);

}  // namespace mezzo::kernels
