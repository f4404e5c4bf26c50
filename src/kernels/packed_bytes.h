// Memory for packed bytes, whose size packing finds out.
#pragma once

#include <cstddef>
#include <functional>

namespace mezzo::kernels {

/// Gives memory of that many bytes, aligned to 64; called once by what packs.
using AllocatePacked = std::function<void*(std::size_t bytes)>;

}  // namespace mezzo::kernels
