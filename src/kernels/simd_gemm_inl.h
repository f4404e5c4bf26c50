// The heart of matrix products and convolutions: a tile of C held in registers while k runs.
// Included per target, like simd.h.
//
// A tile has R rows and V vectors of columns. Each step of k loads V vectors of B and broadcasts R
// elements of A, so the loads stay below the multiply-adds as long as R and V are large; R * V
// accumulators fill the register file (32 registers hold 14 x 2, 16 hold 6 x 2). Both operands come
// as panels: A as [k][R], B as [k][V * kLanes] or with any other distance between its rows.

#if defined(MEZZO_KERNELS_SIMD_GEMM_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_GEMM_INL
#undef MEZZO_KERNELS_SIMD_GEMM_INL
#else
#define MEZZO_KERNELS_SIMD_GEMM_INL
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Tile height, and the longest block of k: A's and B's panels of that length must fit L1 together,
// near enough.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr std::int64_t kMaxRows = 14, kMaxDepth = 384;
#elif HWY_ARCH_X86
inline constexpr std::int64_t kMaxRows = 6, kMaxDepth = 384;
#else
inline constexpr std::int64_t kMaxRows = 8, kMaxDepth = 512;
#endif
inline constexpr std::int64_t kTileCols = 2 * kLanes;

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

// Blocks along k are of one length but for the last: no short rest that would pay for a pass over
// C.
inline std::int64_t depth_block(std::int64_t k) {
  return k <= 0 ? 1 : ceil_div(k, ceil_div(k, kMaxDepth));
}
// Rows of a tile for a matrix of m rows: spread evenly, since every height from 1 has its kernel.
inline std::int64_t tile_rows(std::int64_t m) {
  return m <= 0 ? 1 : ceil_div(m, ceil_div(m, kMaxRows));
}

// What a tile's sums are added to.
enum class Start { row_bias, col_bias, c };

inline constexpr std::int64_t kCacheLine = 16;  // floats
inline constexpr float kZeros[kTileCols] = {};

// Memory that is needed soon: with each step of k one cache line goes to L2. Weights that come from
// memory cost up to half the speed otherwise.
struct Fetch {
  const float* from = kZeros;
  std::int64_t step = 0;
};

// What pass number `pass` over a panel fetches of the next one, `next` (null: none), of that width:
// a line for each step of k.
inline Fetch fetch_part(const float* next, std::int64_t width, std::int64_t depth,
                        std::int64_t pass) {
  if (next == nullptr || pass * kCacheLine >= width) return {};
  return {next + pass * kCacheLine * depth, kCacheLine};
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
};

HWY_INLINE void prefetch_l2(const float* p) { __builtin_prefetch(p, 0, 2); }

// How many rows of B ahead a kernel asks for that reads them where they are, far apart.
inline constexpr std::int64_t kRowsAhead = 12;

