// Panels of weights for sums of quads (simd_quads_inl.h): steps of two vectors, and rests for what
// does not fit them. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_QUAD_STEPS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#undef MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#else
#define MEZZO_KERNELS_SIMD_QUAD_STEPS_INL
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/rounding.h"
#include "base/shape.h"
#include "kernels/scratch.h"
#include "kernels/simd_quads_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// A step of a panel: two vectors of weights.
inline constexpr std::int64_t kQuadVectorBytes = 4 * kQuadLanes;
inline constexpr std::int64_t kQuadStepBytes = 2 * kQuadVectorBytes;

// With QuadSums::kPairs two steps are added in lanes of 16 bits before these are widened. What fits
// them is what comes to 128, either way: then the sums of its products with any bytes do.
inline constexpr std::int32_t kLaneRoom = 128;

// Rows of a tile, of which a target has registers for `most`: the weights of two steps take some.
inline std::int64_t most_tile_rows(std::int64_t most) {
  return quad_sums() == QuadSums::kPairs ? std::min<std::int64_t>(most, 4) : most;
}

using HalfBytes = hn::Rebind<std::int8_t, QuadI16>;

// Of the weights that a vector has taken: what they come to in each lane of 16 bits, by sign.
class TakenSums {
 public:
  // Moves to `vector` what of kQuadVectorBytes weights fits int8 and the lanes, which take up to
  // `room`; whether any are left.
  bool take(std::int16_t* left, std::int32_t room, std::uint8_t* vector) {
    const QuadI16 d;
    const QuadI32 d32;
    const VecQuads zero = hn::Zero(d32), least = hn::Set(d32, -128), largest = hn::Set(d32, 127),
                   most = hn::Set(d32, room);
    auto any = hn::Zero(d);
    for (std::int64_t i = 0; i < kLanes; i += kQuadLanes) {
      VecQuads above = hn::LoadU(d32, above_ + i), below = hn::LoadU(d32, below_ + i);
      const auto fitting = [&](VecQuads weight) HWY_ATTR {
        const VecQuads low = hn::Max(least, hn::Sub(below, most)),
                       high = hn::Min(largest, hn::Sub(most, above)),
                       taken = hn::Min(hn::Max(weight, low), high);
        above = hn::Add(above, hn::Max(taken, zero));
        below = hn::Sub(below, hn::Min(taken, zero));
        return taken;
      };
      const auto weights = hn::LoadU(d, left + 2 * i);
      const auto both = hn::BitCast(d32, weights);
      const VecQuads second = fitting(hn::ShiftRight<16>(both)),
                     first = fitting(hn::ShiftRight<16>(hn::ShiftLeft<16>(both)));
      hn::StoreU(above, d32, above_ + i);
      hn::StoreU(below, d32, below_ + i);
      const auto taken =
          hn::BitCast(d, hn::Or(hn::And(first, hn::Set(d32, 0xffff)), hn::ShiftLeft<16>(second)));
      const auto rest = hn::Sub(weights, taken);
      any = hn::Or(any, rest);
      hn::StoreU(rest, d, left + 2 * i);
      hn::StoreU(hn::DemoteTo(HalfBytes(), taken), HalfBytes(),
                 reinterpret_cast<std::int8_t*>(vector) + 2 * i);
    }
    return !hn::AllTrue(d, hn::Eq(any, hn::Zero(d)));
  }

 private:
  static constexpr std::int64_t kLanes = kQuadVectorBytes / 2;
  std::int32_t above_[kLanes] = {}, below_[kLanes] = {};
};

// What of a panel's weights does not fit it: vectors of their own, for the columns of the panel's
// first and second, and the steps whose x they are for. With QuadSums::kPairs they come by twos
// that fit lanes of 16 bits together, as steps do.
struct PackedRests {
  std::vector<std::int32_t> steps[2];
  std::vector<std::uint8_t> weights[2];
};

// Packs vectors of the same columns, of `count` steps that are added in the same lanes: weights
// are moved from left[step], as far as there is room, in the order of steps or (`backwards`)
// against it. Calls rest(step) for each that has some left.
template <class Rest>
void take_vectors(std::int16_t* const (&left)[2], std::uint8_t* const (&vectors)[2], int count,
                  bool backwards, std::int32_t room, const Rest& rest) {
  TakenSums sums;
  for (int i = 0; i < count; ++i) {
    const int step = backwards ? count - 1 - i : i;
    if (sums.take(left[step], room, vectors[step])) rest(step);
  }
}

