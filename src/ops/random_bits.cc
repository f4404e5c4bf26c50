#include "ops/random_bits.h"

#include <mutex>
#include <optional>
#include <random>

#include "mezzo/random.h"

namespace mezzo {
namespace {

std::mutex seeds_mutex;
std::optional<ops::RandomBits> seeds;  // what set_random_seed started

std::uint64_t fresh_seed() {
  const std::scoped_lock lock(seeds_mutex);
  if (seeds) return seeds->next();
  std::random_device device;
  return (std::uint64_t{device()} << 32) ^ device();
}

}  // namespace

void set_random_seed(std::uint64_t seed) {
  const std::scoped_lock lock(seeds_mutex);
  seeds.emplace(seed);
}

ops::RandomBits::RandomBits() : RandomBits(fresh_seed()) {}

}  // namespace mezzo
