// Memory for tensors: aligned, and never more than there is.
#pragma once

#include <cstddef>
#include <memory>

namespace mezzo {

/// Alignment of every buffer: a cache line, and the widest vector.
inline constexpr std::size_t kAlignment = 64;

/// The most that one buffer may take: the machine's physical memory, unless something else was set.
/// A shape that asks for more is a mistake or an attack, not a wish.
std::size_t allocation_limit() noexcept;
/// For the whole process; 0 brings the physical memory back. For those who run models that nobody
/// has looked at, and for tests. May be called at any time from any thread.
void set_allocation_limit(std::size_t bytes) noexcept;

/// `bytes` of memory, contents undefined, aligned to kAlignment. Throws Error(limit) where there is
/// not so much.
std::shared_ptr<void> allocate(std::size_t bytes);

}  // namespace mezzo
