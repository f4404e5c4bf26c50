// FusedAttention (mezzo 1), which the pass `attention` makes: softmax(scale Q K' + mask) V by
// heads, with scores replaced by a number where a condition says so, and on the way whatever lies
// between. Q [B, S, H D], K [B, L, G D] and V [B, L, G E], of
// which each may come by heads: [B, H, S, D]; H / G heads share keys and values. Without the latter
// two, Q, K and V lie side by side in one [B, S, 3 H D]. Mask and condition broadcast to
// [B, H, S, L].

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/shape.h"
#include "kernels/attention_f32.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

// Inputs and outputs by number.
enum In { kQuery, kKey, kValue, kMask, kCondition };
enum Out { kY, kProduct, kScaled, kScores, kWeights, kMixed, kChosen, kGuarded };

// What the kernel takes, but for the pointers.
struct Attention {
  kernels::AttentionArgs args;
  bool packed = false;

  std::int64_t hidden() const { return args.heads * args.size; }
  std::int64_t value_hidden() const { return args.heads * args.value_size; }
  Shape scores() const { return {args.batch, args.heads, args.queries, args.keys}; }
};

// How an input's rows of heads lie, as rows or by heads.
struct Rows {
  std::int64_t count = 0, size = 0;
  kernels::AttentionRows<const float> at;
};

Rows rows_of(const Op& op, int i, std::int64_t batch, std::int64_t heads) {
  require_rank(op, i, 3, 4);
  const Shape& shape = op.in_shape(i);
  const bool by_heads = shape.size() == 4;
  Rows rows;
  rows.count = shape[by_heads ? 2 : 1];
  if (by_heads) {
    rows.size = shape[3];
    expect_shape(op, i, {batch, heads, rows.count, rows.size});
    const std::int64_t of_head = checked_mul(rows.count, rows.size);
    rows.at = {nullptr, checked_mul(heads, of_head), of_head, rows.size};
    return rows;
  }
  const std::int64_t width = shape[2];
  if (width <= 0 || width % heads != 0) {
    throw misfit(op, i, "columns for each of " + std::to_string(heads) + " heads");
  }
  rows.size = width / heads;
  expect_shape(op, i, {batch, rows.count, width});
  rows.at = {nullptr, checked_mul(rows.count, width), rows.size, width};
  return rows;
}

void read_side_by_side(const Op& op, kernels::AttentionArgs& a) {
  require_rank(op, kQuery, 3, 3);
  const Rows all = rows_of(op, kQuery, a.batch, checked_mul(3, a.heads));
  if (a.kv_heads != a.heads) throw misfit(op, kQuery, "as many heads of keys as of queries");
  a.queries = a.keys = all.count;
  a.size = a.value_size = all.size;
  a.q = a.k = a.v = all.at;
}

void read_apart(const Op& op, kernels::AttentionArgs& a) {
  for (const int i : {kKey, kValue}) {
    if (!op.has_in(i)) throw invalid("keys and values come both or side by side with the queries");
  }
  const Rows q = rows_of(op, kQuery, a.batch, a.heads), k = rows_of(op, kKey, a.batch, a.kv_heads),
             v = rows_of(op, kValue, a.batch, a.kv_heads);
  if (k.size != q.size) throw misfit(op, kKey, std::to_string(q.size) + " columns for each head");
  if (v.count != k.count) throw misfit(op, kValue, std::to_string(k.count) + " rows, as of keys");
  a.queries = q.count;
  a.keys = k.count;
  a.size = q.size;
  a.value_size = v.size;
  a.q = q.at;
  a.k = k.at;
  a.v = v.at;
}

// The number of heads that an attribute tells.
std::int64_t heads_of(const Op& op, const std::string& attribute) {
  const std::int64_t heads = op.attr_int(attribute);
  if (heads > 0) return heads;
  throw invalid("there must be a head")
      .at("attribute '" + attribute + "'")
      .got(std::to_string(heads));
}

