#include <algorithm>
#include <cmath>

#include "base/rounding.h"
#include "base/shape.h"
#include "kernels/attention_f32.h"
#include "kernels/softmax_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_few_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_tail_inl.h"

// A decoder's step has one query, which reads all keys and values: they are read once, in place, by
// up to kRows queries of the heads that share them.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

struct FewScratch {};

constexpr int kRows = 4;
// As many sums side by side as there are registers for.
constexpr int kKeysAtOnce = kLanes >= 16 ? 4 : 2, kColumnsAtOnce = kLanes >= 16 ? 4 : 2;

// The queries of a task: which they are, and where their scores wait, `keys` of each.
struct Rows {
  const AttentionArgs& a;
  int64_t b, kv_head, first;
  float* scores;

  int64_t head(int r) const { return kv_head * a.group() + (first + r) / a.queries; }
  int64_t query(int r) const { return (first + r) % a.queries; }
  // Which of all rows of [batch, heads, queries] that is.
  int64_t row(int r) const { return (b * a.heads + head(r)) * a.queries + query(r); }
};

// Adds to sums[r][c] what `load` takes of query r and key c.
template <int rows, int count, class Load>
HWY_INLINE void add_products(const float* const* q, const float* k, int64_t stride,
                             const Load& load, VecF32 (&sums)[rows][count]) {
  VecF32 of_key[count];
  MEZZO_UNROLL
  for (int c = 0; c < count; ++c) of_key[c] = load(k + c * stride);
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    const VecF32 of_query = load(q[r]);
    MEZZO_UNROLL
    for (int c = 0; c < count; ++c) sums[r][c] = hn::MulAdd(of_query, of_key[c], sums[r][c]);
  }
}

// The products of the queries with keys [key, key + count).
template <int rows, int count>
HWY_INLINE void multiply_keys(const Rows& of, int64_t key) {
  const F32 d;
  const AttentionArgs& a = of.a;
  VecF32 sums[rows][count];
  const float *q[rows], *k = a.k.at(of.b, of.kv_head, key);
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    q[r] = a.q.at(of.b, of.head(r), of.query(r));
    MEZZO_UNROLL
    for (int c = 0; c < count; ++c) sums[r][c] = hn::Zero(d);
  }
  int64_t p = 0;
  const auto whole = [&](const float* from) HWY_ATTR { return hn::LoadU(d, from + p); };
  for (; p + static_cast<int64_t>(kLanes) <= a.size; p += kLanes)
    add_products(q, k, a.k.row_stride, whole, sums);
  const auto rest = static_cast<std::size_t>(a.size - p);
  const auto last = [&](const float* from) HWY_ATTR { return load_n(d, from + p, rest); };
  if (rest > 0) add_products(q, k, a.k.row_stride, last, sums);
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    MEZZO_UNROLL
    for (int c = 0; c < count; ++c)
      of.scores[r * a.keys + key + c] = hn::GetLane(hn::SumOfLanes(d, sums[r][c]));
  }
}

// `vectors` vectors of the results' columns from `column` on; of a single one, `rest` elements.
template <int rows, int vectors>
HWY_INLINE void mix_columns(const Rows& of, int64_t column, std::size_t rest) {
  const F32 d;
  const AttentionArgs& a = of.a;
  VecF32 sums[rows][vectors];
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) sums[r][v] = hn::Zero(d);
  }
  const bool whole = vectors > 1 || rest == kLanes;
  const float* values = a.v.at(of.b, of.kv_head) + column;
  for (int64_t key = 0; key < a.keys; ++key, values += a.v.row_stride) {
    VecF32 value[vectors];
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const float* from = values + v * kLanes;
      value[v] = whole ? hn::LoadU(d, from) : load_n(d, from, rest);
    }
    MEZZO_UNROLL
    for (int r = 0; r < rows; ++r) {
      const VecF32 weight = hn::Set(d, of.scores[r * a.keys + key]);
      MEZZO_UNROLL
      for (int v = 0; v < vectors; ++v) sums[r][v] = hn::MulAdd(weight, value[v], sums[r][v]);
    }
  }
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    float* y = a.y.at(of.b, of.head(r), of.query(r)) + column;
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) {
      if (whole) {
        hn::StoreU(sums[r][v], d, y + v * kLanes);
      } else {
        store_n(sums[r][v], d, y, rest);
      }
    }
  }
}

// Gives the row of scores of query `r`, or what has become of them, to whoever wants it.
void give_row(const Rows& of, int r, float* to) {
  const int64_t keys = of.a.keys;
  if (to != nullptr) std::copy_n(of.scores + r * keys, keys, to + of.row(r) * keys);
}

