#include "kernels/attention_f32.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/shape.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_attention_scores_inl.h"
#include "kernels/simd_block_rows_inl.h"
#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_pack_inl.h"

// Everything is computed transposed, with a block of kTileCols queries along the vectors: scores
// are [keys][queries], so that the softmax goes down columns and no vector is ever summed up in
// itself, and they are what the product with the values takes as it stands. Keys and values are
// packed once for a head, as left operands; queries once for their block. What is wanted of the
// steps in between is transposed back on its way out.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

struct AttentionScratch {};
struct FillScratch {};

// Blocks of queries that a share of a head has at least: keys and values are packed anew for each.
constexpr int64_t kTaskBlocks = 4;
// Rows of the values that are packed together: they are often so far apart that not many more have
// a place in L1.
constexpr int64_t kPackedRows = 16;

// What a condition makes of scores, for each of its bytes: the number they become, or kScoreIsLeft.
const float* fills_of(const AttentionCondition& condition, ThreadPool& pool) {
  if (condition.at.data == nullptr) return nullptr;
  float* fills = thread_scratch<FillScratch>(condition.bytes);
  const auto left = std::bit_cast<float>(kScoreIsLeft);
  const float fill =
      std::isnan(condition.fill) ? std::numeric_limits<float>::quiet_NaN() : condition.fill;
  pool.parallel_for(condition.bytes, 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      fills[i] = condition.replaces(condition.at.data[i]) ? fill : left;
  });
  return fills;
}

// What of a matrix is multiplied: some of its rows, which begin with a whole panel and end with
// one, or at the end; and of its columns.
struct Part {
  int64_t row, row_end, k, k_end;
};

// C [m][kTileCols] = A B of `cols` columns, whose rows are kTileCols long too. A is packed in
// panels [block of k][panel][k][height]. Of C and B those rows are there that A's part has.
void multiply(const float* a, int64_t m, int64_t k, int64_t height, const Part& part,
              const float* b, int64_t cols, float* c) {
  const int64_t block = depth_block(k);
  int64_t k0 = part.k / block * block;
  do {
    const int64_t depth = std::min(block, k - k0);
    const int64_t begin = std::max(part.k, k0) - k0, end = std::min(part.k_end, k0 + depth) - k0;
    for (int64_t row = part.row; row < part.row_end;) {
      const int64_t rows = std::min(height, m - row);
      TileOut out = sums_into(c + (row - part.row) * kTileCols, k0 + begin > part.k, {});
      // Panels lie one behind the other as deep as they are.
      out.tiles = end - begin == depth ? (part.row_end - row) / rows : 1;
      tile_kernel(rows, cols, {})(a + m * k0 + row * depth + begin * rows,
                                  b + (k0 + begin - part.k) * kTileCols, kTileCols, end - begin,
                                  out);
      row += out.tiles * rows;
    }
    k0 += depth;
  } while (k0 < part.k_end);
}

// Of products [key][kTileCols] with keys [begin, end) those that a query does not see become such
// that no maximum finds them: queries [0, count) stand at `place` and behind it.
void hide(const AttentionSight& sight, float* products, int64_t begin, int64_t end, int64_t keys,
          int64_t place, int64_t count, float scale) {
  const float none = std::copysign(std::numeric_limits<float>::infinity(), -scale);
  const auto row = [&](int64_t key) { return products + (key - begin) * kTileCols; };
  for (int64_t key = keys; key < end; ++key) std::fill_n(row(key), count, none);
  // Of those ahead of it the first queries, of those that a window has left behind the last.
  for (int64_t key = place + 1; sight.causal && key < std::min(end, keys); ++key)
    std::fill_n(row(key), std::min(count, key - place), none);
  for (int64_t key = begin; sight.window >= 0 && key < place + count - sight.window; ++key)
    std::fill(row(key) + std::max<int64_t>(0, key + sight.window - place), row(key) + count, none);
}

// Packs A for `multiply`: element (i, p) is at src[i * stride_i + p * stride_k].
void pack(const float* src, int64_t stride_i, int64_t stride_k, int64_t m, int64_t k,
          int64_t height, float* dst) {
  const int64_t block = depth_block(k);
  // Rows of `src` that lie along the panels go to all of them while they are in L1.
  const int64_t run = stride_i == 1 ? kPackedRows : block;
  for (int64_t k0 = 0; k0 < k; k0 += block) {
    const int64_t depth = std::min(block, k - k0);
    for (int64_t p = 0; p < depth; p += run) {
      for (int64_t row = 0; row < m; row += height) {
        const int64_t rows = std::min(height, m - row);
        pack_panel(src + row * stride_i + (k0 + p) * stride_k, stride_i, stride_k, rows, rows,
                   std::min(run, depth - p), dst + m * k0 + row * depth + p * rows);
      }
    }
  }
}

