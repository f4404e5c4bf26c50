#include "ops/convert_elements.h"

#include "base/convert.h"
#include "kernels/convert.h"
#include "ops/broadcast.h"
#include "ops/movement.h"
#include "ops/op.h"

namespace mezzo::ops {

void convert_elements(DType from, const void* source, DType to, void* target, std::int64_t count,
                      ThreadPool& pool) {
  const auto is = [&](DType source_type, DType target_type) {
    return simd_allowed() && from == source_type && to == target_type;
  };
  if (from == to) {
    copy_all(from, source, target, count, pool);
  } else if (is(DType::f16, DType::f32)) {
    kernels::f16_to_f32(static_cast<const Half*>(source), static_cast<float*>(target), count, pool);
  } else if (is(DType::f32, DType::f16)) {
    kernels::f32_to_f16(static_cast<const float*>(source), static_cast<Half*>(target), count, pool);
  } else if (is(DType::bf16, DType::f32)) {
    kernels::bf16_to_f32(static_cast<const BFloat16*>(source), static_cast<float*>(target), count,
                         pool);
  } else if (is(DType::f32, DType::bf16)) {
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
