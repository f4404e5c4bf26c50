// The heart of matrix products and convolutions: a tile of C held in registers while k runs.
// Included per target, like simd.h.
//
// A tile has R rows and V vectors of columns. Each step of k loads V vectors of B and broadcasts R
// elements of A, so the loads stay below the multiply-adds as long as R and V are large; R * V
// accumulators fill the register file (32 registers hold 14 x 2, 16 hold 4 x 3). Both operands come
// as panels: A as [k][R], B as [k][V * kLanes] or with any other distance between its rows.

#if defined(MEZZO_KERNELS_SIMD_GEMM_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_GEMM_INL
#undef MEZZO_KERNELS_SIMD_GEMM_INL
#else
#define MEZZO_KERNELS_SIMD_GEMM_INL
#endif

#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/rounding.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Tile height and width in vectors, and the longest block of k: A's and B's panels of that length
// must fit L1 together, near enough.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr std::int64_t kMaxRows = 14, kTileVectors = 2, kMaxDepth = 384;
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
// 4 x 3 takes one load less than 6 x 2 for as many multiply-adds.
inline constexpr std::int64_t kMaxRows = 4, kTileVectors = 3, kMaxDepth = 256;
#elif HWY_ARCH_X86
inline constexpr std::int64_t kMaxRows = 6, kTileVectors = 2, kMaxDepth = 384;
#else
inline constexpr std::int64_t kMaxRows = 8, kTileVectors = 2, kMaxDepth = 512;
#endif
inline constexpr std::int64_t kTileCols = kTileVectors * kLanes;

// Blocks along k are of one length but for the last: no short rest that would pay for a pass over
// C.
inline std::int64_t depth_block(std::int64_t k) {
  return k <= 0 ? 1 : ceil_div(k, ceil_div(k, kMaxDepth));
}
// Rows of a tile for a matrix of m rows: spread evenly, since every height from 1 has its kernel.
inline std::int64_t tile_rows(std::int64_t m) {
  return m <= 0 ? 1 : ceil_div(m, ceil_div(m, kMaxRows));
}

// What a tile's sums are added to; with `nothing` and `sums`, which is C, they are not clamped.
enum class Start { nothing, sums, row_bias, col_bias, c };

inline constexpr float kZeros[kTileCols] = {};

// Memory that is needed soon: every fourth step of k sends some cache lines of it to L2. Weights
// that come from memory cost up to half the speed otherwise.
struct Fetch {
  const float* from = kZeros;
  std::int64_t step = 0;
};
// Lines at a time. Where vectors are narrow, tiles that fetch are apart: a few of them are enough.
inline constexpr int kFetchLines = kMaxRows >= 12 ? 4 : 1;
inline constexpr bool kAlwaysFetch = kMaxRows >= 12;

// What pass number `pass` over a panel fetches of the next one, `next` (null: none), of that width
// and depth.
inline Fetch fetch_part(const float* next, std::int64_t width, std::int64_t depth,
                        std::int64_t pass) {
  constexpr std::int64_t kFetchWidth = kFetchLines * kCacheLine / 4;
  if (next == nullptr || pass * kFetchWidth >= width) return {};
  return {next + pass * kFetchWidth * depth, kFetchLines * kCacheLine};
}

struct TileOut {
  float* c;
  std::int64_t ldc;
  Start start;
  const float* bias;  // of the tile's rows or columns, by `start`
  float min, max;
  Fetch fetch;
  const float* add = nullptr;  // with Start::row_bias, what is added as well: rows `ldc` apart
  float* packed = nullptr;     // of kernels that pack: where B goes
  std::int64_t a_stride = 0;   // of kernels that read A in place: from one row of it to the next
  std::int64_t tiles = 1;      // below each other, of one height
};

HWY_INLINE void prefetch_l2(const float* p) { __builtin_prefetch(p, 0, 2); }

