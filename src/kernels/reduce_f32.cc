#include "kernels/reduce_f32.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/rounding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr auto kLaneCount = static_cast<int64_t>(kLanes);
// Elements summed before the partial sum goes to a sum of sums, so that errors do not grow with the
// length.
constexpr int64_t kRun = 512;

// Combines what it makes of each element. kStart changes no result, nor does an element kNothing.
struct Sum {
  static constexpr float kStart = 0, kNothing = 0;
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Add(a, b); }
};
struct SumSquare : Sum {
  static VecF32 element(VecF32 v) { return hn::Mul(v, v); }
};
struct SumAbs : Sum {
  static VecF32 element(VecF32 v) { return hn::Abs(v); }
};
// Of exponentials relative to `max`, which no element exceeds.
struct SumExp : Sum {
  static constexpr float kNothing = -std::numeric_limits<float>::infinity();
  HWY_INLINE explicit SumExp(VecF32 max) : max(max) {}
  HWY_INLINE VecF32 element(VecF32 v) const { return exp_of_negative(hn::Sub(v, max)); }
  VecF32 max;
};
struct Product {
  static constexpr float kStart = 1, kNothing = 1;
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Mul(a, b); }
};
// Where one element is NaN, the result is.
struct MaximumOrNan {
  static constexpr float kStart = -std::numeric_limits<float>::infinity(), kNothing = kStart;
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return max_or_nan(a, b); }
};
struct MinimumOrNan {
  static constexpr float kStart = std::numeric_limits<float>::infinity(), kNothing = kStart;
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return min_or_nan(a, b); }
};
// Of numbers alone; `OrNan` serves the others.
struct Maximum : MaximumOrNan {
  using OrNan = MaximumOrNan;
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Max(a, b); }
};
struct Minimum : MinimumOrNan {
  using OrNan = MinimumOrNan;
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Min(a, b); }
};

// All lanes combined, in halves. Not through memory: a load waits for the stores that it overlaps
// in part.
template <class Op>
float combine_lanes(VecF32 v) {
  const F32 d;
  static_assert(kLanes >= 4 && kLanes <= 16);
  if constexpr (kLanes == 16) v = Op::combine(v, hn::SwapAdjacentBlocks(v));
  if constexpr (kLanes >= 8) v = Op::combine(v, hn::ReverseBlocks(d, v));
  v = Op::combine(v, hn::Shuffle1032(v));
  v = Op::combine(v, hn::Shuffle2301(v));
  return hn::GetLane(v);
}

// What the elements so far come to, lane by lane.
template <class Op>
class Reduced {
 public:
  HWY_INLINE Reduced() : value_(hn::Set(F32(), Op::kStart)) {}
  HWY_INLINE void take(VecF32 v) { value_ = Op::combine(value_, v); }
  HWY_INLINE void take(const Reduced& other) { value_ = Op::combine(value_, other.value_); }
  HWY_INLINE VecF32 lanes() const { return value_; }
  HWY_INLINE float all() const { return combine_lanes<Op>(value_); }

 private:
  VecF32 value_;
};

// The same for numbers alone. A sum beside it, off the chain of comparisons, is NaN where an
// element is (and where there are infinities of both signs).
template <class Op>
class ReducedNumbers {
 public:
  HWY_INLINE ReducedNumbers() : value_(hn::Set(F32(), Op::kStart)), sum_(hn::Zero(F32())) {}
  HWY_INLINE void take(VecF32 v) {
    value_ = Op::combine(value_, v);
    sum_ = hn::Add(sum_, v);
  }
  HWY_INLINE void take(const ReducedNumbers& other) {
    value_ = Op::combine(value_, other.value_);
    sum_ = hn::Add(sum_, other.sum_);
  }
  HWY_INLINE bool may_have_nan() const { return !hn::AllFalse(F32(), hn::IsNaN(sum_)); }
  HWY_INLINE VecF32 lanes() const { return value_; }
  HWY_INLINE float all() const { return combine_lanes<Op>(value_); }

 private:
  VecF32 value_, sum_;
};

template <class Op>
concept OfNumbers = requires {
  typename Op::OrNan;
};

template <class Op>
using StateOf = std::conditional_t<OfNumbers<Op>, ReducedNumbers<Op>, Reduced<Op>>;

template <class Op>
float reduce_row(const float* x, int64_t n, const Op& op = Op()) {
  const F32 d;
  StateOf<Op> total;
  int64_t i = 0;
  while (i + 4 * kLaneCount <= n) {
    StateOf<Op> a, b, c, e;
    for (const int64_t end = std::min(n, i + kRun * kLaneCount); i + 4 * kLaneCount <= end;
         i += 4 * kLaneCount) {
      a.take(op.element(hn::LoadU(d, x + i)));
      b.take(op.element(hn::LoadU(d, x + i + kLaneCount)));
      c.take(op.element(hn::LoadU(d, x + i + 2 * kLaneCount)));
      e.take(op.element(hn::LoadU(d, x + i + 3 * kLaneCount)));
    }
    a.take(b);
    c.take(e);
    a.take(c);
    total.take(a);
  }
  for (; i + kLaneCount <= n; i += kLaneCount) total.take(op.element(hn::LoadU(d, x + i)));
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    total.take(op.element(
        hn::IfThenElse(hn::FirstN(d, rest), load_n(d, x + i, rest), hn::Set(d, Op::kNothing))));
  }
  if constexpr (OfNumbers<Op>) {
    if (total.may_have_nan()) return reduce_row<typename Op::OrNan>(x, n);
  }
  return total.all();
}

// Vectors of columns taken together: whole lines, and so many that sums do not wait for each other.
constexpr int kColumns = 4;

