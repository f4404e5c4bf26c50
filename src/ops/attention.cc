// Attention: softmax(scale Q K' + bias) V, by heads. Spec: ai.onnx Attention-23, -24
// (nonpad_kv_seqlen), -25 (windows). Everything is computed in the type of the inputs, float32 at
// least, whatever softmax_precision asks for.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/shape.h"
#include "kernels/attention_f32.h"
#include "kernels/softmax_f32.h"
#include "ops/attention_node.h"
#include "ops/axis_split.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) {
  const Attention a = attention_of(op);
  const DType dtype = op.in(kQuery).dtype;
  const std::int64_t hidden = checked_mul(a.q.heads, a.v.size);
  op.set_out(0, dtype,
             op.in_rank(0) == 4 ? Shape{a.batch, a.q.heads, a.q.length, a.v.size}
                                : Shape{a.batch, a.q.length, hidden});
  op.set_out(1, dtype, {a.batch, a.k.heads, a.total, a.k.size});
  op.set_out(2, op.in(kValue).dtype, {a.batch, a.v.heads, a.total, a.v.size});
  op.set_out(3, dtype, {a.batch, a.q.heads, a.q.length, a.total});
}

// Copies rows of one head from one place to another.
template <class T>
void copy_rows(const T* from, const Heads& from_heads, T* to, const Heads& to_heads) {
  const std::int64_t size = from_heads.size, rows = from_heads.length;
  if (from_heads.row_stride == size && to_heads.row_stride == size) {
    std::copy_n(from, rows * size, to);
    return;
  }
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(from + row * from_heads.row_stride, size, to + row * to_heads.row_stride);
}

// Writes [past, now] along the length. Each thread the heads that it may read next.
template <class T>
void join(const Attention& a, const T* past, const Heads& past_heads, const T* now,
          const Heads& now_heads, T* present, const Heads& present_heads, ThreadPool& pool) {
  const std::int64_t of_head = present_heads.length * present_heads.size;
  const std::int64_t grain = grain_for(of_head);
  pool.parallel_for(a.batch * now_heads.heads, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i / now_heads.heads, h = i % now_heads.heads;
      copy_rows(past + past_heads.at(b, h, 0), past_heads, present + present_heads.at(b, h, 0),
                present_heads);
      copy_rows(now + now_heads.at(b, h, 0), now_heads,
                present + present_heads.at(b, h, past_heads.length), present_heads);
    }
  });
}

// Keys or values with those of the past. Where nobody asks for them and there is no past, the input
// as it is.
template <class T>
struct Present {
  const T* data = nullptr;
  Heads heads;
  Tensor memory;
};

template <class T>
Present<T> present_of(Run& run, const Attention& a, int past, int now, int out,
                      const Heads& past_heads, const Heads& now_heads, const Heads& joined) {
  if (past_heads.length == 0 && run.out<T>(out) == nullptr) {
    return {run.in<T>(now), now_heads, {}};
  }
  Present<T> present;
  present.heads = joined;
  T* target = run.out<T>(out);
  if (target == nullptr) {
    present.memory = Tensor::uninitialized(DTypeOf<T>::value,
                                           {a.batch, joined.heads, joined.length, joined.size});
    target = static_cast<T*>(present.memory.mutable_data());
  }
  join(a, run.in<T>(past), past_heads, run.in<T>(now), now_heads, target, joined, run.pool());
  present.data = target;
  return present;
}

// Which keys a query may see, and what is added to their scores.
template <class T>
struct Bias {
  const Attention& a;
  const T* mask = nullptr;          // as floats
  std::vector<std::int64_t> valid;  // keys of each of the batch

  // The keys that a query sees by its place: [begin, end), perhaps none.
  std::pair<std::int64_t, std::int64_t> range(std::int64_t b, std::int64_t query) const {
    // The position of the query among the keys.
    std::int64_t position = query + a.past_k.length;
    std::int64_t end = a.total;
    if (!valid.empty()) {
      end = std::clamp<std::int64_t>(valid[static_cast<std::size_t>(b)], 0, a.total);
      position = query + end - a.q.length;
    }
    if (mask != nullptr) end = std::min(end, a.mask_shape[3]);
    if (a.causal) end = std::clamp<std::int64_t>(position + 1, 0, end);
    if (a.right_window >= 0) end = std::min(end, position + a.right_window + 1);
    return {a.left_window >= 0 ? std::max<std::int64_t>(0, position - a.left_window) : 0, end};
  }

