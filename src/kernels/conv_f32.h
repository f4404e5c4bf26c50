// 2-D convolution of float32 in NCHW.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// x [batch, in_c, in_h, in_w], weights [out_c, in_c / groups, k_h, k_w], y [batch, out_c, out_h,
/// out_w]. A 1-D convolution has heights of 1. Padding at the bottom and right is what out_h and
/// out_w imply; paddings may be negative (a crop). All extents must be positive; groups must divide
/// in_c and out_c.
struct ConvShape {
  std::int64_t batch = 1, in_c = 1, in_h = 1, in_w = 1;
  std::int64_t out_c = 1, out_h = 1, out_w = 1;
  std::int64_t k_h = 1, k_w = 1;
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_top = 0, pad_left = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  /// What the image is a band of, if it is one: the rows in memory of a plane of x, of y, of the
  /// summand and of what the stages give. 0: no more than the shape says. Only kernels of the
  /// blocked layout know them, for one image.
  std::int64_t x_rows = 0, y_rows = 0, add_rows = 0, stage_rows = 0;
  /// Images of the batch that this one is a part of; 0: no more than it has. How numbers are summed
  /// must not depend on the part.
  std::int64_t whole_batch = 0;

  /// Pixels in memory from one plane to the next.
  std::int64_t x_plane() const { return (x_rows != 0 ? x_rows : in_h) * in_w; }
  std::int64_t y_plane() const { return (y_rows != 0 ? y_rows : out_h) * out_w; }
  std::int64_t add_plane() const { return (add_rows != 0 ? add_rows : out_h) * out_w; }
  std::int64_t stage_plane() const { return (stage_rows != 0 ? stage_rows : out_h) * out_w; }

  bool operator==(const ConvShape&) const = default;
};

/// What a convolution in the blocked layout gives besides y: the tensors on the way there, plain
/// and dense; each may be null. Where there is a `shift`, which has taken in the bias, a norm
/// follows the convolution: y is then clamp(conv(x, weights) * scale + shift + add, min, max).
struct ConvStages {
  bool wanted() const {
    return shift != nullptr || conv != nullptr || scaled != nullptr || sum != nullptr ||
           result != nullptr;
  }

  /// [out_c]; null: 1. Weights that have taken in the norm's factors want no scale, and what is
  /// ahead of the norm wants the inverse of them.
  const float *scale = nullptr, *unscale = nullptr;
  const float* shift = nullptr;  ///< [out_c]
  float* conv = nullptr;         ///< conv(x, weights) * unscale + bias
  float* scaled = nullptr;       ///< conv(x, weights) * scale + shift
  float* sum = nullptr;          ///< scaled (or conv, where there is no shift) + add
  float* result = nullptr;       ///< y
  /// The same once more where there is a result, whole lines of the cache from that.
  float* copy = nullptr;

  /// All that may be given.
  std::array<float**, 5> given() { return {&conv, &scaled, &sum, &result, &copy}; }
};

/// y = clamp(conv(x, weights) + bias + add, min, max). `bias` [out_c] and `add` (like y, dense) may
/// be null; `add` may be `y`, but not where there are `stages`, which only kernels of the blocked
/// layout know.
struct ConvArgs {
  const float* x = nullptr;
  const float* packed_weights = nullptr;
  const float* bias = nullptr;
  const float* add = nullptr;
  float* y = nullptr;
  /// Elements from one image of y to the next (a slice of a concatenation); 0: dense.
  std::int64_t y_batch_stride = 0;
  float min = -std::numeric_limits<float>::infinity();
  float max = std::numeric_limits<float>::infinity();
  ConvStages stages = {};
};

/// Bytes of the packed weights. The layout depends on the active target and on the whole shape but
/// for its batch.
std::size_t packed_weights_bytes(const ConvShape& shape);
/// Packs weights [out_c, in_c / groups, k_h, k_w] once, for any number of runs.
void pack_weights(const ConvShape& shape, const float* weights, float* packed, ThreadPool& pool);
/// Bytes of scratch memory that `conv` needs (a padded copy of x), whatever the threads; may be 0.
/// Throws Error(limit) on overflow.
std::size_t scratch_bytes(const ConvShape& shape);
/// Runs the convolution. `scratch` is scratch_bytes(shape) of memory that nobody else
/// uses meanwhile, 64-byte aligned.
void conv(const ConvShape& shape, const ConvArgs& args, void* scratch, ThreadPool& pool);

}  // namespace mezzo::kernels
