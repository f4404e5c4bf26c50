// The seed of the operators that draw random numbers.
#pragma once

#include <cstdint>

namespace mezzo {

/// From now on the operators that have no attribute `seed` draw from one sequence, which this seed
/// starts anew: the same runs in the same order give the same numbers. Without a seed each run has
/// others. For the whole process; runs that are under way on other threads take part.
void set_random_seed(std::uint64_t seed);

}  // namespace mezzo