  const T* mask_row(std::int64_t b, std::int64_t h, std::int64_t query) const {
    return mask + b * a.mask_strides[0] + h * a.mask_strides[1] + query * a.mask_strides[2];
  }

  bool sees_any(std::int64_t b, std::int64_t h, std::int64_t query) const {
    const auto [begin, end] = range(b, query);
    if (mask == nullptr || begin >= end) return begin < end;
    const T* row = mask_row(b, h, query);
    return std::any_of(row + begin, row + end, [](T x) { return x != kNone; });
  }

  // Adds to scores [total] of one query; false where it may see no key.
  bool add(std::int64_t b, std::int64_t h, std::int64_t query, T* scores) const {
    const auto [begin, end] = range(b, query);
    const T* row = mask == nullptr ? nullptr : mask_row(b, h, query);
    for (std::int64_t j = 0; j < a.total; ++j) {
      if (j < begin || j >= end) {
        scores[j] = kNone;
      } else if (row != nullptr) {
        scores[j] += row[j];
      }
    }
    return sees_any(b, h, query);
  }

  static constexpr T kNone = -std::numeric_limits<T>::infinity();
};

// The mask as numbers: of booleans, 0 and -inf.
template <class T>
struct Mask {
  Tensor tensor;
  const T* data = nullptr;  // null: none

  explicit Mask(Run& run) : tensor(run.in_tensor(kMask)) {
    if (!tensor.has_value()) return;
    const bool is_bool = tensor.dtype() == DType::boolean;
    if (tensor.dtype() != DTypeOf<T>::value) tensor = tensor.to(DTypeOf<T>::value);
    if (is_bool) {
      for (T& x : tensor.mutable_values<T>()) x = x != 0 ? T{0} : Bias<T>::kNone;
    }
    data = static_cast<const T*>(tensor.data());
  }
};

template <class T>
void softmax(T* x, std::int64_t n) {
  T top = x[0];
  for (std::int64_t i = 1; i < n; ++i) top = std::max(top, x[i]);
  Accumulator<T> sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] = std::exp(x[i] - top);
  for (std::int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(x[i] / sum);
}

template <class T, bool simd>
void product(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b, T* c,
             std::int64_t ldc, double alpha, ThreadPool& pool) {
  if (n == 0) return;
  if constexpr (simd) {
    kernels::GemmEpilogue epilogue;
    epilogue.alpha = static_cast<float>(alpha);
    kernels::gemm(m, n, k, {a.data, a.row_stride, a.col_stride},
                  {b.data, b.row_stride, b.col_stride}, c, ldc, epilogue, pool);
  } else {
    multiply<T>(m, n, k, a, b, [&](std::int64_t i, std::int64_t j, Accumulator<T> sum) {
      c[i * ldc + j] = static_cast<T>(sum * alpha);
    });
  }
}

// Some queries [first, first + count) of one head; `scores` has count * total elements.
template <class T, bool simd>
void attend(Run& run, const Attention& a, const Bias<T>& bias, const Present<T>& keys,
            const Present<T>& values, std::int64_t b, std::int64_t h, std::int64_t first,
            std::int64_t count, T* scores) {
  const std::int64_t group = h / (a.q.heads / a.k.heads);
  T* shown = run.out<T>(3);
  if (shown != nullptr) shown += ((b * a.q.heads + h) * a.q.length + first) * a.total;
  const auto show = [&](std::int64_t stage) {
    if (shown != nullptr && a.shown == stage) std::copy_n(scores, count * a.total, shown);
  };
  product<T, simd>(count, a.total, a.q.size,
                   {run.in<T>(kQuery) + a.q.at(b, h, first), a.q.row_stride, 1},
                   {keys.data + keys.heads.at(b, group, 0), 1, keys.heads.row_stride}, scores,
                   a.total, a.scale, run.pool());
  show(0);
  if (a.softcap > 0) {
    const T cap = static_cast<T>(a.softcap);
    for (std::int64_t i = 0; i < count * a.total; ++i) scores[i] = cap * std::tanh(scores[i] / cap);
  }
  show(1);
  std::vector<bool> blind(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    blind[static_cast<std::size_t>(i)] = !bias.add(b, h, first + i, scores + i * a.total);
  }
  show(2);
  if constexpr (simd) {
    kernels::softmax_rows({}, scores, scores, count, a.total, run.pool());
  } else {
    for (std::int64_t i = 0; i < count; ++i) softmax(scores + i * a.total, a.total);
  }
  // A query that sees no key has the answer 0.
  for (std::int64_t i = 0; i < count; ++i) {
    if (blind[static_cast<std::size_t>(i)]) std::fill_n(scores + i * a.total, a.total, T{0});
  }
  show(3);
  product<T, simd>(count, a.v.size, a.total, {scores, a.total, 1},
                   {values.data + values.heads.at(b, group, 0), values.heads.row_stride, 1},
                   run.out<T>(0) + a.y.at(b, h, first), a.y.row_stride, 1, run.pool());
}

