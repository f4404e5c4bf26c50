#include "runtime/buffer_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

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

// Eight sizes from each power of two to the next.
BufferPool::Size::Size(std::size_t wanted) {
  wanted = std::max(wanted, kAlignment);
  const int shift = static_cast<int>(std::bit_width(wanted - 1)) - 4;
  const std::size_t eighths = ((wanted - 1) >> shift) + 1;  // 9 to 16
  number = static_cast<std::size_t>(shift) * 8 + eighths;
  bytes = eighths << shift;
}

template <class T>
struct BufferPool::InBuffer {
  using value_type = T;
  explicit InBuffer(Buffer* of) : buffer(of) {}
  template <class U>
  explicit InBuffer(const InBuffer<U>& other) : buffer(other.buffer) {}
  T* allocate(std::size_t) {
    static_assert(sizeof(T) <= sizeof(Buffer::control) && alignof(T) <= 16);
    return reinterpret_cast<T*>(buffer->control);
  }
  void deallocate(T*, std::size_t) { give_back(buffer); }
  template <class U>
  bool operator==(const InBuffer<U>& other) const {
    return buffer == other.buffer;
  }

  Buffer* buffer;
};

std::atomic<std::size_t> BufferPool::Store::kept_by_all = 0;

BufferPool::Store::Store() : slabs(kSlab, kGap) {}

BufferPool::Store::~Store() {
  kept_by_all -= free_bytes;
  for (Buffer* first : free) {
    while (first != nullptr) delete std::exchange(first, first->next);
  }
}

std::shared_ptr<void> BufferPool::take(std::size_t bytes) {
  const Size size(bytes);
  // Near the limit a buffer is no larger than it must be.
  if (size.bytes > allocation_limit() || size.bytes < bytes) return allocate(bytes);
  Buffer* buffer = nullptr;
  {
    const std::lock_guard lock(store_->mutex);
    Buffer*& free = store_->free[size.number];
    if (free != nullptr) {
      buffer = std::exchange(free, free->next);
      store_->free_bytes -= size.bytes;
      Store::kept_by_all -= size.bytes;
    }
  }
  if (buffer == nullptr) {
    auto made = std::make_unique<Buffer>(size);
    made->memory = cut(size.bytes);
    buffer = made.release();
  }
  buffer->store = store_;
  return {buffer->memory.get(), [](void*) {}, InBuffer<void>(buffer)};
}

std::shared_ptr<void> BufferPool::cut(std::size_t bytes) {
  if (bytes < kSmallest || bytes > store_->slabs.most() || allocation_limit() < kSlab)
    return allocate(bytes);
  const std::lock_guard lock(store_->mutex);
  return store_->slabs.cut(bytes);
}

void BufferPool::give_back(Buffer* buffer) {
  const std::shared_ptr<Store> store = std::move(buffer->store);
  std::unique_ptr<Buffer> kept(buffer);
  const std::lock_guard lock(store->mutex);
  const std::size_t bytes = kept->size.bytes;
  if (Store::kept_by_all.fetch_add(bytes) + bytes > store->keep_bytes) {
    Store::kept_by_all -= bytes;
    return;
  }
  store->free_bytes += bytes;
  kept->next = store->free[kept->size.number];
  store->free[buffer->size.number] = kept.release();
}

}  // namespace mezzo::runtime
