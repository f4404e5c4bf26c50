// First layers, windows of 7x7 with steps of 2 on images of few channels, by Winograd's method.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/conv_f32.h"

namespace mezzo::kernels {

/// Rows of outputs that are computed together.
inline constexpr std::int64_t kPhasedWinogradRows = 3;

/// Whether the method applies: 7x7 or 8x8 with steps of 2, no dilation, one group, at most four
/// channels of x, which is plain NCHW, and whole blocks of channels of y. Any padding.
bool phased_winograd_applies(const ConvShape& shape);
/// Whether it is faster than `blocked_conv` for a shape it applies to: it needs channels and pixels
/// that fill its tiles.
bool phased_winograd_pays(const ConvShape& shape);

/// Bytes of the packed weights, which depend on the active target, the channels and the window.
std::size_t phased_winograd_weights_bytes(const ConvShape& shape);
/// Packs weights [out_c, in_c, k_h, k_w] once, for any number of runs.
void pack_phased_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                                  ThreadPool& pool);
/// As `blocked_conv`, with the weights of pack_phased_winograd_weights: y and `add` are blocked. The
/// error is at most winograd_conv's. An infinity or NaN in x spreads over the tiles of 3 x 3 results
/// that read it.
void phased_winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool);

}  // namespace mezzo::kernels