// Packs a panel: weights_of(step, to) gives the int16 weights of each step.
template <class WeightsOf>
PackedRests pack_steps(std::int64_t steps, std::uint8_t* panel, const WeightsOf& weights_of) {
  const bool pairs = quad_sums() == QuadSums::kPairs;
  const std::int32_t room = pairs ? kLaneRoom : 2 * kLaneRoom;
  const std::int64_t group = pairs ? 2 : 1;
  PackedRests rests;
  TakenSums of_rests[2];
  for (std::int64_t s = 0; s < steps; s += group) {
    const int count = static_cast<int>(std::min(group, steps - s));
    std::int16_t weights[2][kQuadStepBytes];
    for (int i = 0; i < count; ++i) weights_of(s + i, weights[i]);
    for (int v = 0; v < 2; ++v) {
      const std::int64_t at = v * kQuadVectorBytes;
      std::int16_t* const left[] = {weights[0] + at, weights[1] + at};
      std::uint8_t* const vectors[] = {panel + s * kQuadStepBytes + at,
                                       panel + (s + count - 1) * kQuadStepBytes + at};
      // What finds no room better is all of one step.
      const auto rests_of_order = [&](bool backwards) {
        std::int16_t copies[2][kQuadVectorBytes];
        for (int i = 0; i < count; ++i) std::copy_n(left[i], kQuadVectorBytes, copies[i]);
        int found = 0;
        take_vectors({copies[0], copies[1]}, vectors, count, backwards, room,
                     [&](int) { ++found; });
        return found;
      };
      const int forwards = count > 1 ? rests_of_order(false) : 0;
      const bool backwards = forwards > 0 && rests_of_order(true) < forwards;
      take_vectors(left, vectors, count, backwards, room, [&](int step) {
        for (bool any = true; any;) {
          if (!pairs || rests.steps[v].size() % 2 == 0) of_rests[v] = TakenSums();
          rests.steps[v].push_back(static_cast<std::int32_t>(s + step));
          rests.weights[v].resize(rests.weights[v].size() + kQuadVectorBytes);
          any = of_rests[v].take(left[step], room, &*rests.weights[v].end() - kQuadVectorBytes);
        }
      });
    }
  }
  for (int v = 0; v < 2; ++v) {
    if (!pairs || rests.steps[v].size() % 2 == 0) continue;
    rests.steps[v].push_back(0);
    rests.weights[v].resize(rests.weights[v].size() + kQuadVectorBytes);
  }
  return rests;
}

// The rests of all panels follow these: [bytes from here to those of each panel], then of each [how
// many for its first and second vector, their steps], and their weights.

// The most bytes that they take, of weights that are int8 or (wide) differences of bytes.
inline std::int64_t rests_bytes(std::int64_t panels, std::int64_t steps, bool wide) {
  const bool pairs = quad_sums() == QuadSums::kPairs;
  // Two bytes come to 256 and two differences to 510, of which every second rest may take nothing
  // and the others 128. A difference by itself is three of int8 at most.
  const std::int64_t of_step = pairs ? wide ? 8 : 4 : wide ? 2 : 0;
  if (of_step == 0) return 0;
  const std::int64_t vectors = checked_add(checked_mul(steps, 2 * of_step), 2),
                     head = round_up(checked_mul(checked_add(vectors, 2), 4), kQuadVectorBytes);
  return checked_add(
      round_up(checked_mul(panels, 8), std::int64_t{64}),
      checked_mul(panels, checked_add(head, checked_mul(vectors, kQuadVectorBytes))));
}

// Returns the bytes that they take.
inline std::int64_t write_rests(const std::vector<PackedRests>& panels, std::uint8_t* memory) {
  std::int64_t at = round_up(static_cast<std::int64_t>(8 * panels.size()), std::int64_t{64});
  auto* begins = reinterpret_cast<std::int64_t*>(memory);
  for (const PackedRests& rests : panels) {
    *begins++ = at;
    const auto append = [&](const auto* from, std::size_t count) {
      std::copy_n(from, count,
                  reinterpret_cast<std::remove_cvref_t<decltype(*from)>*>(memory + at));
      at += static_cast<std::int64_t>(count * sizeof(*from));
    };
    const std::int32_t counts[] = {static_cast<std::int32_t>(rests.steps[0].size()),
                                   static_cast<std::int32_t>(rests.steps[1].size())};
    append(counts, 2);
    for (const auto& steps : rests.steps) append(steps.data(), steps.size());
    at = round_up(at, kQuadVectorBytes);
    for (const auto& weights : rests.weights) append(weights.data(), weights.size());
  }
  return at;
}

