// Matrix product of float32, packed and blocked for the caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// A factor of a product: element (i, j) is data[i * row_stride + j * col_stride], or, where
/// `packed`, what pack_a or pack_b wrote, or, where also `in_parts`, what pack_b_bf16x3 did (the
/// strides are then ignored). Any strides do: a transposed matrix has them swapped.
struct GemmOperand {
  const float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 1;
  bool packed = false;
  bool in_parts = false;
};

/// What is done to the sums s(i, j) before they are stored:
///   c(i, j) = clamp(alpha * s(i, j) + beta * (row_bias[i] + col_bias[j] + add[i * add_row_stride +
///   j]), min, max)
/// Null pointers count as zeros. NaN passes the clamp. `add` may be `c` itself (same place, same
/// stride).
struct GemmEpilogue {
  float alpha = 1;
  float beta = 1;
  const float* row_bias = nullptr;
  const float* col_bias = nullptr;
  const float* add = nullptr;
  std::int64_t add_row_stride = 0;
  float min = -std::numeric_limits<float>::infinity();
  float max = std::numeric_limits<float>::infinity();
};

/// Bytes of A [m, k] or B [k, n] packed. The layout depends on the active target and on these sizes
/// only.
std::size_t packed_a_bytes(std::int64_t m, std::int64_t k);
std::size_t packed_b_bytes(std::int64_t k, std::int64_t n);
/// Packs a factor ahead into `packed` (packed_x_bytes of it, 64-byte aligned for full speed), for
/// any number of products.
void pack_a(std::int64_t m, std::int64_t k, const GemmOperand& a, float* packed, ThreadPool& pool);
void pack_b(std::int64_t k, std::int64_t n, const GemmOperand& b, float* packed, ThreadPool& pool);

/// C [m, n] (row stride `ldc`, unit column stride) = A [m, k] * B [k, n] with the epilogue. k == 0
/// gives sums of zero. Which operand is packed ahead is free; what is not, is packed on the fly, or
/// read in place where it is read once (m == 1 and the like). C must not overlap A or B. Sums are
/// taken in float32, in blocks along k. Scratch memory is kept per thread.
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const GemmOperand& a,
          const GemmOperand& b, float* c, std::int64_t ldc, const GemmEpilogue& epilogue,
          ThreadPool& pool);

}  // namespace mezzo::kernels
