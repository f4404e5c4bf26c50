// Reductions of float32 along one axis.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// max and min carry NaN through. sum_square and l1 sum squares and magnitudes; log_sum_exp is the
/// logarithm of the sum of exponentials, of elements however large. Sums are taken in float32 over
/// many partial sums.
enum class Reduce { sum, mean, max, min, sum_square, l1, prod, log_sum_exp };

/// x [outer, n, inner] -> y [outer, inner], all contiguous; n > 0. inner == 1 reduces the innermost
/// axis.
void reduce(Reduce op, const float* x, float* y, std::int64_t outer, std::int64_t n,
            std::int64_t inner, ThreadPool& pool);

}  // namespace mezzo::kernels
