// Memory for tensors: aligned, and never more than there is.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>

#include "mezzo/error.h"

namespace mezzo {

/// Alignment of every buffer: a cache line, and the widest vector.
inline constexpr std::size_t kAlignment = 64;

/// Buffers from this size on lie on huge pages where the system gives them.
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// The most that one buffer may take: the machine's physical memory, unless something else was set.
/// A shape that asks for more is a mistake or an attack, not a wish.
std::size_t allocation_limit() noexcept;
/// For the whole process; 0 brings the physical memory back. For those who run models that nobody
/// has looked at, and for tests. May be called at any time from any thread.
void set_allocation_limit(std::size_t bytes) noexcept;

/// `bytes` of memory, contents undefined, aligned to kAlignment. Throws Error(limit) where there is
/// not so much.
std::shared_ptr<void> allocate(std::size_t bytes);

/// Calls `run`; what the standard library throws where memory ends or a size is absurd becomes
/// Error(limit). Around all that works on a file's numbers.
template <class Run>
auto within_memory(Run&& run) -> decltype(run()) {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::limit, "out of memory");
  } catch (const std::length_error&) {
    throw Error(ErrorCode::limit, "out of memory");
  }
}

}  // namespace mezzo
