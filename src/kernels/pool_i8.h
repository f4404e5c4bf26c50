// 2-D pooling of 8-bit integers, plain or in blocks.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/pool_f32.h"

namespace mezzo::kernels {

/// The maximum of each window of x [planes, in_h, in_w, lanes], each of the lanes by itself: 1 for
/// plain images, 8 for those in blocks. A window that lies in the padding altogether gives the
/// least value.
void max_pool_i8(const PoolShape& shape, std::int64_t lanes, bool is_signed, const std::uint8_t* x,
                 std::uint8_t* y, ThreadPool& pool);

}  // namespace mezzo::kernels
