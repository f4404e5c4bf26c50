// Products of float32 by tiles of bfloat16. Included per target, like simd.h.
//
// A number of float32, 24 bits, is the sum of three of bfloat16, 8 bits each: high, middle and low.
// Of the nine products of two such sums the six that are not below 2^-24 of the whole are taken,
// each exact, and summed in float32: what comes out is as good as a product of float32 (Henry,
// Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
// Computations", 2019). Tiles take them at 2.7 times the speed of vectors. Only what is so small
// that a part is not a normal number any more loses bits: below 1e-33 or so.
//
// A step is 32 numbers along k. A's are rows in parts, [part][row][32], in which number i lies
// beside number 16 + i, so that two vectors of float32 become one of bfloat16. B is packed in
// panels of 32 columns: [panel][step][part][2 tiles of 16 columns].

#if defined(MEZZO_KERNELS_SIMD_BF16X3_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BF16X3_INL
#undef MEZZO_KERNELS_SIMD_BF16X3_INL
#else
#define MEZZO_KERNELS_SIMD_BF16X3_INL
#endif

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>

#include "base/thread_pool.h"
#include "kernels/bf16x3.h"
#include "kernels/simd_tail_inl.h"
#include "kernels/tiles.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Vectors no longer than half of a tile's row is in float32.
using HalfRowF32 = hn::CappedTag<float, 16>;
using HalfRowU32 = hn::RebindToUnsigned<HalfRowF32>;
inline constexpr int kHalfRowLanes = HWY_MIN(HWY_LANES(float), 16);

// Bits of what rounding to bfloat16 may take to infinity, or is not finite, and more.
inline constexpr std::uint32_t kLargeBits = 0x7f000000;

// A row of 32 numbers in parts, `part_bytes` apart: load(i) gives those from i on, a vector of
// them. Returns the bits of the largest.
template <class Load>
HWY_INLINE hn::Vec<HalfRowU32> split_row(const Load& load, std::uint8_t* row,
                                         std::int64_t part_bytes, hn::Vec<HalfRowU32> largest) {
  const HalfRowF32 d;
  const HalfRowU32 du;
  const auto upper = hn::Set(du, 0xffff0000u), half = hn::Set(du, 0x8000u),
             magnitude = hn::Set(du, 0x7fffffffu);
  MEZZO_UNROLL
  for (int i = 0; i < 16; i += kHalfRowLanes) {
    auto first = load(i), second = load(16 + i);
    largest = hn::Max(largest, hn::And(hn::BitCast(du, first), magnitude));
    largest = hn::Max(largest, hn::And(hn::BitCast(du, second), magnitude));
    auto* to = reinterpret_cast<std::uint32_t*>(row) + i;
    MEZZO_UNROLL
    for (int part = 0; part < 2; ++part) {
      const auto a = hn::And(hn::Add(hn::BitCast(du, first), half), upper),
                 b = hn::And(hn::Add(hn::BitCast(du, second), half), upper);
      hn::StoreU(hn::Or(hn::ShiftRight<16>(a), b), du, to);
      first = hn::Sub(first, hn::BitCast(d, a));
      second = hn::Sub(second, hn::BitCast(d, b));
      to += part_bytes / 4;
    }
    const auto last = hn::And(hn::BitCast(du, second), upper);
    hn::StoreU(hn::Or(hn::ShiftRight<16>(hn::BitCast(du, first)), last), du, to);
  }
  return largest;
}

inline bool is_large(float x) {
  return (std::bit_cast<std::uint32_t>(x) & 0x7fffffffu) >= kLargeBits;
}

// The same for numbers of any size: they are cut instead of rounded, and what is not finite has no
// lower parts.
inline void split_any_row(const float* numbers, std::uint8_t* row, std::int64_t part_bytes) {
  for (int i = 0; i < 32; ++i) {
    const int place = 2 * (i % 16) + i / 16;
    float rest = numbers[i];
    for (int part = 0; part < 3; ++part) {
      auto bits = std::bit_cast<std::uint32_t>(rest) & 0xffff0000u;
      if (rest != rest) bits |= 0x400000u;
      const auto upper = static_cast<std::uint16_t>(bits >> 16);
      std::memcpy(row + part * part_bytes + 2 * place, &upper, sizeof upper);
      const auto taken = std::bit_cast<float>(bits);
      rest = taken - taken == 0 ? rest - taken : 0;
    }
  }
}

// Rows of A: of step s they begin at `rows` + offsets[s].
struct SplitRows {
  const std::uint8_t* rows;
  const std::int64_t* offsets;
  std::int64_t part_bytes;
};

