// Functions of bytes as tables.
#pragma once

#include <array>
#include <cstdint>

namespace mezzo::kernels {

/// What a function gives for each of the 256 bytes.
using ByteTable = std::array<std::uint8_t, 256>;

/// y[i] = table[x[i]]. y may be x. On the calling thread.
void look_up(const ByteTable& table, const std::uint8_t* x, std::uint8_t* y, std::int64_t n);

}  // namespace mezzo::kernels
