// What an Attention node (attention.cc) is asked for.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace mezzo::ops {

enum AttentionInput { kQuery, kKey, kValue, kMask, kPastKey, kPastValue, kValidKeys };

/// [batch, heads, length, size] in memory, or with heads and length the other way round; the last
/// axis is contiguous.
struct Heads {
  std::int64_t heads = 0, length = 0, size = 0;
  std::int64_t batch_stride = 0, head_stride = 0, row_stride = 0;

  std::int64_t at(std::int64_t batch, std::int64_t head, std::int64_t row) const {
    return batch * batch_stride + head * head_stride + row * row_stride;
  }
};

inline Heads heads_outside(std::int64_t heads, std::int64_t length, std::int64_t size) {
  return {heads, length, size, heads * length * size, length * size, size};
}

inline Heads heads_inside(std::int64_t heads, std::int64_t length, std::int64_t size) {
  return {heads, length, size, heads * length * size, size, heads * size};
}

struct Attention {
  std::int64_t batch = 0;
  Heads q, k, v, y;            // as given and as asked for
  Heads past_k, past_v;        // length 0 where there are none
  Heads present_k, present_v;  // with the past before
  std::int64_t total = 0;      // keys, the past ones included
  double scale = 1, softcap = 0;
  bool causal = false;
  std::int64_t left_window = -1, right_window = -1;
  std::int64_t shown = 0;  // what qk_matmul_output shows
  Shape mask_shape;        // of four axes, the last of which is never repeated
  std::vector<std::int64_t> mask_strides;
};

/// Throws Error(invalid_model) where the operands do not fit each other.
Attention attention_of(const Op& op);

}  // namespace mezzo::ops
