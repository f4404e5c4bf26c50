// How a few rows meet weights of a few bits (gemm_nbits_f32.h). Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_GEMM_NBITS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_GEMM_NBITS_INL
#undef MEZZO_KERNELS_SIMD_GEMM_NBITS_INL
#else
#define MEZZO_KERNELS_SIMD_GEMM_NBITS_INL
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "base/rounding.h"
#include "kernels/gemm_nbits_f32.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

inline constexpr int kNbitsPanelVectors = HWY_MAX(1, int{kNbitsPanel} / HWY_LANES(float));

// Vectors of columns that rows meet side by side. A row alone waits for the weights, and memory
// gives several panels at once faster than one.
constexpr int nbits_vectors(std::int64_t m) { return m == 1 ? 4 : 2; }

// Where a column begins in what has `panel` numbers for each panel, and vector v from there on:
// vectors side by side lie in one panel or are whole ones.
inline std::int64_t nbits_column(std::int64_t column, std::int64_t panel) {
  return column / kNbitsPanel * panel + column % kNbitsPanel;
}
HWY_INLINE std::int64_t nbits_vector(int v, std::int64_t panel) {
  return v / kNbitsPanelVectors * panel + v % kNbitsPanelVectors * std::int64_t{HWY_LANES(float)};
}

// A row alone asks for its panels' words ahead.
template <int rows, int vectors>
HWY_INLINE void fetch_nbits_words(const void* words, std::int64_t panel) {
  constexpr std::int64_t kWordsAhead = 512;
  if constexpr (rows == 1) {
    MEZZO_UNROLL
    for (int v = 0; v < vectors; v += kNbitsPanelVectors) {
      __builtin_prefetch(static_cast<const std::int32_t*>(words) + nbits_vector(v, panel) +
                         kWordsAhead);
    }
  }
}

// Calls f with a constant, `rows` of at most kMost.
template <int kMost, class F>
void with_nbits_rows(std::int64_t rows, const F& f) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return with_nbits_rows<kMost - 1>(rows, f);
  }
  f(std::integral_constant<int, kMost>());
}

// Calls multiply(rows, vectors, column, row, sums) for all columns, `vectors` at a time, and all
// rows of C, at most kRows at a time, and writes sums [rows][vectors] and the bias to C.
template <int kRows, class Multiply>
void for_columns_of_rows(std::int64_t m, const NbitsMatrix& b, const float* bias, float* c,
                         ThreadPool& pool, const Multiply& multiply) {
  constexpr int kVectors = nbits_vectors(kRows);
  constexpr std::int64_t kLeastWork = std::int64_t{1} << 16, kLanes = HWY_LANES(float),
                         kColumns = kVectors * kLanes;
  const std::int64_t columns = b.panels() * kNbitsPanel;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kLeastWork / (kColumns * std::max<std::int64_t>(b.k, 1)));
  pool.parallel_for(ceil_div(columns, kColumns), grain, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float sums[kRows * kColumns];
    const auto run = [&](auto vectors, std::int64_t column) {
      constexpr std::int64_t kWidth = vectors() * kLanes;
      const std::int64_t count = std::min(kWidth, b.n - column);
      for (std::int64_t row = 0; row < m; row += kRows) {
        const std::int64_t rows = std::min<std::int64_t>(kRows, m - row);
        with_nbits_rows<kRows>(
            rows, [&](auto constant) { multiply(constant, vectors, column, row, sums); });
        for (std::int64_t r = 0; r < rows; ++r) {
          float* to = c + (row + r) * b.n + column;
          for (std::int64_t j = 0; j < count; ++j)
            to[j] = sums[r * kWidth + j] + (bias != nullptr ? bias[column + j] : 0.0f);
        }
      }
    };
    const std::int64_t last = std::min(end * kColumns, b.n);
    std::int64_t column = begin * kColumns;
    for (; column + kColumns <= columns && column < last; column += kColumns)
      run(std::integral_constant<int, kVectors>(), column);
    // Panels that are too few.
    for (; column < last; column += kNbitsPanel)
      run(std::integral_constant<int, HWY_MIN(kVectors, kNbitsPanelVectors)>(), column);
  });
}

// The same for any number of rows: one alone goes another way than several, kRows at most.
template <int kRows, class Multiply>
void for_nbits_columns(std::int64_t m, const NbitsMatrix& b, const float* bias, float* c,
                       ThreadPool& pool, const Multiply& multiply) {
  if (m == 1) return for_columns_of_rows<1>(m, b, bias, c, pool, multiply);
  for_columns_of_rows<kRows>(m, b, bias, c, pool, multiply);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
