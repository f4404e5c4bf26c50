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

// A row of n scores: x.
class PlainScores {
 public:
  PlainScores(const SoftmaxArgs&, const float* x, int64_t row, int64_t n) : x_(x + row * n) {}

  // Those from element i on.
  HWY_INLINE VecF32 at(int64_t i) const { return hn::LoadU(F32(), x_ + i); }
  // The last ones.
  HWY_INLINE VecF32 last(int64_t i, std::size_t rest) const { return load_n(F32(), x_ + i, rest); }

 private:
  const float* x_;
};

// The same: x * scale, and a mask.
class Scores {
 public:
  Scores(const SoftmaxArgs& args, const float* x, int64_t row, int64_t n)
      : x_(x + row * n),
        mask_(args.mask == nullptr ? nullptr : args.mask + row % args.mask_rows * n),
        scale_(args.scale) {}

  HWY_INLINE VecF32 at(int64_t i) const {
    const VecF32 v = hn::Mul(hn::LoadU(F32(), x_ + i), hn::Set(F32(), scale_));
    return mask_ == nullptr ? v : hn::Add(v, hn::LoadU(F32(), mask_ + i));
  }
  HWY_INLINE VecF32 last(int64_t i, std::size_t rest) const {
    const VecF32 v = hn::Mul(load_n(F32(), x_ + i, rest), hn::Set(F32(), scale_));
    return mask_ == nullptr ? v : hn::Add(v, load_n(F32(), mask_ + i, rest));
  }

 private:
  const float *x_, *mask_;
  float scale_;
};

template <class Scores>
HWY_INLINE VecF32 largest(const Scores& scores, int64_t n) {
  const F32 d;
  const int64_t whole = n / kLanes * kLanes;
  const auto rest = static_cast<std::size_t>(n - whole);
  const VecF32 lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  VecF32 max = lowest;
  for (int64_t i = 0; i < whole; i += kLanes) max = hn::Max(max, scores.at(i));
  if (rest != 0)
    max = hn::Max(max, hn::IfThenElse(hn::FirstN(d, rest), scores.last(whole, rest), lowest));
  // A NaN that the maximum has lost comes back through the exponentials.
  return hn::MaxOfLanes(d, max);
}

// Rows [begin, end), each in three passes: maximum, exponentials and their sum, division. The
// maximum of the next row is looked for while the sum is on its way.
template <class Scores>
void softmax_of(const SoftmaxArgs& args, const float* x, float* y, int64_t begin, int64_t end,
                int64_t n) {
  const F32 d;
  HWY_ALIGN float short_row[kShortRow];
  const int64_t whole = n / kLanes * kLanes;
  const auto rest = static_cast<std::size_t>(n - whole);
  const auto in_tail = hn::FirstN(d, rest);
  y += begin * n;
  VecF32 next_max = largest(Scores(args, x, begin, n), n);
  for (int64_t row = begin; row < end; ++row, y += n) {
    const Scores scores(args, x, row, n);
    const VecF32 max = next_max;
    float* exponentials = n <= kShortRow ? short_row : y;
    VecF32 sum = hn::Zero(d);
    for (int64_t i = 0; i < whole; i += kLanes) {
      const VecF32 e = exp_of_negative(hn::Sub(scores.at(i), max));
      if (!args.log) hn::StoreU(e, d, exponentials + i);
      sum = hn::Add(sum, e);
    }
    if (rest != 0) {
      const VecF32 e = exp_of_negative(hn::Sub(scores.last(whole, rest), max));
      if (!args.log) store_n(e, d, exponentials + whole, rest);
      sum = hn::Add(sum, hn::IfThenElseZero(in_tail, e));
    }
    if (row + 1 < end) next_max = largest(Scores(args, x, row + 1, n), n);
    const float total = hn::GetLane(hn::SumOfLanes(d, sum));
    if (args.log) {
      const VecF32 log_total = hn::Set(d, std::log(total));
      const auto finish = [&](VecF32 v) HWY_ATTR { return hn::Sub(hn::Sub(v, max), log_total); };
      for (int64_t i = 0; i < whole; i += kLanes) hn::StoreU(finish(scores.at(i)), d, y + i);
      if (rest != 0) store_n(finish(scores.last(whole, rest)), d, y + whole, rest);
      continue;
    }
    const VecF32 factor = hn::Set(d, 1.0f / total);
    for (int64_t i = 0; i < whole; i += kLanes)
      hn::StoreU(hn::Mul(hn::LoadU(d, exponentials + i), factor), d, y + i);
    if (rest != 0)
      store_n(hn::Mul(load_n(d, exponentials + whole, rest), factor), d, y + whole, rest);
  }
}

void softmax_range(const SoftmaxArgs& args, const float* x, float* y, int64_t begin, int64_t end,
                   int64_t n) {
  const bool plain = args.scale == 1 && args.mask == nullptr;
  (plain ? softmax_of<PlainScores> : softmax_of<Scores>)(args, x, y, begin, end, n);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(softmax_range);
}

void softmax_rows(const SoftmaxArgs& args, const float* x, float* y, std::int64_t rows,
                  std::int64_t n, ThreadPool& pool) {
  if (n <= 0) return;
  const auto run = MEZZO_DISPATCH(softmax_range);
  pool.parallel_for(rows, std::max<std::int64_t>(1, 8192 / n),
                    [&](std::int64_t begin, std::int64_t end) { run(args, x, y, begin, end, n); });
}

}  // namespace mezzo::kernels
#endif
