// Working memory that each thread keeps between calls, so that kernels allocate nothing once warm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

#include "mezzo/error.h"

namespace mezzo::kernels {

/// Memory of one thread that only grows, aligned for any vector. `Tag` separates uses that nest (a
/// product inside a convolution): each gets memory of its own.
template <class Tag>
float* thread_scratch(std::int64_t floats) {
  constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlignment); }
  };
  thread_local std::unique_ptr<float, Free> memory;
  thread_local std::int64_t size = 0;
  if (floats > size) {
    if (floats > std::numeric_limits<std::int64_t>::max() / 8)
      throw Error(ErrorCode::limit, "a kernel's working memory is too large");
    memory.reset();
    size = 0;
    memory.reset(static_cast<float*>(
        ::operator new(static_cast<std::size_t>(floats) * sizeof(float), kAlignment)));
    size = floats;
  }
  return memory.get();
}

}  // namespace mezzo::kernels
