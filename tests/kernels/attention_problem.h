// Attention whose answers are known, for the tests of its kernels.
#pragma once

#include <algorithm>
#include <limits>

#include "kernels/attention_f32.h"
#include "kernels/kernel_test.h"

namespace mezzo::kernels {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

enum class Mask { none, of_keys, of_queries, full };

// Heads inside, as a projection leaves them: [batch, rows, heads, size].
template <class T>
AttentionRows<T> inside(T* data, std::int64_t rows, std::int64_t heads, std::int64_t size) {
  return {data, rows * heads * size, size, heads * size};
}

struct Problem {
  AttentionArgs args;
  std::vector<float> q, k, v, mask, y;
  std::vector<std::uint8_t> condition;

  Problem(std::int64_t queries, std::int64_t keys, std::int64_t size, std::int64_t value_size,
          Mask kind, std::int64_t batch = 2, std::int64_t heads = 3, std::int64_t group = 1)
      : q(random_floats(batch * queries * heads * size, 1, -2, 2)),
        k(random_floats(batch * keys * heads / group * size, 2, -2, 2)),
        v(random_floats(batch * keys * heads / group * value_size, 3)),
        mask(random_floats(batch * heads * queries * keys, 4, -3, 3)),
        y(static_cast<std::size_t>(batch * queries * heads * value_size + 1), kUntouched) {
    args.batch = batch;
    args.heads = heads;
    args.kv_heads = heads / group;
    args.queries = queries;
    args.keys = keys;
    args.size = size;
    args.value_size = value_size;
    args.scale = 0.7f;
    args.q = inside<const float>(q.data(), queries, heads, size);
    args.k = inside<const float>(k.data(), keys, args.kv_heads, size);
    args.v = inside<const float>(v.data(), keys, args.kv_heads, value_size);
    args.y = inside<float>(y.data(), queries, heads, value_size);
    if (kind != Mask::none) args.mask_key_stride = lay(mask.data(), kind, args.mask);
  }

  // Where a mask of that kind lies; the distance between keys.
  template <class T>
  std::int64_t lay(const T* data, Mask kind, AttentionRows<const T>& at) const {
    const std::int64_t queries = args.queries, keys = args.keys;
    at.data = data;
    if (kind == Mask::of_keys) at.batch_stride = keys;
    if (kind == Mask::of_queries) at.row_stride = 1;
    if (kind == Mask::full) at = {data, args.heads * queries * keys, queries * keys, keys};
    return kind == Mask::of_queries ? 0 : 1;
  }

  // Replaces every third score, or the others, and all of the first query's or none.
  Problem& with_condition(Mask kind, bool keeps, float fill) {
    AttentionCondition& c = args.condition;
    c.bytes = kind == Mask::of_keys      ? args.batch * args.keys
              : kind == Mask::of_queries ? args.queries
                                         : args.batch * args.heads * args.queries * args.keys;
    for (std::int64_t i = 0; i < c.bytes; ++i)
      condition.push_back(i >= args.keys && i % 3 != 0 ? static_cast<std::uint8_t>(i % 3) : 0);
    c.key_stride = lay(condition.data(), kind, c.at);
    c.keeps = keeps;
    c.fill = fill;
    return *this;
  }

  // The products of one query and the keys.
  std::vector<double> products(std::int64_t b, std::int64_t h, std::int64_t query) const {
    std::vector<double> row_of_products;
    const float* row = args.q.at(b, h, query);
    for (std::int64_t key = 0; key < args.keys; ++key) {
      double sum = 0;
      for (std::int64_t i = 0; i < args.size; ++i) {
        sum += static_cast<double>(row[i]) * args.k.at(b, h / args.group(), key)[i];
      }
      row_of_products.push_back(sum);
    }
    return row_of_products;
  }

  double masked(std::int64_t b, std::int64_t h, std::int64_t query, std::int64_t key) const {
    if (args.sight.before != nullptr) {
      const std::int64_t before = args.sight.before[b], place = before + query;
      if (key >= before + args.queries || (args.sight.causal && key > place) ||
          (args.sight.window >= 0 && key + args.sight.window <= place))
        return -kInfinity;
    }
    return args.mask.data == nullptr ? 0 : args.mask.at(b, h, query)[key * args.mask_key_stride];
  }

  // What the condition leaves of a scaled score.
  double chosen(std::int64_t b, std::int64_t h, std::int64_t query, std::int64_t key,
                double score) const {
    const AttentionCondition& c = args.condition;
    const bool replaced =
        c.at.data != nullptr && (c.at.at(b, h, query)[key * c.key_stride] != 0) != c.keeps;
    return replaced ? static_cast<double>(c.fill) : score;
  }

