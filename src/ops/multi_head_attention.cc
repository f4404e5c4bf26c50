// com.microsoft MultiHeadAttention and Attention (1), without a past: softmax(scale Q K' + bias) V
// by heads, of queries, keys and values as given or, in Attention, as projected from one input.
// Spec: ONNX Runtime's docs/ContribOperators.md. A key that the mask hides has mask_filter_value
// added to its scores, and is not left out.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/shape.h"
#include "kernels/attention_f32.h"
#include "kernels/softmax_f32.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

// Inputs by number, -1 where the operator has none such.
struct Inputs {
  int bias, mask, attention_bias;
};
constexpr Inputs kOfMultiHead = {3, 4, 5}, kOfAttention = {2, 3, 5};

struct HeadAttention {
  std::int64_t batch = 0, heads = 0, queries = 0, keys = 0, size = 0, value_size = 0;
  std::int64_t inputs = 0;  // columns of what Attention projects
  bool projects = false, causal = false;
  float scale = 1, filter = -10000;
  Inputs in{};
  std::vector<std::int64_t> bias_strides;  // of attention_bias

  std::int64_t hidden() const { return heads * size; }
  std::int64_t value_hidden() const { return heads * value_size; }
  std::int64_t width() const { return 2 * hidden() + value_hidden(); }
};

[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorCode::unsupported, "attention with " + what);
}

std::int64_t size_of_head(const HeadAttention& a, std::int64_t hidden) {
  if (a.heads > 0 && hidden > 0 && hidden % a.heads == 0) return hidden / a.heads;
  throw invalid("the hidden size must be a multiple of the number of heads")
      .at("attribute 'num_heads'")
      .expected("a divisor of " + std::to_string(hidden))
      .got(std::to_string(a.heads));
}

void read_multi_head(const Op& op, HeadAttention& a) {
  for (int i = 6; i < 10; ++i) {
    if (op.has_in(i)) unsupported("a past");
  }
  if (!op.has_in(1) || !op.has_in(2)) unsupported("packed queries, keys and values");
  for (const int i : {1, 2}) {
    if (op.in_rank(i) == 4) unsupported("keys and values by heads");
    require_rank(op, i, 3, 3);
  }
  a.keys = op.in_shape(1)[1];
  a.size = size_of_head(a, op.in_shape(0)[2]);
  a.value_size = size_of_head(a, op.in_shape(2)[2]);
  expect_shape(op, 1, {a.batch, a.keys, a.hidden()});
  expect_shape(op, 2, {a.batch, a.keys, a.value_hidden()});
}

void read_projection(const Op& op, HeadAttention& a) {
  if (op.has_in(4) || op.has_in(6)) unsupported("a past");
  if (op.attr_int("do_rotary") != 0) unsupported("rotary embedding");
  require_rank(op, 1, 2, 2);
  a.projects = true;
  a.inputs = op.in_shape(0)[2];
  a.keys = a.queries;
  std::vector<std::int64_t> sizes = op.attr_ints("qkv_hidden_sizes");
  if (sizes.empty()) sizes.assign(3, op.in_shape(1)[1] / 3);
  if (sizes.size() != 3 || sizes[0] != sizes[1]) {
    throw invalid("queries and keys must have one hidden size")
        .at("attribute 'qkv_hidden_sizes'")
        .expected("three sizes, of which the first two are equal");
  }
  a.size = size_of_head(a, sizes[0]);
  a.value_size = size_of_head(a, sizes[2]);
  if (sizes[0] > op.in_shape(1)[1] || sizes[2] > op.in_shape(1)[1]) {
    throw misfit(op, 1, "the columns that qkv_hidden_sizes tells");
  }
  expect_shape(op, 1, {a.inputs, a.width()});
}

void check_mask(const Op& op, const HeadAttention& a) {
  if (!op.has_in(a.in.mask)) return;
  const Shape& mask = op.in_shape(a.in.mask);
  if (mask == Shape{a.batch} || mask == Shape{2 * a.batch} || mask == Shape{a.batch, a.keys} ||
      mask == Shape{a.batch, a.queries, a.keys}) {
    return;
  }
  throw misfit(op, a.in.mask,
               "lengths " + to_string(Shape{a.batch}) + ", ends and begins " +
                   to_string(Shape{2 * a.batch}) + ", or a mask " + to_string({a.batch, a.keys}) +
                   " or " + to_string({a.batch, a.queries, a.keys}));
}

