// Products of bytes, four to a lane (simd_quads_inl.h): of an A that is read where it lies and a B
// that was packed ahead, less its zero points. Included per target, like simd.h.
//
// B comes as [the sums of its columns...], then as panels of two vectors of columns, [step of four
// k][column][4], then as rests (simd_quad_pack_inl.h). With the sums of its columns A's zero points
// are taken off.

#if defined(MEZZO_KERNELS_SIMD_GEMM_QUADS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_GEMM_QUADS_INL
#undef MEZZO_KERNELS_SIMD_GEMM_QUADS_INL
#else
#define MEZZO_KERNELS_SIMD_GEMM_QUADS_INL
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/rounding.h"
#include "kernels/gemm_i8.h"
#include "kernels/scratch.h"
#include "kernels/simd_quad_steps_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

inline constexpr std::int64_t kQuadColumns = 2 * std::int64_t{kQuadLanes};
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr int kMostQuadRows = 14;
#else
inline constexpr int kMostQuadRows = 6;
#endif
// Panels that meet a single row together: it waits for B, and memory gives several streams at once
// faster than one.
inline constexpr std::int64_t kRowPanels = 4;
// Bytes of B that are worth a task then.
inline constexpr std::int64_t kRowTaskBytes = 1 << 17;

// Whole windows of two steps.
inline std::int64_t quad_steps(std::int64_t k) { return 2 * ceil_div(k, std::int64_t{8}); }
inline std::int64_t quad_columns(std::int64_t n) { return round_up(n, kQuadColumns); }
// Whether the differences of a B [k, n] and its zero points need more than int8.
inline bool is_wide(const GemmI8Operand& b, std::int64_t n) {
  const std::int32_t natural = b.is_signed ? 0 : 128;
  if (b.zero_points == nullptr) return b.zero_point != natural;
  return std::any_of(b.zero_points, b.zero_points + n,
                     [&](std::int32_t zero) { return b.zero_point + zero != natural; });
}

// One panel, of `valid` columns, of a B that is not wide.
inline void pack_quads_panel(const GemmI8Operand& b, std::int64_t first, std::int64_t valid,
                             std::int64_t k, std::int32_t* sums, std::uint8_t* to) {
  const auto* data = static_cast<const std::uint8_t*>(b.data) + first * b.col_stride;
  const std::uint8_t flip = b.is_signed ? 0 : 0x80;
  std::fill_n(sums, kQuadColumns, 0);
  std::memset(to, 0, static_cast<std::size_t>(quad_steps(k) * kQuadStepBytes));
  const hn::Full128<std::uint8_t> d;
  const hn::Full128<std::uint16_t> d16;
  const auto all_flip = hn::Set(d, flip);
  std::int64_t p = 0;
  // Steps of sixteen columns beside each other.
  for (; b.col_stride == 1 && valid == kQuadColumns && kQuadColumns % 16 == 0 && p + 4 <= k;
       p += 4) {
    for (std::int64_t j = 0; j < kQuadColumns; j += 16) {
      const auto row = [&](std::int64_t i) HWY_ATTR {
        return hn::Xor(hn::LoadU(d, data + (p + i) * b.row_stride + j), all_flip);
      };
      const auto r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
      const auto low01 = hn::BitCast(d16, hn::InterleaveLower(d, r0, r1)),
                 high01 = hn::BitCast(d16, hn::InterleaveUpper(d, r0, r1)),
                 low23 = hn::BitCast(d16, hn::InterleaveLower(d, r2, r3)),
                 high23 = hn::BitCast(d16, hn::InterleaveUpper(d, r2, r3));
      std::uint8_t* at = to + p * kQuadColumns + 4 * j;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d16, low01, low23)), d, at);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d16, low01, low23)), d, at + 16);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d16, high01, high23)), d, at + 32);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d16, high01, high23)), d, at + 48);
    }
  }
  // A transposed B has the four beside each other.
  if (b.row_stride == 1) {
    const std::uint32_t flips = flip * 0x01010101U;
    for (std::int64_t j = 0; j < valid; ++j) {
      for (p = 0; p + 4 <= k; p += 4) {
        std::uint32_t four;
        std::memcpy(&four, data + j * b.col_stride + p, sizeof(four));
        four ^= flips;
        std::memcpy(to + p * kQuadColumns + 4 * j, &four, sizeof(four));
      }
    }
    p = k / 4 * 4;
  }
  for (; p < k; ++p) {
    std::uint8_t* at = to + p / 4 * kQuadStepBytes + p % 4;
    for (std::int64_t j = 0; j < valid; ++j)
      at[4 * j] = static_cast<std::uint8_t>(data[p * b.row_stride + j * b.col_stride] ^ flip);
  }
  const QuadI32 di;
  const VecQuads ones = hn::Set(di, 0x01010101);
  with_quad_sums([&](auto kind) HWY_ATTR {
    for (std::int64_t j = 0; j < kQuadColumns; j += kQuadLanes) {
      VecQuads sum = hn::Zero(di);
      for (std::int64_t s = 0; s < quad_steps(k); ++s) {
        const auto step = hn::LoadU(QuadU8(), to + s * kQuadStepBytes + 4 * j);
        add_quads<kind()>(sum, ones, hn::BitCast(di, step));
      }
      hn::StoreU(sum, di, sums + j);
    }
  });
}

