// Sums of neighbours along an axis of float32 tensors, as images are enlarged and shrunk with.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// An axis of `in` elements that becomes one of `out`: each is a weighted sum of `taps` of those
/// before. Immutable once made.
class Resample {
 public:
  /// index and weight: [out, taps]. The indices are below `in`, and of each tap they rise with the
  /// output or fall with it. `in` is at most 2^31 - 1.
  Resample(std::int64_t in, std::int64_t out, std::int64_t taps, const std::int64_t* index,
           const float* weight);

  /// y [outer, out, inner] from x [outer, in, inner].
  void run(const float* x, float* y, std::int64_t outer, std::int64_t inner,
           ThreadPool& pool) const;

  /// What a group of outputs takes lies side by side, tap after tap: [out / kGroup, taps, kGroup].
  static constexpr std::int64_t kGroup = 16;

 private:
  std::int64_t in_, out_, taps_;
  std::vector<std::int32_t> index_;
  std::vector<float> weight_;
};

}  // namespace mezzo::kernels
