// Matrix product of float32 with weights of a few bits, which have a scale for each block of them.
#pragma once

#include <cstdint>

#include "base/rounding.h"
#include "base/thread_pool.h"

namespace mezzo::kernels {

/// Columns that lie together in packed weights: their words are a line of the cache.
inline constexpr std::int64_t kNbitsPanel = 16;

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
