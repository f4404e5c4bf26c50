// Matrix product of float32 by tiles of bfloat16; see simd_bf16x3_inl.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/gemm_f32.h"

namespace mezzo::kernels {

/// Whether it is faster than `gemm` with packed B, where there are tiles at all.
bool gemm_bf16x3_pays(std::int64_t m, std::int64_t n, std::int64_t k);

/// Bytes of B [k, n] packed.
std::size_t packed_b_bf16x3_bytes(std::int64_t k, std::int64_t n);
/// Packs B into so many bytes, 64-byte aligned. The layout depends on these sizes only.
void pack_b_bf16x3(std::int64_t k, std::int64_t n, const GemmOperand& b, float* packed,
                   ThreadPool& pool);

/// Like `gemm`, with B packed by pack_b_bf16x3 and A not packed; k > 0. Where the CPU has no tiles
/// it does the same without, slowly.
void gemm_bf16x3(std::int64_t m, std::int64_t n, std::int64_t k, const GemmOperand& a,
                 const float* packed_b, float* c, std::int64_t ldc, const GemmEpilogue& epilogue,
                 ThreadPool& pool);

}  // namespace mezzo::kernels
