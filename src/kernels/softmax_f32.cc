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

// One row in three passes, all in L1 for the usual lengths: maximum, exponentials and their sum,
// division.
void softmax_row(const SoftmaxArgs& args, const float* x, const float* mask, float* y, int64_t n) {
  const F32 d;
  constexpr auto kLaneCount = static_cast<int64_t>(kLanes);
  const VecF32 scale = hn::Set(d, args.scale),
               lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  const int64_t whole = n / kLaneCount * kLaneCount;
  const auto rest = static_cast<std::size_t>(n - whole);
  const auto in_tail = hn::FirstN(d, rest);

  VecF32 max = lowest;
  for (int64_t i = 0; i < whole; i += kLaneCount) {
    VecF32 v = hn::Mul(hn::LoadU(d, x + i), scale);
    if (mask != nullptr) v = hn::Add(v, hn::LoadU(d, mask + i));
    hn::StoreU(v, d, y + i);
    max = hn::Max(max, v);
  }
  if (rest != 0) {
    VecF32 v = hn::Mul(load_n(d, x + whole, rest), scale);
    if (mask != nullptr) v = hn::Add(v, load_n(d, mask + whole, rest));
    store_n(v, d, y + whole, rest);
    max = hn::Max(max, hn::IfThenElse(in_tail, v, lowest));
  }
  // A NaN that the maximum has lost comes back through the exponentials.
  max = hn::MaxOfLanes(d, max);

  VecF32 sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += kLaneCount) {
    const VecF32 e = exp_f32(hn::Sub(hn::LoadU(d, y + i), max));
    if (!args.log) hn::StoreU(e, d, y + i);
    sum = hn::Add(sum, e);
  }
  if (rest != 0) {
    const VecF32 e = exp_f32(hn::Sub(load_n(d, y + whole, rest), max));
    if (!args.log) store_n(e, d, y + whole, rest);
    sum = hn::Add(sum, hn::IfThenElseZero(in_tail, e));
  }
  const float total = hn::GetLane(hn::SumOfLanes(d, sum));

  const VecF32 factor = hn::Set(d, 1.0f / total);
  const VecF32 log_total = hn::Set(d, args.log ? std::log(total) : 0.0f);
  const auto finish = [&](VecF32 v) HWY_ATTR {
    return args.log ? hn::Sub(hn::Sub(v, max), log_total) : hn::Mul(v, factor);
  };
  for (int64_t i = 0; i < whole; i += kLaneCount) hn::StoreU(finish(hn::LoadU(d, y + i)), d, y + i);
  if (rest != 0) store_n(finish(load_n(d, y + whole, rest)), d, y + whole, rest);
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
