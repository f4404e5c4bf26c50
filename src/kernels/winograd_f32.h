// 3x3 convolution of float32 with a quarter of the multiplications, by Winograd's method.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/conv_f32.h"

namespace mezzo::kernels {

/// Rows of outputs that are computed together.
inline constexpr std::int64_t kWinogradRows = 4;

/// How `blocked_winograd_conv` takes images.
struct WinogradTiles {
  std::int64_t rows = kWinogradRows;  ///< outputs of a tile, and as many columns
  bool ahead = false;                 ///< weights are transformed when they are packed
};

/// Whether the method applies: 3x3, strides and dilations of 1, not depthwise. Any padding.
bool winograd_applies(const ConvShape& shape);
/// The same in the blocked layout, which takes any dilation.
bool blocked_winograd_applies(const ConvShape& shape);
/// Multiply-adds of a direct convolution that would take as long as the method does, about: those
/// of its products, and what the transforms cost. In the blocked layout those of x and y are less.
double winograd_work(const ConvShape& shape);
double blocked_winograd_work(const ConvShape& shape);
/// How `blocked_winograd_conv` takes images of a shape. Depends on the active target and the size of
/// an image, not on which band of its rows the shape is, nor on the batch (the whole one) but where
/// one image alone is too few tiles.
WinogradTiles blocked_winograd_tiles(const ConvShape& shape);
/// Whether it is faster than `conv`, or `blocked_conv`, for a shape it applies to. It needs enough
/// channels to hide the transforms of x and y, and enough pixels to hide those of the weights.
bool winograd_pays(const ConvShape& shape);
bool blocked_winograd_pays(const ConvShape& shape);

/// Bytes of the packed weights. The layout depends on the active target, the channels and the
/// groups only.
std::size_t winograd_weights_bytes(const ConvShape& shape);
/// Floats of them from one group to the next.
std::int64_t winograd_group_floats(const ConvShape& shape);
/// Packs weights [out_c, in_c / groups, 3, 3] once, for any number of runs.
void pack_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                           ThreadPool& pool);
/// As `conv`, with the weights of pack_winograd_weights. Needs no scratch memory of the caller's.
/// The error against the exact result is up to 2e-5 of the results' standard deviation, two to
/// three times that of direct summation. An infinity or NaN in x spreads over the tiles that read
/// it: 4 x 4 results or more of each channel are NaN then.
void winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool);

}  // namespace mezzo::kernels
