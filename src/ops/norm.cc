// LRN (ai.onnx 1, 13), LpNormalization (1, 22), MeanVarianceNormalization (9, 13). The versions of
// each differ in their types.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/shape.h"
#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

struct Lrn {
  AxisSplit split;
  std::int64_t before, after;  // channels of the window before and after the one in question
  double alpha, beta, bias;    // alpha is divided by the size
};

Lrn lrn_of(const Op& op) {
  require_rank(op, 0, 2);
  const std::int64_t size = op.attr_int("size");
  if (size < 1 || size > std::int64_t{1} << 30) {
    throw invalid("a window without extent")
        .at("attribute 'size'")
        .expected("a positive number")
        .got(std::to_string(size));
  }
  return {split_at(op.in_shape(0), 1),
          (size - 1) / 2,
          size / 2,
          static_cast<double>(op.attr_float("alpha")) / static_cast<double>(size),
          static_cast<double>(op.attr_float("beta")),
          static_cast<double>(op.attr_float("bias"))};
}

void infer_lrn(Op& op) {
  lrn_of(op);
  same_shape(op);
}

// One channel of one image.
template <class T>
void lrn_channel(const Lrn& lrn, const T* image, std::int64_t channel, T* y) {
  const std::int64_t inner = lrn.split.inner;
  const std::int64_t begin = std::max<std::int64_t>(0, channel - lrn.before);
  const std::int64_t end = std::min(lrn.split.n, channel + lrn.after + 1);
  std::vector<T> sums(static_cast<std::size_t>(inner), T{0});
  for (std::int64_t c = begin; c < end; ++c) {
    const T* x = image + c * inner;
    for (std::int64_t i = 0; i < inner; ++i) sums[static_cast<std::size_t>(i)] += x[i] * x[i];
  }
  const T* x = image + channel * inner;
  const T alpha = static_cast<T>(lrn.alpha), bias = static_cast<T>(lrn.bias);
  if (lrn.beta == 0.75) {  // AlexNet's and everybody's; roots are much faster than powers
    for (std::int64_t i = 0; i < inner; ++i) {
      const T root = std::sqrt(bias + alpha * sums[static_cast<std::size_t>(i)]);
      y[i] = x[i] / (root * std::sqrt(root));
    }
  } else {
    const T beta = static_cast<T>(lrn.beta);
    for (std::int64_t i = 0; i < inner; ++i) {
      y[i] = x[i] / std::pow(bias + alpha * sums[static_cast<std::size_t>(i)], beta);
    }
  }
}

Choice lrn_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [lrn = lrn_of(op)](Run& run) {
      const std::int64_t channels = lrn.split.n, inner = lrn.split.inner;
      run.pool().parallel_for(lrn.split.outer * channels, 1 + 2048 / (inner + 1),
                              [&](std::int64_t begin, std::int64_t end) {
                                for (std::int64_t i = begin; i < end; ++i) {
                                  lrn_channel(lrn, run.in<T>(0) + i / channels * channels * inner,
                                              i % channels, run.out<T>(0) + i * inner);
                                }
                              });
    };
  });
  return choice;
}

AxisSplit lp_split_of(const Op& op) {
  const std::int64_t p = op.attr_int("p");
  if (p != 1 && p != 2) {
    throw invalid("a norm that the operator does not know")
        .at("attribute 'p'")
        .expected("1 or 2")
        .got(std::to_string(p));
  }
  return split_at(op.in_shape(0), normalize_axis(op.attr_int("axis"), op.in_rank(0)));
}

void infer_lp(Op& op) {
  lp_split_of(op);
  same_shape(op);
}

