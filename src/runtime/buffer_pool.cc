#include "runtime/buffer_pool.h"

#include "base/memory.h"

namespace mezzo::runtime {

BufferPool::BufferPool(std::size_t keep_bytes) : store_(std::make_shared<Store>()) {
  store_->keep_bytes = keep_bytes;
}

std::shared_ptr<void> BufferPool::take(std::size_t bytes) {
  std::shared_ptr<void> memory;
  std::size_t size = bytes;
  {
    const std::lock_guard lock(store_->mutex);
    // A buffer up to a quarter too large will do; a larger one is better kept for whoever needs all
    // of it.
    const auto found = store_->free.lower_bound(bytes);
    if (found != store_->free.end() && found->first <= bytes + bytes / 4 + 4096) {
      size = found->first;
      memory = std::move(found->second);
      store_->free.erase(found);
      store_->free_bytes -= size;
    }
  }
  if (memory == nullptr) memory = allocate(bytes);
  void* data = memory.get();
  return {data, [store = store_, size, memory = std::move(memory)](void*) mutable {
            give_back(store, size, std::move(memory));
          }};
}

void BufferPool::give_back(const std::shared_ptr<Store>& store, std::size_t bytes,
                           std::shared_ptr<void> memory) {
  const std::lock_guard lock(store->mutex);
  if (store->free_bytes + bytes > store->keep_bytes) return;
  store->free.emplace(bytes, std::move(memory));
  store->free_bytes += bytes;
}

}  // namespace mezzo::runtime
