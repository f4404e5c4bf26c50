// Pieces of memory that are cut from larger ones.
#pragma once

#include <cstddef>
#include <memory>

namespace mezzo {

/// Cuts pieces, one behind the other, from slabs that lie on huge pages: what reads or writes many
/// of them has few pages to find. A slab lives as long as one of its pieces. Not thread-safe.
class Slabs {
 public:
  /// Slabs of that many bytes, and at least `gap` bytes between two pieces.
  explicit Slabs(std::size_t slab_bytes, std::size_t gap = 0) : bytes_(slab_bytes), gap_(gap) {}

  /// The most that a piece may have: half a slab.
  std::size_t most() const { return bytes_ / 2; }

  /// At least `bytes` of memory, contents undefined, aligned to kAlignment. Throws Error(limit).
  std::shared_ptr<void> cut(std::size_t bytes);

 private:
  std::size_t bytes_, gap_;
  std::shared_ptr<void> slab_;  // of which the rest is still to be handed out
  std::size_t used_ = 0;
};

/// While it lives, `allocate` cuts what this thread asks for, if it is not small or large, from
/// these slabs.
class SlabScope {
 public:
  explicit SlabScope(Slabs& slabs);
  SlabScope(const SlabScope&) = delete;
  SlabScope& operator=(const SlabScope&) = delete;
  ~SlabScope();

  /// Those of this thread for a buffer of that size; else null.
  static Slabs* of(std::size_t bytes);

 private:
  Slabs* outer_;
};

}  // namespace mezzo
