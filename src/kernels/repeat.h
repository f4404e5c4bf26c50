// The same element over and over.
#pragma once

#include <cstdint>
#include <cstring>

namespace mezzo::kernels {

/// Writes the element of N bytes (a power of two up to 16) at `source` over `bytes` bytes, a
/// multiple of N. `source` may not lie within them.
template <int N>
void repeat(const char* source, char* target, std::int64_t bytes) {
  // By whole blocks out of registers: copies of what was written just now would wait for it.
  constexpr std::int64_t kBlock = 64;
  char block[kBlock];
  for (std::int64_t at = 0; at < kBlock; at += N) std::memcpy(block + at, source, N);
  std::int64_t done = 0;
  for (; done + kBlock <= bytes; done += kBlock) std::memcpy(target + done, block, kBlock);
  std::memcpy(target + done, block, static_cast<std::size_t>(bytes - done));
}

}  // namespace mezzo::kernels
