#include "kernels/layer_norm_f32.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layer_norm_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int kTogether{kNormRows};
// Sums of a row that do not wait for each other: as many whatever rows are beside it, whose number
// threads change.
constexpr int kChains = 2;

// The sums of f(x[i], row) over rows of n elements; f must be applied to real elements only.
template <int kRows, class F>
HWY_INLINE void sum_rows(const float* x, int64_t n, const F& f, float (&sums)[kRows]) {
  const F32 d;
  constexpr auto kWidth = static_cast<int64_t>(kLanes);
  VecF32 sum[kRows * kChains];
  MEZZO_UNROLL
  for (int c = 0; c < kRows * kChains; ++c) sum[c] = hn::Zero(d);
  int64_t i = 0;
  for (; i + kChains * kWidth <= n; i += kChains * kWidth) {
    MEZZO_UNROLL
    for (int c = 0; c < kRows * kChains; ++c) {
      const int r = c / kChains;
      sum[c] = hn::Add(sum[c], f(hn::LoadU(d, x + r * n + i + c % kChains * kWidth), r));
    }
  }
  for (; i < n; i += kWidth) {
    const auto rest = static_cast<std::size_t>(std::min(kWidth, n - i));
    const auto real = hn::FirstN(d, rest);
    MEZZO_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const VecF32 last = f(load_n(d, x + r * n + i, rest), r);
      sum[r * kChains] = hn::Add(sum[r * kChains], hn::IfThenElseZero(real, last));
    }
  }
  MEZZO_UNROLL
  for (int r = 0; r < kRows; ++r) {
    VecF32 all = sum[r * kChains];
    for (int c = 1; c < kChains; ++c) all = hn::Add(all, sum[r * kChains + c]);
    sums[r] = hn::GetLane(hn::SumOfLanes(d, all));
  }
}

// y = (x - mean) * inv_std * scale + bias.
void apply_row(const float* x, float mean, float inv_std, const float* scale, const float* bias,
               float* y, int64_t n) {
  const F32 d;
  constexpr auto kLaneCount = static_cast<int64_t>(kLanes);
  const VecF32 center = hn::Set(d, mean), factor = hn::Set(d, inv_std);
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount) {
    VecF32 v = hn::Mul(hn::Sub(hn::LoadU(d, x + i), center), factor);
    if (scale != nullptr) v = hn::Mul(v, hn::LoadU(d, scale + i));
    if (bias != nullptr) v = hn::Add(v, hn::LoadU(d, bias + i));
    hn::StoreU(v, d, y + i);
  }
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    VecF32 v = hn::Mul(hn::Sub(load_n(d, x + i, rest), center), factor);
    if (scale != nullptr) v = hn::Mul(v, load_n(d, scale + i, rest));
    if (bias != nullptr) v = hn::Add(v, load_n(d, bias + i, rest));
    store_n(v, d, y + i, rest);
  }
}

// Rows from number `row` on; x and y are theirs.
template <int kRows>
void norm_together(const LayerNormArgs& args, bool centered, const float* x, float* y, int64_t row,
                   int64_t n) {
  const F32 d;
  const auto count = static_cast<float>(n);
  float means[kRows] = {}, squares[kRows];
  if (centered) {
    sum_rows<kRows>(
        x, n, [](VecF32 v, int) HWY_ATTR { return v; }, means);
    for (float& mean : means) mean /= count;
  }
  VecF32 centers[kRows];
  MEZZO_UNROLL
  for (int r = 0; r < kRows; ++r) centers[r] = hn::Set(d, means[r]);
  const auto square = [&](VecF32 v, int r) HWY_ATTR {
    const VecF32 difference = hn::Sub(v, centers[r]);
    return hn::Mul(difference, difference);
  };
  sum_rows<kRows>(x, n, square, squares);
  for (int r = 0; r < kRows; ++r) {
    const float inv_std = 1.0f / std::sqrt(squares[r] / count + args.epsilon);
    apply_row(x + r * n, means[r], inv_std, args.scale, centered ? args.bias : nullptr, y + r * n,
              n);
    if (centered && args.mean != nullptr) args.mean[row + r] = means[r];
    if (args.inv_std != nullptr) args.inv_std[row + r] = inv_std;
  }
}

}  // namespace

// Without the mean if not `centered`: the root-mean-square form.
void norm_range(const LayerNormArgs& args, bool centered, const float* x, float* y, int64_t begin,
                int64_t end, int64_t n) {
  int64_t row = begin;
  for (; row + kTogether <= end; row += kTogether)
    norm_together<kTogether>(args, centered, x + row * n, y + row * n, row, n);
  for (; row < end; ++row) norm_together<1>(args, centered, x + row * n, y + row * n, row, n);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {

HWY_EXPORT(norm_range);

void norm_rows(const LayerNormArgs& args, bool centered, const float* x, float* y,
               std::int64_t rows, std::int64_t n, ThreadPool& pool) {
  if (n <= 0) return;
  const auto run = MEZZO_DISPATCH(norm_range);
  pool.parallel_for(
      rows, std::max<std::int64_t>(1, 16384 / n),
      [&](std::int64_t begin, std::int64_t end) { run(args, centered, x, y, begin, end, n); });
}

}  // namespace

void layer_norm_rows(const LayerNormArgs& args, const float* x, float* y, std::int64_t rows,
                     std::int64_t n, ThreadPool& pool) {
  norm_rows(args, true, x, y, rows, n, pool);
}

void rms_norm_rows(const LayerNormArgs& args, const float* x, float* y, std::int64_t rows,
                   std::int64_t n, ThreadPool& pool) {
  norm_rows(args, false, x, y, rows, n, pool);
}

}  // namespace mezzo::kernels
#endif