// The same of any B, with what does not fit.
template <class Byte>
void pack_wide_panel(const GemmI8Operand& b, std::int64_t first, std::int64_t valid, std::int64_t k,
                     std::int32_t* sums, std::uint8_t* to, PanelRests* rests, std::int64_t rounds) {
  const auto* data = static_cast<const Byte*>(b.data) + first * b.col_stride;
  std::int32_t zeros[kQuadColumns];
  for (std::int64_t j = 0; j < valid; ++j)
    zeros[j] = b.zero_point + (b.zero_points == nullptr ? 0 : b.zero_points[first + j]);
  std::fill_n(sums, kQuadColumns, 0);
  pack_steps(quad_steps(k), rounds, 2, to, rests, [&](std::int64_t s, std::int16_t* weights) {
    std::fill_n(weights, kQuadStepBytes, std::int16_t{0});
    for (std::int64_t p = 4 * s; p < std::min(k, 4 * s + 4); ++p) {
      for (std::int64_t j = 0; j < valid; ++j) {
        const std::int32_t weight = data[p * b.row_stride + j * b.col_stride] - zeros[j];
        weights[4 * j + p % 4] = static_cast<std::int16_t>(weight);
        sums[j] += weight;
      }
    }
  });
}

// Packs B behind `head` bytes.
inline PackedPanels pack_quads(std::int64_t head, std::int64_t k, std::int64_t n,
                               const GemmI8Operand& b, const AllocatePacked& allocate,
                               ThreadPool& pool) {
  const bool wide = is_wide(b, n);
  const std::int64_t steps = quad_steps(k), sums_bytes = 4 * quad_columns(n);
  std::vector<std::int32_t> sums(static_cast<std::size_t>(quad_columns(n)));
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 16) / (kQuadColumns * (k + 1)));
  const bool pairs = quad_sums() == QuadSums::kPairs;
  const PackedPanels packed = pack_panels(
      head + sums_bytes, quad_columns(n) / kQuadColumns, steps * kQuadStepBytes, grain,
      pairs || wide, allocate, pool,
      [&](std::int64_t i, std::uint8_t* panel, PanelRests* rests, std::int64_t rounds) HWY_ATTR {
        const std::int64_t first = i * kQuadColumns, valid = std::min(kQuadColumns, n - first);
        std::int32_t* const of_panel = sums.data() + first;
        if (wide) {
          return b.is_signed ? pack_wide_panel<std::int8_t>(b, first, valid, k, of_panel, panel,
                                                            rests, rounds)
                             : pack_wide_panel<std::uint8_t>(b, first, valid, k, of_panel, panel,
                                                             rests, rounds);
        }
        pack_quads_panel(b, first, valid, k, of_panel, panel);
        if (!pairs) return;
        pack_steps(steps, rounds, 2, panel, rests, [&](std::int64_t s, std::int16_t* weights) {
          const auto* from = reinterpret_cast<const std::int8_t*>(panel);
          std::copy_n(from + s * kQuadStepBytes, kQuadStepBytes, weights);
        });
      });
  std::memcpy(packed.memory + head, sums.data(), static_cast<std::size_t>(sums_bytes));
  return packed;
}

