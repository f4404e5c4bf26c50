// Attention in which queries do not see all keys.
#include "kernels/attention_problem.h"

namespace mezzo::kernels {
namespace {

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

// Keys that a mask hides from some one on, from each query (`step` 1: from the next one on) or from
// all: their products are left out.
TEST(AttentionF32, KeysThatNobodySees) {
  for_each_target([] {
    for (const float low : {-kInfinity, std::numeric_limits<float>::lowest(), -1e30f}) {
      for (const std::int64_t queries : {4, 5, 33, 130}) {
        for (const std::int64_t keys : {7, 64, 197, 400}) {
          for (const std::int64_t step : {0, 1}) {
            SCOPED_TRACE("queries " + std::to_string(queries) + " keys " + std::to_string(keys) +
                         " step " + std::to_string(step) + " low " + std::to_string(low));
            const auto hides = [&](std::int64_t i) {
              return i % keys > keys / 3 + step * (i / keys % queries);
            };
            const auto masked = [&] {
              Problem problem(queries, keys, 8, 12, Mask::full, 1, 2);
              for (std::size_t i = 0; i < problem.mask.size(); ++i) {
                if (hides(static_cast<std::int64_t>(i))) problem.mask[i] = low;
              }
              return problem;
            };
            masked().check();
            check_taps(masked(), 0);
            Problem replaced(queries, keys, 8, 12, Mask::of_keys, 1, 2);
            replaced.with_condition(Mask::full, true, low);
            for (std::size_t i = 0; i < replaced.condition.size(); ++i)
              replaced.condition[i] = hides(static_cast<std::int64_t>(i)) ? 0 : 1;
            replaced.check();
            // One that sees nothing has all keys' weights.
            if (low == -kInfinity) continue;
            Problem blind = masked();
            std::fill_n(blind.mask.begin() + 3 * keys, keys, low);
            blind.check();
          }
          Problem padded(queries, keys, 8, 12, Mask::of_keys);
          std::fill(padded.mask.begin() + keys / 2, padded.mask.begin() + keys, low);
          padded.check();
        }
      }
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
