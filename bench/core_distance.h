// How far two CPUs are from each other.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace mezzo::bench {

/// Nanoseconds that a line of the cache takes from one CPU to another and back, of the first two
/// that this process may use: the median of some tries. 0 where there is one CPU alone.
inline double core_round_trip_ns() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return 0;
  std::vector<int> cpus;
  for (int i = 0; i < CPU_SETSIZE && cpus.size() < 2; ++i) {
    if (CPU_ISSET(i, &allowed)) cpus.push_back(i);
  }
  constexpr int kTrips = 20000, kTries = 7;
  std::vector<double> tries;
  for (int i = 0; i < kTries; ++i) {
    alignas(128) std::atomic<int> line{0};
    // Both are threads of their own: the caller's stays where it is.
    const auto play = [&line](int cpu, int parity) {
      cpu_set_t own;
      CPU_ZERO(&own);
      CPU_SET(cpu, &own);
      pthread_setaffinity_np(pthread_self(), sizeof own, &own);
      for (int turn = parity; turn < 2 * kTrips; turn += 2) {
        while (line.load(std::memory_order_acquire) != turn) {
        }
        line.store(turn + 1, std::memory_order_release);
      }
    };
    const auto start = std::chrono::steady_clock::now();
    std::thread first(play, cpus[0], 0), second(play, cpus[1], 1);
    first.join();
    second.join();
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
    tries.push_back(time.count() / kTrips);
  }
  std::nth_element(tries.begin(), tries.begin() + kTries / 2, tries.end());
  return tries[kTries / 2];
}

}  // namespace mezzo::bench