// From products to scores, and whatever is wanted on the way.
void finish_scores(const Rows& of, int r) {
  const AttentionArgs& a = of.a;
  const int64_t at = of.row(r) * a.keys;
  float* scores = of.scores + r * a.keys;
  if (float* to = a.taps.product; to != nullptr) {
    for (int64_t key = 0; key < a.keys; ++key) to[at + key] = scores[key] * a.taps.product_scale;
  }
  for (int64_t key = 0; key < a.keys; ++key) scores[key] *= a.scale;
  give_row(of, r, a.taps.scaled);
  if (const AttentionCondition& c = a.condition; c.at.data != nullptr) {
    const std::uint8_t* bytes = c.at.at(of.b, of.head(r), of.query(r));
    for (int64_t key = 0; key < a.keys; ++key) {
      if (c.replaces(bytes[key * c.key_stride])) scores[key] = c.fill;
    }
  }
  give_row(of, r, a.taps.chosen);
  if (a.mask.data != nullptr) {
    const float* mask = a.mask.at(of.b, of.head(r), of.query(r));
    for (int64_t key = 0; key < a.keys; ++key) scores[key] += mask[key * a.mask_key_stride];
  }
  give_row(of, r, a.taps.scores);
}

// What is wanted of the weights, and NaNs that are not.
void finish_weights(const Rows& of, int r) {
  give_row(of, r, of.a.taps.weights);
  float* weights = of.scores + r * of.a.keys;
  if (of.a.guards) {
    std::replace_if(
        weights, weights + of.a.keys, [](float weight) { return std::isnan(weight); }, 0.0f);
  }
  give_row(of, r, of.a.taps.guarded);
}

template <int rows>
void attend_rows(const Rows& of, ThreadPool& pool) {
  const AttentionArgs& a = of.a;
  int64_t key = 0;
  for (; key + kKeysAtOnce <= a.keys; key += kKeysAtOnce) multiply_keys<rows, kKeysAtOnce>(of, key);
  for (; key < a.keys; ++key) multiply_keys<rows, 1>(of, key);
  for (int r = 0; r < rows; ++r) finish_scores(of, r);
  softmax_rows({}, of.scores, of.scores, rows, a.keys, pool);
  for (int r = 0; r < rows; ++r) finish_weights(of, r);
  int64_t column = 0;
  constexpr int64_t kWide = kColumnsAtOnce * kLanes;
  for (; column + kWide <= a.value_size; column += kWide)
    mix_columns<rows, kColumnsAtOnce>(of, column, kLanes);
  for (; column < a.value_size; column += kLanes)
    mix_columns<rows, 1>(of, column, std::min<std::size_t>(a.value_size - column, kLanes));
  for (int r = 0; r < rows && a.taps.mixed != nullptr; ++r) {
    std::copy_n(a.y.at(of.b, of.head(r), of.query(r)), a.value_size,
                a.taps.mixed + of.row(r) * a.value_size);
  }
}

}  // namespace

void run_attention_of_few(const AttentionArgs& a, ThreadPool& pool) {
  const int64_t rows = checked_mul(a.group(), a.queries), chunks = ceil_div(rows, kRows);
  const int64_t work = rows / chunks * a.keys * (a.size + a.value_size);
  constexpr int64_t kLeastWork = int64_t{1} << 15;
  pool.parallel_for(checked_mul(a.batch, a.kv_heads) * chunks,
                    std::max<int64_t>(1, kLeastWork / std::max<int64_t>(1, work)),
                    [&](int64_t begin, int64_t end) HWY_ATTR {
                      float* scores = thread_scratch<FewScratch>(checked_mul(a.keys, kRows));
                      for (int64_t task = begin; task < end; ++task) {
                        const int64_t head = task / chunks, first = task % chunks * kRows;
                        const Rows of{a, head / a.kv_heads, head % a.kv_heads, first, scores};
                        const int64_t count = std::min<int64_t>(kRows, rows - first);
                        const auto attend = count == 1   ? attend_rows<1>
                                            : count == 2 ? attend_rows<2>
                                            : count == 3 ? attend_rows<3>
                                                         : attend_rows<kRows>;
                        attend(of, pool);
                      }
                    });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_attention_of_few);
}

void attention_of_few(const AttentionArgs& args, ThreadPool& pool) {
  if (args.batch <= 0 || args.heads <= 0 || args.queries <= 0 || args.value_size <= 0) return;
  MEZZO_DISPATCH(run_attention_of_few)(args, pool);
}

}  // namespace mezzo::kernels
#endif