// The product with 1 / sum of a query's exponentials, or 0 where that is NaN: its weights are, too.
template <class V>
HWY_INLINE V guarded_product(V v, V inverse) {
  return hn::IfThenElseZero(hn::Eq(inverse, inverse), hn::Mul(v, inverse));
}

// y[q][j] = mixed[j][q] * inverse[q] for q < queries, j < n; `mixed` has rows of kTileCols.
void write_rows(float* mixed, const float* inverse, bool guards, int64_t queries, int64_t n,
                float* y, int64_t stride) {
  const F32 d;
  for (int64_t j = 0; j < n; ++j) {
    float* row = mixed + j * kTileCols;
    for (int64_t q = 0; q < queries; q += kLanes) {
      const VecF32 v = hn::LoadU(d, row + q), factor = hn::LoadU(d, inverse + q);
      hn::StoreU(guards ? guarded_product(v, factor) : hn::Mul(v, factor), d, row + q);
    }
  }
  int64_t j = 0;
  for (; j + 4 <= n; j += 4)
    transpose_4_rows(mixed + j * kTileCols, kTileCols, queries, y + j, stride);
  for (; j < n; ++j) {
    for (int64_t q = 0; q < queries; ++q) y[q * stride + j] = mixed[j * kTileCols + q];
  }
}

// to[q * rows + i] = value(i, q) for i < rows, q < cols; value(i, q) gives the vector of kPartLanes
// columns from q on. lines.finish() and hwy::FlushStream() must follow.
template <class Value>
void give_columns(int64_t rows, int64_t cols, float* to, LineStream& lines, const Value& value) {
  const int64_t whole = cols / kBlockChannels * kBlockChannels;
  for (int64_t q = 0; q < whole; q += kBlockChannels) {
    BlockRows out(to + q * rows, rows, 0, rows, lines);
    const auto of_block = [&](int64_t i, int part) HWY_ATTR { return value(i, q + part); };
    for (int64_t i = 0; i < rows; i += kRunPixels)
      out.add(i, std::min(i + kRunPixels, rows), of_block);
    out.finish();
  }
  const BlockF32 d;
  for (int64_t q = whole; q < cols; q += kPartLanes) {
    for (int64_t i = 0; i < rows; ++i) {
      HWY_ALIGN float lanes[kPartLanes];
      hn::Store(value(i, q), d, lanes);
      for (int64_t c = q; c < std::min<int64_t>(q + kPartLanes, cols); ++c)
        to[c * rows + i] = lanes[c - q];
    }
  }
}

// What is wanted of a share of a head, on its way.
class Giver {
 public:
  explicit Giver(const AttentionArgs& args) : a_(args) {}

  // Everything is there for others to see.
  void finish() {
    for (LineStream& stream : streams_) stream.finish();
    hwy::FlushStream();
  }

  // The forms of the scores of `count` queries from `first` on, ahead of their exponentials.
  void scores(const float* products, const ScoreMasks& masks, int64_t b, int64_t h, int64_t first,
              int64_t count) {
    const BlockF32 d;
    const VecBlock scale = hn::Set(d, a_.scale), product_scale = hn::Set(d, a_.taps.product_scale);
    const auto load = [&](const float* rows, int64_t key, int64_t q)
                          HWY_ATTR { return hn::LoadU(d, rows + key * kTileCols + q); };
    const auto scaled = [&](int64_t key, int64_t q)
                            HWY_ATTR { return hn::Mul(load(products, key, q), scale); };
    give(0, a_.taps.product, a_.keys, b, h, first, count, [&](int64_t key, int64_t q) HWY_ATTR {
      return hn::Mul(load(products, key, q), product_scale);
    });
    const auto left = [&](int64_t key, int64_t q) HWY_ATTR {
      if (masks.fills == nullptr) return scaled(key, q);
      return chosen_score(d, scaled(key, q), masks.fills + key * kTileCols + q);
    };
    give(1, a_.taps.scaled, a_.keys, b, h, first, count, scaled);
    give(5, a_.taps.chosen, a_.keys, b, h, first, count, left);
    give(2, a_.taps.scores, a_.keys, b, h, first, count, [&](int64_t key, int64_t q) HWY_ATTR {
      if (masks.added == nullptr) return left(key, q);
      return hn::Add(left(key, q), masks.dense ? load(masks.added, key, q)
                                               : hn::Set(d, masks.added[key * masks.key_stride]));
    });
  }

