#include "kernels/reduce_f32.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

struct Sum {
  static constexpr float kStart = 0;
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Add(a, b); }
};
struct SumSquare : Sum {
  static VecF32 element(VecF32 v) { return hn::Mul(v, v); }
};
struct SumAbs : Sum {
  static VecF32 element(VecF32 v) { return hn::Abs(v); }
};
struct Product {
  static constexpr float kStart = 1;
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Mul(a, b); }
};
struct Maximum {
  static constexpr float kStart = -std::numeric_limits<float>::infinity();
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return max_or_nan(a, b); }
};
struct Minimum {
  static constexpr float kStart = std::numeric_limits<float>::infinity();
  static VecF32 element(VecF32 v) { return v; }
  static VecF32 combine(VecF32 a, VecF32 b) { return min_or_nan(a, b); }
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

template <class Op>
float reduce_row(const float* x, int64_t n) {
  const F32 d;
  const VecF32 start = hn::Set(d, Op::kStart);
  VecF32 total = start;
  int64_t i = 0;
  while (i + kLaneCount <= n) {
    const int64_t end = std::min(n / kLaneCount * kLaneCount, i + kRun * kLaneCount);
    VecF32 a = start, b = start, c = start, e = start;
    for (; i + 4 * kLaneCount <= end; i += 4 * kLaneCount) {
      a = Op::combine(a, Op::element(hn::LoadU(d, x + i)));
      b = Op::combine(b, Op::element(hn::LoadU(d, x + i + kLaneCount)));
      c = Op::combine(c, Op::element(hn::LoadU(d, x + i + 2 * kLaneCount)));
      e = Op::combine(e, Op::element(hn::LoadU(d, x + i + 3 * kLaneCount)));
    }
    for (; i < end; i += kLaneCount) a = Op::combine(a, Op::element(hn::LoadU(d, x + i)));
    total = Op::combine(total, Op::combine(Op::combine(a, b), Op::combine(c, e)));
  }
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    total = Op::combine(
        total, hn::IfThenElse(hn::FirstN(d, rest), Op::element(load_n(d, x + i, rest)), start));
  }
  return combine_lanes<Op>(total);
}

// Reduces n rows of `width` floats, `stride` apart, for up to a vector's width.
template <class Op>
VecF32 reduce_column(const float* x, int64_t n, int64_t stride, int64_t width) {
  const F32 d;
  const VecF32 start = hn::Set(d, Op::kStart);
  VecF32 total = start;
  for (int64_t p = 0; p < n;) {
    VecF32 run = start;
    for (const int64_t end = std::min(n, p + kRun); p < end; ++p) {
      const float* row = x + p * stride;
      run = Op::combine(
          run, Op::element(width == kLaneCount ? hn::LoadU(d, row)
                                               : load_n(d, row, static_cast<std::size_t>(width))));
    }
    total = Op::combine(total, run);
  }
  return total;
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
  const int64_t columns = (inner + kLaneCount - 1) / kLaneCount;
  pool.parallel_for(outer * columns, std::max<int64_t>(1, (64 << 10) / kLaneCount / n),
                    [&](int64_t begin, int64_t end) HWY_ATTR {
                      const F32 d;
                      for (int64_t t = begin; t < end; ++t) {
                        const int64_t o = t / columns, j = t % columns * kLaneCount,
                                      width = std::min(kLaneCount, inner - j);
                        const VecF32 v =
                            hn::Mul(reduce_column<Op>(x + o * n * inner + j, n, inner, width),
                                    hn::Set(d, factor));
                        float* out = y + o * inner + j;
                        if (width == kLaneCount) {
                          hn::StoreU(v, d, out);
                        } else {
                          store_n(v, d, out, static_cast<std::size_t>(width));
                        }
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
