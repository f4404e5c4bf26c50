// Panels of weights for sums of quads (simd_quads_inl.h): steps of two vectors, and rest steps for
// what does not fit them. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_QUAD_STEPS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#undef MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#else
#define MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#endif

#include <algorithm>
#include <cstdint>

#include "base/rounding.h"
#include "base/shape.h"
#include "kernels/simd_quads_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// A step of a panel: two vectors of weights.
inline constexpr std::int64_t kQuadStepBytes = 8 * kQuadLanes;

// What of the weights of a step does not fit it goes in steps of their own, which follow their
// panel: [how many, floats from here to their weights, which steps...], then their weights. With
// QuadSums::kPairs they come in runs, of which the last step s is there as ~s: within a run the
// sums of each lane of 16 bits fit it.
struct RestSteps {
  std::int64_t count = 0;
  const std::int32_t* steps = nullptr;
  const std::uint8_t* weights = nullptr;
};

// How many of them a step may have, of weights that are int8 or (wide) differences of bytes.
inline std::int64_t most_rests(bool wide) {
  return quad_sums() == QuadSums::kPairs ? wide ? 3 : 1 : wide ? 2 : 0;
}

// Bytes that are kept for a panel's, `most` for every step. (Memory that nobody writes is none.)
inline std::int64_t rests_bytes(std::int64_t steps, std::int64_t most) {
  if (most == 0) return 0;
  const std::int64_t all = checked_mul(steps, most);
  return checked_add(round_up(checked_mul(all + 2, 4), std::int64_t{64}),
                     checked_mul(all, kQuadStepBytes));
}

// Where rests_bytes are `bytes`.
inline RestSteps rests_at(const std::uint8_t* memory, std::int64_t bytes) {
  if (bytes == 0) return {};
  const auto* head = reinterpret_cast<const std::int32_t*>(memory);
  return {head[0], head + 2, memory + 4 * std::int64_t{head[1]}};
}

using HalfBytes = hn::Rebind<std::int8_t, QuadI16>;

// The weights that are multiplied in a lane of 16 bits together.
struct Pairs {
  HWY_INLINE explicit Pairs(hn::Vec<QuadI16> weights)
      : first(hn::ShiftRight<16>(hn::ShiftLeft<16>(hn::BitCast(QuadI32(), weights)))),
        second(hn::ShiftRight<16>(hn::BitCast(QuadI32(), weights))) {}
  VecQuads first, second;
};

// Moves to `step` what of the weights fits it; whether any are left. Any bytes times what fits have
// sums that do: those of two products have 16 bits with QuadSums::kPairs, so that two weights may
// come to 128, either way.
inline bool take_step(std::int16_t* left, std::uint8_t* step) {
  const QuadI16 d;
  const QuadI32 pairs;
  const VecQuads least = hn::Set(pairs, -128), largest = hn::Set(pairs, 127),
                 zero = hn::Zero(pairs),
                 most = hn::Set(pairs, quad_sums() == QuadSums::kPairs ? 128 : 256);
  auto any = hn::Zero(d);
  for (std::int64_t i = 0; i < kQuadStepBytes; i += 2 * kQuadLanes) {
    const auto weights = hn::LoadU(d, left + i);
    const Pairs w(weights);
    const VecQuads second = hn::Min(hn::Max(w.second, least), largest),
                   low = hn::Max(least, hn::Neg(hn::Add(most, hn::Min(second, zero)))),
                   high = hn::Min(largest, hn::Sub(most, hn::Max(second, zero))),
                   first = hn::Min(hn::Max(w.first, low), high);
    const auto taken =
        hn::BitCast(d, hn::Or(hn::And(first, hn::Set(pairs, 0xffff)), hn::ShiftLeft<16>(second)));
    const auto rest = hn::Sub(weights, taken);
    any = hn::Or(any, rest);
    hn::StoreU(rest, d, left + i);
    hn::StoreU(hn::DemoteTo(HalfBytes(), taken), HalfBytes(),
               reinterpret_cast<std::int8_t*>(step) + i);
  }
  return !hn::AllTrue(d, hn::Eq(any, hn::Zero(d)));
}

// The rest steps that are added in lanes of 16 bits before these are widened.
class PairRun {
 public:
  // Whether a step still fits; else it begins the next run.
  bool takes(const std::uint8_t* step) {
    if (add(step)) return true;
    *this = PairRun();
    add(step);
    return false;
  }

