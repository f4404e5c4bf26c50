// Products of a vector, or of very few, and a matrix, which are bound by memory: nothing is packed.
// Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_GEMV_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_GEMV_INL
#undef MEZZO_KERNELS_SIMD_GEMV_INL
#else
#define MEZZO_KERNELS_SIMD_GEMV_INL
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/gemm_f32.h"
#include "kernels/scratch.h"
#include "kernels/simd_gemm_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

struct ScratchX {};

// Multiply-adds worth handing to another thread, as each waits for memory.
inline constexpr std::int64_t kVectorWork = std::int64_t{1} << 15;

// out[j] = sum over p of x[p] * b[p * stride + j], j < n: eight rows of B at a time, so that they
// stream side by side.
inline void vector_times_rows(const float* x, const float* b, std::int64_t stride, std::int64_t k,
                              std::int64_t n, float* out) {
  const F32 d;
  constexpr int kRows = 8;
  std::fill(out, out + n, 0.0f);
  std::int64_t p = 0;
  for (; p + kRows <= k; p += kRows, b += kRows * stride) {
    std::int64_t j = 0;
    for (; j + static_cast<std::int64_t>(kLanes) <= n; j += kLanes) {
      VecF32 even = hn::LoadU(d, out + j), odd = hn::Zero(d);
      MEZZO_UNROLL
      for (int r = 0; r < kRows; r += 2) {
        even = hn::MulAdd(hn::Set(d, x[p + r]), hn::LoadU(d, b + r * stride + j), even);
        odd = hn::MulAdd(hn::Set(d, x[p + r + 1]), hn::LoadU(d, b + (r + 1) * stride + j), odd);
      }
      hn::StoreU(hn::Add(even, odd), d, out + j);
    }
    for (; j < n; ++j) {
      for (int r = 0; r < kRows; ++r) out[j] += x[p + r] * b[r * stride + j];
    }
  }
  for (; p < k; ++p, b += stride) {
    for (std::int64_t j = 0; j < n; ++j) out[j] += x[p] * b[j];
  }
}

// out[j] = sum over p of x[p] * b[p + j * stride], j < n: four columns at a time.
inline void vector_times_columns(const float* x, const float* b, std::int64_t stride,
                                 std::int64_t k, std::int64_t n, float* out) {
  const F32 d;
  constexpr int kColumns = 4;
  constexpr std::int64_t kStep = 2 * kLanes;
  std::int64_t j = 0;
  for (; j + kColumns <= n; j += kColumns, b += kColumns * stride) {
    VecF32 sums[kColumns][2];
    MEZZO_UNROLL
    for (int c = 0; c < kColumns; ++c) sums[c][0] = sums[c][1] = hn::Zero(d);
    std::int64_t p = 0;
    for (; p + kStep <= k; p += kStep) {
      const VecF32 x0 = hn::LoadU(d, x + p), x1 = hn::LoadU(d, x + p + kLanes);
      MEZZO_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        sums[c][0] = hn::MulAdd(x0, hn::LoadU(d, b + c * stride + p), sums[c][0]);
        sums[c][1] = hn::MulAdd(x1, hn::LoadU(d, b + c * stride + p + kLanes), sums[c][1]);
      }
    }
    for (; p < k; p += kLanes) {
      const auto rest = static_cast<std::size_t>(std::min<std::int64_t>(k - p, kLanes));
      const VecF32 last = load_n(d, x + p, rest);
      MEZZO_UNROLL
      for (int c = 0; c < kColumns; ++c)
        sums[c][0] = hn::MulAdd(last, load_n(d, b + c * stride + p, rest), sums[c][0]);
    }
    MEZZO_UNROLL
    for (int c = 0; c < kColumns; ++c)
      out[j + c] = hn::GetLane(hn::SumOfLanes(d, hn::Add(sums[c][0], sums[c][1])));
  }
  for (; j < n; ++j, b += stride) {
    VecF32 sums = hn::Zero(d);
    std::int64_t p = 0;
    for (; p + static_cast<std::int64_t>(kLanes) <= k; p += kLanes)
      sums = hn::MulAdd(hn::LoadU(d, x + p), hn::LoadU(d, b + p), sums);
    float sum = hn::GetLane(hn::SumOfLanes(d, sums));
    for (; p < k; ++p) sum += x[p] * b[p];
    out[j] = sum;
  }
}

// An element of C: its sum with what is added to it, `start`.
HWY_INLINE float finished(const GemmEpilogue& e, float sum, float start) {
  const float v = e.alpha * sum + e.beta * start;
  return v < e.min ? e.min : v > e.max ? e.max : v;
}

