#include "kernels/weighted_rows_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/weighted_rows_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr auto kWidth = static_cast<int64_t>(kLanes);
static_assert(kRowUnit % kWidth == 0);

// kVectors vectors of one sum, from x's and y's first column on.
template <int kVectors>
HWY_INLINE void sum_columns(const WeightedRow<float>* begin, const WeightedRow<float>* end,
                            const float* x, int64_t width, float* y) {
  const F32 d;
  VecF32 sum[kVectors];
  MEZZO_UNROLL
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
  for (const auto* part = begin; part != end; ++part) {
    const VecF32 weight = hn::Set(d, part->weight);
    const float* row = x + part->row * width;
    MEZZO_UNROLL
    for (int v = 0; v < kVectors; ++v)
      sum[v] = hn::MulAdd(weight, hn::LoadU(d, row + v * kWidth), sum[v]);
  }
  MEZZO_UNROLL
  for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[v], d, y + v * kWidth);
}

}  // namespace

void run_sums(const WeightedRow<float>* rows, const RowRange* sums, int64_t count, const float* x,
              int64_t width, float* y) {
  constexpr int64_t kWide = 4 * kWidth;
  for (int64_t i = 0; i < count; ++i, y += width) {
    const auto *begin = rows + sums[i].begin, *end = rows + sums[i].end;
    int64_t column = 0;
    for (; column + kWide <= width; column += kWide)
      sum_columns<4>(begin, end, x + column, width, y + column);
    for (; column < width; column += kWidth)
      sum_columns<1>(begin, end, x + column, width, y + column);
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
