#include "kernels/pool_f32.h"

#include <algorithm>
#include <limits>

#include "kernels/reduce_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_planes_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int64_t kLaneCount = kLanes;

struct ScratchPlane {};

struct MaxOrNan {
  static constexpr bool kFiniteOnly = false;
  static constexpr float kFill = -std::numeric_limits<float>::infinity();
  static VecF32 combine(VecF32 a, VecF32 b) { return max_or_nan(a, b); }
};
// x86's maximum, which may lose a NaN, in a third of the time.
struct MaxOf {
  static constexpr bool kFiniteOnly = true;
  static constexpr float kFill = MaxOrNan::kFill;
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Max(a, b); }
};
struct SumOf {
  static constexpr bool kFiniteOnly = false;
  static constexpr float kFill = 0;
  static VecF32 combine(VecF32 a, VecF32 b) { return hn::Add(a, b); }
};

// Calls what start() returns, which each task calls once, for all planes; `work` is that of one.
template <class Start>
void for_planes(int64_t planes, int64_t work, ThreadPool& pool, const Start& start) {
  const int64_t grain = (int64_t{1} << 17) / std::max<int64_t>(work, 1);
  pool.parallel_for(planes, std::max<int64_t>(1, grain), [&](int64_t begin, int64_t end) HWY_ATTR {
    const auto run = start();
    for (int64_t plane = begin; plane < end; ++plane) run(plane);
  });
}

// Combines each window of each plane; `row_weights` [out_h] and `col_weights` [out_w] multiply the
// result where given.
template <class Op>
void pool_planes(const PoolShape& shape, const float* row_weights, const float* col_weights,
                 const float* x, float* y, ThreadPool& pool) {
  const PlaneLayout l({shape.in_h, shape.in_w, shape.out_h, shape.out_w, shape.k_h, shape.k_w,
                       shape.stride_h, shape.stride_w, shape.pad_top, shape.pad_left,
                       shape.dilation_h, shape.dilation_w});
  const SlidingWindow& w = l.window;
  const std::vector<int64_t> taps = l.tap_offsets();
  const int64_t pixels = w.out_h * w.out_w;
  const auto run_plane = [&](int64_t plane, float* copy) HWY_ATTR {
    const F32 d;
    copy_plane(l, x + plane * w.in_h * w.in_w, Op::kFill, copy);
    float* out = y + plane * pixels;
    for (int64_t oh = 0; oh < w.out_h; ++oh, out += w.out_w) {
      const float* row = copy + oh * l.out_row_floats;
      for (int64_t ow = 0; ow < w.out_w; ow += kLaneCount) {
        VecF32 v = hn::LoadU(d, row + ow + taps[0]);
        for (std::size_t t = 1; t < taps.size(); ++t)
          v = Op::combine(v, hn::LoadU(d, row + ow + taps[t]));
        const int64_t rest = w.out_w - ow;
        const auto n = static_cast<std::size_t>(std::min(rest, kLaneCount));
        const bool whole = rest >= kLaneCount;
        if (row_weights != nullptr) {
          const VecF32 cols =
              whole ? hn::LoadU(d, col_weights + ow) : load_n(d, col_weights + ow, n);
          v = hn::Mul(v, hn::Mul(cols, hn::Set(d, row_weights[oh])));
        }
        if (whole) {
          hn::StoreU(v, d, out + ow);
        } else {
          store_n(v, d, out + ow, n);
        }
      }
    }
  };
  for_planes(shape.planes, pixels * (static_cast<int64_t>(taps.size()) + 9), pool, [&]() HWY_ATTR {
    float* copy = thread_scratch<ScratchPlane>(l.plane_floats + kLaneCount);
    return [&, copy](int64_t plane) HWY_ATTR { run_plane(plane, copy); };
  });
}

// The same, rows first: the rows of a window are combined to one, whose neighbours are combined
// then. No padded copy is made, and k_h + k_w values are looked at for an output instead of k_h *
// k_w.
template <class Op>
class RowsFirst {
 public:
  RowsFirst(const PoolShape& shape, const float* row_weights, const float* col_weights)
      : s_(shape),
        row_weights_(row_weights),
        col_weights_(col_weights),
        columns_((shape.out_w - 1) * shape.stride_w + shape.k_w),
        first_(std::max<int64_t>(0, -shape.pad_left)),
        last_(std::min(shape.in_w, columns_ - shape.pad_left)) {}

  static bool applies(const PoolShape& shape) {
    return shape.dilation_w == 1 && shape.stride_w <= 2;
  }

  int64_t work_of_plane() const { return s_.out_h * (s_.in_w * s_.k_h + s_.out_w * s_.k_w); }

  // Memory for run_plane: three rows, all padding.
  float* make_rows() const {
    float* rows = thread_scratch<ScratchPlane>(3 * row_floats());
    std::fill(rows, rows + 3 * row_floats(), Op::kFill);
    return rows;
  }