// sum += a * b, in the register of the sum: GCC otherwise moves sums about, and there are no
// registers to spare.
template <class V>
HWY_INLINE void add_product(V& sum, V a, V b) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && HWY_COMPILER_GCC_ACTUAL
  auto raw = sum.raw;
  asm("vfmadd231ps %2, %1, %0" : "+v"(raw) : "v"(a.raw), "v"(b.raw));
  sum.raw = raw;
#else
  sum = hn::MulAdd(a, b, sum);
#endif
}

// sum += *a * b. With AVX-512 the multiplication can broadcast by itself, which takes no
// instruction of its own: on a Zen 4 a tile of one vector runs at 96 % of the peak instead of 71.
template <class D>
HWY_INLINE void add_broadcast_product(D d, hn::Vec<D>& sum, const float* a, hn::Vec<D> b) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 && HWY_COMPILER_GCC_ACTUAL
  if constexpr (hn::MaxLanes(D()) == 16) {
    auto raw = sum.raw;
    asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(raw) : "v"(b.raw), "m"(*a));
    sum.raw = raw;
    return;
  }
#endif
  add_product(sum, hn::Set(d, *a), b);
}

// sums[v] += *a * b[v], for row number `row` of a tile. Two vectors share one broadcast, which is
// an instruction more, or each makes its own, which is a load more: in turns, as CPUs of two
// multiplications a cycle have no loads to spare, and those that share their core no instructions.
template <class D, int V>
HWY_INLINE void add_products(D d, hn::Vec<D> (&sums)[V], const float* a, const hn::Vec<D> (&b)[V],
                             int row) {
  constexpr bool kMayBroadcast = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 && V <= 2;
  if (V == 1 || (kMayBroadcast && row % 2 == 0)) {
    MEZZO_UNROLL
    for (int v = 0; v < V; ++v) add_broadcast_product(d, sums[v], a, b[v]);
  } else {
    const auto shared = hn::Set(d, *a);
    MEZZO_UNROLL
    for (int v = 0; v < V; ++v) add_product(sums[v], shared, b[v]);
  }
}

// How many rows of B ahead a kernel asks for that reads them where they are, far apart.
inline constexpr std::int64_t kRowsAhead = 12;

// What a kernel does besides the sums.
enum class Tile {
  plain,
  fetches,       // asks for memory that is needed soon
  packs,         // writes B as a panel as well, at no cost: the additions take longer; may fetch
  reads_a_rows,  // A is not packed: its rows are read where they are
};

