// Kernels of float32 images in the blocked layout nChw8c: [batch, channels / 8, height, width, 8].
//
// Eight channels of a pixel lie together, whatever the width of the target's vectors. Convolutions
// then take neighbouring pixels without looking for them, channels fill vectors whatever the
// image's size, and depthwise ones need no element of a neighbour's vector.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/conv_f32.h"
#include "kernels/pool_f32.h"

namespace mezzo::kernels {

/// Channels of a block.
inline constexpr std::int64_t kBlockChannels = 8;

/// Whether `blocked_conv` takes that shape: whole blocks of output channels, one group, or groups
/// that are whole blocks of input and output channels, or as many as there are of either; strides
/// along the rows of at most 2 but for the last.
bool blocked_conv_applies(const ConvShape& shape);
/// Whether the layout is the faster one on the active target, were all tensors in it.
bool blocked_layout_pays();
/// Whether its x is blocked; else, the channels not being whole blocks, x is plain NCHW.
bool blocked_conv_takes_blocked(const ConvShape& shape);

/// Bytes of the packed weights.
std::size_t blocked_weights_bytes(const ConvShape& shape);
/// Packs weights [out_c, in_c / groups, k_h, k_w]. The layout depends on the active target, on the
/// channels, on the window and on whether taps_lie_apart.
void pack_blocked_weights(const ConvShape& shape, const float* weights, float* packed,
                          ThreadPool& pool);
/// Bytes of scratch memory that `blocked_conv` needs (a padded copy of x); may be 0. Throws
/// Error(limit) on overflow.
std::size_t blocked_scratch_bytes(const ConvShape& shape);
/// Like `conv`, but that y and `add` are blocked, and x where blocked_conv_takes_blocked(shape).
void blocked_conv(const ConvShape& shape, const ConvArgs& args, void* scratch, ThreadPool& pool);

/// Bytes of the packed weights, and their packing: where they are not transformed ahead, that of
/// pack_winograd_weights.
std::size_t blocked_winograd_weights_bytes(const ConvShape& shape);
void pack_blocked_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                                   ThreadPool& pool);
/// Like `winograd_conv`, with the weights of pack_blocked_winograd_weights, but that x, y and `add`
/// are blocked: whole blocks of channels.
void blocked_winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool);

/// y [batch, channels / 8, pixels, 8] = x [batch, channels, pixels]; channels are whole blocks.
void to_blocked(std::int64_t batch, std::int64_t channels, std::int64_t pixels, const float* x,
                float* y, ThreadPool& pool);
/// Planes of a block of channels each, of so many pixels: all of an image's, or a band of its rows.
struct BlockedPlanes {
  std::int64_t planes = 0, pixels = 0;
  std::int64_t x_plane = 0, y_plane = 0;  ///< pixels in memory from one plane to the next
};
/// The way back; past the caches, if y is `streamed`.
void from_blocked(const BlockedPlanes& planes, const float* x, float* y, bool streamed,
                  ThreadPool& pool);
/// y [batch, channels / 8, pixels, 8] = x [batch, pixels, channels], and the way back.
void to_blocked_from_last(std::int64_t batch, std::int64_t channels, std::int64_t pixels,
                          const float* x, float* y, ThreadPool& pool);
void from_blocked_to_last(std::int64_t batch, std::int64_t channels, std::int64_t pixels,
                          const float* x, float* y, ThreadPool& pool);
/// Like `max_pool`, each plane being a block: x [planes, in_h, in_w, 8], the planes those of all
/// images of the batch.
void blocked_max_pool(std::int64_t batch, const PoolShape& shape, const float* x, float* y,
                      ThreadPool& pool);
/// Like `average_pool` in the same way; `row_shares` [out_h] and `col_shares` [out_w] as
/// WindowShares has them.
void blocked_average_pool(std::int64_t batch, const PoolShape& shape, const float* row_shares,
                          const float* col_shares, const float* x, float* y, ThreadPool& pool);
/// y [planes, 8]: the means over the pixels of x [planes, pixels, 8].
void blocked_mean(std::int64_t planes, std::int64_t pixels, const float* x, float* y,
                  ThreadPool& pool);

}  // namespace mezzo::kernels
