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

// The sum of f(x[i]) over a row; f must be applied to real elements only.
template <class F>
float sum_row(const float* x, int64_t n, const F& f) {
  const F32 d;
  constexpr auto kLaneCount = static_cast<int64_t>(kLanes);
  VecF32 sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * kLaneCount <= n; i += 2 * kLaneCount) {
    sum0 = hn::Add(sum0, f(hn::LoadU(d, x + i)));
    sum1 = hn::Add(sum1, f(hn::LoadU(d, x + i + kLaneCount)));
  }
  if (i + kLaneCount <= n) {
    sum0 = hn::Add(sum0, f(hn::LoadU(d, x + i)));
    i += kLaneCount;
  }
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    sum1 = hn::Add(sum1, hn::IfThenElseZero(hn::FirstN(d, rest), f(load_n(d, x + i, rest))));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
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

}  // namespace

// Returns the factor 1 / sqrt(variance + epsilon); `mean` is null for the root-mean-square form.
float norm_row(const LayerNormArgs& args, const float* x, float* y, int64_t n, float* mean) {
  const F32 d;
  const auto count = static_cast<float>(n);
  float center = 0;
  if (mean != nullptr) center = *mean = sum_row(x, n, [](VecF32 v) HWY_ATTR { return v; }) / count;
  const VecF32 centers = hn::Set(d, center);
  const float squares = sum_row(x, n, [&](VecF32 v) HWY_ATTR {
    const VecF32 difference = hn::Sub(v, centers);
    return hn::Mul(difference, difference);
  });
  const float inv_std = 1.0f / std::sqrt(squares / count + args.epsilon);
  apply_row(x, center, inv_std, args.scale, mean != nullptr ? args.bias : nullptr, y, n);
  return inv_std;
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {

HWY_EXPORT(norm_row);

void norm_rows(const LayerNormArgs& args, bool centered, const float* x, float* y,
               std::int64_t rows, std::int64_t n, ThreadPool& pool) {
  if (n <= 0) return;
  const auto row = MEZZO_DISPATCH(norm_row);
  pool.parallel_for(
      rows, std::max<std::int64_t>(1, 16384 / n), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          float mean = 0;
          const float inv_std = row(args, x + r * n, y + r * n, n, centered ? &mean : nullptr);
          if (centered && args.mean != nullptr) args.mean[r] = mean;
          if (args.inv_std != nullptr) args.inv_std[r] = inv_std;
        }
      });
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
