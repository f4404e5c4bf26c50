#include "kernels/softmax_f32.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

using std::int64_t;

// Rows whose exponentials wait for their sum in the first-level cache, whatever memory y is.
constexpr int64_t kShortRow = 2048;

// One row in three passes: maximum, exponentials and their sum, division.
void softmax_row(const SoftmaxArgs& args, const float* x, const float* mask, float* y, int64_t n) {
  const F32 d;
  constexpr auto kLaneCount = static_cast<int64_t>(kLanes);
  HWY_ALIGN float short_row[kShortRow];
  float* exponentials = n <= kShortRow ? short_row : y;
  const VecF32 scale = hn::Set(d, args.scale),
               lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  const int64_t whole = n / kLaneCount * kLaneCount;
  const auto rest = static_cast<std::size_t>(n - whole);
  const auto in_tail = hn::FirstN(d, rest);
  const auto score = [&](int64_t i) HWY_ATTR {
    const VecF32 v = hn::Mul(hn::LoadU(d, x + i), scale);
    return mask == nullptr ? v : hn::Add(v, hn::LoadU(d, mask + i));
  };
  const auto last_score = [&]() HWY_ATTR {
    const VecF32 v = hn::Mul(load_n(d, x + whole, rest), scale);
    return mask == nullptr ? v : hn::Add(v, load_n(d, mask + whole, rest));
  };

  VecF32 max = lowest;
  for (int64_t i = 0; i < whole; i += kLaneCount) max = hn::Max(max, score(i));
  if (rest != 0) max = hn::Max(max, hn::IfThenElse(in_tail, last_score(), lowest));
  // A NaN that the maximum has lost comes back through the exponentials.
  max = hn::MaxOfLanes(d, max);

  VecF32 sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += kLaneCount) {
    const VecF32 e = exp_of_negative(hn::Sub(score(i), max));
    if (!args.log) hn::StoreU(e, d, exponentials + i);
    sum = hn::Add(sum, e);
  }
  if (rest != 0) {
    const VecF32 e = exp_of_negative(hn::Sub(last_score(), max));
    if (!args.log) store_n(e, d, exponentials + whole, rest);
    sum = hn::Add(sum, hn::IfThenElseZero(in_tail, e));
  }
  const float total = hn::GetLane(hn::SumOfLanes(d, sum));

  if (args.log) {
    const VecF32 log_total = hn::Set(d, std::log(total));
    const auto finish = [&](VecF32 v) HWY_ATTR { return hn::Sub(hn::Sub(v, max), log_total); };
    for (int64_t i = 0; i < whole; i += kLaneCount) hn::StoreU(finish(score(i)), d, y + i);
    if (rest != 0) store_n(finish(last_score()), d, y + whole, rest);
    return;
  }
  const VecF32 factor = hn::Set(d, 1.0f / total);
  for (int64_t i = 0; i < whole; i += kLaneCount)
    hn::StoreU(hn::Mul(hn::LoadU(d, exponentials + i), factor), d, y + i);
  if (rest != 0) {
    store_n(hn::Mul(load_n(d, exponentials + whole, rest), factor), d, y + whole, rest);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(softmax_row);
}

void softmax_rows(const SoftmaxArgs& args, const float* x, float* y, std::int64_t rows,
                  std::int64_t n, ThreadPool& pool) {
  if (n <= 0) return;
  const auto row = MEZZO_DISPATCH(softmax_row);
  pool.parallel_for(
      rows, std::max<std::int64_t>(1, 8192 / n), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          row(args, x + r * n, args.mask == nullptr ? nullptr : args.mask + r % args.mask_rows * n,
              y + r * n, n);
        }
      });
}

}  // namespace mezzo::kernels
#endif
