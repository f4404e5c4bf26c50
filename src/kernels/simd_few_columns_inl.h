// Products with a panel of up to four columns, which would leave most lanes of a tile idle: here
// rows fill the vectors. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_FEW_COLUMNS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_FEW_COLUMNS_INL
#undef MEZZO_KERNELS_SIMD_FEW_COLUMNS_INL
#else
#define MEZZO_KERNELS_SIMD_FEW_COLUMNS_INL
#endif

#include <cstdint>

#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_pack_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Rows of a panel, which are one vector, and the columns that are few.
inline constexpr std::int64_t kFewRows = 4, kFewColumns = 4;
// Whether panels of A have that height. Taller ones would need vectors of their own.
inline constexpr bool kHasFewColumns = kMaxRows == kFewRows;
// Panels of A taken together: as many sums as registers hold.
constexpr std::int64_t few_columns_panels(std::int64_t columns) {
  return columns == 1 ? 8 : 12 / columns;
}
inline constexpr std::int64_t kFewTileRows = few_columns_panels(1) * kFewRows;

// tile[row][0, kFewColumns) = A * B for `Panels` panels of A, `depth` * kFewRows floats apart, and
// `Columns` columns of B, whose rows are `ldb` apart. Columns past those are undefined.
template <int Columns, int Panels>
void few_columns_tile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, std::int64_t ldb,
                      std::int64_t depth, float* tile) {
  const hn::FixedTag<float, kFewRows> d;
  using Vec = hn::Vec<decltype(d)>;
  Vec sums[Panels][kFewColumns];
  MEZZO_UNROLL
  for (int p = 0; p < Panels; ++p) {
    MEZZO_UNROLL
    for (int c = 0; c < kFewColumns; ++c) sums[p][c] = hn::Zero(d);
  }
  const std::int64_t stride = depth * kFewRows;
  for (std::int64_t k = 0; k < depth; ++k, a += kFewRows, b += ldb) {
    Vec column[Columns];
    MEZZO_UNROLL
    for (int c = 0; c < Columns; ++c) column[c] = hn::Set(d, b[c]);
    MEZZO_UNROLL
    for (int p = 0; p < Panels; ++p) {
      const Vec rows = hn::LoadU(d, a + p * stride);
      MEZZO_UNROLL
      for (int c = 0; c < Columns; ++c) sums[p][c] = hn::MulAdd(column[c], rows, sums[p][c]);
    }
  }
  MEZZO_UNROLL
  for (int p = 0; p < Panels; ++p) {
    transpose_blocks(d, sums[p][0], sums[p][1], sums[p][2], sums[p][3]);
    MEZZO_UNROLL
    for (int i = 0; i < kFewRows; ++i)
      hn::StoreU(sums[p][i], d, tile + (p * kFewRows + i) * kFewColumns);
  }
}

// As above for any number of each, `panels` <= few_columns_panels(columns).
inline void few_columns(std::int64_t columns, std::int64_t panels, const float* a, const float* b,
                        std::int64_t ldb, std::int64_t depth, float* tile) {
  using Kernel = void (*)(const float*, const float*, std::int64_t, std::int64_t, float*);
  static constexpr Kernel kWhole[] = {
      few_columns_tile<1, few_columns_panels(1)>, few_columns_tile<2, few_columns_panels(2)>,
      few_columns_tile<3, few_columns_panels(3)>, few_columns_tile<4, few_columns_panels(4)>};
  static constexpr Kernel kOne[] = {few_columns_tile<1, 1>, few_columns_tile<2, 1>,
                                    few_columns_tile<3, 1>, few_columns_tile<4, 1>};
  if (panels == few_columns_panels(columns)) return kWhole[columns - 1](a, b, ldb, depth, tile);
  for (std::int64_t p = 0; p < panels; ++p) {
    kOne[columns - 1](a + p * depth * kFewRows, b, ldb, depth, tile + p * kFewRows * kFewColumns);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
