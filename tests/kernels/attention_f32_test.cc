#include "kernels/attention_problem.h"

namespace mezzo::kernels {
namespace {

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

}  // namespace
}  // namespace mezzo::kernels
