// Working memory that each thread keeps between calls, so that kernels allocate nothing once warm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "base/memory.h"

namespace mezzo::kernels {

/// Memory of one thread that only grows, aligned for any vector. `Tag` separates uses that nest (a
/// product inside a convolution): each gets memory of its own.
template <class Tag>
float* thread_scratch(std::int64_t floats) {
  thread_local std::shared_ptr<void> memory;
  thread_local std::int64_t size = 0;
  if (floats > size) {
    if (floats > std::numeric_limits<std::int64_t>::max() / 8)
      throw Error(ErrorCode::limit, "a kernel's working memory is too large");
    memory.reset();
    size = 0;
    auto bytes = static_cast<std::size_t>(floats) * sizeof(float);
    // What is read in many streams is worth a huge page of its own.
    if (bytes >= kHugePage / 8) bytes = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    memory = allocate(bytes);
    size = static_cast<std::int64_t>(bytes / sizeof(float));
  }
  return static_cast<float*>(memory.get());
}

}  // namespace mezzo::kernels
