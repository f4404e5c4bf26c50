#include "runtime/buffer_pool.h"

#include <algorithm>

#include "base/memory.h"

namespace mezzo::runtime {
namespace {

// Buffers between these sizes are cut from larger pieces of memory, which lie on huge pages: to
// write many of them, each a page at a time, else costs a quarter more.
constexpr std::size_t kSlab = std::size_t{32} << 20, kSmallest = std::size_t{64} << 10;
// What lies between two of them, so that equal places of equal tensors are not in the same sets of
// the caches.
constexpr std::size_t kGap = 5 * kAlignment;

}  // namespace

BufferPool::BufferPool(std::size_t keep_bytes) : store_(std::make_shared<Store>()) {
  store_->keep_bytes = keep_bytes;
}

std::shared_ptr<void> BufferPool::take(std::size_t bytes) {
  Buffers::node_type buffer;  // goes in and out of the map without an allocation
  {
    const std::lock_guard lock(store_->mutex);
    // A buffer up to a quarter too large will do; a larger one is better kept for whoever needs all
    // of it.
    const auto found = store_->free.lower_bound(bytes);
    if (found != store_->free.end() && found->first <= bytes + bytes / 4 + 4096) {
      buffer = store_->free.extract(found);
      store_->free_bytes -= buffer.key();
    }
  }
  if (buffer.empty()) {
    Buffers made;
    buffer = made.extract(made.emplace(bytes, cut(bytes)));
  }
  void* data = buffer.mapped().get();
  return {data, [store = store_, buffer = std::move(buffer)](void*) mutable {
            give_back(*store, std::move(buffer));
          }};
}

std::shared_ptr<void> BufferPool::cut(std::size_t bytes) {
  if (bytes < kSmallest || bytes > kSlab / 2 || allocation_limit() < kSlab) return allocate(bytes);
  const std::size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment + kGap;
  const std::lock_guard lock(store_->mutex);
  if (store_->slab == nullptr || store_->slab_used + size > kSlab) {
    store_->slab = allocate(kSlab);
    store_->slab_used = 0;
  }
  char* data = static_cast<char*>(store_->slab.get()) + store_->slab_used;
  store_->slab_used += size;
  return {store_->slab, data};
}

void BufferPool::give_back(Store& store, Buffers::node_type buffer) {
  const std::lock_guard lock(store.mutex);
  const std::size_t bytes = buffer.key();
  if (store.free_bytes + bytes > store.keep_bytes) return;
  // Before its equals, so that the one that was used last is the next: it is in the caches.
  const auto first = store.free.lower_bound(bytes);
  store.free.insert(first, std::move(buffer));
  store.free_bytes += bytes;
}

}  // namespace mezzo::runtime
