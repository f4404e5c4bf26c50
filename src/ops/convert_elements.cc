#include "ops/convert_elements.h"

#include "base/convert.h"
#include "kernels/convert.h"
#include "ops/broadcast.h"
#include "ops/movement.h"
#include "ops/op.h"

namespace mezzo::ops {

void convert_elements(DType from, const void* source, DType to, void* target, std::int64_t count,
                      ThreadPool& pool) {
  if (from == to) {
    copy_all(from, source, target, count, pool);
  } else if (!simd_allowed()) {
    convert(from, source, to, target, count);
  } else if (from == DType::f16 && to == DType::f32) {
    kernels::f16_to_f32(static_cast<const Half*>(source), static_cast<float*>(target), count, pool);
  } else if (from == DType::f32 && to == DType::f16) {
    kernels::f32_to_f16(static_cast<const float*>(source), static_cast<Half*>(target), count, pool);
  } else if (from == DType::bf16 && to == DType::f32) {
    kernels::bf16_to_f32(static_cast<const BFloat16*>(source), static_cast<float*>(target), count,
                         pool);
  } else if (from == DType::f32 && to == DType::bf16) {
    kernels::f32_to_bf16(static_cast<const float*>(source), static_cast<BFloat16*>(target), count,
                         pool);
  } else if (bits_of(from) < 8 || bits_of(to) < 8) {
    convert(from, source, to, target, count);
  } else {
    pool.parallel_for(count, kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      convert(from, static_cast<const char*>(source) + bytes_of(from, begin), to,
              static_cast<char*>(target) + bytes_of(to, begin), end - begin);
    });
  }
}

}  // namespace mezzo::ops
