#include "ops/attention_node.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/shape.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

Heads heads_of(const Op& op, int i, const char* attribute) {
  const Shape& shape = op.in_shape(i);
  if (shape.size() == 4) return heads_outside(shape[1], shape[2], shape[3]);
  const std::int64_t heads = op.attr_int(attribute);
  if (heads <= 0 || shape[2] % heads != 0) {
    throw invalid("the hidden size must be a multiple of the number of heads")
        .at(std::string("attribute '") + attribute + "'")
        .expected("a divisor of " + std::to_string(shape[2]))
        .got(std::to_string(heads));
  }
  return heads_inside(heads, shape[1], shape[2] / heads);
}

Heads past_of(const Op& op, int i, std::int64_t batch, const Heads& now) {
  if (!op.has_in(i)) return heads_outside(now.heads, 0, now.size);
  require_rank(op, i, 4, 4);
  const std::int64_t length = op.in_shape(i)[2];
  expect_shape(op, i, {batch, now.heads, length, now.size});
  return heads_outside(now.heads, length, now.size);
}

void read_mask(const Op& op, Attention& a) {
  require_rank(op, kMask, 1, 4);
  a.mask_shape = op.in_shape(kMask);
  a.mask_shape.insert(a.mask_shape.begin(), 4 - a.mask_shape.size(), 1);
  const Shape full = {a.batch, a.q.heads, a.q.length, a.mask_shape[3]};
  if (a.mask_shape[3] > a.total || !broadcasts_to(a.mask_shape, full)) {
    throw invalid("the mask does not broadcast to the attention scores")
        .at("input 3")
        .expected(to_string({a.batch, a.q.heads, a.q.length, a.total}) +
                  " or what broadcasts to it")
        .got(to_string(op.in_shape(kMask)));
  }
  a.mask_strides = broadcast_strides(a.mask_shape, full);
}

}  // namespace

Attention attention_of(const Op& op) {
  Attention a;
  for (int i = kQuery; i <= kValue; ++i) {
    require_rank(op, i, op.in_rank(0) == 4 ? 4 : 3, op.in_rank(0) == 4 ? 4 : 3);
  }
  a.batch = op.in_shape(kQuery)[0];
  a.q = heads_of(op, kQuery, "q_num_heads");
  a.k = heads_of(op, kKey, "kv_num_heads");
  a.v = heads_of(op, kValue, "kv_num_heads");
  if (op.in_shape(kKey)[0] != a.batch || op.in_shape(kValue)[0] != a.batch ||
      a.k.size != a.q.size || a.v.length != a.k.length || a.v.heads != a.k.heads ||
      a.k.heads == 0 || a.q.heads % a.k.heads != 0) {
    throw invalid("queries, keys and values do not fit each other")
        .got(to_string(op.in_shape(kQuery)) + ", " + to_string(op.in_shape(kKey)) + " and " +
             to_string(op.in_shape(kValue)));
  }
  if (op.has_in(kPastKey) != op.has_in(kPastValue)) {
    throw invalid("past_key and past_value must be given together");
  }
  a.past_k = past_of(op, kPastKey, a.batch, a.k);
  a.past_v = past_of(op, kPastValue, a.batch, a.v);
  if (a.past_k.length != a.past_v.length) {
    throw invalid("past_key and past_value differ in length");
  }
  a.total = checked_add(a.past_k.length, a.k.length);
  a.present_k = heads_outside(a.k.heads, a.total, a.k.size);
  a.present_v = heads_outside(a.v.heads, a.total, a.v.size);
  a.y = op.in_rank(0) == 4 ? heads_outside(a.q.heads, a.q.length, a.v.size)
                           : heads_inside(a.q.heads, a.q.length, a.v.size);
  if (op.has_in(kMask)) read_mask(op, a);
  if (op.has_in(kValidKeys)) {
    expect_shape(op, kValidKeys, {a.batch});
    if (op.has_in(kPastKey)) throw invalid("nonpad_kv_seqlen and past_key exclude each other");
  }
  a.scale = op.has_attr("scale")
                ? op.attr_float("scale")
                : 1 / std::sqrt(static_cast<double>(std::max<std::int64_t>(1, a.q.size)));
  a.softcap = op.attr_float("softcap");
  a.causal = op.attr_int("is_causal") != 0;
  if (op.row().versions().front() >= 25) {
    // No window is wider than all places are apart.
    const std::int64_t widest = checked_add(a.total, a.q.length);
    a.left_window = std::min(widest, op.attr_int("left_window_size"));
    a.right_window = std::min(widest, op.attr_int("right_window_size"));
  }
  a.shown = op.attr_int("qk_matmul_output_mode");
  if (a.shown < 0 || a.shown > 3) {
    throw invalid("an unknown mode")
        .at("attribute 'qk_matmul_output_mode'")
        .expected("0 to 3")
        .got(std::to_string(a.shown));
  }
  return a;
}

}  // namespace mezzo::ops
