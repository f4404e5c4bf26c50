// Arrays of 16-bit floats from and to float32.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "mezzo/dtype.h"

namespace mezzo::kernels {

/// Widening is exact. Narrowing rounds to nearest, ties to even; overflow gives infinity; NaN stays
/// NaN. The arrays must not overlap.
void f16_to_f32(const Half* x, float* y, std::int64_t n, ThreadPool& pool);
void f32_to_f16(const float* x, Half* y, std::int64_t n, ThreadPool& pool);
void bf16_to_f32(const BFloat16* x, float* y, std::int64_t n, ThreadPool& pool);
void f32_to_bf16(const float* x, BFloat16* y, std::int64_t n, ThreadPool& pool);

}  // namespace mezzo::kernels