template <int kVectors>
using Columns = std::array<VecF32, kVectors>;

// Reduces n rows of `width` floats, `stride` apart: so many vectors, or less if that is one.
template <int kVectors, class Op>
Columns<kVectors> reduce_columns(const float* x, int64_t n, int64_t stride, int64_t width,
                                 const Op& op = Op()) {
  const F32 d;
  StateOf<Op> totals[kVectors];
  for (int64_t p = 0; p < n;) {
    StateOf<Op> runs[kVectors];
    for (const int64_t end = std::min(n, p + kRun); p < end; ++p) {
      const float* row = x + p * stride;
      MEZZO_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const VecF32 next = kVectors > 1 || width == kLaneCount
                                ? hn::LoadU(d, row + v * kLanes)
                                : load_n(d, row, static_cast<std::size_t>(width));
        runs[v].take(op.element(next));
      }
    }
    MEZZO_UNROLL
    for (int v = 0; v < kVectors; ++v) totals[v].take(runs[v]);
  }
  if constexpr (OfNumbers<Op>) {
    for (const auto& total : totals) {
      if (total.may_have_nan())
        return reduce_columns<kVectors, typename Op::OrNan>(x, n, stride, width);
    }
  }
  Columns<kVectors> reduced;
  MEZZO_UNROLL
  for (int v = 0; v < kVectors; ++v) reduced[v] = totals[v].lanes();
  return reduced;
}

// The exponentials are relative to the largest element, so that they cannot overflow. Where that is
// infinite or NaN, it is the result.
struct LogSumExp {};

template <>
float reduce_row<LogSumExp>(const float* x, int64_t n, const LogSumExp&) {
  const float max = reduce_row<Maximum>(x, n);
  if (!std::isfinite(max)) return max;
  return max + std::log(reduce_row(x, n, SumExp(hn::Set(F32(), max))));
}

template <>
Columns<1> reduce_columns<1>(const float* x, int64_t n, int64_t stride, int64_t width,
                             const LogSumExp&) {
  const VecF32 max = reduce_columns<1, Maximum>(x, n, stride, width)[0];
  const auto finite = hn::IsFinite(max);
  const SumExp relative(hn::IfThenElseZero(finite, max));
  const VecF32 sum = reduce_columns<1>(x, n, stride, width, relative)[0];
  return {hn::IfThenElse(finite, hn::Add(max, log_f32(sum)), max)};
}

template <class Op>
void reduce_all(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, float factor,
                ThreadPool& pool) {
  if (inner == 1) {
    pool.parallel_for(outer, std::max<int64_t>(1, (64 << 10) / n),
                      [&](int64_t begin, int64_t end) HWY_ATTR {
                        for (int64_t r = begin; r < end; ++r)
                          y[r] = reduce_row<Op>(x + r * n, n) * factor;
                      });
    return;
  }
  const int64_t columns = ceil_div(inner, kLaneCount);
  pool.parallel_for(outer * columns, std::max<int64_t>(1, (64 << 10) / kLaneCount / n),
                    [&](int64_t begin, int64_t end) HWY_ATTR {
                      const F32 d;
                      const VecF32 scale = hn::Set(d, factor);
                      for (int64_t t = begin; t < end;) {
                        const int64_t o = t / columns, j = t % columns * kLaneCount,
                                      rest = inner - j;
                        const float* from = x + o * n * inner + j;
                        float* to = y + o * inner + j;
                        if constexpr (!std::is_same_v<Op, LogSumExp>) {
                          if (end - t >= kColumns && rest >= kColumns * kLaneCount) {
                            const auto sums = reduce_columns<kColumns, Op>(from, n, inner, rest);
                            MEZZO_UNROLL
                            for (int v = 0; v < kColumns; ++v)
                              hn::StoreU(hn::Mul(sums[v], scale), d, to + v * kLanes);
                            t += kColumns;
                            continue;
                          }
                        }
                        const int64_t width = std::min(kLaneCount, rest);
                        store_n(hn::Mul(reduce_columns<1, Op>(from, n, inner, width)[0], scale), d,
                                to, static_cast<std::size_t>(width));
                        ++t;
                      }
                    });
}

}  // namespace

void run_reduce(Reduce op, const float* x, float* y, int64_t outer, int64_t n, int64_t inner,
                ThreadPool& pool) {
  switch (op) {
    case Reduce::sum:
      return reduce_all<Sum>(x, y, outer, n, inner, 1, pool);
    case Reduce::mean:
      return reduce_all<Sum>(x, y, outer, n, inner, 1.0f / static_cast<float>(n), pool);
    case Reduce::max:
      return reduce_all<Maximum>(x, y, outer, n, inner, 1, pool);
    case Reduce::min:
      return reduce_all<Minimum>(x, y, outer, n, inner, 1, pool);
    case Reduce::sum_square:
      return reduce_all<SumSquare>(x, y, outer, n, inner, 1, pool);
    case Reduce::l1:
      return reduce_all<SumAbs>(x, y, outer, n, inner, 1, pool);
    case Reduce::prod:
      return reduce_all<Product>(x, y, outer, n, inner, 1, pool);
    case Reduce::log_sum_exp:
      return reduce_all<LogSumExp>(x, y, outer, n, inner, 1, pool);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_reduce);
}

void reduce(Reduce op, const float* x, float* y, std::int64_t outer, std::int64_t n,
            std::int64_t inner, ThreadPool& pool) {
  MEZZO_DISPATCH(run_reduce)(op, x, y, outer, n, inner, pool);
}

}  // namespace mezzo::kernels
#endif
