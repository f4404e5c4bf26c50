// Sums of rows that lie above each other, each with a weight. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_ROW_SUMS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_ROW_SUMS_INL
#undef MEZZO_KERNELS_SIMD_ROW_SUMS_INL
#else
#define MEZZO_KERNELS_SIMD_ROW_SUMS_INL
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// A row, and its part in a sum.
struct RowPart {
  const float* row;
  float weight;
};

// kVectors vectors of the sum, from column i on.
template <int kVectors, class Part>
HWY_INLINE void sum_columns(std::int64_t count, const Part& part, std::int64_t i, float* y) {
  const F32 d;
  VecF32 sum[kVectors];
  MEZZO_UNROLL
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
  for (std::int64_t k = 0; k < count; ++k) {
    const RowPart p = part(k);
    const VecF32 weight = hn::Set(d, p.weight);
    MEZZO_UNROLL
    for (int v = 0; v < kVectors; ++v)
      sum[v] = hn::MulAdd(weight, hn::LoadU(d, p.row + i + v * int{kLanes}), sum[v]);
  }
  MEZZO_UNROLL
  for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[v], d, y + i + v * int{kLanes});
}

// y[i] = the sum of weight * row[i] over part(k), a RowPart, for k < count, and i < n.
template <class Part>
HWY_INLINE void sum_rows_above(std::int64_t count, const Part& part, std::int64_t n, float* y) {
  constexpr auto kWidth = static_cast<std::int64_t>(kLanes);
  constexpr int kVectors = 4;
  std::int64_t i = 0;
  for (; i + kVectors * kWidth <= n; i += kVectors * kWidth)
    sum_columns<kVectors>(count, part, i, y);
  for (; i + kWidth <= n; i += kWidth) sum_columns<1>(count, part, i, y);
  if (i == n) return;
  const F32 d;
  const auto rest = static_cast<std::size_t>(n - i);
  VecF32 sum = hn::Zero(d);
  for (std::int64_t k = 0; k < count; ++k) {
    const RowPart p = part(k);
    sum = hn::MulAdd(hn::Set(d, p.weight), load_n(d, p.row + i, rest), sum);
  }
  store_n(sum, d, y + i, rest);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