 private:
  bool add(const std::uint8_t* step) {
    const QuadI32 d;
    const VecQuads zero = hn::Zero(d);
    VecQuads largest = zero;
    for (std::int64_t lane = 0; lane < kLanesOfStep; lane += kQuadLanes, step += 2 * kQuadLanes) {
      const auto bytes = hn::LoadU(HalfBytes(), reinterpret_cast<const std::int8_t*>(step));
      const Pairs w(hn::PromoteTo(QuadI16(), bytes));
      const auto add_to = [&](std::int32_t* sizes, VecQuads first, VecQuads second) HWY_ATTR {
        const VecQuads sum = hn::Add(hn::LoadU(d, sizes + lane),
                                     hn::Add(hn::Max(first, zero), hn::Max(second, zero)));
        hn::StoreU(sum, d, sizes + lane);
        largest = hn::Max(largest, sum);
      };
      add_to(above_, w.first, w.second);
      add_to(below_, hn::Neg(w.first), hn::Neg(w.second));
    }
    return hn::AllFalse(d, hn::Gt(largest, hn::Set(d, 128)));
  }

  // The sums of the weights' sizes in each lane, by sign.
  static constexpr std::int64_t kLanesOfStep = kQuadStepBytes / 2;
  std::int32_t above_[kLanesOfStep] = {}, below_[kLanesOfStep] = {};
};

// Packs a panel: weights_of(step, to) gives the int16 weights of each step. `memory` is for its
// rest steps, as rests_bytes says.
template <class WeightsOf>
void pack_steps(std::int64_t steps, std::int64_t most, std::uint8_t* panel, std::uint8_t* memory,
                const WeightsOf& weights_of) {
  auto* head = reinterpret_cast<std::int32_t*>(memory);
  const std::int64_t begin = rests_bytes(steps, most) - steps * most * kQuadStepBytes;
  std::int32_t* to = head + 2;
  PairRun run;
  for (std::int64_t s = 0; s < steps; ++s) {
    std::int16_t left[kQuadStepBytes];
    weights_of(s, left);
    for (bool any = take_step(left, panel + s * kQuadStepBytes); any; ++to) {
      std::uint8_t* const rest = memory + begin + (to - head - 2) * kQuadStepBytes;
      any = take_step(left, rest);
      *to = static_cast<std::int32_t>(s);
      if (quad_sums() == QuadSums::kPairs && !run.takes(rest)) to[-1] = ~to[-1];
    }
  }
  if (most == 0) return;
  head[0] = static_cast<std::int32_t>(to - head - 2);
  if (quad_sums() == QuadSums::kPairs && head[0] > 0) to[-1] = ~to[-1];
  head[1] = static_cast<std::int32_t>(begin / 4);
}

// sums[i] += the products of x(i), four bytes in every lane, and a step of weights.
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_step(const std::uint8_t* HWY_RESTRICT weights, VecQuads (&sums)[kCount][2],
                         const X& x) {
  const QuadI32 d;
  const QuadU8 d8;
  const VecQuads w0 = hn::BitCast(d, hn::LoadU(d8, weights)),
                 w1 = hn::BitCast(d, hn::LoadU(d8, weights + kQuadStepBytes / 2));
  MEZZO_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const VecQuads xi = x(i);
    add_quads<kSums>(sums[i][0], xi, w0);
    add_quads<kSums>(sums[i][1], xi, w1);
  }
}

// The same of a panel's rest steps: x(step)(i).
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_rests(const RestSteps& rests, VecQuads (&sums)[kCount][2], const X& x) {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  if constexpr (kSums == QuadSums::kPairs) {
    const QuadU8 d8;
    for (std::int64_t i = 0; i < rests.count;) {
      hn::Vec<QuadI16> pairs[kCount][2];
      MEZZO_UNROLL
      for (int k = 0; k < kCount; ++k) pairs[k][0] = pairs[k][1] = hn::Zero(QuadI16());
      for (bool is_last = false; !is_last; ++i) {
        const std::int32_t step = rests.steps[i];
        is_last = step < 0;
        const auto x_of_step = x(is_last ? ~step : step);
        const std::uint8_t* weights = rests.weights + i * kQuadStepBytes;
        const auto w0 = hn::LoadU(d8, weights), w1 = hn::LoadU(d8, weights + kQuadStepBytes / 2);
        MEZZO_UNROLL
        for (int k = 0; k < kCount; ++k) {
          const VecQuads xk = x_of_step(k);
          add_pairs(pairs[k][0], xk, w0);
          add_pairs(pairs[k][1], xk, w1);
        }
      }
      MEZZO_UNROLL
      for (int k = 0; k < kCount; ++k) {
        add_lanes(sums[k][0], pairs[k][0]);
        add_lanes(sums[k][1], pairs[k][1]);
      }
    }
    return;
  }
#endif
  for (std::int64_t i = 0; i < rests.count; ++i)
    add_step<kSums>(rests.weights + i * kQuadStepBytes, sums, x(rests.steps[i]));
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