  void weights(const float* exponentials, const float* inverse, int64_t b, int64_t h, int64_t first,
               int64_t count) {
    const BlockF32 d;
    const auto exponential = [&](int64_t key, int64_t q) HWY_ATTR {
      return hn::LoadU(d, exponentials + key * kTileCols + q);
    };
    give(3, a_.taps.weights, a_.keys, b, h, first, count, [&](int64_t key, int64_t q) HWY_ATTR {
      return hn::Mul(exponential(key, q), hn::LoadU(d, inverse + q));
    });
    give(6, a_.taps.guarded, a_.keys, b, h, first, count, [&](int64_t key, int64_t q) HWY_ATTR {
      return guarded_product(exponential(key, q), hn::LoadU(d, inverse + q));
    });
  }

  void mixed(const float* mixed, int64_t b, int64_t h, int64_t first, int64_t count) {
    const BlockF32 d;
    give(4, a_.taps.mixed, a_.value_size, b, h, first, count,
         [&](int64_t column, int64_t q)
             HWY_ATTR { return hn::LoadU(d, mixed + column * kTileCols + q); });
  }

 private:
  // Rows of `columns` floats of queries from `first` on.
  template <class Value>
  void give(int stream, float* to, int64_t columns, int64_t b, int64_t h, int64_t first,
            int64_t count, const Value& value) {
    if (to == nullptr) return;
    to += ((b * a_.heads + h) * a_.queries + first) * columns;
    give_columns(columns, count, to, streams_[stream], value);
  }

  const AttentionArgs& a_;
  LineStream streams_[7];
};

// The memory of a thread, in parts that begin at whole cache lines.
struct Parts {
  float *keys, *values, *queries, *scores, *fills, *mask, *mixed, *inverse;

  explicit Parts(const AttentionArgs& a) {
    const int64_t sizes[] = {checked_mul(a.keys, a.size),
                             checked_mul(a.keys, a.value_size),
                             checked_mul(a.size, kTileCols),
                             checked_mul(a.keys, kTileCols),
                             a.condition.at.data != nullptr ? checked_mul(a.keys, kTileCols) : 0,
                             a.mask.row_stride != 0 ? checked_mul(a.keys, kTileCols) : 0,
                             checked_mul(a.value_size, kTileCols),
                             kTileCols};
    float** const parts[] = {&keys, &values, &queries, &scores, &fills, &mask, &mixed, &inverse};
    int64_t total = 0;
    for (const int64_t size : sizes) total = checked_add(total, round_up(size, kCacheLine));
    float* memory = thread_scratch<AttentionScratch>(total);
    for (std::size_t i = 0; i < std::size(sizes); ++i) {
      *parts[i] = memory;
      memory += round_up(sizes[i], kCacheLine);
    }
  }
};

// The masks of queries [first, first + count) and keys [begin, end); `fills` are the condition's.
ScoreMasks masks_of(const AttentionArgs& a, const float* fills, const Parts& parts, int64_t b,
                    int64_t h, int64_t first, int64_t count, int64_t begin, int64_t end) {
  ScoreMasks masks;
  if (fills != nullptr) {
    const AttentionRows<const std::uint8_t>& at = a.condition.at;
    const int64_t stride = a.condition.key_stride;
    pack_panel(fills + (at.at(b, h, first) - at.data) + begin * stride, at.row_stride, stride,
               count, kTileCols, end - begin, parts.fills);
    masks.fills = parts.fills;
  }
  if (a.mask.data != nullptr) {
    masks.added = a.mask.at(b, h, first) + begin * a.mask_key_stride;
    masks.key_stride = a.mask_key_stride;
    masks.dense = a.mask.row_stride != 0;
  }
  if (masks.dense) {
    pack_panel(masks.added, a.mask.row_stride, a.mask_key_stride, count, kTileCols, end - begin,
               parts.mask);
    masks.added = parts.mask;
  }
  return masks;
}

