// ArgMax and ArgMin. Spec: ai.onnx, each -1, -11 (negative axis), -12 (select_last_index), -13.
// A NaN counts as the extremum, as in NumPy.
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

// Whether `x` takes the place of `best`, which stands before it.
template <class T, bool largest>
bool replaces(T x, T best, bool last) {
  if (best != best) return last && x != x;
  return (largest ? x > best : x < best) || x != x || (last && x == best);
}

// Columns [begin, end) of x [n, inner].
template <class T, bool largest>
void search(const T* x, std::int64_t* y, std::int64_t n, std::int64_t inner, std::int64_t begin,
            std::int64_t end, bool last) {
  constexpr std::int64_t kBlock = 256;
  T best[kBlock];
  for (std::int64_t j = begin; j < end; j += kBlock) {
    const std::int64_t width = std::min(kBlock, end - j);
    for (std::int64_t q = 0; q < width; ++q) {
      best[q] = x[j + q];
      y[j + q] = 0;
    }
    for (std::int64_t i = 1; i < n; ++i) {
      const T* row = x + i * inner + j;
      for (std::int64_t q = 0; q < width; ++q) {
        if (!replaces<T, largest>(row[q], best[q], last)) continue;
        best[q] = row[q];
        y[j + q] = i;
      }
    }
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
                                  search<T, largest>(run.in<T>(0) + o * n * inner,
                                                     run.out<std::int64_t>(0) + o * inner, n, inner,
                                                     column, stop, arg.last);
                                  begin += stop - column;
                                }
                              });
    };
  });
  if (!kernel) return refuse("computed in float32 or wider");
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
