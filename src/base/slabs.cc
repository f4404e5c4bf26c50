#include "base/slabs.h"

#include <utility>

#include "base/memory.h"

namespace mezzo {
namespace {

thread_local Slabs* of_this_thread = nullptr;

// Others fit on a page or two of any kind.
constexpr std::size_t kSmallest = std::size_t{4} << 10;

}  // namespace

std::shared_ptr<void> Slabs::cut(std::size_t bytes) {
  const std::size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment + gap_;
  if (slab_ == nullptr || used_ + size > bytes_) {
    slab_ = allocate(bytes_);
    used_ = 0;
  }
  char* data = static_cast<char*>(slab_.get()) + used_;
  used_ += size;
  // Counted apart: a tensor that has its piece alone may write there.
  return {data, [slab = slab_](void*) {}};
}

SlabScope::SlabScope(Slabs& slabs) : outer_(std::exchange(of_this_thread, &slabs)) {}

SlabScope::~SlabScope() { of_this_thread = outer_; }

Slabs* SlabScope::of(std::size_t bytes) {
  const bool fits =
      of_this_thread != nullptr && bytes >= kSmallest && bytes <= of_this_thread->most();
  return fits ? of_this_thread : nullptr;
}

}  // namespace mezzo
