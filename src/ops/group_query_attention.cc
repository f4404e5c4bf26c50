// com.microsoft GroupQueryAttention (1): attention of decoders, whose heads share keys and values,
// with what came before: softmax(scale Q K' + bias) V over the past and the new tokens, which are
// rotated and joined with the past. Spec: the schema in ONNX Runtime. Caches of 4 or 8 bits, norms
// of Q and K, sinks and caps of the scores are not there.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/shape.h"
#include "kernels/attention_f32.h"
#include "ops/rotary.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

enum In {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kLengths,
  kTotal,
  kCosines,
  kSines,
  kPositions,
  kBias
};
enum Out { kY, kPresentKey, kPresentValue };

struct GroupQuery {
  std::int64_t batch = 0, heads = 0, kv_heads = 0, size = 0;
  std::int64_t length = 0, past = 0, total = 0, present = 0;  // new tokens, rows of the caches
  std::int64_t window = -1;    // the last keys that a query sees, its own among them; -1: all
  std::int64_t positions = 0;  // rows of cosines and sines; 0: nothing turns
  bool causal = true, packed = false;
  RotaryHead head;
  float scale = 1;
  Shape bias;
  std::vector<std::int64_t> bias_strides;

  // Whether all tokens are new; else the new ones follow others.
  bool is_prompt() const { return length == total; }
  // Columns of a token's queries, keys and values, and of the row that they lie in.
  std::int64_t q_width() const { return heads * size; }
  std::int64_t kv_width() const { return kv_heads * size; }
  std::int64_t q_stride() const { return packed ? q_width() + 2 * kv_width() : q_width(); }
  std::int64_t kv_stride() const { return packed ? q_stride() : kv_width(); }
  Shape cache(std::int64_t rows) const { return {batch, kv_heads, rows, size}; }
  // Heads that the bias tells apart.
  std::int64_t mask_heads() const { return !bias.empty() && bias[1] != 1 ? heads : 1; }
};

void refuse_what_is_missing(const Op& op) {
  const auto unsupported = [](const std::string& what) {
    throw Error(ErrorCode::unsupported, "GroupQueryAttention with " + what);
  };
  if (op.attr_float("softcap") != 0) unsupported("a cap of the scores");
  if (op.attr_int("smooth_softmax") > 0 || op.has_in(11)) unsupported("a sink in the softmax");
  if (op.has_in(12) || op.has_in(13)) unsupported("a cache of integers");
  if (op.has_in(14) || op.has_in(15)) unsupported("norms of queries and keys");
  if (op.has_in(16)) unsupported("'query_seqlens'");
  if (op.attr_int("sliding_window_cache") != 0) unsupported("a cache of one window");
  if (op.has_out(3)) unsupported("the output of the scores");
}

void read_rotary(const Op& op, GroupQuery& a) {
  if (op.attr_int("do_rotary") == 0) return;
  for (const int i : {kCosines, kSines}) {
    if (!op.has_in(i)) throw invalid("rotation needs 'cos_cache' and 'sin_cache'");
    require_rank(op, i, 2, 2);
  }
  const Shape& cosines = op.in_shape(kCosines);
  if (cosines[0] == 0 || 2 * cosines[1] > a.size)
    throw misfit(op, kCosines, "rows of at most " + std::to_string(a.size / 2));
  expect_shape(op, kSines, cosines);
  expect_shape(op, kPositions, {a.batch, a.length});
  a.positions = cosines[0];
  a.head = {a.size, cosines[1], op.attr_int("rotary_interleaved") != 0};
}

void read_past(const Op& op, GroupQuery& a) {
  if (op.has_in(kPastKey) != op.has_in(kPastValue))
    throw invalid("past keys and values come both or not at all");
  if (op.has_in(kPastKey)) {
    require_rank(op, kPastKey, 4, 4);
    a.past = op.in_shape(kPastKey)[2];
    expect_shape(op, kPastKey, a.cache(a.past));
    expect_shape(op, kPastValue, a.cache(a.past));
  }
  expect_shape(op, kLengths, {a.batch});
  const std::vector<std::int64_t> total = op.ints(kTotal);
  if (total.size() != 1 || total[0] < a.length) {
    throw invalid("the new tokens are part of all")
        .at("input 'total_sequence_length'")
        .expected("one number, at least " + std::to_string(a.length))
        .got(total.empty() ? "none" : std::to_string(total[0]));
  }
  a.total = total[0];
  a.present = std::max(a.total, a.past);
}