// Sums [32][32]: those of A times a panel, or of A's first 16 rows alone. In each step meanwhile()
// is called, for what vectors can do while tiles are busy.
template <class Tiles, class Meanwhile>
HWY_INLINE void multiply_rows(Tiles& tiles, const SplitRows& a, std::int64_t steps,
                              const std::uint8_t* b, bool both, float* sums,
                              const Meanwhile& meanwhile) {
  constexpr std::int64_t kRow = kTileRowBytes, kTile = kTileBytes;
  tiles.template zero<0>();
  tiles.template zero<1>();
  tiles.template zero<2>();
  tiles.template zero<3>();
  const std::int64_t middle = a.part_bytes, low = 2 * a.part_bytes;
  if (both) {
    // Tiles 0 and 1 are the upper rows of the sums, 2 and 3 the lower ones, 4 and 5 A's, 6 and 7
    // B's.
    for (std::int64_t s = 0; s < steps; ++s, b += kStepBytes) {
      const std::uint8_t *first = a.rows + a.offsets[s], *second = first + kTile;
      tiles.template load<6>(b, kRow);
      tiles.template load<4>(first + low, kRow);
      tiles.template multiply<0, 4, 6>();
      tiles.template load<7>(b + kTile, kRow);
      tiles.template multiply<1, 4, 7>();
      tiles.template load<5>(second + low, kRow);
      tiles.template multiply<2, 5, 6>();
      tiles.template multiply<3, 5, 7>();
      tiles.template load<4>(first + middle, kRow);
      tiles.template multiply<0, 4, 6>();
      tiles.template multiply<1, 4, 7>();
      tiles.template load<5>(second + middle, kRow);
      tiles.template multiply<2, 5, 6>();
      tiles.template multiply<3, 5, 7>();
      tiles.template load<6>(b + 2 * kTile, kRow);
      tiles.template multiply<0, 4, 6>();
      tiles.template multiply<2, 5, 6>();
      tiles.template load<7>(b + 3 * kTile, kRow);
      tiles.template multiply<1, 4, 7>();
      tiles.template multiply<3, 5, 7>();
      tiles.template load<4>(first, kRow);
      tiles.template multiply<0, 4, 6>();
      tiles.template multiply<1, 4, 7>();
      tiles.template load<5>(second, kRow);
      tiles.template multiply<2, 5, 6>();
      tiles.template multiply<3, 5, 7>();
      meanwhile();
      tiles.template load<6>(b + 4 * kTile, kRow);
      tiles.template multiply<0, 4, 6>();
      tiles.template multiply<2, 5, 6>();
      tiles.template load<7>(b + 5 * kTile, kRow);
      tiles.template multiply<1, 4, 7>();
      tiles.template multiply<3, 5, 7>();
      tiles.template load<6>(b, kRow);
      tiles.template multiply<0, 4, 6>();
      tiles.template multiply<2, 5, 6>();
      tiles.template load<7>(b + kTile, kRow);
      tiles.template multiply<1, 4, 7>();
      tiles.template multiply<3, 5, 7>();
    }
  } else {
    // In the same order, so that sums do not show how rows are divided. Tiles 2 and 3 are B's, too.
    for (std::int64_t s = 0; s < steps; ++s, b += kStepBytes) {
      const std::uint8_t* first = a.rows + a.offsets[s];
      tiles.template load<6>(b, kRow);
      tiles.template load<7>(b + kTile, kRow);
      tiles.template load<4>(first + low, kRow);
      tiles.template multiply<0, 4, 6>();
      tiles.template multiply<1, 4, 7>();
      tiles.template load<5>(first + middle, kRow);
      tiles.template multiply<0, 5, 6>();
      tiles.template multiply<1, 5, 7>();
      tiles.template load<2>(b + 2 * kTile, kRow);
      tiles.template load<3>(b + 3 * kTile, kRow);
      tiles.template multiply<0, 5, 2>();
      tiles.template multiply<1, 5, 3>();
      meanwhile();
      tiles.template load<4>(first, kRow);
      tiles.template multiply<0, 4, 2>();
      tiles.template multiply<1, 4, 3>();
      tiles.template load<2>(b + 4 * kTile, kRow);
      tiles.template load<3>(b + 5 * kTile, kRow);
      tiles.template multiply<0, 4, 2>();
      tiles.template multiply<1, 4, 3>();
      tiles.template multiply<0, 4, 6>();
      tiles.template multiply<1, 4, 7>();
    }
  }
  constexpr std::int64_t kSumsRow = 32 * sizeof(float);
  tiles.template store<0>(sums, kSumsRow);
  tiles.template store<1>(sums + 16, kSumsRow);
  if (!both) return;
  tiles.template store<2>(sums + 16 * 32, kSumsRow);
  tiles.template store<3>(sums + 16 * 32 + 16, kSumsRow);
}

