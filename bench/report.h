// What the benchmarks of kernels measure with and print.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "onednn.h"

namespace bench {

// Uninitialised memory would be denormal or NaN here and there: all elements are small numbers.
class Floats {
 public:
  explicit Floats(std::size_t count) : data_(new (std::align_val_t{64}) float[count + 16]) {
    for (std::size_t i = 0; i < count + 16; ++i)
      data_.get()[i] = static_cast<float>(i % 13) * 0.125f - 0.75f;
  }
  float* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<float, Free> data_;
};

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The median of many short rounds, in seconds a call. Not the best one: what else runs on the
// machine, be it on the core's other thread, is part of what a kernel must cope with.
inline double median_time(const std::function<void()>& call) {
  call();
  double once = now();
  call();
  once = std::max(now() - once, 1e-7);
  const int calls = std::max(1, static_cast<int>(0.0005 / once));
  std::vector<double> times;
  const double end = now() + 0.2;
  while (times.size() < 10 || now() < end) {
    const double start = now();
    for (int i = 0; i < calls; ++i) call();
    times.push_back((now() - start) / calls);
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

struct Report {
  double peak;
  const char* filter;
  OneDnn* peer;

  bool wanted(const std::string& name) const {
    return filter == nullptr || name.find(filter) != std::string::npos;
  }
  void flops(const std::string& name, double count, double warm, double cold, double peers) const {
    std::printf("%-44s warm %8.1f us %7.1f GF/s %4.0f%%   cold %8.1f us %7.1f GF/s %4.0f%%",
                name.c_str(), warm * 1e6, count / warm * 1e-9, count / warm * 1e-7 / peak,
                cold * 1e6, count / cold * 1e-9, count / cold * 1e-7 / peak);
    if (peers > 0) std::printf("   oneDNN warm %8.1f us %5.2fx", peers * 1e6, peers / warm);
    std::printf("\n");
    std::fflush(stdout);
  }
  void bytes(const std::string& name, double count, double time) const {
    std::printf("%-44s      %8.1f us %7.1f GB/s\n", name.c_str(), time * 1e6, count / time * 1e-9);
    std::fflush(stdout);
  }
};

// Copies of packed weights, so many that they do not fit the caches. What `pack` does not write is
// as good as any numbers.
using Pack = std::function<void(float*)>;
inline std::vector<Floats> cold_copies(std::size_t bytes, const Pack& pack = {}) {
  std::vector<Floats> copies;
  const std::size_t count = std::clamp<std::size_t>((std::size_t{96} << 20) / (bytes + 1), 2, 64);
  for (std::size_t i = 0; i < count; ++i) {
    copies.emplace_back(bytes / 4);
    if (pack) pack(copies.back().get());
  }
  return copies;
}

// Times of `call` with one of some copies of the weights, and with each in turn.
inline void report_rotating(const Report& report, const std::string& name, double operations,
                            const std::vector<Floats>& copies,
                            const std::function<void(const float*)>& call, double peers = 0) {
  std::size_t next = 0;
  const double warm = median_time([&] { call(copies[0].get()); });
  const double cold = median_time([&] { call(copies[next++ % copies.size()].get()); });
  report.flops(name, operations, warm, cold, peers);
}

}  // namespace bench
