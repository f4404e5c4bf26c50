// How weights for sums of quads (simd_quads_inl.h) are packed: panels of steps, two vectors of
// weights each, and *rests*, for what does not fit these. Included per target, like simd.h.
//
// With QuadSums::kPairs a vector is multiplied in lanes of 16 bits, to which two products each of
// two steps are added before they are widened: sums of any bytes times weights fit them if the
// weights come to 128 at most, either way. What is above that, and what is no int8, goes into
// rests: vectors of weights in which every column has bytes of x of its own, up to four, out of two
// windows of eight. Where these would be many, all steps come in several *rounds*, each of which
// takes some of the weights.

#if defined(MEZZO_KERNELS_SIMD_QUAD_PACK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_QUAD_PACK_INL
#undef MEZZO_KERNELS_SIMD_QUAD_PACK_INL
#else
#define MEZZO_KERNELS_SIMD_QUAD_PACK_INL
#endif

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rounding.h"
#include "base/shape.h"
#include "base/thread_pool.h"
#include "kernels/packed_bytes.h"
#include "kernels/scratch.h"
#include "kernels/simd_quads_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// A step of a panel: two vectors of weights.
inline constexpr std::int64_t kQuadVectorBytes = 4 * kQuadLanes;
inline constexpr std::int64_t kQuadStepBytes = 2 * kQuadVectorBytes;

// What the weights in a lane may come to.
inline std::int32_t lane_room() { return quad_sums() == QuadSums::kPairs ? 128 : 1 << 20; }

// Of the weights that a vector has taken: what they come to in each lane of 16 bits, by sign.
class TakenSums {
 public:
  // Moves to `vector` what of kQuadVectorBytes weights fits int8 and the lanes; a bit for each of
  // which some is left.
  std::uint64_t take(std::int16_t* left, std::uint8_t* vector) {
    using HalfBytes = hn::Rebind<std::int8_t, QuadI16>;
    const QuadI16 d;
    const QuadI32 d32;
    const VecQuads zero = hn::Zero(d32), least = hn::Set(d32, -128), largest = hn::Set(d32, 127),
                   room = hn::Set(d32, lane_room());
    std::uint8_t bits[8] = {};
    for (std::int64_t i = 0; i < kLanes; i += kQuadLanes) {
      VecQuads above = hn::LoadU(d32, above_ + i), below = hn::LoadU(d32, below_ + i);
      const auto fitting = [&](VecQuads weight) HWY_ATTR {
        const VecQuads low = hn::Max(least, hn::Sub(below, room)),
                       high = hn::Min(largest, hn::Sub(room, above)),
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
      std::uint8_t some[8] = {};
      hn::StoreMaskBits(d, hn::Ne(rest, hn::Zero(d)), some);
      std::copy_n(some, std::max(1, kQuadLanes / 4), bits + i / 4);
      hn::StoreU(rest, d, left + 2 * i);
      hn::StoreU(hn::DemoteTo(HalfBytes(), taken), HalfBytes(),
                 reinterpret_cast<std::int8_t*>(vector) + 2 * i);
    }
    std::uint64_t all;
    std::memcpy(&all, bits, sizeof(all));
    return all;
  }

 private:
  static constexpr std::int64_t kLanes = kQuadVectorBytes / 2;
  std::int32_t above_[kLanes] = {}, below_[kLanes] = {};
};

// The rests of a vector of columns. They come by twos, which are added in the same lanes.
class PackedRests {
 public:
  struct Vector {
    std::int32_t windows[2] = {-1, -1};
    std::uint8_t indices[kQuadVectorBytes] = {};  // of bytes of the windows
    std::int8_t weights[kQuadVectorBytes] = {};
    std::uint8_t slots[kQuadLanes] = {};  // of each column, that are taken
  };

  // Adds byte `byte` of a window times a weight to the sum of a column.
  void add(std::int32_t window, std::int64_t column, std::int64_t byte, int weight) {
    for (;;) {
      const std::size_t count = vectors_.size();
      for (std::size_t i = count < 2 ? count : count - 2; i < count; ++i)
        weight -= put(vectors_[i], window, column, byte, weight);
      if (weight == 0) return;
      vectors_.resize(count + 2);
      std::fill(std::begin(above_), std::end(above_), 0);
      std::fill(std::begin(below_), std::end(below_), 0);
    }
  }
  const std::vector<Vector>& vectors() const { return vectors_; }

