// Conversion between f32 and the 16-bit floats, fast where the machine can.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "mezzo/dtype.h"

namespace mezzo::ops {

/// What base's `convert` does, by vector kernels and on all threads where the types are f32 and a
/// 16-bit float; a copy where both are the same type.
void convert_elements(DType from, const void* source, DType to, void* target, std::int64_t count,
                      ThreadPool& pool);

inline bool is_16_bit_float(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

}  // namespace mezzo::ops