HeadAttention attention_of(const Op& op) {
  if (op.in_rank(0) == 5) unsupported("packed queries, keys and values");
  require_rank(op, 0, 3, 3);
  HeadAttention a;
  const bool projects = op.row().name() == "Attention";
  a.in = projects ? kOfAttention : kOfMultiHead;
  a.batch = op.in_shape(0)[0];
  a.queries = op.in_shape(0)[1];
  a.heads = op.attr_int("num_heads");
  (projects ? read_projection : read_multi_head)(op, a);
  expect_shape(op, a.in.bias, {a.width()});
  check_mask(op, a);
  if (op.has_in(a.in.attention_bias)) {
    const Shape full = {a.batch, a.heads, a.queries, a.keys};
    const Shape& bias = op.in_shape(a.in.attention_bias);
    if (bias.size() != 4 || !broadcasts_to(bias, full)) {
      throw misfit(op, a.in.attention_bias, to_string(full) + " or what broadcasts to it");
    }
    a.bias_strides = broadcast_strides(bias, full);
  }
  for (int i = 1; i < op.outputs(); ++i) {
    if (op.has_out(i)) unsupported("other outputs than the first");
  }
  a.causal = op.attr_int("unidirectional") != 0;
  if (op.has_attr("mask_filter_value")) a.filter = op.attr_float("mask_filter_value");
  const float scale = op.attr_float("scale");
  a.scale = scale != 0 ? scale : 1 / std::sqrt(static_cast<float>(a.size));
  checked_mul(checked_mul(a.batch, a.queries), a.width());
  return a;
}

void infer(Op& op) {
  const HeadAttention a = attention_of(op);
  op.set_out(0, op.in(0).dtype, {a.batch, a.queries, a.value_hidden()});
}

// Rows of all heads, contiguous; `rows` of them for each of the batch.
struct Rows {
  const float* data = nullptr;
  std::int64_t rows = 0, stride = 0;
  std::vector<float> memory;

  const float* at(std::int64_t b, std::int64_t column) const {
    return data + b * rows * stride + column;
  }
};

Rows with_bias(const Run& run, int i, std::int64_t columns, const float* bias) {
  Rows rows{run.in<float>(i), run.op().in_shape(i)[1], columns, {}};
  if (bias == nullptr) return rows;
  rows.memory.assign(rows.data, rows.data + element_count(run.op().in_shape(i)));
  for (std::size_t at = 0; at < rows.memory.size(); ++at) {
    rows.memory[at] += bias[static_cast<std::int64_t>(at) % columns];
  }
  rows.data = rows.memory.data();
  return rows;
}

template <bool simd>
void product(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<float> a, Matrix<float> b,
             float* c, std::int64_t ldc, float alpha, const float* bias, ThreadPool& pool) {
  if constexpr (simd) {
    kernels::GemmEpilogue epilogue;
    epilogue.alpha = alpha;
    kernels::gemm(m, n, k, {a.data, a.row_stride, a.col_stride, false},
                  {b.data, b.row_stride, b.col_stride, false}, c, ldc, epilogue, pool);
    for (std::int64_t i = 0; bias != nullptr && i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) c[i * ldc + j] += bias[j];
    }
  } else {
    multiply<float>(m, n, k, a, b, [&](std::int64_t i, std::int64_t j, double sum) {
      c[i * ldc + j] = static_cast<float>(sum * alpha + (bias != nullptr ? bias[j] : 0));
    });
  }
}

// What is added to the scores [queries, keys] of all heads of batch entry `b`.
std::vector<float> mask_of(const HeadAttention& a, const Run& run, std::int64_t b) {
  std::vector<float> mask(static_cast<std::size_t>(a.queries * a.keys), 0.0F);
  const auto* given = run.in<std::int32_t>(a.in.mask);
  const Shape shape = given != nullptr ? run.op().in_shape(a.in.mask) : Shape{};
  for (std::int64_t q = 0; q < a.queries; ++q) {
    float* row = mask.data() + q * a.keys;
    for (std::int64_t k = 0; k < a.keys; ++k) {
      bool hidden = false;
      if (shape.size() == 1) {
        hidden = k >= given[b] || (shape[0] > a.batch && k < given[a.batch + b]);
      } else if (given != nullptr) {
        hidden = given[(shape.size() == 2 ? b : b * a.queries + q) * a.keys + k] == 0;
      }
      if (hidden) row[k] = a.filter;
      if (a.causal && k > q) row[k] = std::numeric_limits<float>::lowest();
    }
  }
  return mask;
}