 private:
  // What of the weight the vector takes.
  int put(Vector& to, std::int32_t window, std::int64_t column, std::int64_t byte, int weight) {
    const bool first = to.windows[0] == window || to.windows[0] < 0;
    if (!first && to.windows[1] != window && to.windows[1] >= 0) return 0;
    std::int32_t* const sums = weight > 0 ? above_ : below_;
    const int size = std::abs(weight), most = weight > 0 ? 127 : 128;
    int taken = 0;
    std::uint8_t& slot = to.slots[column];
    while (slot < 4 && taken < size) {
      const std::int64_t at = 4 * column + slot;
      const int part = std::min({size - taken, most, room_ - sums[at / 2]});
      if (part == 0) {  // nor in what is left of its lane
        slot = slot < 2 ? 2 : 4;
        continue;
      }
      to.windows[first ? 0 : 1] = window;
      to.indices[at] = static_cast<std::uint8_t>((first ? 0 : 8) + byte);
      to.weights[at] = static_cast<std::int8_t>(weight > 0 ? part : -part);
      sums[at / 2] += part;
      taken += part;
      ++slot;
    }
    return weight > 0 ? taken : -taken;
  }

  std::int32_t room_ = lane_room();
  std::vector<Vector> vectors_;
  std::int32_t above_[kQuadVectorBytes / 2] = {}, below_[kQuadVectorBytes / 2] = {};
};

// What of a panel's two vectors of columns does not fit it.
struct PanelRests {
  PackedRests of[2];

  // As it is kept, unless there are none: [how many vectors for the first columns and the second,
  // the windows of each], then indices and weights of each, on whole vectors.
  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> bytes;
    if (of[0].vectors().empty() && of[1].vectors().empty()) return bytes;
    const auto append = [&](const void* from, std::size_t count) {
      const auto* first = static_cast<const std::uint8_t*>(from);
      bytes.insert(bytes.end(), first, first + count);
    };
    const std::size_t counts[] = {of[0].vectors().size(), of[1].vectors().size()};
    bytes.reserve(64 + (counts[0] + counts[1]) * sizeof(PackedRests::Vector));
    for (const std::size_t count : counts) {
      const auto number = static_cast<std::int32_t>(count);
      append(&number, sizeof(number));
    }
    for (const PackedRests& rests : of) {
      for (const PackedRests::Vector& vector : rests.vectors()) {
        const std::int32_t windows[] = {std::max(0, vector.windows[0]),
                                        std::max(0, vector.windows[1])};
        append(windows, sizeof(windows));
      }
    }
    bytes.resize(round_up(bytes.size(), static_cast<std::size_t>(kQuadVectorBytes)));
    for (const PackedRests& rests : of) {
      for (const PackedRests::Vector& vector : rests.vectors()) {
        append(vector.indices, sizeof(vector.indices));
        append(vector.weights, sizeof(vector.weights));
      }
    }
    return bytes;
  }
};

// Packs a panel: weights_of(step, to) gives the int16 weights of each step, before any are written.
// A window of x has the bytes of so many steps. Where `rests` is null, nobody asks for them.
template <class WeightsOf>
void pack_steps(std::int64_t steps, std::int64_t rounds, std::int64_t steps_of_window,
                std::uint8_t* panel, PanelRests* rests, const WeightsOf& weights_of) {
  // What the steps have left: of all of them, or of one at a time.
  const bool keeps = rounds > 1;
  std::vector<std::int16_t> left(static_cast<std::size_t>((keeps ? steps : 1) * kQuadStepBytes));
  for (std::int64_t s = 0; keeps && s < steps; ++s) weights_of(s, left.data() + s * kQuadStepBytes);
  TakenSums taken[2];
  for (std::int64_t at = 0; at < rounds * steps; ++at) {
    const std::int64_t s = at % steps;
    std::int16_t* const of_step = left.data() + (keeps ? s * kQuadStepBytes : 0);
    if (!keeps) weights_of(s, of_step);
    for (std::int64_t v = 0; v < 2; ++v, panel += kQuadVectorBytes) {
      if (at % 2 == 0) taken[v] = TakenSums();
      std::int16_t* of_vector = of_step + v * kQuadVectorBytes;
      std::uint64_t bits = taken[v].take(of_vector, panel);
      if (rests == nullptr || at < (rounds - 1) * steps) continue;
      for (; bits != 0; bits &= bits - 1) {
        const std::int64_t i = std::countr_zero(bits);
        rests->of[v].add(static_cast<std::int32_t>(s / steps_of_window), i / 4,
                         s % steps_of_window * 4 + i % 4, of_vector[i]);
      }
    }
  }
}

// What packing makes before it is known how much memory there has to be.
struct PanelsAndRests {
  std::vector<std::uint8_t> panels;
  std::vector<std::vector<std::uint8_t>> rests;  // of each panel
};

