#include "kernels/attention_f32.h"

#include <algorithm>
#include <limits>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

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

TEST(AttentionF32, RaggedSizes) {
  for_each_target([] {
    for (const std::int64_t queries : {1, 2, 5, 16, 17, 33, 67}) {
      for (const std::int64_t keys : {1, 2, 7, 29, 64}) {
        for (const auto& [size, value_size] :
             {std::pair<int, int>{1, 1}, {3, 5}, {8, 4}, {32, 32}, {33, 19}}) {
          for (const Mask mask : {Mask::none, Mask::of_keys, Mask::of_queries, Mask::full}) {
            SCOPED_TRACE("queries " + std::to_string(queries) + " keys " + std::to_string(keys) +
                         " size " + std::to_string(size) + " mask " +
                         std::to_string(static_cast<int>(mask)));
            Problem(queries, keys, size, value_size, mask).check();
          }
        }
      }
    }
  });
}

// Heads that share keys and values: all of them, or two, three, and so on.
TEST(AttentionF32, SharedKeysAndValues) {
  for_each_target([] {
    for (const std::int64_t group : {2, 3, 6}) {
      for (const std::int64_t queries : {1, 2, 3, 5, 33}) {
        for (const Mask mask : {Mask::none, Mask::of_keys, Mask::of_queries, Mask::full}) {
          SCOPED_TRACE("group " + std::to_string(group) + " queries " + std::to_string(queries));
          Problem(queries, 29, 64, 80, mask, 2, 6, group).check();
          Problem(queries, 6, 21, 33, mask, 1, 6, group).check();
        }
      }
    }
  });
}

TEST(AttentionF32, ScoresThatAreReplaced) {
  for_each_target([] {
    for (const std::int64_t queries : {1, 3, 5, 33, 67}) {
      for (const Mask kind : {Mask::of_keys, Mask::of_queries, Mask::full}) {
        for (const Mask mask : {Mask::none, Mask::of_keys, Mask::full}) {
          for (const float fill : {-100.0f, std::numeric_limits<float>::lowest(), 0.5f}) {
            for (const bool keeps : {false, true}) {
              SCOPED_TRACE("queries " + std::to_string(queries) + " condition " +
                           std::to_string(static_cast<int>(kind)) + (keeps ? " keeps" : "") +
                           " fill " + std::to_string(fill));
              Problem(queries, 29, 8, 12, mask).with_condition(kind, keeps, fill).check();
            }
          }
        }
      }
    }
    // Of a query all of whose scores are -inf nothing is left, nor where the fill is NaN.
    for (const float fill : {-kInfinity, kNan}) {
      Problem problem(18, 21, 8, 8, Mask::none, 1, 1);
      problem.with_condition(Mask::full, true, fill);
      attention(problem.args, test_pool());
      for (std::int64_t query = 0; query < 18; ++query)
        ASSERT_EQ(std::isnan(problem.args.y.at(0, 0, query)[3]), query == 0 || fill != -kInfinity);
    }
  });
}

// A query that sees nothing, or a NaN, has no weights, and no answer but 0.
TEST(AttentionF32, GuardedWeights) {
  for_each_target([] {
    for (const std::int64_t queries : {1, 3, 5, 33}) {
      for (const Mask mask : {Mask::none, Mask::full}) {
        SCOPED_TRACE("queries " + std::to_string(queries));
        Problem problem(queries, 29, 8, 12, mask);
        problem.with_condition(Mask::full, true, -kInfinity).args.guards = true;
        problem.mask[3 * 29 + 4] = kNan;
        problem.check();
      }
    }
  });
}

// Queries that do not see all keys, by their places: behind so many keys, or so many more or fewer
// in another entry of the batch.
TEST(AttentionF32, Sight) {
  for_each_target([] {
    for (const std::int64_t queries : {1, 3, 5, 32, 33, 100, 300}) {
      for (const std::int64_t past : {0, 1, 40, 700}) {
        for (const std::int64_t window : {-1, 1, 2, 37, 64, 5000}) {
          for (const bool causal : {false, true}) {
            for (const Mask mask : {Mask::none, Mask::full}) {
              SCOPED_TRACE("queries " + std::to_string(queries) + " past " + std::to_string(past) +
                           " window " + std::to_string(window) + (causal ? " causal" : "") +
                           (mask == Mask::full ? " mask" : ""));
              const std::vector<std::int64_t> before = {past / 2, past};
              Problem problem(queries, queries + past, 3, 5, mask, 2, 2, 2);
              problem.args.sight = {before.data(), causal, window};
              if (past == 1) problem.args.scale = -0.7f;
              problem.check();
            }
          }
        }
      }
    }
  });
}

