#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "mezzo/error.h"

namespace mezzo {
namespace {

TEST(ThreadPool, CoversEachIndexOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (std::int64_t count : {0, 1, 2, 7, 100, 4001}) {
      for (std::int64_t grain : {0, 1, 3, 50, 100000}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
        std::mutex mutex;
        std::vector<std::int64_t> short_ranges;
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
          ASSERT_LT(begin, end);
          for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
          const std::lock_guard lock(mutex);
          if (end - begin < grain) short_ranges.push_back(end);
        });
        EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](const auto& n) { return n == 1; }))
            << count << " by " << grain;
        for (std::int64_t end : short_ranges)
          EXPECT_EQ(end, count) << "a short range that is not the last, grain " << grain;
      }
    }
  }
}

TEST(ThreadPool, NegativeAndEmptyCountsDoNothing) {
  ThreadPool pool(2);
  for (std::int64_t count : {-5, 0}) {
    pool.parallel_for(count, 1, [](std::int64_t, std::int64_t) { FAIL(); });
  }
}

// Whether two ranges of a loop run at the same time: each waits, with patience, to see the other
// begin.
bool two_ranges_meet(ThreadPool& pool) {
  std::atomic<int> begun{0};
  std::atomic<bool> met{true};
  pool.parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
    ++begun;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (begun < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    if (begun < 2) met = false;
  });
  return met;
}

TEST(ThreadPool, UsesItsThreads) {
  ThreadPool pool(3);
  EXPECT_TRUE(two_ranges_meet(pool));
}

TEST(ThreadPool, WakesSleepingWorkers) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far longer than workers spin
    EXPECT_TRUE(two_ranges_meet(pool));
  }
}

TEST(ThreadPool, NestedCallsRunOnTheirOwnThread) {
  ThreadPool pool(4);
  std::atomic<std::int64_t> sum{0};
  pool.parallel_for(8, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto outer = std::this_thread::get_id();
    for (std::int64_t i = begin; i < end; ++i) {
      pool.parallel_for(100, 1, [&](std::int64_t from, std::int64_t to) {
        EXPECT_EQ(std::this_thread::get_id(), outer);
        sum += to - from;
      });
    }
  });
  EXPECT_EQ(sum, 800);
}

TEST(ThreadPool, InsideOfABodyOneThreadIsAvailable) {
  ThreadPool pool(3);
  EXPECT_EQ(pool.available(), 3);
  std::atomic<int> most{0};
  pool.parallel_for(16, 1, [&](std::int64_t, std::int64_t) {
    if (pool.available() > 1) most = pool.available();
  });
  EXPECT_EQ(most, 0);
  EXPECT_EQ(pool.available(), 3);
}

TEST(ThreadPool, ForwardsAnExceptionOnceAllHaveEnded) {
  ThreadPool pool(3);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> running{0};
    try {
      pool.parallel_for(12, 1, [&](std::int64_t begin, std::int64_t end) {
        ++running;
        std::this_thread::yield();
        --running;
        if (begin <= 5 && 5 < end) throw std::runtime_error("five");
      });
      ADD_FAILURE() << "no exception came";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "five");
      EXPECT_EQ(running, 0);
    }
    // And the pool still works, in parallel too.
    std::atomic<std::int64_t> sum{0};
    pool.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum, 100);
  }
}

TEST(ThreadPool, ConcurrentCallersAllFinish) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<std::int64_t> sum{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 300; ++round) {
        pool.parallel_for(64, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 300 * 64);
}

TEST(ThreadPool, ManyShortLoopsAndPools) {
  for (int p = 0; p < 20; ++p) {
    ThreadPool pool(4);
    std::int64_t plain = 0;  // unsynchronised: each loop must see what the one before wrote
    for (int round = 0; round < 200; ++round) {
      std::vector<std::int64_t> parts(16);
      pool.parallel_for(16, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) parts[static_cast<std::size_t>(i)] = plain + i;
      });
      for (std::int64_t part : parts) plain += part % 3;
    }
    EXPECT_GT(plain, 0);
  }
}

TEST(ThreadPool, RefusesToHaveNoThread) {
  for (int threads : {0, -3}) EXPECT_THROW(ThreadPool{threads}, Error);
}

}  // namespace
}  // namespace mezzo
