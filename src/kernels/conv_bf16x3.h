// Convolutions of float32 in the blocked layout by tiles of bfloat16; see simd_bf16x3_inl.h.
#pragma once

#include <cstddef>

#include "base/thread_pool.h"
#include "kernels/conv_f32.h"

namespace mezzo::kernels {

/// Whether `conv_bf16x3` takes that shape: one group, whole blocks of input and output channels.
bool conv_bf16x3_applies(const ConvShape& shape);
/// Whether it is faster than `blocked_conv`, where there are tiles at all.
bool conv_bf16x3_pays(const ConvShape& shape);

/// Bytes of the packed weights.
std::size_t conv_bf16x3_weights_bytes(const ConvShape& shape);
/// Packs weights [out_c, in_c, k_h, k_w]. The layout depends on these sizes only.
void pack_conv_bf16x3_weights(const ConvShape& shape, const float* weights, float* packed,
                              ThreadPool& pool);
/// Like `blocked_conv`: x, y and `add` are blocked. Where the CPU has no tiles it does the same
/// without, slowly. Scratch memory is kept per thread.
void conv_bf16x3(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool);

}  // namespace mezzo::kernels