GroupQuery attention_of(const Op& op) {
  refuse_what_is_missing(op);
  require_rank(op, kQuery, 3, 3);
  GroupQuery a;
  a.batch = op.in_shape(kQuery)[0];
  a.length = op.in_shape(kQuery)[1];
  if (a.length == 0) throw misfit(op, kQuery, "at least one token");
  a.heads = op.attr_int("num_heads");
  a.kv_heads = op.attr_int("kv_num_heads");
  if (a.heads <= 0 || a.kv_heads <= 0 || a.heads % a.kv_heads != 0) {
    throw invalid("heads share keys and values evenly")
        .at("attributes 'num_heads', 'kv_num_heads'")
        .expected("a number and a divisor of it")
        .got(std::to_string(a.heads) + ", " + std::to_string(a.kv_heads));
  }
  a.packed = !op.has_in(kKey) && !op.has_in(kValue);
  const std::int64_t width = op.in_shape(kQuery)[2],
                     side_by_side =
                         a.packed ? checked_add(a.heads, checked_mul(2, a.kv_heads)) : a.heads;
  if (width == 0 || width % side_by_side != 0)
    throw misfit(op, kQuery, "columns for each of " + std::to_string(side_by_side) + " heads");
  a.size = width / side_by_side;
  if (!a.packed) {
    if (!op.has_in(kKey) || !op.has_in(kValue))
      throw invalid("keys and values come both or side by side with the queries");
    for (const int i : {kKey, kValue}) expect_shape(op, i, {a.batch, a.length, a.kv_width()});
  }
  read_past(op, a);
  read_rotary(op, a);
  if (op.has_in(kBias)) {
    const Shape full = {a.batch, a.heads, a.length, a.total};
    a.bias = op.in_shape(kBias);
    if (a.bias.size() != 4 || !broadcasts_to(a.bias, full) || a.bias[3] != a.total)
      throw misfit(op, kBias, to_string(full) + " or what broadcasts to it");
    a.bias_strides = broadcast_strides(a.bias, full);
  }
  a.causal = op.attr_int("causal") != 0;
  a.window = op.attr_int("local_window_size");
  if (a.window == 0) {
    throw invalid("a query sees at least its own key")
        .at("attribute 'local_window_size'")
        .expected("-1, or a number from 1 on")
        .got("0");
  }
  const float scale = op.attr_float("scale");
  a.scale = scale != 0 ? scale : 1 / std::sqrt(static_cast<float>(a.size));
  return a;
}

void infer(Op& op) {
  const GroupQuery a = attention_of(op);
  op.set_out(kY, op.in(kQuery).dtype, {a.batch, a.length, a.q_width()});
  for (const int i : {kPresentKey, kPresentValue})
    op.set_out(i, op.in(kQuery).dtype, a.cache(a.present));
}

// One run: where the tokens of each entry of the batch begin, and what they read and write.
class Step {
 public:
  Step(const GroupQuery& a, Run& run)
      : a_(a), run_(run), positions_(run.in<std::int64_t>(kPositions)) {
    const auto* lengths = run.in<std::int32_t>(kLengths);
    for (std::int64_t b = 0; b < a.batch; ++b) {
      const std::int64_t total = std::int64_t{lengths[b]} + 1,
                         before = a.is_prompt() ? 0 : total - a.length;
      if (total < 1 || total > a.total || before < 0 || before > (a.is_prompt() ? 0 : a.past)) {
        throw Error(ErrorCode::runtime, "the caches do not hold so many tokens")
            .at("input 'seqlens_k'")
            .expected("with the new ones at most " + std::to_string(a.total) + ", less one")
            .got(std::to_string(lengths[b]));
      }
      before_.push_back(before);
    }
    const auto* q = run.in<float>(kQuery);
    for (int i = 0; i < 3; ++i) {
      const std::int64_t at = i == 0 ? 0 : a.q_width() + (i - 1) * a.kv_width();
      from_[i] = a.packed ? q + at : run.in<float>(i);
    }
  }

  // How many keys there are at most.
  std::int64_t keys() const {
    return *std::max_element(before_.begin(), before_.end()) + a_.length;
  }

