// Attention of float32, fused: the scores of a few queries stay in the cache from their product
// with the keys to the one with the values.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// Where rows of heads lie: element (b, h, row, column) at data[b * batch_stride + h * head_stride
/// + row * row_stride + column].
template <class T>
struct AttentionRows {
  T* data = nullptr;
  std::int64_t batch_stride = 0, head_stride = 0, row_stride = 0;

  T* at(std::int64_t b, std::int64_t h, std::int64_t row = 0) const {
    return data + b * batch_stride + h * head_stride + row * row_stride;
  }
};

/// What lies between the steps of attention, for whoever wants it: [batch, heads, queries, keys],
/// and of `mixed` [batch, heads, queries, value_size], each without gaps, or null. It goes past the
/// caches.
struct AttentionTaps {
  float product_scale = 1;
  float* product = nullptr;  ///< product_scale * q k'
  float* scaled = nullptr;   ///< scale * q k'
  float* chosen = nullptr;   ///< those with the condition
  float* scores = nullptr;   ///< with the mask
  float* weights = nullptr;  ///< their softmax
  float* guarded = nullptr;  ///< that, where it is not NaN, else 0
  float* mixed = nullptr;    ///< y by heads

  bool any_scores() const {
    return product != nullptr || scaled != nullptr || chosen != nullptr || scores != nullptr;
  }
  bool any_weights() const { return weights != nullptr || guarded != nullptr; }
};

/// Scores that are replaced by a number, by bytes that lie as those of a mask: where they are 0, or
/// where they are not.
struct AttentionCondition {
  AttentionRows<const std::uint8_t> at;  ///< no data: none are
  std::int64_t key_stride = 0;
  std::int64_t bytes = 0;  ///< all that the strides lead to
  bool keeps = true;       ///< bytes other than 0 leave a score as it is, or replace it
  float fill = 0;

  bool replaces(std::uint8_t byte) const { return (byte != 0) != keeps; }
};

/// Which keys queries see by their place. Query i of entry b stands at `before[b]` + i among the
/// keys. It sees no key from before[b] + queries on, with `causal` none behind its own place, and
/// with a `window` the last so many up to that. Each query must see some.
struct AttentionSight {
  const std::int64_t* before = nullptr;  ///< null: all see all; else none is negative
  bool causal = false;
  std::int64_t window = -1;

  /// The keys that a query at `place` sees, of which those of the entry are `keys`.
  std::int64_t begin(std::int64_t place) const {
    return window >= 0 ? std::max<std::int64_t>(0, place + 1 - window) : 0;
  }
  std::int64_t end(std::int64_t place, std::int64_t keys) const {
    return causal ? std::min(keys, place + 1) : keys;
  }
};

/// y = softmax(scale * q k' + mask) v for every entry of the batch and every head, with the
/// condition ahead of the mask. q is [queries, size], k [keys, size], v [keys, value_size] and y
/// [queries, value_size], each anywhere; y overlaps none of the others. Of keys and values there
/// are `kv_heads`, a divisor of `heads`: as many heads in a row share one. The mask's element for
/// (b, h, query, key) is at b, h, query as in AttentionRows and `mask_key_stride` * key; strides of
/// 0 repeat it, and without data it is 0. A row with a NaN or without anything above -inf gives
/// NaNs, as the formula does, or, with `guards`, zeros; but keys from some one on that mask or
/// condition hide from all queries (-1e30 or less) may have weights of 0 whatever they are, and
/// their values no part. keys >= 1.
struct AttentionArgs {
  std::int64_t batch = 0, heads = 0, kv_heads = 0;
  std::int64_t queries = 0, keys = 0, size = 0, value_size = 0;
  float scale = 1;
  AttentionRows<const float> q, k, v, mask;
  std::int64_t mask_key_stride = 0;
  AttentionCondition condition;
  bool guards = false;   ///< weights that are NaN count as 0
  AttentionSight sight;  ///< what a query doesn't see is not computed; without taps only
  AttentionRows<float> y;
  AttentionTaps taps;

  std::int64_t group() const { return heads / kv_heads; }
};
void attention(const AttentionArgs& args, ThreadPool& pool);
/// The same, faster for fewer queries than that: keys and values are read where they lie. Each sees
/// all keys.
constexpr std::int64_t kFewQueries = 4;
void attention_of_few(const AttentionArgs& args, ThreadPool& pool);

}  // namespace mezzo::kernels
