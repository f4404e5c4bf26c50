// Arrays of one element type from those of another.
#pragma once

#include <cstdint>

#include "mezzo/dtype.h"

namespace mezzo::kernels {

/// Converts n elements, on the calling thread. The arrays must not overlap.
using ConvertArray = void (*)(const void* x, void* y, std::int64_t n);

/// The active target's vector kernel that gives what base's `convert` gives; null where there is
/// none. Between float32 and the 16-bit floats: widening is exact; narrowing rounds to nearest,
/// ties to even; overflow gives infinity; NaN stays NaN. From float32 to whole numbers (i32, i64,
/// i8, u8) and truth values; from i64 to float32, to the nearest, ties to even.
ConvertArray array_converter(DType from, DType to);

}  // namespace mezzo::kernels
