// Comparisons of arrays of numbers.
#pragma once

#include <cstdint>

#include "mezzo/dtype.h"

namespace mezzo::kernels {

enum class Comparison { equal, less, less_or_equal };

/// y[i] = whether a[i] compares so with b[i], for i < n; with NaN nothing does. Where an operand
/// repeats, its first element serves for all. On the calling thread. The arrays must not overlap.
using CompareArrays = void (*)(const void* a, bool a_repeats, const void* b, bool b_repeats,
                               bool* y, std::int64_t n);

/// The active target's kernel for elements of that type (f32, f64, i32, i64); null where there is
/// none.
CompareArrays array_comparison(Comparison comparison, DType dtype);

}  // namespace mezzo::kernels
