// The least time of Session::run, called from C++, on a model that does next to nothing: what
// bench/overhead.py compares the Python package with.
//
//   session MODEL [SECONDS]
//
// Inputs are zeros; open extents are 1. One thread. Prints microseconds a call.
#include "mezzo/session.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  if (argc < 2) {
    std::fprintf(stderr, "usage: session MODEL [SECONDS]\n");
    return 2;
  }
  try {
    const mezzo::Session session(argv[1], {.threads = 1});
    mezzo::Feeds feeds;
    for (const mezzo::ValueInfo& input : session.model().inputs()) {
      mezzo::Shape shape;
      for (const mezzo::Dim& dim : input.shape.value()) shape.push_back(dim.value.value_or(1));
      feeds.emplace_back(input.name, mezzo::Tensor(input.dtype, shape));
    }
    const auto end =
        Clock::now() + std::chrono::duration<double>(argc > 2 ? std::atof(argv[2]) : 1.0);
    constexpr int kCalls = 1000;
    double best = 1e30;
    while (Clock::now() < end) {
      const auto start = Clock::now();
      for (int i = 0; i < kCalls; ++i) session.run(feeds);
      const std::chrono::duration<double, std::micro> time = Clock::now() - start;
      best = std::min(best, time.count() / kCalls);
    }
    std::printf("%.3f\n", best);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