// c [P][kQuadColumns] += a row of A * P panels of B, without their rests.
template <QuadSums kSums, int P>
HWY_NOINLINE void add_row_panels(const std::uint8_t* HWY_RESTRICT a,
                                 const std::uint8_t* HWY_RESTRICT b, std::int64_t steps,
                                 std::int32_t* c) {
  const QuadI32 d;
  const auto row = [&a](std::int64_t at) { return [&a, at](int) HWY_ATTR { return a + at; }; };
  VecQuads sums[P][1][2];
  MEZZO_UNROLL
  for (int p = 0; p < P; ++p) sums[p][0][0] = sums[p][0][1] = hn::Zero(d);
  for (std::int64_t s = 0; s < steps; s += 2, a += 8, b += 2 * kQuadStepBytes) {
    MEZZO_UNROLL
    for (int p = 0; p < P; ++p) {
      add_steps<kSums>(b + p * steps * kQuadStepBytes, sums[p], row(0), row(4));
    }
  }
  MEZZO_UNROLL
  for (int p = 0; p < P; ++p) {
    MEZZO_UNROLL
    for (int v = 0; v < 2; ++v, c += kQuadLanes)
      hn::StoreU(hn::Add(hn::LoadU(d, c), sums[p][0][v]), d, c);
  }
}

// c [R][kQuadColumns], rows `ldc` apart, = A (rows `lda` apart) * B, less zeros[i] times the sums
// of B's columns.
template <QuadSums kSums, int R>
HWY_NOINLINE void compute_quads(const std::uint8_t* HWY_RESTRICT a, std::int64_t lda,
                                const std::uint8_t* HWY_RESTRICT b, std::int64_t steps,
                                const Rests& rests, const std::int32_t* column_sums,
                                const std::int32_t* zeros, std::int32_t* c, std::int64_t ldc) {
  const QuadI32 d;
  VecQuads sums[R][2];
  MEZZO_UNROLL
  for (int i = 0; i < R; ++i) sums[i][0] = sums[i][1] = hn::Zero(d);
  // Rows by threes: one register and a multiple of `lda` reach each.
  constexpr int kBases = (R + 2) / 3;
  const std::uint8_t* bases[kBases];
  MEZZO_UNROLL
  for (int i = 0; i < kBases; ++i) bases[i] = a + 3 * i * lda;
  const auto rows = [&](std::int64_t at) {
    return [&bases, lda, at](int i) HWY_ATTR { return bases[i / 3] + i % 3 * lda + at; };
  };
  add_rests<kSums>(rests, sums, rows);
  for (std::int64_t s = 0; s < steps; s += 2, b += 2 * kQuadStepBytes) {
    add_steps<kSums>(b, sums, rows(0), rows(4));
    MEZZO_UNROLL
    for (int i = 0; i < kBases; ++i) bases[i] += 8;
  }
  const VecQuads first = hn::LoadU(d, column_sums), second = hn::LoadU(d, column_sums + kQuadLanes);
  MEZZO_UNROLL
  for (int i = 0; i < R; ++i) {
    const VecQuads zero = hn::Set(d, zeros[i]);
    hn::StoreU(hn::Sub(sums[i][0], hn::Mul(zero, first)), d, c + i * ldc);
    hn::StoreU(hn::Sub(sums[i][1], hn::Mul(zero, second)), d, c + i * ldc + kQuadLanes);
  }
}