// How an input lies that broadcasts to the scores. The distance between keys.
template <class T>
std::int64_t read_mask(const Op& op, int i, const Shape& scores,
                       kernels::AttentionRows<const T>& at) {
  const Shape& shape = op.in_shape(i);
  if (shape.size() != 4 || !broadcasts_to(shape, scores))
    throw misfit(op, i, to_string(scores) + " or what broadcasts to it");
  const std::vector<std::int64_t> strides = broadcast_strides(shape, scores);
  at = {nullptr, strides[0], strides[1], strides[2]};
  return strides[3];
}

Attention attention_of(const Op& op) {
  require_rank(op, kQuery, 3, 4);
  Attention attention;
  kernels::AttentionArgs& a = attention.args;
  a.batch = op.in_shape(kQuery)[0];
  a.heads = heads_of(op, "num_heads");
  a.kv_heads = op.has_attr("kv_num_heads") ? heads_of(op, "kv_num_heads") : a.heads;
  if (a.heads % a.kv_heads != 0) {
    throw invalid("the heads of keys must divide those of queries")
        .at("attribute 'kv_num_heads'")
        .expected("a divisor of " + std::to_string(a.heads))
        .got(std::to_string(a.kv_heads));
  }
  a.scale = op.attr_float("scale");
  a.taps.product_scale = op.attr_float("product_scale");
  attention.packed = !op.has_in(kKey) && !op.has_in(kValue);
  (attention.packed ? read_side_by_side : read_apart)(op, a);
  if (op.has_in(kMask)) a.mask_key_stride = read_mask(op, kMask, attention.scores(), a.mask);
  if (op.has_in(kCondition)) {
    a.condition.key_stride = read_mask(op, kCondition, attention.scores(), a.condition.at);
    a.condition.bytes = element_count(op.in_shape(kCondition));
    a.condition.keeps = op.attr_int("keeps") != 0;
    a.condition.fill = op.attr_float("fill");
  }
  a.guards = op.attr_int("guards") != 0;
  a.y = {nullptr, checked_mul(a.queries, attention.value_hidden()), a.value_size,
         attention.value_hidden()};
  return attention;
}

void infer(Op& op) {
  const Attention attention = attention_of(op);
  const kernels::AttentionArgs& a = attention.args;
  op.set_out(kY, DType::f32, {a.batch, a.queries, attention.value_hidden()});
  for (const int i : {kProduct, kScaled, kChosen, kScores, kWeights, kGuarded})
    op.set_out(i, DType::f32, attention.scores());
  op.set_out(kMixed, DType::f32, {a.batch, a.heads, a.queries, a.value_size});
}

kernels::AttentionArgs args_of(const Attention& attention, const Run& run) {
  kernels::AttentionArgs args = attention.args;
  args.q.data = run.in<float>(kQuery);
  if (attention.packed) {
    args.k.data = args.q.data + attention.hidden();
    args.v.data = args.k.data + attention.hidden();
  } else {
    args.k.data = run.in<float>(kKey);
    args.v.data = run.in<float>(kValue);
  }
  args.mask.data = run.in<float>(kMask);
  args.condition.at.data = run.in<std::uint8_t>(kCondition);
  args.y.data = run.out<float>(kY);
  kernels::AttentionTaps& taps = args.taps;
  taps.product = run.out<float>(kProduct);
  taps.scaled = run.out<float>(kScaled);
  taps.chosen = run.out<float>(kChosen);
  taps.scores = run.out<float>(kScores);
  taps.weights = run.out<float>(kWeights);
  taps.guarded = run.out<float>(kGuarded);
  taps.mixed = run.out<float>(kMixed);
  return args;
}