template <class T, bool simd>
Kernel kernel_of(const Attention& attention) {
  return [attention](Run& run) {
    const Attention& a = attention;
    const auto keys = present_of<T>(run, a, kPastKey, kKey, 1, a.past_k, a.k, a.present_k);
    const auto values = present_of<T>(run, a, kPastValue, kValue, 2, a.past_v, a.v, a.present_v);
    const Mask<T> mask(run);
    const Bias<T> bias{a, mask.data, run.in_ints(kValidKeys)};
    if (a.batch * a.q.heads * a.q.length == 0) return;
    if (a.total == 0) {  // no keys at all: every answer is 0
      std::fill_n(run.out<T>(0), element_count(run.op().out_shape(0)), T{0});
      return;
    }
    // Queries are taken in blocks whose scores stay in the second cache.
    constexpr std::int64_t kScores = 128 * 1024;
    const std::int64_t rows = std::clamp<std::int64_t>(kScores / a.total, 1, a.q.length);
    const std::int64_t blocks = (a.q.length + rows - 1) / rows;
    const auto attend_blocks = [&](std::int64_t begin, std::int64_t end) {
      Tensor scores = Tensor::uninitialized(DTypeOf<T>::value, {rows, a.total});
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t first = i % blocks * rows, head = i / blocks;
        attend<T, simd>(run, a, bias, keys, values, head / a.q.heads, head % a.q.heads, first,
                        std::min(rows, a.q.length - first), static_cast<T*>(scores.mutable_data()));
      }
    };
    const std::int64_t tasks = a.batch * a.q.heads * blocks;
    if (tasks >= run.pool().size()) {
      run.pool().parallel_for(tasks, 1, attend_blocks);
    } else {
      attend_blocks(0, tasks);
    }
  };
}

// A query that sees no key has the answer 0, where the kernel's is NaN.
void clear_blind(const Attention& a, const Bias<float>& bias, float* y, ThreadPool& pool) {
  if (bias.mask == nullptr) return;
  pool.parallel_for(a.batch * a.q.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i / a.q.heads, h = i % a.q.heads;
      for (std::int64_t query = 0; query < a.q.length; ++query) {
        if (!bias.sees_any(b, h, query)) std::fill_n(y + a.y.at(b, h, query), a.v.size, 0.0F);
      }
    }
  });
}

// Whether places alone tell some query that it doesn't see all keys.
bool has_sight(const Op& op, const Attention& a) {
  return op.has_in(kValidKeys) || a.left_window >= 0 || (a.causal && a.q.length + a.k.length > 2);
}

