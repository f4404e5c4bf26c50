#include "base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include "base/slabs.h"

namespace mezzo {
namespace {

std::atomic<std::size_t> chosen_limit{0};  // 0: the physical memory

std::size_t physical_memory() noexcept {
  static const std::size_t bytes = [] {
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page)
                                 : std::size_t{1} << 34;
  }();
  return bytes;
}

// Large memory is aligned for huge pages, and they are asked for: a matrix of many rows otherwise
// needs more pages than the CPU keeps addresses of, which costs ResNet-50 a sixth of its speed.
void* take(std::size_t bytes) {
  const bool large = bytes >= kHugePage;
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* data = nullptr;
  // Not aligned_alloc, which may ask for a size that is a multiple of the alignment.
  if (::posix_memalign(&data, large ? kHugePage : kAlignment, rounded) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  // A wish: where there are none, small pages do.
  if (large) ::madvise(data, rounded, MADV_HUGEPAGE);
#endif
  return data;
}

}  // namespace

std::size_t allocation_limit() noexcept {
  const std::size_t chosen = chosen_limit.load(std::memory_order_relaxed);
  return chosen != 0 ? chosen : physical_memory();
}

void set_allocation_limit(std::size_t bytes) noexcept {
  chosen_limit.store(bytes, std::memory_order_relaxed);
}

std::shared_ptr<void> allocate(std::size_t bytes) {
  if (Slabs* slabs = SlabScope::of(bytes)) return slabs->cut(bytes);
  void* data = nullptr;
  if (bytes <= allocation_limit()) data = take(std::max<std::size_t>(bytes, 1));
  if (data == nullptr) {
    throw Error(ErrorCode::limit, "a tensor is too large for the memory that there is")
        .expected("at most " + std::to_string(allocation_limit()) + " bytes")
        .got(std::to_string(bytes) + " bytes")
        .hint("Check the shapes in the model and of the inputs");
  }
  return {data, [](void* memory) { std::free(memory); }};
}

}  // namespace mezzo
