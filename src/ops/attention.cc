// Attention: softmax(scale Q K' + bias) V, by heads. Spec: ai.onnx Attention-23, -24
// (nonpad_kv_seqlen), -25 (windows). Everything is computed in the type of the inputs, float32 at
// least, whatever softmax_precision asks for.
#include <cmath>
#include <limits>

#include "base/shape.h"
#include "kernels/softmax_f32.h"
#include "ops/axis_split.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum Input { kQuery, kKey, kValue, kMask, kPastKey, kPastValue, kValidKeys };

// [batch, heads, length, size] in memory, or with heads and length the other way round; the last
// axis is contiguous.
struct Heads {
  std::int64_t heads = 0, length = 0, size = 0;
  std::int64_t batch_stride = 0, head_stride = 0, row_stride = 0;

  std::int64_t at(std::int64_t batch, std::int64_t head, std::int64_t row) const {
    return batch * batch_stride + head * head_stride + row * row_stride;
  }
};

Heads heads_outside(std::int64_t heads, std::int64_t length, std::int64_t size) {
  return {heads, length, size, heads * length * size, length * size, size};
}

Heads heads_inside(std::int64_t heads, std::int64_t length, std::int64_t size) {
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

void check_shape(const Op& op, int i, const Shape& wanted) {
  if (op.in_shape(i) == wanted) return;
  throw invalid("an input has the wrong shape")
      .at("input " + std::to_string(i))
      .expected(to_string(wanted))
      .got(to_string(op.in_shape(i)));
}

Heads past_of(const Op& op, int i, std::int64_t batch, const Heads& now) {
  if (!op.has_in(i)) return heads_outside(now.heads, 0, now.size);
  require_rank(op, i, 4, 4);
  const std::int64_t length = op.in_shape(i)[2];
  check_shape(op, i, {batch, now.heads, length, now.size});
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
    check_shape(op, kValidKeys, {a.batch});
    if (op.has_in(kPastKey)) throw invalid("nonpad_kv_seqlen and past_key exclude each other");
  }
  a.scale = op.has_attr("scale")
                ? op.attr_float("scale")
                : 1 / std::sqrt(static_cast<double>(std::max<std::int64_t>(1, a.q.size)));
  a.softcap = op.attr_float("softcap");
  a.causal = op.attr_int("is_causal") != 0;
  if (op.row().versions().front() >= 25) {
    a.left_window = op.attr_int("left_window_size");
    a.right_window = op.attr_int("right_window_size");
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

// Writes [past, now] along the length.
template <class T>
void join(const Attention& a, const T* past, const Heads& past_heads, const T* now,
          const Heads& now_heads, T* present, const Heads& present_heads) {
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t h = 0; h < now_heads.heads; ++h) {
      for (std::int64_t row = 0; row < present_heads.length; ++row) {
        const T* from = row < past_heads.length ? past + past_heads.at(b, h, row)
                                                : now + now_heads.at(b, h, row - past_heads.length);
        std::copy_n(from, now_heads.size, present + present_heads.at(b, h, row));
      }
    }
  }
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
  join(a, run.in<T>(past), past_heads, run.in<T>(now), now_heads, target, joined);
  present.data = target;
  return present;
}

// Which keys a query may see, and what is added to their scores.
template <class T>
struct Bias {
  const Attention& a;
  const T* mask = nullptr;          // as floats
  std::vector<std::int64_t> valid;  // keys of each of the batch

  // Adds to scores [total] of one query; false where it may see no key.
  bool add(std::int64_t b, std::int64_t h, std::int64_t query, T* scores) const {
    const T none = -std::numeric_limits<T>::infinity();
    // The position of the query among the keys.
    std::int64_t position = query + a.past_k.length;
    std::int64_t end = a.total;
    if (!valid.empty()) {
      end = std::clamp<std::int64_t>(valid[static_cast<std::size_t>(b)], 0, a.total);
      position = query + end - a.q.length;
    }
    const T* row = mask == nullptr ? nullptr
                                   : mask + b * a.mask_strides[0] + h * a.mask_strides[1] +
                                         query * a.mask_strides[2];
    if (mask != nullptr) end = std::min(end, a.mask_shape[3]);
    if (a.causal) end = std::clamp<std::int64_t>(position + 1, 0, end);
    bool any = false;
    for (std::int64_t j = 0; j < a.total; ++j) {
      const bool seen = j < end && (a.left_window < 0 || position - j <= a.left_window) &&
                        (a.right_window < 0 || j - position <= a.right_window);
      if (!seen) {
        scores[j] = none;
      } else if (row != nullptr) {
        scores[j] += row[j];
        any |= row[j] != none;
      } else {
        any = true;
      }
    }
    return any;
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
    Bias<T> bias{a, nullptr, run.in_ints(kValidKeys)};
    Tensor mask = run.in_tensor(kMask);
    if (mask.has_value()) {
      const bool is_bool = mask.dtype() == DType::boolean;
      mask = mask.dtype() == DTypeOf<T>::value ? mask : mask.to(DTypeOf<T>::value);
      if (is_bool) {
        for (T& x : mask.mutable_values<T>())
          x = x != 0 ? T{0} : -std::numeric_limits<T>::infinity();
      }
      bias.mask = static_cast<const T*>(mask.data());
    }
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