template <bool simd>
void softmax(float* scores, std::int64_t rows, std::int64_t n, ThreadPool& pool) {
  if constexpr (simd) {
    kernels::softmax_rows({}, scores, scores, rows, n, pool);
  } else {
    for (std::int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * n;
      const float top = *std::max_element(row, row + n);
      double sum = 0;
      for (std::int64_t i = 0; i < n; ++i) sum += row[i] = std::exp(row[i] - top);
      for (std::int64_t i = 0; i < n; ++i) row[i] = static_cast<float>(row[i] / sum);
    }
  }
}

// How the scores get their weights: in the cache, head by head as products of matrices, or by plain
// loops.
enum class Way { fused, simd, reference };

// Mask and attention_bias as one tensor that is added to the scores; the masks alone take `memory`.
void set_mask(const HeadAttention& a, const Run& run, kernels::AttentionArgs& args,
              std::vector<float>& memory) {
  if (const auto* bias = run.in<float>(a.in.attention_bias)) {
    const std::vector<std::int64_t>& strides = a.bias_strides;
    args.mask = {bias, strides[0], strides[1], strides[2]};
    args.mask_key_stride = strides[3];
  } else if ((a.causal && args.sight.before == nullptr) || run.op().has_in(a.in.mask)) {
    for (std::int64_t b = 0; b < a.batch; ++b) {
      const std::vector<float> mask = mask_of(a, run, b);
      memory.insert(memory.end(), mask.begin(), mask.end());
    }
    args.mask = {memory.data(), a.queries * a.keys, 0, a.keys};
    args.mask_key_stride = 1;
  }
}

void attend_fused(const HeadAttention& a, Run& run, const Rows& q, const Rows& k, const Rows& v) {
  const auto heads = [](const Rows& rows, std::int64_t size) {
    return kernels::AttentionRows<const float>{rows.data, rows.rows * rows.stride, size,
                                               rows.stride};
  };
  kernels::AttentionArgs args;
  args.batch = a.batch;
  args.heads = args.kv_heads = a.heads;
  args.queries = a.queries;
  args.keys = a.keys;
  args.size = a.size;
  args.value_size = a.value_size;
  args.scale = a.scale;
  args.q = heads(q, a.size);
  args.k = heads(k, a.size);
  args.v = heads(v, a.value_size);
  args.y = {run.out<float>(0), a.queries * a.value_hidden(), a.value_size, a.value_hidden()};
  // All tokens are new: each stands at its own number.
  const std::vector<std::int64_t> before(static_cast<std::size_t>(a.batch), 0);
  if (a.causal && a.queries >= kernels::kFewQueries) args.sight = {before.data(), true};
  std::vector<float> memory;
  set_mask(a, run, args, memory);
  kernels::attention(args, run.pool());
}

template <Way way>
void attend(const HeadAttention& a, Run& run, const Rows& q, const Rows& k, const Rows& v) {
  if constexpr (way == Way::fused) return attend_fused(a, run, q, k, v);
  constexpr bool simd = way == Way::simd;
  const auto* extra = run.in<float>(a.in.attention_bias);
  const auto heads = [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scores(static_cast<std::size_t>(a.queries * a.keys)), mask;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i / a.heads, h = i % a.heads;
      if (i == begin || h == 0) mask = mask_of(a, run, b);
      product<simd>(a.queries, a.keys, a.size, {q.at(b, h * a.size), q.stride, 1},
                    {k.at(b, h * a.size), 1, k.stride}, scores.data(), a.keys, a.scale, nullptr,
                    run.pool());
      for (std::size_t at = 0; at < scores.size(); ++at) scores[at] += mask[at];
      for (std::int64_t row = 0; extra != nullptr && row < a.queries; ++row) {
        const float* from =
            extra + b * a.bias_strides[0] + h * a.bias_strides[1] + row * a.bias_strides[2];
        float* to = scores.data() + row * a.keys;
        for (std::int64_t j = 0; j < a.keys; ++j) to[j] += from[j * a.bias_strides[3]];
      }
      softmax<simd>(scores.data(), a.queries, a.keys, run.pool());
      product<simd>(a.queries, a.value_size, a.keys, {scores.data(), a.keys, 1},
                    {v.at(b, h * a.value_size), v.stride, 1},
                    run.out<float>(0) + b * a.queries * a.value_hidden() + h * a.value_size,
                    a.value_hidden(), 1, nullptr, run.pool());
    }
  };
  run.pool().parallel_for(a.batch * a.heads, 1, heads);
}

