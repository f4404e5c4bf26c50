// Products of matrices, of any element type, for the operators that are made of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/gemm_f32.h"
#include "ops/dispatch.h"
#include "ops/op.h"

namespace mezzo::ops {

/// What sums are taken in: double for floats; for integers arithmetic modulo 2^64, whose lower bits
/// are those of the same arithmetic in the narrow type, signed or not.
template <class T>
using Accumulator = std::conditional_t<std::is_floating_point_v<T>, double, std::uint64_t>;

/// The types in which rings are computed: signed integers as the unsigned ones of their size.
using RingTypes = Types<float, double, std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>;

/// The RingType that stands for `dtype`.
inline DType ring_type(DType dtype) {
  switch (dtype) {
    case DType::i8:
      return DType::u8;
    case DType::i16:
      return DType::u16;
    case DType::i32:
      return DType::u32;
    case DType::i64:
      return DType::u64;
    default:
      return dtype;
  }
}

/// A matrix in memory: element (i, j) is data[i * row_stride + j * col_stride].
template <class T>
struct Matrix {
  const T* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 1;
};

/// Calls store(i, j, sum) for each element of A [m, k] * B [k, n].
template <class T, class Store>
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b,
              Store&& store) {
  constexpr std::int64_t kBlock = 64;
  Accumulator<T> sums[kBlock];
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; j += kBlock) {
      const std::int64_t width = std::min(kBlock, n - j);
      std::fill_n(sums, width, Accumulator<T>{0});
      for (std::int64_t p = 0; p < k; ++p) {
        const Accumulator<T> x = a.data[i * a.row_stride + p * a.col_stride];
        const T* row = b.data + p * b.row_stride + j * b.col_stride;
        if (b.col_stride == 1) {
          for (std::int64_t q = 0; q < width; ++q) sums[q] += x * row[q];
        } else {
          for (std::int64_t q = 0; q < width; ++q) sums[q] += x * row[q * b.col_stride];
        }
      }
      for (std::int64_t q = 0; q < width; ++q) store(i, j + q, sums[q]);
    }
  }
}

/// A factor for kernels::gemm; `data` is given at each call, unless it is packed.
struct GemmFactor {
  kernels::GemmOperand operand;
  Tensor packed;  ///< keeps the packed form alive

  kernels::GemmOperand at(const float* data) const {
    if (operand.packed) return operand;
    return {data, operand.row_stride, operand.col_stride, false};
  }
};

/// Input `i` of `op` as the factor A [m, k] of a product, packed ahead where it is a constant.
GemmFactor gemm_a(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t row_stride,
                  std::int64_t col_stride);
/// Why input `i` of `op`, the factor B [k, n] of a product of `m` rows, is not multiplied by tiles
/// of bfloat16; empty where it is.
std::string tiles_refusal(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t n);
/// Input `i` of `op` as the factor B [k, n] of a product of `m` rows, packed ahead where it is a
/// constant and that pays: for tiles, where they are to multiply it.
GemmFactor gemm_b(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t n,
                  std::int64_t row_stride, std::int64_t col_stride);

}  // namespace mezzo::ops
