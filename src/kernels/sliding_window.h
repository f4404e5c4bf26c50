// The geometry that convolution and pooling share.
#pragma once

#include <cstdint>

namespace mezzo::kernels {

/// A window [k_h, k_w] that slides over a plane [in_h, in_w], as ONNX's Conv and pooling operators
/// define it. Padding at the bottom and right is what out_h and out_w imply. Extents, strides and
/// dilations are positive; paddings may be negative (a crop).
struct SlidingWindow {
  std::int64_t in_h = 1, in_w = 1;
  std::int64_t out_h = 1, out_w = 1;
  std::int64_t k_h = 1, k_w = 1;
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_top = 0, pad_left = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;

  bool operator==(const SlidingWindow&) const = default;
};

}  // namespace mezzo::kernels