  // Past and new keys (`out` kPresentKey) or values.
  void join(int out, float* present) const {
    const auto* past = run_.in<float>(out == kPresentKey ? kPastKey : kPastValue);
    const float* rows = from_[out];
    run_.pool().parallel_for(a_.batch * a_.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t b = i / a_.kv_heads, h = i % a_.kv_heads;
        const std::int64_t before = before_[static_cast<std::size_t>(b)];
        float* to = present + i * a_.present * a_.size;
        float* end_of_head = to + a_.present * a_.size;
        if (past != nullptr) to = std::copy_n(past + i * a_.past * a_.size, before * a_.size, to);
        for (std::int64_t s = 0; s < a_.length; ++s, to += a_.size) {
          const float* x = rows + (b * a_.length + s) * a_.kv_stride() + h * a_.size;
          if (out == kPresentKey) {
            turn(b, s, x, to);
          } else {
            std::copy_n(x, a_.size, to);
          }
        }
        std::fill(to, end_of_head, 0.0F);
      }
    });
  }

  // The queries, turned.
  void rotate(float* queries) const {
    run_.pool().parallel_for(a_.batch * a_.length, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t token = begin; token < end; ++token) {
        for (std::int64_t h = 0; h < a_.heads; ++h) {
          turn(token / a_.length, token % a_.length, from_[0] + token * a_.q_stride() + h * a_.size,
               queries + token * a_.q_width() + h * a_.size);
        }
      }
    });
  }

  // Whether one of a few queries does not see all keys, or has a bias.
  bool needs_mask() const {
    const auto differ = [&](std::int64_t before) { return before != before_[0]; };
    return a_.length > 1 || !a_.bias.empty() || (a_.window >= 0 && a_.window < keys()) ||
           std::any_of(before_.begin(), before_.end(), differ);
  }

  // [batch, mask_heads, length, keys].
  void fill_mask(float* mask) const {
    const std::int64_t keys = this->keys();
    const auto* bias = run_.in<float>(kBias);
    for (std::int64_t b = 0; b < a_.batch; ++b) {
      for (std::int64_t h = 0; h < a_.mask_heads(); ++h) {
        for (std::int64_t s = 0; s < a_.length; ++s, mask += keys) {
          const std::int64_t before = before_[static_cast<std::size_t>(b)], at = before + s;
          const std::int64_t end = a_.causal ? at + 1 : before + a_.length;
          const std::int64_t begin =
              a_.window >= 0 ? std::max<std::int64_t>(0, at + 1 - a_.window) : 0;
          for (std::int64_t j = 0; j < keys; ++j) {
            if (j < begin || j >= end) {
              mask[j] = -std::numeric_limits<float>::infinity();
            } else if (bias != nullptr) {
              mask[j] = bias[b * a_.bias_strides[0] + h * a_.bias_strides[1] +
                             s * a_.bias_strides[2] + j * a_.bias_strides[3]];
            } else {
              mask[j] = 0;
            }
          }
        }
      }
    }
  }

  const float* queries() const { return from_[0]; }
  // By entry of the batch: how many tokens are in its past.
  const std::int64_t* before() const { return before_.data(); }

 private:
  void turn(std::int64_t b, std::int64_t s, const float* x, float* y) const {
    if (a_.positions == 0) {
      std::copy_n(x, a_.size, y);
      return;
    }
    std::int64_t row = 0;
    if (positions_ == nullptr) {
      row = rotary_row(kLengths, before_[static_cast<std::size_t>(b)], s, a_.positions);
    } else if (a_.is_prompt()) {
      row = rotary_row(kPositions, positions_[0], s, a_.positions);
    } else {
      row = rotary_row(kPositions, positions_[b * a_.length + s], 0, a_.positions);
    }
    const std::int64_t at = row * a_.head.half;
    a_.head.turn(x, y, run_.in<float>(kCosines) + at, run_.in<float>(kSines) + at);
  }

  const GroupQuery& a_;
  Run& run_;
  const std::int64_t* positions_;
  const float* from_[3];
  std::vector<std::int64_t> before_;  // tokens in the past
};

// Floats of a run's own: queries, a mask, and the caches that nobody asked for.
struct Scratch {
  std::int64_t queries, mask, cache;

  explicit Scratch(const GroupQuery& a)
      : queries(a.positions == 0 ? 0 : checked_mul(checked_mul(a.batch, a.length), a.q_width())),
        mask(a.length >= kernels::kFewQueries ? 0
                                              : checked_mul(checked_mul(a.batch, a.mask_heads()),
                                                            checked_mul(a.length, a.present))),
        cache(element_count(a.cache(a.present))) {}
};

