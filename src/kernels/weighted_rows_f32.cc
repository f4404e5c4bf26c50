#include "kernels/weighted_rows_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/weighted_rows_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_row_sums_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

using std::int64_t;

void run_sums(const WeightedRow<float>* rows, const RowRange* sums, int64_t count, const float* x,
              int64_t width, float* y) {
  for (int64_t i = 0; i < count; ++i, y += width) {
    const auto* begin = rows + sums[i].begin;
    const auto part = [&](int64_t k) HWY_ATTR {
      return RowPart{x + begin[k].row * width, begin[k].weight};
    };
    sum_rows_above(static_cast<int64_t>(sums[i].end - sums[i].begin), part, width, y);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_sums);
}

void sum_weighted_rows(const WeightedRow<float>* rows, const RowRange* sums, std::int64_t count,
                       const float* x, std::int64_t width, float* y) {
  MEZZO_DISPATCH(run_sums)(rows, sums, count, x, width, y);
}

}  // namespace mezzo::kernels
#endif