// The scores of one query, and of each step what is wanted, at element `at` of the scores.
void weigh(const kernels::AttentionArgs& a, std::int64_t b, std::int64_t h, std::int64_t query,
           std::vector<double>& row) {
  const std::int64_t at = ((b * a.heads + h) * a.queries + query) * a.keys;
  const auto give = [&](float* to, std::int64_t key, double value) {
    if (to != nullptr) to[at + key] = static_cast<float>(value);
  };
  const float* q = a.q.at(b, h, query);
  for (std::int64_t key = 0; key < a.keys; ++key) {
    const float* k = a.k.at(b, h / a.group(), key);
    double sum = 0;
    for (std::int64_t i = 0; i < a.size; ++i) sum += static_cast<double>(q[i]) * k[i];
    give(a.taps.product, key, sum * a.taps.product_scale);
    sum *= a.scale;
    give(a.taps.scaled, key, sum);
    if (const kernels::AttentionCondition& c = a.condition; c.at.data != nullptr) {
      if (c.replaces(c.at.at(b, h, query)[key * c.key_stride])) sum = static_cast<double>(c.fill);
    }
    give(a.taps.chosen, key, sum);
    if (a.mask.data != nullptr) sum += a.mask.at(b, h, query)[key * a.mask_key_stride];
    give(a.taps.scores, key, sum);
    row[static_cast<std::size_t>(key)] = sum;
  }
  const double top = *std::max_element(row.begin(), row.end());
  double total = 0;
  for (double& score : row) total += score = std::exp(score - top);
  for (std::int64_t key = 0; key < a.keys; ++key) {
    double& weight = row[static_cast<std::size_t>(key)];
    give(a.taps.weights, key, weight /= total);
    if (a.guards && std::isnan(weight)) weight = 0;
    give(a.taps.guarded, key, weight);
  }
}

void mix(const kernels::AttentionArgs& a, std::int64_t b, std::int64_t h, std::int64_t query,
         const std::vector<double>& weights) {
  for (std::int64_t column = 0; column < a.value_size; ++column) {
    double sum = 0;
    for (std::int64_t key = 0; key < a.keys; ++key)
      sum += weights[static_cast<std::size_t>(key)] * a.v.at(b, h / a.group(), key)[column];
    const auto value = static_cast<float>(sum);
    a.y.at(b, h, query)[column] = value;
    if (a.taps.mixed != nullptr)
      a.taps.mixed[((b * a.heads + h) * a.queries + query) * a.value_size + column] = value;
  }
}

void by_loops(const kernels::AttentionArgs& a, ThreadPool& pool) {
  pool.parallel_for(a.batch * a.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> row(static_cast<std::size_t>(a.keys));
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t query = 0; query < a.queries; ++query) {
        weigh(a, i / a.heads, i % a.heads, query, row);
        mix(a, i / a.heads, i % a.heads, query, row);
      }
    }
  });
}

template <bool simd>
Choice choose(Op& op) {
  return Kernel([attention = attention_of(op)](Run& run) {
    const kernels::AttentionArgs args = args_of(attention, run);
    if (args.batch == 0 || args.queries == 0) return;
    if (args.keys == 0) {  // no keys at all: every answer is 0
      for (const int i : {kY, kMixed}) {
        if (run.op().has_out(i))
          std::fill_n(run.out<float>(i), element_count(run.op().out_shape(i)), 0.0F);
      }
      return;
    }
    (simd ? kernels::attention : by_loops)(args, run.pool());
  });
}

std::int64_t multiply_adds(const Op& op) {
  const Attention attention = attention_of(op);
  const kernels::AttentionArgs& a = attention.args;
  return checked_mul(checked_mul(a.batch, a.queries),
                     checked_mul(a.keys, attention.hidden() + attention.value_hidden()));
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(fused_attention) {
  op("FusedAttention", "mezzo")
      .since(1)
      .required("num_heads", Kind::int_)
      .required("scale", Kind::float_)
      .attr("kv_num_heads", Kind::int_)  // if it is another
      .attr("product_scale", 1.0F)       // of the product that is given
      .attr("fill", 0.0F)                // what scores become where the condition is not
      .attr("keeps", 1)                  // or, where this is 0, is
      .attr("guards", 0)                 // weights that are NaN count as 0
      .in("query", DType::f32)
      .in("key", like(0), Arity::optional)
      .in("value", like(0), Arity::optional)
      .in("mask", like(0), Arity::optional)
      .in("condition", DType::boolean, Arity::optional)
      .out("Y", like(0))
      .out("product", like(0), Arity::optional)
      .out("scaled", like(0), Arity::optional)
      .out("scores", like(0), Arity::optional)
      .out("weights", like(0), Arity::optional)
      .out("mixed", like(0), Arity::optional)
      .out("chosen", like(0), Arity::optional)
      .out("guarded", like(0), Arity::optional)
      .infer(infer)
      .simd_kernel("fused", choose<true>)
      .kernel("reference", choose<false>)
      .multiply_adds(multiply_adds);
}