Choice fused(Op& op) {
  if (op.in(kQuery).dtype != DType::f32) return refuse("not float32");
  const GroupQuery attention = attention_of(op);
  const Scratch scratch(attention);
  std::int64_t floats = checked_add(scratch.queries, scratch.mask);
  for (const int i : {kPresentKey, kPresentValue})
    floats = checked_add(floats, op.has_out(i) ? 0 : scratch.cache);
  op.set_scratch(checked_mul(floats, sizeof(float)));
  return Kernel([a = attention, scratch](Run& run) {
    if (a.batch * a.length == 0) return;
    const Step step(a, run);
    auto* memory = static_cast<float*>(run.scratch());
    float* caches[3] = {};
    for (const int i : {kPresentKey, kPresentValue}) {
      caches[i] = run.out<float>(i);
      if (caches[i] == nullptr) caches[i] = std::exchange(memory, memory + scratch.cache);
      step.join(i, caches[i]);
    }
    kernels::AttentionArgs args;
    args.batch = a.batch;
    args.heads = a.heads;
    args.kv_heads = a.kv_heads;
    args.queries = a.length;
    args.keys = step.keys();
    args.size = args.value_size = a.size;
    args.scale = a.scale;
    args.q = {step.queries(), a.length * a.q_stride(), a.size, a.q_stride()};
    if (a.positions != 0) {
      float* turned = std::exchange(memory, memory + scratch.queries);
      step.rotate(turned);
      args.q = {turned, a.length * a.q_width(), a.size, a.q_width()};
    }
    const std::int64_t of_head = a.present * a.size;
    args.k = {caches[kPresentKey], a.kv_heads * of_head, of_head, a.size};
    args.v = {caches[kPresentValue], a.kv_heads * of_head, of_head, a.size};
    args.y = {run.out<float>(kY), a.length * a.q_width(), a.size, a.q_width()};
    if (a.length >= kernels::kFewQueries) {
      args.sight = {step.before(), a.causal, a.window};
      if (!a.bias.empty()) {
        args.mask = {run.in<float>(kBias), a.bias_strides[0], a.bias_strides[1], a.bias_strides[2]};
        args.mask_key_stride = a.bias_strides[3];
      }
    } else if (step.needs_mask()) {
      step.fill_mask(memory);
      const std::int64_t of_mask = a.length * args.keys;
      args.mask = {memory, a.mask_heads() * of_mask, a.mask_heads() > 1 ? of_mask : 0, args.keys};
      args.mask_key_stride = 1;
    }
    kernels::attention(args, run.pool());
  });
}

// Of all the keys that there may be: how many there are, a run may be the first to know.
std::int64_t multiply_adds(const Op& op) {
  const Shape &q = op.in_shape(kQuery), &y = op.out_shape(kY);
  const std::int64_t past = op.has_in(kPastKey) ? op.in_shape(kPastKey)[2] : 0;
  return checked_mul(checked_mul(2 * q[0], q[1]), checked_mul(past + q[1], y[2]));
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(group_query_attention) {
  const TypeSet floats = {DType::f32, DType::f16, DType::bf16};
  op("GroupQueryAttention", "com.microsoft")
      .since(1)
      .attr("causal", 1)
      .attr("do_rotary", 0)
      .attr("k_norm_epsilon", Kind::float_)
      .attr("k_quant_type", Kind::string)
      .attr("kv_cache_bit_width", Kind::int_)
      .required("kv_num_heads", Kind::int_)
      .attr("local_window_size", -1)
      .required("num_heads", Kind::int_)
      .attr("q_norm_epsilon", Kind::float_)
      .attr("qk_norm_epsilon", Kind::float_)
      .attr("qk_output", 0)
      .attr("rotary_interleaved", 0)
      .attr("scale", 0.0F)
      .attr("sliding_window_cache", 0)
      .attr("smooth_softmax", 0)
      .attr("softcap", 0.0F)
      .attr("v_quant_type", Kind::string)
      .in("query", floats)
      .in("key", like(0), Arity::optional)
      .in("value", like(0), Arity::optional)
      .in("past_key", like(0), Arity::optional)
      .in("past_value", like(0), Arity::optional)
      .in("seqlens_k", DType::i32)
      .in("total_sequence_length", DType::i32)
      .in("cos_cache", like(0), Arity::optional)
      .in("sin_cache", like(0), Arity::optional)
      .in("position_ids", DType::i64, Arity::optional)
      .in("attention_bias", like(0), Arity::optional)
      .in("head_sink", like(0), Arity::optional)
      .in("k_scale", DType::f32, Arity::optional)
      .in("v_scale", DType::f32, Arity::optional)
      .in("q_norm_weight", like(0), Arity::optional)
      .in("k_norm_weight", like(0), Arity::optional)
      .in("query_seqlens", DType::i32, Arity::optional)
      .out("output", like(0))
      .out("present_key", like(0), Arity::optional)
      .out("present_value", like(0), Arity::optional)
      .out("output_qk", like(0), Arity::optional)
      .infer(infer)
      .kernel("fused", fused)
      .multiply_adds(multiply_adds);
}
