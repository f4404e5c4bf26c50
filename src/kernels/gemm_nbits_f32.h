// Matrix product of float32 with weights of a few bits, which have a scale for each block of them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/rounding.h"
#include "base/thread_pool.h"

namespace mezzo::kernels {

/// Columns that lie together in packed weights.
inline constexpr std::int64_t kNbitsPanel = 32;

/// B [k, n], element (p, j) = (q - zero) * scale, with one scale and one zero for each block of
/// `block` elements along k; the last block may go beyond k. In panels of kNbitsPanel columns,
/// those after the last one zeros: words [panel][p / (32 / bits)][column], with the first of its
/// elements in the lowest bits, scales and zeros [panel][block][column].
struct NbitsMatrix {
  std::int64_t n = 0, k = 0;
  std::int64_t block = 32;  ///< a power of two from 16 on
  int bits = 4;             ///< 2, 4 or 8
  const std::uint32_t* words = nullptr;
  const float* scales = nullptr;
  const float* zeros = nullptr;  ///< null: 2^(bits - 1)

  std::int64_t blocks() const { return ceil_div(k, block); }
  std::int64_t panels() const { return ceil_div(n, kNbitsPanel); }
  std::int64_t words_of_block() const { return block * bits / 32; }
};

/// Calls multiply(panel, column of it, row, rows, sums) for all columns, `kColumns` at a time, and
/// all rows of C, at most `kRows` at a time, and writes sums [rows, kColumns] and the bias to C.
template <int kRows, std::int64_t kColumns, class Multiply>
void for_nbits_columns(std::int64_t m, const NbitsMatrix& b, const float* bias, float* c,
                       ThreadPool& pool, const Multiply& multiply) {
  constexpr std::int64_t kLeastWork = std::int64_t{1} << 16;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kLeastWork / (kNbitsPanel * std::max<std::int64_t>(b.k, 1)));
  pool.parallel_for(b.panels(), grain, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float sums[kRows * kColumns];
    for (std::int64_t column = begin * kNbitsPanel; column < std::min(end * kNbitsPanel, b.n);
         column += kColumns) {
      const std::int64_t count = std::min(kColumns, b.n - column);
      for (std::int64_t row = 0; row < m; row += kRows) {
        const auto rows = static_cast<int>(std::min<std::int64_t>(kRows, m - row));
        multiply(column / kNbitsPanel, column % kNbitsPanel, row, rows, sums);
        for (int r = 0; r < rows; ++r) {
          float* to = c + (row + r) * b.n + column;
          for (std::int64_t j = 0; j < count; ++j)
            to[j] = sums[r * kColumns + j] + (bias != nullptr ? bias[column + j] : 0.0f);
        }
      }
    }
  });
}

/// Puts the words of B' into panels, from [n, blocks, block * bits / 8] bytes.
void pack_nbits(const NbitsMatrix& b, const std::uint8_t* rows, std::uint32_t* words);
/// The same for what a block has one of, from [n, blocks].
void pack_nbits(const NbitsMatrix& b, const float* rows, float* panels);

/// C [m, n] = A [m, k] * B, plus `bias` [n] if it is not null, each without gaps. C must not
/// overlap the others. For few rows the weights become floats in registers, so that they are what
/// is read; for more, a panel at a time in the second-level cache. Scratch memory is kept per
/// thread.
void gemm_nbits(std::int64_t m, const float* a, const NbitsMatrix& b, const float* bias, float* c,
                ThreadPool& pool);

/// The same with the elements of A rounded to bytes, of which the largest in a block is 127: each
/// is off by up to 1/254 of it. A block with a NaN or an infinity gives NaNs. Only where
/// has_gemm_nbits_i8: for weights of 4 bits, on CPUs that add up products of bytes.
bool has_gemm_nbits_i8(const NbitsMatrix& b);
void gemm_nbits_i8(std::int64_t m, const float* a, const NbitsMatrix& b, const float* bias,
                   float* c, ThreadPool& pool);

}  // namespace mezzo::kernels
