// Convolutions of float32 images in the blocked layout to a few channels, which are plain: the last
// layer of networks whose result is an image.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/rounding.h"
#include "base/thread_pool.h"
#include "kernels/conv_f32.h"

namespace mezzo::kernels {

/// Output channels that are taken together from `first` on, as even as can be: three at most.
inline std::int64_t few_together(std::int64_t out_c, std::int64_t first) {
  const std::int64_t left = out_c - first;
  return ceil_div(left, ceil_div(left, std::int64_t{3}));
}

/// Whether `blocked_few_conv` takes that shape: one group of whole blocks of input channels, and at
/// most 12 output channels that are no whole blocks.
bool blocked_few_applies(const ConvShape& shape);

/// Bytes of the packed weights.
std::size_t blocked_few_weights_bytes(const ConvShape& shape);
/// Packs weights [out_c, in_c, k_h, k_w], the same for all targets.
void pack_blocked_few_weights(const ConvShape& shape, const float* weights, float* packed,
                              ThreadPool& pool);

/// Like `conv`, but that x is blocked; y and `add` are plain. There are no stages.
void blocked_few_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool);

}  // namespace mezzo::kernels
