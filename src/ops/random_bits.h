// The random numbers of the operators that draw some.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace mezzo::ops {

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): a
/// counter, hashed. The same seed gives the same numbers on every machine.
class RandomBits {
 public:
  explicit RandomBits(std::uint64_t seed) : state_(seed) {}
  /// With a seed of its own, another each time: the next of the sequence that set_random_seed
  /// started, or one that nobody can foresee.
  RandomBits();

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }

  /// In [0, 1), of 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  /// In [0, 1), of 24 bits, so that a float holds it and cannot round it to 1.
  double uniform24() { return static_cast<double>(next() >> 40) * 0x1p-24; }

  /// Of mean 0 and variance 1, by the Box-Muller transform.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t state_;
};

}  // namespace mezzo::ops