  std::vector<double> weights(std::int64_t b, std::int64_t h, std::int64_t query) const {
    std::vector<double> row = products(b, h, query);
    for (std::int64_t key = 0; key < args.keys; ++key) {
      double& score = row[static_cast<std::size_t>(key)];
      score = chosen(b, h, query, key, score * args.scale) + masked(b, h, query, key);
    }
    const double top = *std::max_element(row.begin(), row.end());
    double total = 0;
    for (double& score : row) total += score = std::exp(score - top);
    for (double& weight : row) weight /= total;
    if (args.guards && std::isnan(total)) std::fill(row.begin(), row.end(), 0);
    return row;
  }

  void check() {
    attention(args, test_pool());
    for (std::int64_t b = 0; b < args.batch; ++b) {
      for (std::int64_t h = 0; h < args.heads; ++h) {
        for (std::int64_t query = 0; query < args.queries; ++query) {
          const std::vector<double> weight = weights(b, h, query);
          for (std::int64_t j = 0; j < args.value_size; ++j) {
            double mixed = 0;
            for (std::int64_t key = 0; key < args.keys; ++key)
              mixed +=
                  weight[static_cast<std::size_t>(key)] * args.v.at(b, h / args.group(), key)[j];
            ASSERT_NEAR(args.y.at(b, h, query)[j], mixed, 2e-5)
                << b << ", " << h << ", " << query << ", " << j;
          }
        }
      }
    }
    ASSERT_EQ(y.back(), kUntouched);
  }
};

// What lies between the steps, `offset` floats behind a line of the cache; the answer stays the
// same to the bit.
inline void check_taps(Problem problem, std::size_t offset) {
  AttentionArgs& a = problem.args;
  attention(a, test_pool());
  const std::vector<float> plain = problem.y;
  const std::int64_t scores = a.batch * a.heads * a.queries * a.keys,
                     mixed = a.batch * a.heads * a.queries * a.value_size;
  struct Given {
    float*& to;
    std::int64_t count;
    std::vector<float> memory = {};
  };
  Given all[] = {{a.taps.product, scores}, {a.taps.scaled, scores},  {a.taps.chosen, scores},
                 {a.taps.scores, scores},  {a.taps.weights, scores}, {a.taps.guarded, scores},
                 {a.taps.mixed, mixed}};
  a.taps.product_scale = 0.3f;
  for (Given& given : all) {
    given.memory.assign(static_cast<std::size_t>(given.count) + 64, kUntouched);
    const auto line = reinterpret_cast<std::uintptr_t>(given.memory.data()) / sizeof(float);
    given.to = given.memory.data() + (16 - line % 16) + offset;
  }
  attention(a, test_pool());
  ASSERT_EQ(problem.y, plain);
  for (const Given& given : all) {
    const float* end = given.memory.data() + given.memory.size();
    ASSERT_TRUE(std::all_of(given.memory.data(), static_cast<const float*>(given.to),
                            [](float f) { return f == kUntouched; }));
    ASSERT_TRUE(std::all_of(static_cast<const float*>(given.to) + given.count, end,
                            [](float f) { return f == kUntouched; }));
  }
  std::int64_t at = 0, at_mixed = 0;
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t h = 0; h < a.heads; ++h) {
      for (std::int64_t query = 0; query < a.queries; ++query) {
        const std::vector<double> products = problem.products(b, h, query),
                                  weights = problem.weights(b, h, query);
        for (std::int64_t key = 0; key < a.keys; ++key, ++at) {
          const double sum = products[static_cast<std::size_t>(key)];
          ASSERT_NEAR(a.taps.product[at], sum * 0.3f, 1e-4) << at;
          ASSERT_NEAR(a.taps.scaled[at], sum * a.scale, 1e-4) << at;
          const double chosen = problem.chosen(b, h, query, key, sum * a.scale);
          ASSERT_NEAR(a.taps.chosen[at], chosen, 1e-4) << at;
          const double score = chosen + problem.masked(b, h, query, key);
          if (std::isnan(score)) {
            ASSERT_TRUE(std::isnan(a.taps.scores[at])) << at;
          } else if (std::isinf(score)) {
            ASSERT_EQ(a.taps.scores[at], score) << at;
          } else {
            ASSERT_NEAR(a.taps.scores[at], score, 1e-4) << at;
          }
          const double weight = weights[static_cast<std::size_t>(key)];
          if (!a.guards) {
            ASSERT_NEAR(a.taps.weights[at], weight, 1e-5) << at;
          } else {
            ASSERT_NEAR(a.taps.guarded[at], weight, 1e-5) << at;
            ASSERT_TRUE(a.taps.weights[at] == a.taps.guarded[at] || std::isnan(a.taps.weights[at]))
                << at;
          }
        }
        for (std::int64_t j = 0; j < a.value_size; ++j, ++at_mixed)
          ASSERT_EQ(a.taps.mixed[at_mixed], a.y.at(b, h, query)[j]) << at_mixed;
      }
    }
  }
}

}  // namespace mezzo::kernels