// C[R, V * kLanes] = clamp(start + A * B). Whole vectors of
// C are written.
template <int R, int V, Tile kTile>
HWY_INLINE void compute_tile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                             std::int64_t ldb, std::int64_t k, const TileOut& out, float* c,
                             const float* bias_at, const float* add) {
  const F32 d;
  // Small tiles have too few accumulators to hide the latency of the additions: they take several
  // steps of k side by side.
  constexpr bool kPacks = kTile == Tile::packs, kInPlace = kTile == Tile::reads_a_rows;
  constexpr int kSteps = kPacks ? 1 : R * V <= 2 ? 4 : R * V <= 5 ? 2 : 1;
  VecF32 acc[kSteps][R][V];
  MEZZO_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) acc[s][i][v] = hn::Zero(d);
    }
  }
  // What comes from memory is asked for now, to be there when the sums are.
  if (out.start > Start::sums) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i) {
      __builtin_prefetch(c + i * out.ldc, 1);
      __builtin_prefetch(c + i * out.ldc + V * kLanes - 1, 1);
    }
  }
  if (add != nullptr) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i) {
      __builtin_prefetch(add + i * out.ldc);
      __builtin_prefetch(add + i * out.ldc + V * kLanes - 1);
    }
  }
  [[maybe_unused]] const float* fetch = out.fetch.from;
  float* packed = out.packed;
  // One step of k, into the sums of its number modulo kSteps.
  const auto step = [&](int s, const float* as, const float* bs, float* to) HWY_ATTR {
    VecF32 bv[V];
    MEZZO_UNROLL
    for (int v = 0; v < V; ++v) bv[v] = hn::LoadU(d, bs + v * kLanes);
    if constexpr (kPacks) {
      // Past the last row it may be anywhere, which prefetching does not mind.
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) {
        __builtin_prefetch(bs + kRowsAhead * ldb + v * kLanes);
        hn::StoreU(bv[v], d, to + v * kLanes);
      }
    }
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i)
      add_products(d, acc[s][i], as + (kInPlace ? i * out.a_stride : i), bv, i);
  };
  constexpr int kNext = kInPlace ? 1 : R;  // from one step of A to the next
  std::int64_t p = 0;
  for (; p + 4 <= k; p += 4) {
    MEZZO_UNROLL
    for (int u = 0; u < 4; ++u)
      step(u % kSteps, a + u * kNext, b + u * ldb, packed + u * V * kLanes);
    a += 4 * kNext;
    b += 4 * ldb;
    if constexpr (kPacks) packed += 4 * V * kLanes;
    if constexpr (kTile == Tile::fetches || (kPacks && kAlwaysFetch)) {
      MEZZO_UNROLL
      for (int i = 0; i < kFetchLines; ++i) prefetch_l2(fetch + i * kCacheLine);
      fetch += out.fetch.step;
    }
  }
  for (; p < k; ++p, a += kNext, b += ldb) {
    step(0, a, b, packed);
    if constexpr (kPacks) packed += V * kLanes;
  }
  if constexpr (kSteps > 1) {
    MEZZO_UNROLL
    for (int s = 1; s < kSteps; ++s) {
      MEZZO_UNROLL
      for (int i = 0; i < R; ++i) {
        MEZZO_UNROLL
        for (int v = 0; v < V; ++v) acc[0][i][v] = hn::Add(acc[0][i][v], acc[s][i][v]);
      }
    }
  }

  const VecF32 lo = hn::Set(d, out.min), hi = hn::Set(d, out.max);
  const std::int64_t ldc = out.ldc;
  if (out.start == Start::nothing) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) hn::StoreU(acc[0][i][v], d, c + v * kLanes);
    }
  } else if (out.start == Start::sums) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) {
        hn::StoreU(hn::Add(acc[0][i][v], hn::LoadU(d, c + v * kLanes)), d, c + v * kLanes);
      }
    }
  } else if (out.start == Start::c) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) {
        hn::StoreU(clamp(hn::Add(acc[0][i][v], hn::LoadU(d, c + v * kLanes)), lo, hi), d,
                   c + v * kLanes);
      }
    }
  } else if (out.start == Start::row_bias && add != nullptr) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc, add += ldc) {
      const VecF32 bias = hn::Set(d, bias_at[i]);
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) {
        const VecF32 sum = hn::Add(acc[0][i][v], bias);
        hn::StoreU(clamp(hn::Add(sum, hn::LoadU(d, add + v * kLanes)), lo, hi), d, c + v * kLanes);
      }
    }
  } else if (out.start == Start::row_bias) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc) {
      const VecF32 bias = hn::Set(d, bias_at[i]);
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v)
        hn::StoreU(clamp(hn::Add(acc[0][i][v], bias), lo, hi), d, c + v * kLanes);
    }
  } else {
    MEZZO_UNROLL
    for (int v = 0; v < V; ++v) {
      const VecF32 bias = hn::LoadU(d, bias_at + v * kLanes);
      MEZZO_UNROLL
      for (int i = 0; i < R; ++i) {
        hn::StoreU(clamp(hn::Add(acc[0][i][v], bias), lo, hi), d, c + i * ldc + v * kLanes);
      }
    }
  }
}