// A vector times a matrix read in place: bound by memory, so nothing is packed. Element j goes to
// c[j * c_stride].
inline void run_vector(std::int64_t n, std::int64_t k, const float* x, std::int64_t x_stride,
                       const float* b, std::int64_t b_row_stride, std::int64_t b_col_stride,
                       float* c, std::int64_t c_stride, const float* own_bias,
                       const float* shared_bias, std::int64_t add_stride, const GemmEpilogue& e,
                       ThreadPool& pool) {
  constexpr std::int64_t kBlock = 1024;
  if (x_stride != 1) {
    float* dense = thread_scratch<ScratchX>(k);
    for (std::int64_t p = 0; p < k; ++p) dense[p] = x[p * x_stride];
    x = dense;
  }
  // The shares of the threads are whole cache lines of B.
  const std::int64_t unit = 64, grain = std::max<std::int64_t>(
                                    1, kVectorWork / std::max<std::int64_t>(k * unit, 1));
  pool.parallel_for(ceil_div(n, unit), grain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    HWY_ALIGN float sums[kBlock];
    for (std::int64_t j0 = begin * unit; j0 < std::min(end * unit, n); j0 += kBlock) {
      const std::int64_t count = std::min({kBlock, n - j0, end * unit - j0});
      if (b_col_stride == 1) {
        vector_times_rows(x, b + j0, b_row_stride, k, count, sums);
      } else {
        vector_times_columns(x, b + j0 * b_col_stride, b_col_stride, k, count, sums);
      }
      for (std::int64_t j = j0; j < j0 + count; ++j) {
        float start = shared_bias != nullptr ? *shared_bias : 0.0f;
        if (own_bias != nullptr) start += own_bias[j];
        if (e.add != nullptr) start += e.add[j * add_stride];
        c[j * c_stride] = finished(e, sums[j - j0], start);
      }
    }
  });
}

// Takes products with a vector; says whether it did.
inline bool try_vector(std::int64_t m, std::int64_t n, std::int64_t k, const GemmOperand& a,
                       const GemmOperand& b, float* c, std::int64_t ldc, const GemmEpilogue& e,
                       ThreadPool& pool) {
  if (a.packed || b.packed) return false;
  if (m == 1 && (b.col_stride == 1 || b.row_stride == 1)) {
    run_vector(n, k, a.data, a.col_stride, b.data, b.row_stride, b.col_stride, c, 1, e.col_bias,
               e.row_bias, 1, e, pool);
    return true;
  }
  if (n == 1 && (a.col_stride == 1 || a.row_stride == 1)) {
    run_vector(m, k, b.data, b.row_stride, a.data, a.col_stride, a.row_stride, c, ldc, e.row_bias,
               e.col_bias, e.add_row_stride, e, pool);
    return true;
  }
  return false;
}

// Columns of B that are so few that a tile would leave most of its lanes idle.
inline constexpr std::int64_t kVeryFewColumns = kLanes / 2;

struct ScratchColumns {};

// Takes products of the rows of A, read in place, with very few columns; says whether it did.
inline bool try_very_few_columns(std::int64_t m, std::int64_t n, std::int64_t k,
                                 const GemmOperand& a, const GemmOperand& b, float* c,
                                 std::int64_t ldc, const GemmEpilogue& e, ThreadPool& pool) {
  if (n > kVeryFewColumns || a.packed || a.col_stride != 1) return false;
  const float* columns = b.data;
  std::int64_t column_stride = b.col_stride;
  if (b.packed || b.row_stride != 1) {
    // A packed operand of one panel is its rows, one behind the other.
    const std::int64_t row_stride = b.packed ? kTileCols : b.row_stride,
                       stride = b.packed ? 1 : b.col_stride;
    float* dense = thread_scratch<ScratchColumns>(n * k);
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t p = 0; p < k; ++p) dense[j * k + p] = b.data[p * row_stride + j * stride];
    }
    columns = dense;
    column_stride = k;
  }
  // So many rows at a time that they stay in the first-level cache for all columns.
  constexpr std::int64_t kRows = 16;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kVectorWork / std::max<std::int64_t>(k * n * kRows, 1));
  pool.parallel_for(ceil_div(m, kRows), grain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    float sums[kRows];
    for (std::int64_t i0 = begin * kRows; i0 < std::min(end * kRows, m); i0 += kRows) {
      const std::int64_t rows = std::min(kRows, m - i0);
      for (std::int64_t j = 0; j < n; ++j) {
        vector_times_columns(columns + j * column_stride, a.data + i0 * a.row_stride, a.row_stride,
                             k, rows, sums);
        const float shared = e.col_bias != nullptr ? e.col_bias[j] : 0.0f;
        for (std::int64_t i = i0; i < i0 + rows; ++i) {
          float start = shared;
          if (e.row_bias != nullptr) start += e.row_bias[i];
          if (e.add != nullptr) start += e.add[i * e.add_row_stride + j];
          c[i * ldc + j] = finished(e, sums[i - i0], start);
        }
      }
    }
  });
  return true;
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