// Queries [first, first + count), count <= kTileCols, of a head whose keys and values are packed.
void attend(const AttentionArgs& a, const float* fills, const Parts& parts, int64_t b, int64_t h,
            int64_t first, int64_t count, Giver& giver) {
  // The keys that some of them sees, in whole panels.
  const int64_t height = tile_rows(a.keys);
  int64_t begin = 0, end = a.keys;
  if (a.sight.before != nullptr) {
    const int64_t place = a.sight.before[b] + first, all = a.sight.before[b] + a.queries;
    begin = a.sight.begin(place) / height * height;
    end = std::min(a.keys, round_up(a.sight.end(place + count - 1, all), height));
  }
  const ScoreMasks masks = masks_of(a, fills, parts, b, h, first, count, begin, end);
  // Those that have weights, and whose scores are computed. Sums along the keys are the same with
  // any multiple of 4.
  int64_t seen = end;
  if (a.sight.before == nullptr)
    seen = std::min(end, round_up(seen_keys(masks, end, count), std::lcm(height, int64_t{4})));
  if (!a.taps.any_scores()) end = seen;
  pack_panel(a.q.at(b, h, first), a.q.row_stride, 1, count, kTileCols, a.size, parts.queries);
  multiply(parts.keys, a.keys, a.size, height, {begin, end, 0, a.size}, parts.queries, count,
           parts.scores);
  if (a.sight.before != nullptr) {
    hide(a.sight, parts.scores, begin, end, a.sight.before[b] + a.queries,
         a.sight.before[b] + first, count, a.scale);
  }
  giver.scores(parts.scores, masks, b, h, first, count);
  const int64_t vectors = ceil_div(count, kLanes);
  const auto softmax = vectors == 1   ? softmax_columns<1>
                       : vectors == 2 ? softmax_columns<2>
                                      : softmax_columns<kTileVectors>;
  if (masks.fills != nullptr) scale_and_fill(parts.scores, seen - begin, a.scale, masks.fills);
  softmax(parts.scores, seen - begin, masks.fills != nullptr ? 1 : a.scale, masks, parts.inverse);
  if (a.taps.any_weights())
    std::fill(parts.scores + seen * kTileCols, parts.scores + a.keys * kTileCols, 0.0f);
  giver.weights(parts.scores, parts.inverse, b, h, first, count);
  multiply(parts.values, a.value_size, a.keys, tile_rows(a.value_size),
           {0, a.value_size, begin, seen}, parts.scores, count, parts.mixed);
  write_rows(parts.mixed, parts.inverse, a.guards, count, a.value_size, a.y.at(b, h, first),
             a.y.row_stride);
  giver.mixed(parts.mixed, b, h, first, count);
}

}  // namespace

void run_attention(const AttentionArgs& a, ThreadPool& pool) {
  const int64_t heads = checked_mul(a.batch, a.heads), blocks = ceil_div(a.queries, kTileCols);
  // A head is one task, unless there are too few of them for the threads.
  int64_t shares = 1;
  while (pool.available() > 1 && heads * shares < 3 * pool.available() &&
         blocks / shares >= 2 * kTaskBlocks)
    shares *= 2;
  const float* fills = fills_of(a.condition, pool);
  pool.parallel_for(heads * shares, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    const Parts parts(a);
    Giver giver(a);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / shares / a.heads, h = task / shares % a.heads, share = task % shares;
      const int64_t of = h / a.group();
      if (task == begin || (share == 0 && h % a.group() == 0)) {
        pack(a.k.at(b, of), a.k.row_stride, 1, a.keys, a.size, tile_rows(a.keys), parts.keys);
        pack(a.v.at(b, of), 1, a.v.row_stride, a.value_size, a.keys, tile_rows(a.value_size),
             parts.values);
      }
      const int64_t last = blocks * (share + 1) / shares;
      for (int64_t block = blocks * share / shares; block < last; ++block) {
        const int64_t first = block * kTileCols;
        attend(a, fills, parts, b, h, first, std::min(kTileCols, a.queries - first), giver);
      }
    }
    giver.finish();
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_attention);
}

void attention(const AttentionArgs& args, ThreadPool& pool) {
  // With fewer, the vectors along the queries are mostly empty.
  if (args.queries < kFewQueries && args.sight.before == nullptr)
    return attention_of_few(args, pool);
  if (args.batch <= 0 || args.heads <= 0 || args.queries <= 0 || args.value_size <= 0) return;
  MEZZO_DISPATCH(run_attention)(args, pool);
}

}  // namespace mezzo::kernels
#endif