// What lies between the steps, `offset` floats behind a line of the cache; the answer stays the
// same to the bit.
void check_taps(Problem problem, std::size_t offset) {
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

TEST(AttentionF32, WhatLiesBetween) {
  for_each_target([] {
    // Rows of whole lines and others, more than a run of the transposition takes; queries that fill
    // blocks and not.
    for (const std::int64_t queries : {1, 7, 8, 16, 43}) {
      for (const std::int64_t keys : {1, 5, 16, 48, 61, 300, 512}) {
        for (const Mask mask : {Mask::none, Mask::of_keys, Mask::of_queries, Mask::full}) {
          for (const std::size_t offset : {0, 3}) {
            SCOPED_TRACE("queries " + std::to_string(queries) + " keys " + std::to_string(keys) +
                         " mask " + std::to_string(static_cast<int>(mask)));
            check_taps(Problem(queries, keys, 8, 12, mask, 1, 2), offset);
            Problem replaced(queries, keys, 8, 12, mask, 1, 2);
            check_taps(std::move(replaced.with_condition(Mask::full, true, 0.5f)), offset);
            Problem guarded(queries, keys, 8, 12, mask, 1, 2);
            guarded.args.guards = true;
            guarded.mask[0] = kNan;
            check_taps(std::move(guarded), offset);
          }
        }
      }
    }
    // One head, whose queries are shared out.
    check_taps(Problem(530, 31, 8, 8, Mask::full, 1, 1), 0);
    for (const std::int64_t queries : {1, 3, 5})
      check_taps(Problem(queries, 31, 8, 8, Mask::full, 2, 6, 3), 0);
  });
}

// More keys and larger heads than one block of a product takes, and one head, whose queries are
// shared out.
TEST(AttentionF32, LargeSizes) {
  for_each_target([] {
    Problem(5, 1100, 24, 24, Mask::full).check();
    Problem(9, 13, 700, 900, Mask::of_keys, 1, 2).check();
    Problem(1030, 31, 16, 16, Mask::full, 1, 1).check();
  });
}

TEST(AttentionF32, HeadsOutside) {
  for_each_target([] {
    Problem problem(19, 23, 12, 20, Mask::none);
    AttentionArgs& a = problem.args;
    a.q = {problem.q.data(), 3 * 19 * 12, 19 * 12, 12};
    a.k = {problem.k.data(), 3 * 23 * 12, 23 * 12, 12};
    a.v = {problem.v.data(), 3 * 23 * 20, 23 * 20, 20};
    a.y = {problem.y.data(), 3 * 19 * 20, 19 * 20, 20};
    problem.check();
  });
}

TEST(AttentionF32, HiddenKeysAndNan) {
  for_each_target([] {
    for (const float low : {-kInfinity, -10000.0f, std::numeric_limits<float>::lowest()}) {
      Problem problem(18, 21, 8, 8, Mask::full);
      for (std::size_t i = 0; i < problem.mask.size(); ++i) {
        if (i % 3 == 0) problem.mask[i] = low;
      }
      problem.check();
    }
    Problem problem(18, 21, 8, 8, Mask::full, 1, 1);
    std::fill_n(problem.mask.begin() + 3 * 21, 21, -kInfinity);
    problem.mask[5 * 21 + 7] = kNan;
    problem.mask[6 * 21 + 20] = kInfinity;
    attention(problem.args, test_pool());
    for (std::int64_t query = 0; query < 18; ++query) {
      const bool bad = query == 3 || query == 5 || query == 6;
      for (std::int64_t j = 0; j < 8; ++j) {
        ASSERT_EQ(std::isnan(problem.args.y.at(0, 0, query)[j]), bad) << query;
      }
    }
    // Scores far apart, and no mask: the largest of them wins alone.
    Problem sharp(18, 21, 8, 8, Mask::none);
    sharp.args.scale = 1000;
    attention(sharp.args, test_pool());
    for (const float y : sharp.y) ASSERT_FALSE(std::isnan(y));
    Problem negative(18, 21, 8, 8, Mask::none);
    negative.args.scale = -1;
    negative.check();
  });
}

}  // namespace
}  // namespace mezzo::kernels