  // Windows of the usual sizes have loops of a length that is known; and of a copy the compiler
  // knows that what is stored does not change it. False, and y is unfinished, where x is not finite
  // and has to be.
  HWY_NOINLINE bool run_plane(const float* x, float* y, float* rows) const {
    const RowsFirst copy = *this;
    if (s_.k_h == 3 && s_.k_w == 3) return copy.run<3, 3>(x, y, rows);
    if (s_.k_h == 2 && s_.k_w == 2) return copy.run<2, 2>(x, y, rows);
    return copy.run<0, 0>(x, y, rows);
  }

 private:
  // Behind the columns is what whole vectors read beyond them.
  int64_t row_floats() const { return columns_ + 4 * kLaneCount; }

  template <int KH, int KW>
  HWY_INLINE bool run(const float* x, float* y, float* rows) const {
    const F32 d;
    float *row = rows, *next = rows + row_floats(), *last = rows + 2 * row_floats();
    Watch watch{hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    combine_rows<KH>(x, -s_.pad_top, row, watch);
    if (s_.out_h > 1) combine_rows<KH>(x, s_.stride_h - s_.pad_top, next, watch);
    for (int64_t oh = 0; oh < s_.out_h; ++oh, y += s_.out_w) {
      // Two rows ahead: what was stored just now would have to be waited for.
      if (oh + 2 < s_.out_h) combine_rows<KH>(x, (oh + 2) * s_.stride_h - s_.pad_top, last, watch);
      const VecF32 weight = hn::Set(d, row_weights_ != nullptr ? row_weights_[oh] : 1.0f);
      for (int64_t ow = 0; ow < s_.out_w; ow += kLaneCount) {
        VecF32 v;
        if (s_.stride_w == 1) {
          v = neighbours<KW>(row + ow);
        } else {
          const float* from = row + 2 * ow;
          v = hn::ConcatEven(d, neighbours<KW>(from + kLaneCount), neighbours<KW>(from));
        }
        const int64_t rest = s_.out_w - ow;
        const auto n = static_cast<std::size_t>(std::min(rest, kLaneCount));
        const bool whole = rest >= kLaneCount;
        if (col_weights_ != nullptr) {
          const float* from = col_weights_ + ow;
          v = hn::Mul(v, hn::Mul(whole ? hn::LoadU(d, from) : load_n(d, from, n), weight));
        }
        if (whole) {
          hn::StoreU(v, d, y + ow);
        } else {
          store_n(v, d, y + ow, n);
        }
      }
      std::swap(row, next);
      std::swap(next, last);
    }
    return !Op::kFiniteOnly || watch.all_finite();
  }

  // Sees whether values are finite: zero as long as they are, and NaN from then on.
  struct Watch {
    VecF32 sums[3];

    HWY_INLINE void see(VecF32 v, int64_t i) {
      if constexpr (Op::kFiniteOnly) sums[i] = hn::MulAdd(hn::Zero(F32()), v, sums[i]);
    }
    HWY_INLINE bool all_finite() const {
      const VecF32 sum = hn::Add(hn::Add(sums[0], sums[1]), sums[2]);
      return hn::AllFalse(F32(), hn::IsNaN(sum));
    }
  };

  // The rows of the window that begins at input row `top`, in `row`, whose ends stay what they are:
  // padding.
  template <int KH>
  HWY_INLINE void combine_rows(const float* x, int64_t top, float* row, Watch& watch) const {
    const int64_t step = s_.dilation_h;
    int64_t tap = 0, end = s_.k_h;
    while (tap < end && top + tap * step < 0) ++tap;
    while (end > tap && top + (end - 1) * step >= s_.in_h) --end;
    float* out = row + s_.pad_left;
    if (tap == end) {
      std::fill(out + first_, out + std::max(first_, last_), Op::kFill);
      return;
    }
    const float* from = x + (top + tap * step) * s_.in_w;
    if (end - tap == KH) {
      combine<KH>(from, KH, step * s_.in_w, out, watch);
    } else {
      combine<0>(from, end - tap, step * s_.in_w, out, watch);
    }
  }

  // Of `rows` rows, which is K where K is not 0.
  template <int K>
  HWY_INLINE void combine(const float* from, int64_t rows, int64_t stride, float* out,
                          Watch& watch) const {
    const F32 d;
    const int64_t count = K != 0 ? K : rows;
    const auto column_of = [&](int64_t column, const auto& load) HWY_ATTR {
      VecF32 v = load(from + column);
      watch.see(v, 0);
      for (int64_t r = 1; r < count; ++r) {
        const VecF32 next = load(from + column + r * stride);
        watch.see(next, K != 0 ? r % 3 : 0);
        v = Op::combine(v, next);
      }
      return v;
    };
    int64_t column = first_;
    for (; column + kLaneCount <= last_; column += kLaneCount) {
      hn::StoreU(column_of(column, [&](const float* p) HWY_ATTR { return hn::LoadU(d, p); }), d,
                 out + column);
    }
    if (column >= last_) return;
    const auto n = static_cast<std::size_t>(last_ - column);
    store_n(column_of(column, [&](const float* p) HWY_ATTR { return load_n(d, p, n); }), d,
            out + column, n);
  }

  // Of each element with the k_w - 1 after it.
  template <int K>
  HWY_INLINE VecF32 neighbours(const float* row) const {
    const F32 d;
    const int64_t count = K != 0 ? K : s_.k_w;
    VecF32 v = hn::LoadU(d, row);
    for (int64_t t = 1; t < count; ++t) v = Op::combine(v, hn::LoadU(d, row + t));
    return v;
  }

  PoolShape s_;
  const float *row_weights_, *col_weights_;
  int64_t columns_;       // of the padded input that outputs meet
  int64_t first_, last_;  // the columns of the input that are among them
};

}  // namespace