// Those of a panel: where their x is, and their weights.
struct Rests {
  std::int64_t counts[2] = {};
  const std::int64_t* offsets[2] = {};
  const std::uint8_t* weights[2] = {};
};

struct ScratchRests {};

// `bytes` is what rests_bytes says; offset_of(step) where x of a step is. Valid until the thread
// asks for others.
template <class OffsetOf>
Rests rests_of(std::int64_t panel, const std::uint8_t* memory, std::int64_t bytes,
               const OffsetOf& offset_of) {
  if (bytes == 0) return {};
  const std::int64_t at = reinterpret_cast<const std::int64_t*>(memory)[panel];
  const auto* head = reinterpret_cast<const std::int32_t*>(memory + at);
  const std::int64_t first = head[0], all = first + head[1];
  auto* offsets = reinterpret_cast<std::int64_t*>(thread_scratch<ScratchRests>(2 * all));
  for (std::int64_t i = 0; i < all; ++i) offsets[i] = offset_of(std::int64_t{head[2 + i]});
  const std::uint8_t* weights = memory + round_up(at + 4 * (2 + all), kQuadVectorBytes);
  return {{first, all - first},
          {offsets, offsets + first},
          {weights, weights + first * kQuadVectorBytes}};
}

// sums[i] += the products of the four bytes at x(i), in every lane, and a step of weights.
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_step(const std::uint8_t* HWY_RESTRICT weights, VecQuads (&sums)[kCount][2],
                         const X& x) {
  const QuadI32 d;
  const QuadU8 d8;
  const VecQuads w0 = hn::BitCast(d, hn::LoadU(d8, weights)),
                 w1 = hn::BitCast(d, hn::LoadU(d8, weights + kQuadVectorBytes));
  MEZZO_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const VecQuads xi = broadcast_quad(x(i));
    add_quads<kSums>(sums[i][0], xi, w0);
    add_quads<kSums>(sums[i][1], xi, w1);
  }
}

// The same of two steps: `first` and `second` are where their bytes are.
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_steps(const std::uint8_t* HWY_RESTRICT weights, VecQuads (&sums)[kCount][2],
                          const X& first, const X& second) {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  if constexpr (kSums == QuadSums::kPairs) {
    const QuadU8 d8;
    const auto at = [&](int i) HWY_ATTR { return hn::LoadU(d8, weights + i * kQuadVectorBytes); };
    const auto first0 = at(0), first1 = at(1), second0 = at(2), second1 = at(3);
    MEZZO_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const VecQuads x0 = broadcast_quad(first(i)), x1 = broadcast_quad(second(i));
      add_two_quads(sums[i][0], x0, x1, first0, second0, hn::Set(QuadI16(), 1));
      add_two_quads(sums[i][1], x0, x1, first1, second1, hn::Set(QuadI16(), 1));
    }
    return;
  }
#endif
  add_step<kSums>(weights, sums, first);
  add_step<kSums>(weights + kQuadStepBytes, sums, second);
}

// The same of a panel's rests: x(offset)(i).
template <QuadSums kSums, int kCount, class X>
HWY_INLINE void add_rests(const Rests& rests, VecQuads (&sums)[kCount][2], const X& x) {
  const QuadU8 d8;
  MEZZO_UNROLL
  for (int v = 0; v < 2; ++v) {
    const std::int64_t *offset = rests.offsets[v], *const end = offset + rests.counts[v];
    const std::uint8_t* weights = rests.weights[v];
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
    if constexpr (kSums == QuadSums::kPairs) {
      for (; offset != end; offset += 2, weights += 2 * kQuadVectorBytes) {
        const auto first = x(offset[0]), second = x(offset[1]);
        const auto w0 = hn::LoadU(d8, weights), w1 = hn::LoadU(d8, weights + kQuadVectorBytes);
        MEZZO_UNROLL
        for (int i = 0; i < kCount; ++i) {
          add_two_quads(sums[i][v], broadcast_quad(first(i)), broadcast_quad(second(i)), w0, w1,
                        hn::Set(QuadI16(), 1));
        }
      }
      continue;
    }
#endif
    for (; offset != end; ++offset, weights += kQuadVectorBytes) {
      const auto at = x(*offset);
      const VecQuads w = hn::BitCast(QuadI32(), hn::LoadU(d8, weights));
      MEZZO_UNROLL
      for (int i = 0; i < kCount; ++i) add_quads<kSums>(sums[i][v], broadcast_quad(at(i)), w);
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