// Whether panels in so many rounds have rests of at most `most` bytes in all; they are incomplete
// if not.
template <class Pack>
bool pack_with_rests(std::int64_t panels, std::int64_t panel_bytes, std::int64_t rounds,
                     std::int64_t most, std::int64_t grain, ThreadPool& pool, const Pack& pack,
                     PanelsAndRests& packed) {
  packed.panels.resize(static_cast<std::size_t>(panels * panel_bytes));
  packed.rests.assign(static_cast<std::size_t>(panels), {});
  std::atomic<std::int64_t> all{0};
  pool.parallel_for(panels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end && all <= most; ++i) {
      PanelRests of_panel;
      pack(i, packed.panels.data() + i * panel_bytes, &of_panel, rounds);
      std::vector<std::uint8_t>& bytes = packed.rests[static_cast<std::size_t>(i)];
      bytes = of_panel.bytes();
      all += static_cast<std::int64_t>(bytes.size());
    }
  });
  return all <= most;
}

// Packs panels behind `head` bytes, which are the caller's to write: pack(i, to, rests, rounds)
// packs each, and finds its rests where they are asked for. Returns the memory, whether rests
// follow the panels, and how many rounds these have.
struct PackedPanels {
  std::uint8_t* memory;
  bool rests;
  std::int64_t rounds;
};
template <class Pack>
PackedPanels pack_panels(std::int64_t head, std::int64_t panels, std::int64_t panel_bytes,
                         std::int64_t grain, bool may_have_rests, const AllocatePacked& allocate,
                         ThreadPool& pool, const Pack& pack) {
  // Rests of six fifths of the panels' bytes take longer than another round. The last one takes all
  // that there can be: four weights of 255.
  constexpr std::int64_t kMostRounds = 8;
  const std::int64_t many = checked_mul(panels, panel_bytes) / 5 * 6;
  std::int64_t rounds = 1, rest_bytes = 0;
  PanelsAndRests packed;
  while (may_have_rests &&
         !pack_with_rests(panels, checked_mul(rounds, panel_bytes), rounds,
                          rounds < kMostRounds ? many : INT64_MAX, grain, pool, pack, packed)) {
    ++rounds;
  }
  for (const std::vector<std::uint8_t>& of_panel : packed.rests)
    rest_bytes += static_cast<std::int64_t>(of_panel.size());
  // Rests follow [bytes from there to those of each panel; 0: it has none].
  const bool any = rest_bytes > 0;
  const std::int64_t all = checked_mul(panels, checked_mul(rounds, panel_bytes)),
                     table = any ? round_up(8 * panels, std::int64_t{64}) : 0,
                     bytes = checked_add(checked_add(head, all), table + rest_bytes);
  auto* memory = static_cast<std::uint8_t*>(allocate(static_cast<std::size_t>(bytes)));
  if (may_have_rests) {
    std::copy(packed.panels.begin(), packed.panels.end(), memory + head);
  } else {
    pool.parallel_for(panels, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        pack(i, memory + head + i * panel_bytes, nullptr, rounds);
    });
  }
  if (!any) return {memory, false, rounds};
  std::uint8_t* const behind = memory + head + all;
  auto* begins = reinterpret_cast<std::int64_t*>(behind);
  std::int64_t at = table;
  for (const std::vector<std::uint8_t>& of_panel : packed.rests) {
    *begins++ = of_panel.empty() ? 0 : at;
    std::copy(of_panel.begin(), of_panel.end(), behind + at);
    at += static_cast<std::int64_t>(of_panel.size());
  }
  return {memory, true, rounds};
}

// Those of a panel: where their windows are, two of each, and their indices and weights.
struct Rests {
  std::int64_t counts[2] = {};
  const std::int64_t* windows[2] = {};
  const std::uint8_t* vectors[2] = {};
};

struct ScratchRests {};

// From what follows the panels; offset_of(window) is where x of a window is. Valid until the thread
// asks for others.
template <class OffsetOf>
Rests rests_of(std::int64_t panel, const std::uint8_t* memory, const OffsetOf& offset_of) {
  const std::int64_t at = reinterpret_cast<const std::int64_t*>(memory)[panel];
  if (at == 0) return {};
  const auto* head = reinterpret_cast<const std::int32_t*>(memory + at);
  const std::int64_t first = head[0], all = first + head[1];
  auto* offsets = reinterpret_cast<std::int64_t*>(thread_scratch<ScratchRests>(4 * all));
  for (std::int64_t i = 0; i < 2 * all; ++i) offsets[i] = offset_of(std::int64_t{head[2 + i]});
  const std::uint8_t* vectors = memory + at + round_up(4 * (2 + 2 * all), kQuadVectorBytes);
  return {{first, all - first},
          {offsets, offsets + 2 * first},
          {vectors, vectors + first * 2 * kQuadVectorBytes}};
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