// The sum of f(x[i]): in lanes side by side, which the compiler makes vectors of, and those of some
// thousand elements in double.
template <class Lane, class T, class F>
double sum_of(const T* x, std::int64_t n, const F& f) {
  constexpr std::int64_t kLanes = 16, kRun = 4096;
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kRun) {
    const std::int64_t end = std::min(n, begin + kRun);
    Lane lanes[kLanes] = {};
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (std::int64_t q = 0; q < kLanes; ++q) lanes[q] += f(static_cast<Lane>(x[i + q]));
    }
    for (; i < end; ++i) lanes[0] += f(static_cast<Lane>(x[i]));
    for (const Lane lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

// Some columns of x and y [n, inner], n times their width apart. Zeros stay zeros: so the spec
// defines it.
constexpr std::int64_t kColumns = 64;
template <class T>
void normalize_columns(const T* x, T* y, std::int64_t n, std::int64_t inner, std::int64_t columns,
                       bool squares) {
  double sums[kColumns] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t q = 0; q < columns; ++q) {
      const auto value = static_cast<double>(x[i * inner + q]);
      sums[q] += squares ? value * value : std::abs(value);
    }
  }
  for (std::int64_t q = 0; q < columns; ++q) {
    const double norm = squares ? std::sqrt(sums[q]) : sums[q];
    sums[q] = norm == 0 ? 1 : norm;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t q = 0; q < columns; ++q)
      y[i * inner + q] = static_cast<T>(static_cast<double>(x[i * inner + q]) / sums[q]);
  }
}

template <class T>
void normalize_row(const T* x, T* y, std::int64_t n, bool squares) {
  const double sum = squares ? sum_of<T>(x, n, [](T value) { return value * value; })
                             : sum_of<T>(x, n, [](T value) { return std::abs(value); });
  // Squares that leave the range of float32, or are not exact at its lower end.
  if (!(sum > 1e-25 && sum < 1e35)) return normalize_columns(x, y, n, 1, 1, squares);
  const auto norm = static_cast<T>(squares ? std::sqrt(sum) : sum);
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] / norm;
}

Choice lp_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [split = lp_split_of(op), squares = op.attr_int("p") == 2](Run& run) {
      run.pool().parallel_for(
          split.outer * split.inner, grain_for(split.n), [&](std::int64_t begin, std::int64_t end) {
            for_columns(split, begin, end, kColumns, [&](std::int64_t at, std::int64_t columns) {
              const T* x = run.in<T>(0) + at;
              T* y = run.out<T>(0) + at;
              if (split.inner == 1) {
                normalize_row(x, y, split.n, squares);
              } else {
                normalize_columns(x, y, split.n, split.inner, columns, squares);
              }
            });
          });
    };
  });
  return choice;
}

// Strides of the statistics along the axes of X: 0 along those that they are taken over.
std::vector<std::int64_t> kept_strides(const Op& op) {
  const Shape& x = op.in_shape(0);
  Shape kept = x;
  for (const std::int64_t axis : op.attr_ints("axes")) {
    kept[static_cast<std::size_t>(normalize_axis(axis, op.in_rank(0)))] = 1;
  }
  return broadcast_strides(kept, x);
}

void infer_mvn(Op& op) {
  kept_strides(op);
  same_shape(op);
}

// X as rows: the innermost axes, which statistics are taken over or which all have their own.
struct Rows {
  Shape shape;                        // of the rows
  std::vector<std::int64_t> strides;  // of their first statistics
  std::int64_t length = 1;
  bool reduced = true;  // to one statistic for a row, else one for each element
};

Rows rows_of(Shape shape, std::vector<std::int64_t> strides) {
  Rows rows;
  while (!shape.empty()) {
    const bool reduced = strides.back() == 0;
    if (rows.length > 1 && reduced != rows.reduced && shape.back() != 1) break;
    if (shape.back() != 1) rows.reduced = reduced;
    rows.length *= shape.back();
    shape.pop_back();
    strides.pop_back();
  }
  rows.shape = std::move(shape);
  rows.strides = std::move(strides);
  return rows;
}

// Calls visit(first element, first statistic) for each row of X, in order.
template <class Visit>
void each_row(const Rows& rows, const Visit& visit) {
  const std::int64_t n = product(rows.shape);
  std::vector<std::int64_t> position(rows.shape.size(), 0);
  std::int64_t statistic = 0;
  for (std::int64_t row = 0; row < n; ++row) {
    visit(row * rows.length, statistic);
    for (std::size_t d = rows.shape.size(); d-- > 0;) {
      statistic += rows.strides[d];
      if (++position[d] < rows.shape[d]) break;
      statistic -= rows.strides[d] * rows.shape[d];
      position[d] = 0;
    }
  }
}

