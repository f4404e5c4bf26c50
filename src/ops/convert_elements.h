// Conversion between element types on all threads, fast where the machine can.
#pragma once

#include <cstdint>

#include "base/convert.h"
#include "base/thread_pool.h"
#include "mezzo/dtype.h"

namespace mezzo::ops {

/// What base's `convert` does, by vector kernels where there are some for the types; a copy where
/// both are the same type.
void convert_elements(DType from, const void* source, DType to, void* target, std::int64_t count,
                      ThreadPool& pool, const CastRules& rules = {});

inline bool is_16_bit_float(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

}  // namespace mezzo::ops