void run_max_pool(const PoolShape& shape, const float* x, float* y, ThreadPool& pool) {
  if (!RowsFirst<MaxOf>::applies(shape))
    return pool_planes<MaxOrNan>(shape, nullptr, nullptr, x, y, pool);
  const RowsFirst<MaxOf> fast(shape, nullptr, nullptr);
  const RowsFirst<MaxOrNan> careful(shape, nullptr, nullptr);
  const int64_t in = shape.in_h * shape.in_w, out = shape.out_h * shape.out_w;
  for_planes(shape.planes, fast.work_of_plane(), pool, [&]() HWY_ATTR {
    float* rows = fast.make_rows();  // which `careful` would make alike
    return [&, rows](int64_t plane) HWY_ATTR {
      if (!fast.run_plane(x + plane * in, y + plane * out, rows))
        careful.run_plane(x + plane * in, y + plane * out, rows);
    };
  });
}

void run_average_pool(const PoolShape& shape, const float* row_weights, const float* col_weights,
                      const float* x, float* y, ThreadPool& pool) {
  if (!RowsFirst<SumOf>::applies(shape))
    return pool_planes<SumOf>(shape, row_weights, col_weights, x, y, pool);
  const RowsFirst<SumOf> rows_first(shape, row_weights, col_weights);
  const int64_t in = shape.in_h * shape.in_w, out = shape.out_h * shape.out_w;
  for_planes(shape.planes, rows_first.work_of_plane(), pool, [&]() HWY_ATTR {
    float* rows = rows_first.make_rows();
    return [&, rows](int64_t plane)
               HWY_ATTR { rows_first.run_plane(x + plane * in, y + plane * out, rows); };
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {

HWY_EXPORT(run_max_pool);
HWY_EXPORT(run_average_pool);

// One window, which is the whole plane: a reduction of its rows is much faster.
bool is_global(const PoolShape& w) {
  return w.out_h == 1 && w.out_w == 1 && w.k_h == w.in_h && w.k_w == w.in_w && w.dilation_h == 1 &&
         w.dilation_w == 1 && w.pad_top == 0 && w.pad_left == 0;
}

// 1 / (positions of the window that count) for each output along one dimension: those with low <=
// position < high.
std::vector<float> inverse_counts(std::int64_t out, std::int64_t k, std::int64_t stride,
                                  std::int64_t pad, std::int64_t dilation, std::int64_t low,
                                  std::int64_t high) {
  std::vector<float> weights;
  for (std::int64_t o = 0; o < out; ++o) {
    // Taps t with low <= start + t * dilation < high.
    const std::int64_t start = o * stride - pad;
    const auto taps_below = [&](std::int64_t limit) {
      return start >= limit ? 0 : std::min((limit - start + dilation - 1) / dilation, k);
    };
    const std::int64_t count = taps_below(high) - taps_below(low);
    weights.push_back(count > 0 ? 1.0f / static_cast<float>(count) : 0.0f);
  }
  return weights;
}

}  // namespace

void max_pool(const PoolShape& shape, const float* x, float* y, ThreadPool& pool) {
  if (is_global(shape))
    return reduce(Reduce::max, x, y, shape.planes, shape.in_h * shape.in_w, 1, pool);
  MEZZO_DISPATCH(run_max_pool)(shape, x, y, pool);
}

WindowShares window_shares(const PoolShape& shape, bool count_include_pad, std::int64_t pad_bottom,
                           std::int64_t pad_right) {
  const std::int64_t extra = count_include_pad ? 1 : 0;
  return {inverse_counts(shape.out_h, shape.k_h, shape.stride_h, shape.pad_top, shape.dilation_h,
                         -extra * shape.pad_top, shape.in_h + extra * pad_bottom),
          inverse_counts(shape.out_w, shape.k_w, shape.stride_w, shape.pad_left, shape.dilation_w,
                         -extra * shape.pad_left, shape.in_w + extra * pad_right)};
}

void average_pool(const PoolShape& shape, const WindowShares& shares, const float* x, float* y,
                  ThreadPool& pool) {
  if (is_global(shape))
    return reduce(Reduce::mean, x, y, shape.planes, shape.in_h * shape.in_w, 1, pool);
  MEZZO_DISPATCH(run_average_pool)(shape, shares.rows.data(), shares.cols.data(), x, y, pool);
}

}  // namespace mezzo::kernels
#endif