template <Way way>
void run_attention(const HeadAttention& a, Run& run) {
  if (a.batch * a.queries == 0) return;
  if (a.keys == 0) {  // no keys at all: every answer is 0
    std::fill_n(run.out<float>(0), element_count(run.op().out_shape(0)), 0.0F);
    return;
  }
  const float* bias = run.in<float>(a.in.bias);
  if (!a.projects) {
    const auto part = [&](std::int64_t at) { return bias != nullptr ? bias + at : nullptr; };
    attend<way>(a, run, with_bias(run, 0, a.hidden(), part(0)),
                with_bias(run, 1, a.hidden(), part(a.hidden())),
                with_bias(run, 2, a.value_hidden(), part(2 * a.hidden())));
    return;
  }
  std::vector<float> projected(static_cast<std::size_t>(a.batch * a.queries * a.width()));
  product<way != Way::reference>(a.batch * a.queries, a.width(), a.inputs,
                                 {run.in<float>(0), a.inputs, 1}, {run.in<float>(1), a.width(), 1},
                                 projected.data(), a.width(), 1, bias, run.pool());
  const auto columns = [&](std::int64_t first) {
    return Rows{projected.data() + first, a.queries, a.width(), {}};
  };
  attend<way>(a, run, columns(0), columns(a.hidden()), columns(2 * a.hidden()));
}

template <Way way>
Choice choose_attention(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  return Kernel([a = attention_of(op)](Run& run) { run_attention<way>(a, run); });
}

Choice fused(Op& op) {
  const HeadAttention a = attention_of(op);
  if (op.has_in(a.in.attention_bias) && (a.causal || op.has_in(a.in.mask))) {
    return refuse("a mask and a bias");
  }
  return choose_attention<Way::fused>(op);
}

std::int64_t multiply_adds(const Op& op) {
  const HeadAttention a = attention_of(op);
  const std::int64_t rows = checked_mul(a.batch, a.queries);
  return checked_mul(rows, checked_mul(a.inputs, a.width())) +
         checked_mul(rows, checked_mul(a.keys, a.hidden() + a.value_hidden()));
}

Row& declare(Row& row) {
  return row.since(1)
      .attr("mask_filter_value", Kind::float_)
      .required("num_heads", Kind::int_)
      .attr("scale", Kind::float_)
      .attr("unidirectional", 0)
      .infer(infer)
      .simd_kernel("fused", fused)
      .simd_kernel("gemm", choose_attention<Way::simd>)
      .kernel("reference", choose_attention<Way::reference>)
      .multiply_adds(multiply_adds);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(multi_head_attention) {
  const TypeSet floats = {DType::f32, DType::f16, DType::bf16};
  declare(op("MultiHeadAttention", "com.microsoft"))
      .in("query", floats)
      .in("key", like(0), Arity::optional)
      .in("value", like(0), Arity::optional)
      .in("bias", like(0), Arity::optional)
      .in("key_padding_mask", DType::i32, Arity::optional)
      .in("attention_bias", like(0), Arity::optional)
      .in("past_key", like(0), Arity::optional)
      .in("past_value", like(0), Arity::optional)
      .in("past_sequence_length", DType::i32, Arity::optional)
      .in("cache_indirection", DType::i32, Arity::optional)
      .out("output", like(0))
      .out("present_key", like(0), Arity::optional)
      .out("present_value", like(0), Arity::optional)
      .out("qk", floats, Arity::optional);
  declare(op("Attention", "com.microsoft"))
      .attr("do_rotary", Kind::int_)
      .attr("past_present_share_buffer", Kind::int_)
      .attr("qkv_hidden_sizes", Kind::ints)
      .attr("rotary_embedding_dim", Kind::int_)
      .in("input", floats)
      .in("weights", like(0))
      .in("bias", like(0), Arity::optional)
      .in("mask_index", DType::i32, Arity::optional)
      .in("past", like(0), Arity::optional)
      .in("attention_bias", like(0), Arity::optional)
      .in("past_sequence_length", DType::i32, Arity::optional)
      .out("output", like(0))
      .out("present", like(0), Arity::optional);
}
