// ArgMax and ArgMin. Spec: ai.onnx, each -1, -11 (negative axis), -12 (select_last_index), -13.
// A NaN counts as the extremum, as in NumPy.
#include <algorithm>
#include <limits>

#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

struct Arg {
  AxisSplit split;
  bool last = false;  // of equal elements, take the last
};

Arg arg_of(const Op& op) {
  Arg arg;
  arg.split = split_at(op.in_shape(0), normalize_axis(op.attr_int("axis"), op.in_rank(0)));
  arg.last = op.row().versions().front() >= 12 && op.attr_int("select_last_index") != 0;
  return arg;
}

void infer(Op& op) {
  const AxisSplit split = arg_of(op).split;
  if (split.n == 0 && split.outer * split.inner != 0) {
    throw invalid("there is no largest or smallest element along an axis without elements")
        .got(to_string(op.in_shape(0)));
  }
  Shape shape = op.in_shape(0);
  const int axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  if (op.attr_int("keepdims") != 0) {
    shape[static_cast<std::size_t>(axis)] = 1;
  } else {
    shape.erase(shape.begin() + axis);
  }
  op.set_out(0, DType::i64, std::move(shape));
}

// Whether `x` takes the place of `best`, which stands before it. No branches: for vectors.
template <class T, bool largest>
bool replaces(T x, T best, bool last) {
  const bool x_nan = x != x, best_nan = best != best;
  const bool better = (largest ? x > best : x < best) | x_nan | (last & (x == best));
  return (best_nan & last & x_nan) | (!best_nan & better);
}

// The extrema of columns [begin, end) of x [n, inner], at most kColumns, and their indices.
constexpr std::int64_t kColumns = 256;
template <class T, bool largest>
void search(const T* x, std::int64_t n, std::int64_t inner, std::int64_t columns, bool last,
            T* best, std::int32_t* at) {
  for (std::int64_t q = 0; q < columns; ++q) {
    best[q] = x[q];
    at[q] = 0;
  }
  for (std::int64_t i = 1; i < n; ++i) {
    const T* row = x + i * inner;
    for (std::int64_t q = 0; q < columns; ++q) {
      const T value = row[q];
      const bool is_better = replaces<T, largest>(value, best[q], last);
      best[q] = is_better ? value : best[q];
      at[q] = is_better ? static_cast<std::int32_t>(i) : at[q];
    }
  }
}

// The index of the extremum of x [n]. Columns of it are searched side by side.
template <class T, bool largest>
std::int64_t search_row(const T* x, std::int64_t n, bool last) {
  constexpr std::int64_t kLanes = 16;
  T best[kLanes];
  std::int32_t at[kLanes];
  const std::int64_t rows = n / kLanes;
  std::int64_t found = 0, i = rows * kLanes;
  if (rows > 0) {
    search<T, largest>(x, rows, kLanes, kLanes, last, best, at);
    found = at[0] * kLanes;
    for (std::int64_t q = 1; q < kLanes; ++q) {
      const std::int64_t other = at[q] * kLanes + q;
      // As if they stood in the order of their indices.
      const bool is_behind = other > found;
      const bool is_better = is_behind ? replaces<T, largest>(x[other], x[found], last)
                                       : !replaces<T, largest>(x[found], x[other], last);
      if (is_better) found = other;
    }
  } else {
    i = 1;
  }
  for (; i < n; ++i) {
    if (replaces<T, largest>(x[i], x[found], last)) found = i;
  }
  return found;
}

// Columns [begin, end) of x [n, inner].
template <class T, bool largest>
void search_columns(const T* x, std::int64_t* y, std::int64_t n, std::int64_t inner,
                    std::int64_t begin, std::int64_t end, bool last) {
  if (inner == 1) {
    y[0] = search_row<T, largest>(x, n, last);
    return;
  }
  T best[kColumns];
  std::int32_t at[kColumns];
  for (std::int64_t j = begin; j < end; j += kColumns) {
    const std::int64_t columns = std::min(kColumns, end - j);
    search<T, largest>(x + j, n, inner, columns, last, best, at);
    for (std::int64_t q = 0; q < columns; ++q) y[j + q] = at[q];
  }
}

template <bool largest>
Choice reference(Op& op) {
  const Arg arg = arg_of(op);
  Kernel kernel;
  with_type(NumberTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    kernel = [arg](Run& run) {
      const auto [outer, n, inner] = arg.split;
      run.pool().parallel_for(outer * inner, grain_for(n),
                              [&, n = n, inner = inner](std::int64_t begin, std::int64_t end) {
                                while (begin < end) {
                                  const std::int64_t o = begin / inner, column = begin % inner;
                                  const std::int64_t stop = std::min(inner, column + end - begin);
                                  search_columns<T, largest>(run.in<T>(0) + o * n * inner,
                                                             run.out<std::int64_t>(0) + o * inner,
                                                             n, inner, column, stop, arg.last);
                                  begin += stop - column;
                                }
                              });
    };
  });
  if (!kernel) return refuse("computed in float32 or wider");
  if (arg.split.n > std::numeric_limits<std::int32_t>::max())
    return refuse("an axis of more than 2^31 elements");
  return kernel;
}

Row& declare(Row& row, TypeSet types) {
  return row.attr("axis", 0)
      .attr("keepdims", 1)
      .in("data", types)
      .out("reduced", DType::i64)
      .infer(infer);
}

template <bool largest>
void declare_all(Registry& op, const char* name) {
  declare(op(name).since(1, 11), kNumbersNoBf16).kernel("reference", reference<largest>);
  declare(op(name).since(12, 13).attr("select_last_index", 0), kNumbers)
      .kernel("reference", reference<largest>);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(arg) {
  declare_all<true>(op, "ArgMax");
  declare_all<false>(op, "ArgMin");
}