using QuadsKernel = void (*)(const std::uint8_t*, std::int64_t, const std::uint8_t*, std::int64_t,
                             const Rests&, const std::int32_t*, const std::int32_t*, std::int32_t*,
                             std::int64_t);
using QuadsKernels = std::array<QuadsKernel, kMostQuadRows>;

template <QuadSums kSums, int... R>
constexpr QuadsKernels quads_kernels(std::integer_sequence<int, R...>) {
  return {compute_quads<kSums, R + 1>...};
}

using RowKernel = void (*)(const std::uint8_t*, const std::uint8_t*, std::int64_t, std::int32_t*);

template <QuadSums kSums, int... P>
constexpr std::array<RowKernel, kRowPanels> row_panels_kernels(std::integer_sequence<int, P...>) {
  return {add_row_panels<kSums, P + 1>...};
}

// A row of k bytes, `stride` apart, with the bits of `flip` turned and zeros up to whole windows.
inline void copy_quads_row(const std::uint8_t* x, std::int64_t stride, std::int64_t k,
                           std::uint8_t flip, std::uint8_t* y) {
  const QuadU8 d;
  std::int64_t p = 0;
  for (; stride == 1 && p + kQuadVectorBytes <= k; p += kQuadVectorBytes)
    hn::StoreU(hn::Xor(hn::LoadU(d, x + p), hn::Set(d, flip)), d, y + p);
  for (; p < k; ++p) y[p] = x[p * stride] ^ flip;
  std::fill(y + k, y + round_up(k, std::int64_t{8}), std::uint8_t{0});
}

struct ScratchQuadsA {};
struct ScratchQuadsZeros {};

// A product on its way: rows of bytes whose k is whole windows, their zero points, and what a
// packed B consists of.
struct QuadsProduct {
  std::int64_t m, n, steps;
  const std::uint8_t* rows;
  std::int64_t lda;
  const std::int32_t* zeros;
  const std::int32_t* column_sums;
  const std::uint8_t* panels;
  const std::uint8_t* rests;  // null: there are none
  std::int32_t* c;
  std::int64_t ldc;

  std::int64_t panel_count() const { return quad_columns(n) / kQuadColumns; }
  const std::uint8_t* panel(std::int64_t i) const { return panels + i * steps * kQuadStepBytes; }
  Rests rests_of_panel(std::int64_t i) const {
    return rests == nullptr ? Rests{}
                            : rests_of(i, rests, [](std::int64_t window) { return 8 * window; });
  }
};

inline void run_quads_row(const QuadsProduct& g, QuadsKernel tile,
                          const std::array<RowKernel, kRowPanels>& kernels, ThreadPool& pool) {
  constexpr std::int64_t kColumns = kRowPanels * kQuadColumns;
  pool.parallel_for(
      ceil_div(g.panel_count(), kRowPanels),
      std::max<std::int64_t>(1,
                             kRowTaskBytes / (kColumns * 4 * std::max<std::int64_t>(1, g.steps))),
      [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
        HWY_ALIGN std::int32_t sums[kColumns];
        for (std::int64_t first = begin * kRowPanels;
             first < std::min(end * kRowPanels, g.panel_count()); first += kRowPanels) {
          const std::int64_t count = std::min(kRowPanels, g.panel_count() - first),
                             column = first * kQuadColumns;
          // What is not products of the panels' bytes comes first.
          for (std::int64_t p = 0; p < count; ++p) {
            tile(g.rows, g.lda, nullptr, 0, g.rests_of_panel(first + p),
                 g.column_sums + column + p * kQuadColumns, g.zeros, sums + p * kQuadColumns,
                 kQuadColumns);
          }
          kernels[static_cast<std::size_t>(count - 1)](g.rows, g.panel(first), g.steps, sums);
          std::copy_n(sums, std::min(count * kQuadColumns, g.n - column), g.c + column);
        }
      });
}

