// What the tests of all kernels share: they run under every instruction set of the machine, on data
// from a fixed seed.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/packed_bytes.h"
#include "kernels/target.h"

namespace mezzo::kernels {

/// Runs `body` under each SIMD target in turn, or under that of the environment's MEZZO_TARGET
/// alone, with the target's name in every failure message.
inline void for_each_target(const std::function<void()>& body) {
  const Target before = active_target();
  const bool is_chosen = std::getenv("MEZZO_TARGET") != nullptr;
  for (Target target : available_targets()) {
    if (target == Target::scalar || (is_chosen && target != before)) continue;
    SCOPED_TRACE("target " + std::string(name_of(target)));
    set_active_target(target);
    body();
  }
  set_active_target(before);
}

/// One pool for all tests, larger than most test machines, so that work is split.
inline ThreadPool& test_pool() {
  static ThreadPool pool(3);
  return pool;
}

inline std::vector<float> random_floats(std::int64_t n, std::uint32_t seed, float low = -1,
                                        float high = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) v = uniform(random);
  return values;
}

/// Memory for packed operands and scratch, aligned for vectors.
class AlignedFloats {
 public:
  explicit AlignedFloats(std::size_t bytes) : floats_(bytes / sizeof(float) + 16) {}
  float* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(floats_.data());
    return floats_.data() + (64 - address % 64) % 64 / sizeof(float);
  }

 private:
  std::vector<float> floats_;
};

/// Memory that packing asks for, and bytes behind it that must stay as they are.
class Packed {
 public:
  AllocatePacked allocate() {
    return [this](std::size_t bytes) {
      memory_ = std::make_unique<AlignedFloats>(bytes + kGuard);
      bytes_ = bytes;
      std::fill_n(guard(), kGuard, std::uint8_t{77});
      return data();
    };
  }
  void* data() { return memory_->data(); }
  std::int64_t bytes() const { return static_cast<std::int64_t>(bytes_); }
  bool is_whole() {
    return std::all_of(guard(), guard() + kGuard, [](std::uint8_t b) { return b == 77; });
  }

 private:
  static constexpr std::size_t kGuard = 64;
  std::uint8_t* guard() { return reinterpret_cast<std::uint8_t*>(memory_->data()) + bytes_; }
  std::unique_ptr<AlignedFloats> memory_;
  std::size_t bytes_ = 0;
};

/// The error a float32 sum of products may have, given the sum of the products' magnitudes: 8
/// roundings of 2^-24 more than blocked summation makes on such sizes.
inline double sum_tolerance(double magnitudes) { return 1e-6 + 2e-6 * magnitudes; }

/// What is written around an output to see that nothing else is touched.
inline constexpr float kUntouched = -12345.5f;

}  // namespace mezzo::kernels
