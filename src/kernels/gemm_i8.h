// Matrix product of 8-bit integers, summed in int32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/packed_bytes.h"

namespace mezzo::kernels {

/// A factor: element (i, j) is the byte data[i * row_stride + j * col_stride], signed or not, less
/// a zero point: one for all, one per row of A, or one per column of B (`zero_points` non-null:
/// int32 [m] or [n], added to `zero_point`). Zero points must lie in the range of the type. Where
/// `packed`, data is what pack_a_i8 or pack_b_i8 wrote and the rest is ignored.
struct GemmI8Operand {
  const void* data = nullptr;
  bool is_signed = false;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 1;
  std::int32_t zero_point = 0;
  const std::int32_t* zero_points = nullptr;
  bool packed = false;
};

/// Bytes of A [m, k] packed ahead (zero points included); the layout depends on the active target.
std::size_t packed_a_i8_bytes(std::int64_t m, std::int64_t k);
void pack_a_i8(std::int64_t m, std::int64_t k, const GemmI8Operand& a, void* packed,
               ThreadPool& pool);

/// Packs B [k, n] ahead, zero points included. The layout depends on B and on the active target.
void pack_b_i8(std::int64_t k, std::int64_t n, const GemmI8Operand& b,
               const AllocatePacked& allocate, ThreadPool& pool);

/// C [m, n] (row stride ldc) = (A - za) * (B - zb), exact modulo 2^32. At most one of the two is
/// packed.
void gemm_i8(std::int64_t m, std::int64_t n, std::int64_t k, const GemmI8Operand& a,
             const GemmI8Operand& b, std::int32_t* c, std::int64_t ldc, ThreadPool& pool);

}  // namespace mezzo::kernels