// The same for `out.tiles` panels of A, and as many tiles of C.
template <int R, int V, Tile kTile>
HWY_NOINLINE void compute_tiles(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                                std::int64_t ldb, std::int64_t k, const TileOut& out) {
  float* c = out.c;
  const float *bias = out.bias, *add = out.add;
  const std::int64_t a_step = R * (kTile == Tile::reads_a_rows ? out.a_stride : k),
                     bias_step = out.start == Start::row_bias && bias != kZeros ? R : 0,
                     add_step = add == nullptr ? 0 : R * out.ldc;
  for (std::int64_t tile = 0; tile < out.tiles; ++tile) {
    compute_tile<R, V, kTile>(a, b, ldb, k, out, c, bias, add);
    a += a_step;
    c += R * out.ldc;
    bias += bias_step;
    add += add_step;
  }
}

using TileKernel = void (*)(const float*, const float*, std::int64_t, std::int64_t, const TileOut&);

template <int V, Tile kTile, int... R>
constexpr std::array<TileKernel, sizeof...(R)> tile_kernels(std::integer_sequence<int, R...>) {
  return {compute_tiles<R + 1, V, kTile>...};
}
using TileRows = std::make_integer_sequence<int, kMaxRows>;

// The kernel for `rows` in [1, kMaxRows] and `cols` in [1, kTileCols] (the whole vectors that hold
// them).
template <Tile kTile>
TileKernel tile_kernel(std::int64_t rows, std::int64_t cols) {
  static constexpr std::array<TileKernel, kMaxRows> kKernels[] = {
    tile_kernels<1, kTile>(TileRows{}),
    tile_kernels<2, kTile>(TileRows{}),
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
    tile_kernels<3, kTile>(TileRows{}),
#endif
  };
  static_assert(std::size(kKernels) == kTileVectors);
  return kKernels[ceil_div(cols, kLanes) - 1][static_cast<std::size_t>(rows - 1)];
}

// The same, one that may fetch that.
inline TileKernel tile_kernel(std::int64_t rows, std::int64_t cols, const Fetch& fetch) {
  constexpr Tile kOtherwise = kAlwaysFetch ? Tile::fetches : Tile::plain;
  return fetch.step != 0 ? tile_kernel<Tile::fetches>(rows, cols)
                         : tile_kernel<kOtherwise>(rows, cols);
}

// The kernel for that many rows and kTileCols columns that packs B.
inline TileKernel packing_tile_kernel(std::int64_t rows) {
  static constexpr auto kKernels = tile_kernels<kTileVectors, Tile::packs>(TileRows{});
  return kKernels[static_cast<std::size_t>(rows - 1)];
}

// Sums alone into a dense tile of row stride kTileCols; added to what is there where `accumulate`.
inline TileOut sums_into(float* tile, bool accumulate, const Fetch& fetch) {
  return {tile, kTileCols, accumulate ? Start::sums : Start::nothing, nullptr, 0, 0, fetch};
}

// y[0, n) = clamp(sums + start + add, lo, hi); null `add` is zero.
inline void finish_row(const float* sums, float start, const float* add, float* y, std::int64_t n,
                       VecF32 lo, VecF32 hi) {
  const F32 d;
  constexpr auto kLaneCount = static_cast<std::int64_t>(kLanes);
  const VecF32 offset = hn::Set(d, start);
  std::int64_t j = 0;
  for (; j + kLaneCount <= n; j += kLaneCount) {
    VecF32 v = hn::Add(hn::LoadU(d, sums + j), offset);
    if (add != nullptr) v = hn::Add(v, hn::LoadU(d, add + j));
    hn::StoreU(clamp(v, lo, hi), d, y + j);
  }
  if (j < n) {
    const auto rest = static_cast<std::size_t>(n - j);
    VecF32 v = hn::Add(load_n(d, sums + j, rest), offset);
    if (add != nullptr) v = hn::Add(v, load_n(d, add + j, rest));
    store_n(clamp(v, lo, hi), d, y + j, rest);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