// C[R, V * kLanes] = clamp(start + A * B). Whole vectors of C are written. Where `Pack`, B is also
// written as a panel, at no cost: the additions take longer.
template <int R, int V, bool Pack = false>
HWY_NOINLINE void compute_tile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                               std::int64_t ldb, std::int64_t k, const TileOut& out) {
  const F32 d;
  // Small tiles have too few accumulators to hide the latency of the additions: they take several
  // steps of k side by side.
  constexpr int kSteps = Pack ? 1 : R * V <= 2 ? 4 : R * V <= 5 ? 2 : 1;
  VecF32 acc[kSteps][R][V];
  MEZZO_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) acc[s][i][v] = hn::Zero(d);
    }
  }
  const float* fetch = out.fetch.from;
  const std::int64_t fetch_step = out.fetch.step;
  float* packed = out.packed;
  std::int64_t p = 0;
  for (; p + kSteps <= k; p += kSteps) {
    MEZZO_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      VecF32 bv[V];
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) bv[v] = hn::LoadU(d, b + v * kLanes);
      if constexpr (Pack) {
        // Past the last row it may be anywhere, which prefetching does not mind.
        MEZZO_UNROLL
        for (int v = 0; v < V; ++v) {
          __builtin_prefetch(b + kRowsAhead * ldb + v * kLanes);
          hn::StoreU(bv[v], d, packed + v * kLanes);
        }
        packed += V * kLanes;
      }
      MEZZO_UNROLL
      for (int i = 0; i < R; ++i) {
        const VecF32 ai = hn::Set(d, a[i]);
        MEZZO_UNROLL
        for (int v = 0; v < V; ++v) acc[s][i][v] = hn::MulAdd(ai, bv[v], acc[s][i][v]);
      }
      a += R;
      b += ldb;
      prefetch_l2(fetch);
      fetch += fetch_step;
    }
  }
  if constexpr (kSteps > 1) {
    for (; p < k; ++p, a += R, b += ldb) {
      MEZZO_UNROLL
      for (int i = 0; i < R; ++i) {
        MEZZO_UNROLL
        for (int v = 0; v < V; ++v) {
          acc[0][i][v] = hn::MulAdd(hn::Set(d, a[i]), hn::LoadU(d, b + v * kLanes), acc[0][i][v]);
        }
      }
    }
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
  float* c = out.c;
  const std::int64_t ldc = out.ldc;
  if (out.start == Start::c) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc) {
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) {
        hn::StoreU(clamp(hn::Add(acc[0][i][v], hn::LoadU(d, c + v * kLanes)), lo, hi), d,
                   c + v * kLanes);
      }
    }
  } else if (out.start == Start::row_bias && out.add != nullptr) {
    const float* add = out.add;
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc, add += ldc) {
      const VecF32 bias = hn::Set(d, out.bias[i]);
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v) {
        const VecF32 sum = hn::Add(acc[0][i][v], bias);
        hn::StoreU(clamp(hn::Add(sum, hn::LoadU(d, add + v * kLanes)), lo, hi), d, c + v * kLanes);
      }
    }
  } else if (out.start == Start::row_bias) {
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i, c += ldc) {
      const VecF32 bias = hn::Set(d, out.bias[i]);
      MEZZO_UNROLL
      for (int v = 0; v < V; ++v)
        hn::StoreU(clamp(hn::Add(acc[0][i][v], bias), lo, hi), d, c + v * kLanes);
    }
  } else {
    MEZZO_UNROLL
    for (int v = 0; v < V; ++v) {
      const VecF32 bias = hn::LoadU(d, out.bias + v * kLanes);
      MEZZO_UNROLL
      for (int i = 0; i < R; ++i) {
        hn::StoreU(clamp(hn::Add(acc[0][i][v], bias), lo, hi), d, c + i * ldc + v * kLanes);
      }
    }
  }
}

using TileKernel = void (*)(const float*, const float*, std::int64_t, std::int64_t, const TileOut&);

template <int V, bool Pack, int... R>
constexpr std::array<TileKernel, sizeof...(R)> tile_kernels(std::integer_sequence<int, R...>) {
  return {compute_tile<R + 1, V, Pack>...};
}
using TileRows = std::make_integer_sequence<int, kMaxRows>;

// The kernel for `rows` in [1, kMaxRows] and `cols` in [1, kTileCols] (the whole vectors that hold
// them).
inline TileKernel tile_kernel(std::int64_t rows, std::int64_t cols) {
  static constexpr auto kOne = tile_kernels<1, false>(TileRows{}),
                        kTwo = tile_kernels<2, false>(TileRows{});
  const auto index = static_cast<std::size_t>(rows - 1);
  return cols <= static_cast<std::int64_t>(kLanes) ? kOne[index] : kTwo[index];
}

// The kernel for that many rows and kTileCols columns that packs B.
inline TileKernel packing_tile_kernel(std::int64_t rows) {
  static constexpr auto kKernels = tile_kernels<2, true>(TileRows{});
  return kKernels[static_cast<std::size_t>(rows - 1)];
}

