#include "kernels/peak_f32.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/peak_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Twelve chains hide the latency of the multiply-adds (4 or 5 cycles, two each cycle). They
// converge to 1, so that no value is ever denormal or infinite, and start apart, so that none is
// another one. Returns the number of operations.
std::int64_t multiply_add_chains(int rounds, float* sink) {
  const F32 d;
  const VecF32 factor = hn::Set(d, 0.5f), summand = hn::Set(d, 0.5f);
  VecF32 a = hn::Iota(d, 1.0f), b = hn::Iota(d, 2.0f), c = hn::Iota(d, 3.0f);
  VecF32 e = hn::Iota(d, 4.0f), f = hn::Iota(d, 5.0f), g = hn::Iota(d, 6.0f);
  VecF32 h = hn::Iota(d, 7.0f), i = hn::Iota(d, 8.0f), j = hn::Iota(d, 9.0f);
  VecF32 k = hn::Iota(d, 10.0f), l = hn::Iota(d, 11.0f), m = hn::Iota(d, 12.0f);
  for (int round = 0; round < rounds; ++round) {
    a = hn::MulAdd(a, factor, summand), b = hn::MulAdd(b, factor, summand);
    c = hn::MulAdd(c, factor, summand), e = hn::MulAdd(e, factor, summand);
    f = hn::MulAdd(f, factor, summand), g = hn::MulAdd(g, factor, summand);
    h = hn::MulAdd(h, factor, summand), i = hn::MulAdd(i, factor, summand);
    j = hn::MulAdd(j, factor, summand), k = hn::MulAdd(k, factor, summand);
    l = hn::MulAdd(l, factor, summand), m = hn::MulAdd(m, factor, summand);
  }
  const VecF32 sum = hn::Add(
      hn::Add(hn::Add(a, b), hn::Add(c, e)),
      hn::Add(hn::Add(hn::Add(f, g), hn::Add(h, i)), hn::Add(hn::Add(j, k), hn::Add(l, m))));
  *sink += hn::GetLane(hn::SumOfLanes(d, sum));
  return std::int64_t{2} * 12 * rounds * static_cast<std::int64_t>(kLanes);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {

namespace {
HWY_EXPORT(multiply_add_chains);
}

double peak_gflops_f32() {
  using Clock = std::chrono::steady_clock;
  float sink = 0;
  double best = 0;
  const auto end = Clock::now() + std::chrono::milliseconds(20);
  do {
    const auto start = Clock::now();
    const auto count = static_cast<double>(MEZZO_DISPATCH(multiply_add_chains)(5000, &sink));
    const std::chrono::duration<double, std::nano> time = Clock::now() - start;
    best = std::max(best, count / time.count());
  } while (Clock::now() < end);
  return best;
}

}  // namespace mezzo::kernels
#endif