// The same for one row in float32, of numbers put together again: what is not finite is what it
// should be.
inline void multiply_any_row(const SplitRows& a, std::int64_t steps, const std::uint8_t* b,
                             float* sums) {
  const HalfRowF32 d;
  const HalfRowU32 du;
  std::memset(sums, 0, 32 * sizeof(float));
  // The upper or lower number of each pair.
  const auto whole = [&](const std::uint8_t* pairs, std::int64_t part_bytes, bool upper,
                         const auto& load) HWY_ATTR {
    const auto part = [&](int i) HWY_ATTR {
      const auto bits = load(reinterpret_cast<const std::uint32_t*>(pairs + i * part_bytes));
      return hn::BitCast(d,
                         upper ? hn::And(bits, hn::Set(du, 0xffff0000u)) : hn::ShiftLeft<16>(bits));
    };
    return hn::Add(part(0), hn::Add(part(1), part(2)));
  };
  for (std::int64_t s = 0; s < steps; ++s, b += kStepBytes) {
    for (int k = 0; k < 32; ++k) {
      const auto x = whole(a.rows + a.offsets[s] + k % 16 * 4, a.part_bytes, k >= 16,
                           [&](const std::uint32_t* p) HWY_ATTR { return hn::Set(du, *p); });
      for (int col = 0; col < 32; col += kHalfRowLanes) {
        const auto w =
            whole(b + col / 16 * kTileBytes + k % 16 * kTileRowBytes + col % 16 * 4, 2 * kTileBytes,
                  k >= 16, [&](const std::uint32_t* p) HWY_ATTR { return hn::LoadU(du, p); });
        hn::StoreU(hn::MulAdd(x, w, hn::LoadU(d, sums + col)), d, sums + col);
      }
    }
  }
}

// B as it is: `steps` times 32 numbers of each column, the numbers and the columns so far apart.
struct UnsplitB {
  const float* data;
  std::int64_t cols, steps, number_stride, col_stride;
};

// Packs B; place(s) gives where the 32 numbers of a step begin, and how many of them there are.
template <class Place>
void pack_bf16x3(const UnsplitB& b, const Place& place, std::uint8_t* packed, ThreadPool& pool) {
  const std::int64_t panels = ceil_div(b.cols, kPanelCols);
  std::atomic<bool> any_large{false};
  pool.parallel_for(panels * b.steps, 8, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    HWY_ALIGN float numbers[32][32];  // [step of k][column]
    const HalfRowF32 d;
    const HalfRowU32 du;
    // Number k of row i of a tile: two rows of k make one, and the columns of each are a half.
    const auto number = [&](int i, int tile, int k) {
      return &numbers[i + k / 16 * 16][16 * tile + k % 16];
    };
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t col = t / b.steps * kPanelCols, cols = std::min(kPanelCols, b.cols - col);
      const auto [start, valid] = place(t % b.steps);
      if (valid < 32 || cols < 32) std::memset(numbers, 0, sizeof numbers);
      for (std::int64_t j = 0; j < cols; ++j) {
        const float* from = b.data + start + (col + j) * b.col_stride;
        for (std::int64_t i = 0; i < valid; ++i) numbers[i][j] = from[i * b.number_stride];
      }
      std::uint8_t* to = packed + t * kStepBytes;
      auto largest = hn::Zero(du);
      for (int i = 0; i < 16; ++i) {
        for (int tile = 0; tile < 2; ++tile) {
          const auto load = [&](int k) HWY_ATTR { return hn::LoadU(d, number(i, tile, k)); };
          largest =
              split_row(load, to + tile * kTileBytes + i * kTileRowBytes, 2 * kTileBytes, largest);
        }
      }
      if (hn::GetLane(hn::MaxOfLanes(du, largest)) < kLargeBits) continue;
      any_large.store(true, std::memory_order_relaxed);
      for (int i = 0; i < 16; ++i) {
        for (int tile = 0; tile < 2; ++tile) {
          float row[32];
          for (int k = 0; k < 32; ++k) row[k] = *number(i, tile, k);
          split_any_row(row, to + tile * kTileBytes + i * kTileRowBytes, 2 * kTileBytes);
        }
      }
    }
  });
  const std::uint32_t flag = any_large.load() ? 1 : 0;
  std::memcpy(packed + panels * b.steps * kStepBytes, &flag, sizeof flag);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