// Sums f(element, mean) of all elements that belong to each statistic.
template <class Lane, class T, class F>
void add_up(const Rows& rows, const T* x, const std::vector<Lane>& means, std::vector<double>& sums,
            const F& f) {
  each_row(rows, [&](std::int64_t at, std::int64_t statistic) {
    const Lane* mean = means.data() + statistic;
    double* sum = sums.data() + statistic;
    if (rows.reduced) {
      *sum += sum_of<Lane>(x + at, rows.length, [&, m = *mean](Lane value) { return f(value, m); });
    } else {
      for (std::int64_t i = 0; i < rows.length; ++i)
        sum[i] += static_cast<double>(f(static_cast<Lane>(x[at + i]), mean[i]));
    }
  });
}

// Computes in the type `Lane`; false, and y is untouched, where its range does not suffice.
template <class Lane, class T>
bool normalize_by_statistics(const Rows& rows, std::int64_t kept, std::int64_t count, const T* x,
                             T* y) {
  const auto statistics = static_cast<std::size_t>(kept);
  std::vector<Lane> means(statistics, Lane{0}), deviations(statistics);
  // Twice: the second time adds what the first rounded away.
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<double> sums(statistics, 0);
    add_up(rows, x, means, sums, [](Lane value, Lane mean) { return value - mean; });
    for (std::size_t i = 0; i < statistics; ++i)
      means[i] += static_cast<Lane>(sums[i] / static_cast<double>(count));
  }
  std::vector<double> squares(statistics, 0);
  add_up(rows, x, means, squares,
         [](Lane value, Lane mean) { return (value - mean) * (value - mean); });
  const auto is_finite = [](double square) { return std::isfinite(square); };
  if (!std::all_of(squares.begin(), squares.end(), is_finite) && sizeof(Lane) < sizeof(double))
    return false;
  // The constant of the operator's definition as a function.
  for (std::size_t i = 0; i < statistics; ++i)
    deviations[i] = static_cast<Lane>(std::sqrt(squares[i] / static_cast<double>(count)) + 1e-9);
  each_row(rows, [&](std::int64_t at, std::int64_t statistic) {
    const Lane *mean = means.data() + statistic, *deviation = deviations.data() + statistic;
    if (rows.reduced) {
      const Lane m = *mean, d = *deviation;
      for (std::int64_t i = at; i < at + rows.length; ++i)
        y[i] = static_cast<T>((static_cast<Lane>(x[i]) - m) / d);
    } else {
      for (std::int64_t i = 0; i < rows.length; ++i)
        y[at + i] = static_cast<T>((static_cast<Lane>(x[at + i]) - mean[i]) / deviation[i]);
    }
  });
  return true;
}

Choice mvn_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  const Shape& shape = op.in_shape(0);
  const std::vector<std::int64_t> strides = kept_strides(op);
  const std::int64_t all = product(shape);
  std::int64_t kept = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) kept *= strides[d] != 0 ? shape[d] : 1;
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [rows = rows_of(shape, strides), kept, all](Run& run) {
      if (all == 0) return;
      const T* x = run.in<T>(0);
      if (!normalize_by_statistics<T>(rows, kept, all / kept, x, run.out<T>(0)))
        normalize_by_statistics<double>(rows, kept, all / kept, x, run.out<T>(0));
    };
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(norm) {
  for (const auto& [version, types] :
       {std::pair{1, TypeSet(kFloats)}, std::pair{13, TypeSet(kFloatsBf16)}}) {
    op("LRN")
        .since(version)
        .attr("alpha", 1e-4F)
        .attr("beta", 0.75F)
        .attr("bias", 1.0F)
        .required("size", FormalAttribute::Kind::int_)
        .in("X", types)
        .out("Y", like(0))
        .infer(infer_lrn)
        .kernel("reference", lrn_reference);
  }
  for (const auto& [version, types] :
       {std::pair{1, TypeSet(kFloats)}, std::pair{22, TypeSet(kFloatsBf16)}}) {
    op("LpNormalization")
        .since(version)
        .attr("axis", -1)
        .attr("p", 2)
        .in("input", types)
        .out("output", like(0))
        .infer(infer_lp)
        .in_place(0)
        .kernel("reference", lp_reference);
  }
  for (const auto& [version, types] :
       {std::pair{9, TypeSet(kFloats)}, std::pair{13, TypeSet(kFloatsBf16)}}) {
    op("MeanVarianceNormalization")
        .since(version)
        .attr("axes", std::vector<std::int64_t>{0, 2, 3})
        .in("X", types)
        .out("Y", like(0))
        .infer(infer_mvn)
        .in_place(0)
        .kernel("reference", mvn_reference);
  }
}