// Sums alone into a dense tile of row stride kTileCols; added to what is there where `accumulate`.
inline TileOut sums_into(float* tile, bool accumulate, const Fetch& fetch) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {tile,      kTileCols, accumulate ? Start::c : Start::row_bias, kZeros, -kInfinity,
          kInfinity, fetch};
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

// Transposes the 4 x 4 floats that the vectors hold in each of their 128-bit blocks.
template <class D>
HWY_INLINE void transpose_blocks(D d, hn::Vec<D>& r0, hn::Vec<D>& r1, hn::Vec<D>& r2,
                                 hn::Vec<D>& r3) {
  const hn::Repartition<double, D> dd;
  const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, r0, r1)),
             high01 = hn::BitCast(dd, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, r2, r3)),
             high23 = hn::BitCast(dd, hn::InterleaveUpper(d, r2, r3));
  r0 = hn::BitCast(d, hn::InterleaveLower(dd, low01, low23));
  r1 = hn::BitCast(d, hn::InterleaveUpper(dd, low01, low23));
  r2 = hn::BitCast(d, hn::InterleaveLower(dd, high01, high23));
  r3 = hn::BitCast(d, hn::InterleaveUpper(dd, high01, high23));
}

// Transposes 4 x 4 floats: row r of the source at src + r * src_stride.
HWY_INLINE void transpose_4x4(const float* src, std::int64_t src_stride, float* dst,
                              std::int64_t dst_stride) {
  const hn::FixedTag<float, 4> d;
  auto r0 = hn::LoadU(d, src), r1 = hn::LoadU(d, src + src_stride);
  auto r2 = hn::LoadU(d, src + 2 * src_stride), r3 = hn::LoadU(d, src + 3 * src_stride);
  transpose_blocks(d, r0, r1, r2, r3);
  hn::StoreU(r0, d, dst);
  hn::StoreU(r1, d, dst + dst_stride);
  hn::StoreU(r2, d, dst + 2 * dst_stride);
  hn::StoreU(r3, d, dst + 3 * dst_stride);
}

// Writes a panel [k][width]: element (p, i) from src[i * stride_i + p * stride_k] for i < valid,
// zero beyond.
inline void pack_panel(const float* src, std::int64_t stride_i, std::int64_t stride_k,
                       std::int64_t valid, std::int64_t width, std::int64_t k, float* dst) {
  const F32 d;
  // Zeros come with the last vector where that is the panel's too.
  const bool whole_vectors = stride_i == 1 && round_up(valid, kLanes) == width;
  if (valid < width && !whole_vectors) {
    for (std::int64_t p = 0; p < k; ++p)
      std::fill(dst + p * width + valid, dst + (p + 1) * width, 0.0f);
  }
  if (stride_i == 1) {
    for (std::int64_t p = 0; p < k; ++p, src += stride_k, dst += width) {
      std::int64_t i = 0;
      for (; i + static_cast<std::int64_t>(kLanes) <= valid; i += kLanes)
        hn::StoreU(hn::LoadU(d, src + i), d, dst + i);
      if (i == valid) continue;
      const auto rest = static_cast<std::size_t>(valid - i);
      const VecF32 last = load_n(d, src + i, rest);
      if (whole_vectors) {
        hn::StoreU(last, d, dst + i);
      } else {
        store_n(last, d, dst + i, rest);
      }
    }
    return;
  }
  std::int64_t i = 0;
  if (stride_k == 1) {
    for (; i + 4 <= valid; i += 4) {
      const float* rows = src + i * stride_i;
      std::int64_t p = 0;
      for (; p + 4 <= k; p += 4) transpose_4x4(rows + p, stride_i, dst + p * width + i, width);
      for (; p < k; ++p) {
        for (int r = 0; r < 4; ++r) dst[p * width + i + r] = rows[r * stride_i + p];
      }
    }
  }
  for (; i < valid; ++i) {
    for (std::int64_t p = 0; p < k; ++p) dst[p * width + i] = src[i * stride_i + p * stride_k];
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