// Scores stay in the cache. What a query doesn't see is not computed.
Choice fused(Op& op) {
  if (op.in(kQuery).dtype != DType::f32) return refuse("not float32");
  if (op.in(kValue).dtype != DType::f32) return refuse("values of another type than the queries");
  const Attention attention = attention_of(op);
  if (attention.softcap > 0) return refuse("a cap of the scores");
  if (op.has_out(3)) return refuse("the scores are asked for");
  if (attention.right_window >= 0) return refuse("a window of later keys");
  if (attention.total == 0) return refuse("no keys");
  if (op.has_in(kMask) && attention.mask_shape[3] != attention.total)
    return refuse("a mask for some of the keys");
  const bool sight = has_sight(op, attention);
  if (sight && attention.q.length < kernels::kFewQueries)
    return refuse("too few queries that do not see all keys");
  // Else places may lie behind the last key.
  if (sight && attention.q.length > attention.k.length && !op.has_in(kValidKeys))
    return refuse("more queries than keys");
  if (attention.left_window >= 0 && attention.q.length != attention.k.length)
    return refuse("a window of other keys than the queries'");
  return Kernel([a = attention, sight, otherwise = kernel_of<float, true>(attention)](Run& run) {
    std::vector<std::int64_t> before(static_cast<std::size_t>(a.batch), a.past_k.length);
    const std::vector<std::int64_t> valid = run.in_ints(kValidKeys);
    for (std::size_t b = 0; b < valid.size(); ++b) {
      before[b] = std::clamp<std::int64_t>(valid[b], 0, a.total) - a.q.length;
      if (before[b] < 0) return otherwise(run);  // some query is ahead of all keys
    }
    const auto keys = present_of<float>(run, a, kPastKey, kKey, 1, a.past_k, a.k, a.present_k);
    const auto values =
        present_of<float>(run, a, kPastValue, kValue, 2, a.past_v, a.v, a.present_v);
    const Mask<float> mask(run);
    const auto rows = [](auto* data, const Heads& heads) {
      return kernels::AttentionRows<std::remove_pointer_t<decltype(data)>>{
          data, heads.batch_stride, heads.head_stride, heads.row_stride};
    };
    kernels::AttentionArgs args;
    args.batch = a.batch;
    args.heads = a.q.heads;
    args.kv_heads = a.k.heads;
    args.queries = a.q.length;
    args.keys = a.total;
    args.size = a.q.size;
    args.value_size = a.v.size;
    args.scale = static_cast<float>(a.scale);
    args.q = rows(run.in<float>(kQuery), a.q);
    args.k = rows(keys.data, keys.heads);
    args.v = rows(values.data, values.heads);
    args.y = rows(run.out<float>(0), a.y);
    if (sight) {
      args.sight = {before.data(), a.causal, a.left_window < 0 ? -1 : a.left_window + 1};
    }
    if (mask.data != nullptr) {
      args.mask = {mask.data, a.mask_strides[0], a.mask_strides[1], a.mask_strides[2]};
      args.mask_key_stride = a.mask_strides[3];
    }
    kernels::attention(args, run.pool());
    clear_blind(a, {a, mask.data, valid}, run.out<float>(0), run.pool());
  });
}

Choice gemm(Op& op) {
  if (op.in(kQuery).dtype != DType::f32) return refuse("not float32");
  if (op.in(kValue).dtype != DType::f32) return refuse("values of another type than the queries");
  return kernel_of<float, true>(attention_of(op));
}

Choice reference(Op& op) {
  if (op.in(kQuery).dtype != op.in(kValue).dtype) {
    return refuse("values of another type than the queries");
  }
  Kernel kernel;
  with_type(FloatTypes{}, op.in(kQuery).dtype,
            [&](auto type) { kernel = kernel_of<decltype(type), false>(attention_of(op)); });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

std::int64_t multiply_adds(const Op& op) {
  const Attention a = attention_of(op);
  return a.batch * a.q.heads * a.q.length * a.total * (a.q.size + a.v.size);
}

Row& declare(Row& row) {
  using Kind = FormalAttribute::Kind;
  return row.attr("is_causal", 0)
      .attr("kv_num_heads", Kind::int_)
      .attr("q_num_heads", Kind::int_)
      .attr("qk_matmul_output_mode", 0)
      .attr("scale", Kind::float_)
      .attr("softcap", 0.0F)
      .attr("softmax_precision", Kind::int_)
      .in("Q", kFloatsBf16)
      .in("K", like(0))
      .in("V", kFloatsBf16)
      .in("attn_mask", kNumbers | DType::boolean, Arity::optional)
      .in("past_key", like(0), Arity::optional)
      .in("past_value", like(2), Arity::optional)
      .out("Y", like(0))
      .out("present_key", like(0), Arity::optional)
      .out("present_value", like(2), Arity::optional)
      .out("qk_matmul_output", like(0), Arity::optional)
      .infer(infer)
      .simd_kernel("fused", fused)
      .simd_kernel("gemm", gemm)
      .kernel("reference", reference)
      .multiply_adds(multiply_adds);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(attention) {
  declare(op("Attention").since(23));
  declare(op("Attention").since(24)).in("nonpad_kv_seqlen", DType::i64, Arity::optional);
  declare(op("Attention").since(25).attr("left_window_size", -1).attr("right_window_size", -1))
      .in("nonpad_kv_seqlen", DType::i64, Arity::optional);
}
