// 2-D pooling of float32 in NCHW.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// x [planes, in_h, in_w] -> y [planes, out_h, out_w], planes = batch * channels. All extents are
/// positive; padding at the bottom and right is what out_h and out_w imply. A window that lies in
/// the padding altogether gives -inf (max) or 0 (average).
struct PoolShape {
  std::int64_t planes = 1, in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  std::int64_t k_h = 1, k_w = 1;
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_top = 0, pad_left = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;
  /// As in ConvShape: the rows in memory of a plane of x and of y, where the image is a band of a
  /// larger one. Only pools in the blocked layout know them.
  std::int64_t x_rows = 0, y_rows = 0;

  /// Pixels in memory from one plane to the next.
  std::int64_t x_plane() const { return (x_rows != 0 ? x_rows : in_h) * in_w; }
  std::int64_t y_plane() const { return (y_rows != 0 ? y_rows : out_h) * out_w; }
};

/// The maximum of each window; NaN is carried through.
void max_pool(const PoolShape& shape, const float* x, float* y, ThreadPool& pool);

/// What an element counts for in the mean of each window: rows [out_h] times cols [out_w].
struct WindowShares {
  std::vector<float> rows, cols;
};
/// Of means over the elements inside the image, or, where `count_include_pad`, over those inside
/// the padded image, which ends pad_bottom and pad_right after the image (what a ceil-mode window
/// has beyond that is never counted).
WindowShares window_shares(const PoolShape& shape, bool count_include_pad, std::int64_t pad_bottom,
                           std::int64_t pad_right);

/// The mean of each window.
void average_pool(const PoolShape& shape, const WindowShares& shares, const float* x, float* y,
                  ThreadPool& pool);

}  // namespace mezzo::kernels