// A task is one panel of B with some tiles of A's rows.
inline void run_quads_tiles(const QuadsProduct& g, const QuadsKernels& tiles, ThreadPool& pool) {
  const std::int64_t tile_rows = ceil_div(g.m, ceil_div(g.m, most_tile_rows(kMostQuadRows))),
                     row_tiles = ceil_div(g.m, tile_rows),
                     groups = ceil_div(g.m, std::int64_t{112});
  const std::int64_t work =
      std::max<std::int64_t>(1, std::min<std::int64_t>(g.m, 112) * kQuadColumns * g.steps);
  pool.parallel_for(
      groups * g.panel_count(), std::max<std::int64_t>(1, (1 << 18) / work),
      [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
        HWY_ALIGN std::int32_t edge[kMostQuadRows * kQuadColumns];
        for (std::int64_t t = begin; t < end; ++t) {
          const std::int64_t panel = t / groups, group = t % groups, column = panel * kQuadColumns,
                             columns = std::min(kQuadColumns, g.n - column);
          const Rests rests = g.rests_of_panel(panel);
          for (std::int64_t tile = row_tiles * group / groups;
               tile < row_tiles * (group + 1) / groups; ++tile) {
            const std::int64_t row = tile * tile_rows, count = std::min(tile_rows, g.m - row);
            const bool whole = columns == kQuadColumns;
            std::int32_t* to = g.c + row * g.ldc + column;
            tiles[static_cast<std::size_t>(count - 1)](
                g.rows + row * g.lda, g.lda, g.panel(panel), g.steps, rests, g.column_sums + column,
                g.zeros + row, whole ? to : edge, whole ? g.ldc : kQuadColumns);
            if (whole) continue;
            for (std::int64_t i = 0; i < count; ++i)
              std::copy_n(edge + i * kQuadColumns, columns, to + i * g.ldc);
          }
        }
      });
}

// `m` and `n` at least 1.
inline void gemm_quads(std::int64_t m, std::int64_t n, std::int64_t k, const GemmI8Operand& a,
                       const void* packed_b, bool any_rests, std::int64_t rounds, std::int32_t* c,
                       std::int64_t ldc, ThreadPool& pool) {
  const auto* column_sums = static_cast<const std::int32_t*>(packed_b);
  const auto* panels = reinterpret_cast<const std::uint8_t*>(column_sums + quad_columns(n));
  const std::int64_t steps = rounds * quad_steps(k);
  // Signed bytes count as 128 more.
  auto* zeros = reinterpret_cast<std::int32_t*>(thread_scratch<ScratchQuadsZeros>(m));
  for (std::int64_t i = 0; i < m; ++i)
    zeros[i] =
        a.zero_point + (a.zero_points == nullptr ? 0 : a.zero_points[i]) + (a.is_signed ? 128 : 0);
  const auto* rows = static_cast<const std::uint8_t*>(a.data);
  std::int64_t lda = a.row_stride;
  if (a.col_stride != 1 || k % 8 != 0 || a.is_signed || rounds > 1) {
    lda = 4 * steps;
    auto* copy = reinterpret_cast<std::uint8_t*>(thread_scratch<ScratchQuadsA>(m * steps));
    pool.parallel_for(m, (1 << 16) / (lda + 1) + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t round = 0; round < rounds; ++round) {
          copy_quads_row(rows + i * a.row_stride, a.col_stride, k, a.is_signed ? 0x80 : 0,
                         copy + i * lda + round * 4 * quad_steps(k));
        }
      }
    });
    rows = copy;
  }
  QuadsProduct g{m, n, steps, rows, lda, zeros, column_sums, panels, nullptr, c, ldc};
  if (any_rests) g.rests = g.panel(g.panel_count());
  with_quad_sums([&](auto kind) {
    constexpr auto kHeights = std::make_integer_sequence<int, kMostQuadRows>{};
    static constexpr QuadsKernels kTiles = quads_kernels<kind()>(kHeights);
    if (m > 1) return run_quads_tiles(g, kTiles, pool);
    static constexpr auto kRows =
        row_panels_kernels<kind()>(std::make_integer_sequence<int, kRowPanels>{});
    run_quads_row(g, kTiles[0], kRows, pool);
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
