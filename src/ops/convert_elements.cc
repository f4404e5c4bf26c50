#include "ops/convert_elements.h"

#include <algorithm>

#include "kernels/convert.h"
#include "ops/broadcast.h"
#include "ops/movement.h"
#include "ops/op.h"

namespace mezzo::ops {

void convert_elements(DType from, const void* source, DType to, void* target, std::int64_t count,
                      ThreadPool& pool, const CastRules& rules) {
  if (from == to) return copy_all(from, source, target, count, pool);
  const kernels::ConvertArray by_vectors =
      simd_allowed() ? kernels::array_converter(from, to) : nullptr;
  // Threads take multiples of 64 elements, so that each has whole bytes of packed types.
  constexpr std::int64_t kBlock = 64;
  const std::int64_t grain = by_vectors != nullptr ? kElementwiseGrain : kElementwiseGrain / 4;
  pool.parallel_for((count + kBlock - 1) / kBlock, grain / kBlock,
                    [&](std::int64_t begin, std::int64_t end) {
                      const std::int64_t first = begin * kBlock;
                      const std::int64_t n = std::min(end * kBlock, count) - first;
                      const void* in = static_cast<const char*>(source) + bytes_of(from, first);
                      void* out = static_cast<char*>(target) + bytes_of(to, first);
                      if (by_vectors != nullptr) return by_vectors(in, out, n);
                      convert(from, in, to, out, n, rules);
                    });
}

}  // namespace mezzo::ops
