// Memory that runs use again and again: fresh pages cost several times what writing them does.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>

#include "base/slabs.h"

namespace mezzo::runtime {

/// Hands out buffers and takes them back when their last user lets go of them. Thread-safe; buffers
/// may outlive the pool.
class BufferPool {
 public:
  /// Free memory is kept as long as all pools together have at most `keep_bytes`.
  explicit BufferPool(std::size_t keep_bytes);

  /// Bytes of free memory that all pools keep.
  static std::size_t kept_bytes() { return Store::kept_by_all; }

  /// At least `bytes` of memory, contents undefined. Throws Error(limit).
  std::shared_ptr<void> take(std::size_t bytes);

 private:
  // Sizes go up by an eighth and less, so each is found by its number.
  struct Size {
    std::size_t number, bytes;
    explicit Size(std::size_t wanted);
  };
  struct Store;
  // A buffer, and in the same piece of memory what it needs while it is out: no allocation when it
  // goes or comes, and as few lines as can be of what has not been touched since the last run.
  struct alignas(64) Buffer {
    explicit Buffer(Size of) : size(of) {}
    std::shared_ptr<void> memory;
    const Size size;
    Buffer* next = nullptr;             // of those that are free
    std::shared_ptr<Store> store;       // while it is out
    alignas(16) std::byte control[64];  // likewise: what counts its users
  };
  // Has the counts of a buffer's users lie in the buffer, which goes back when they go.
  template <class T>
  struct InBuffer;
  struct Store {
    Store();
    ~Store();
    std::mutex mutex;
    std::array<Buffer*, 512> free = {};  // by size; the one that was used last is first
    std::size_t free_bytes = 0;
    std::size_t keep_bytes = 0;
    static std::atomic<std::size_t> kept_by_all;  // the free bytes of all stores
    Slabs slabs;
  };
  // New memory.
  std::shared_ptr<void> cut(std::size_t bytes);
  static void give_back(Buffer* buffer);

  std::shared_ptr<Store> store_;
};

}  // namespace mezzo::runtime
