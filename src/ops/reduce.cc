// ReduceSum, ReduceMean, ReduceMax, ... Spec: ai.onnx, each -1, -11 (negative axes), -13; ReduceMax
// and ReduceMin also -12 (int8, uint8) and -20 (bool). The axes are an attribute up to ReduceSum-11
// and up to -13 of all others, then an input that may be absent or empty.
#include <cmath>
#include <limits>

#include "kernels/elementwise_f32.h"
#include "kernels/reduce_f32.h"
#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum class Kind { sum, mean, max, min, prod, l1, l2, log_sum, log_sum_exp, sum_square };

// Neighbouring axes that are all reduced or all kept, as one.
struct Group {
  std::int64_t extent;
  bool reduced;
  std::int64_t stride;
};

struct Reduction {
  Shape shape;                // of the output
  std::vector<Group> groups;  // alternately kept and reduced; axes of extent 1 are left out
  std::int64_t count = 1;     // of output elements
  std::int64_t n = 1;         // of input elements for each
};

Reduction reduction_of(const Op& op) {
  const Shape& shape = op.in_shape(0);
  const bool axes_are_input = op.row().inputs().size() == 2;
  const std::vector<std::int64_t> axes = axes_are_input ? op.ints(1) : op.attr_ints("axes");
  const bool none = axes.empty() && axes_are_input && op.attr_int("noop_with_empty_axes") != 0;
  std::vector<bool> reduced(shape.size(), axes.empty() && !none);
  for (const std::int64_t axis : axes) {
    reduced[static_cast<std::size_t>(normalize_axis(axis, op.in_rank(0)))] = true;
  }
  const bool keep = op.attr_int("keepdims") != 0;
  const std::vector<std::int64_t> strides = strides_of(shape);
  Reduction reduction;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (!reduced[i]) {
      reduction.shape.push_back(shape[i]);
    } else if (keep) {
      reduction.shape.push_back(1);
    }
    (reduced[i] ? reduction.n : reduction.count) *= shape[i];
    if (shape[i] == 1) continue;
    if (!reduction.groups.empty() && reduction.groups.back().reduced == reduced[i]) {
      reduction.groups.back().extent *= shape[i];
      reduction.groups.back().stride = strides[i];
    } else {
      reduction.groups.push_back({shape[i], reduced[i], strides[i]});
    }
  }
  return reduction;
}

void infer(Op& op) { op.set_out(0, op.in(0).dtype, reduction_of(op).shape); }

// The kernel's function for the first pass over the data, and for the passes over its results.
struct Passes {
  kernels::Reduce first, then;
};

Passes passes_of(Kind kind) {
  using kernels::Reduce;
  switch (kind) {
    case Kind::mean:
      return {Reduce::mean, Reduce::mean};
    case Kind::max:
      return {Reduce::max, Reduce::max};
    case Kind::min:
      return {Reduce::min, Reduce::min};
    case Kind::prod:
      return {Reduce::prod, Reduce::prod};
    case Kind::l1:
      return {Reduce::l1, Reduce::sum};
    case Kind::l2:
    case Kind::sum_square:
      return {Reduce::sum_square, Reduce::sum};
    case Kind::log_sum_exp:
      return {Reduce::log_sum_exp, Reduce::log_sum_exp};
    default:
      return {Reduce::sum, Reduce::sum};
  }
}

// Reduces one group of axes after the other, the innermost first.
Choice passes(Op& op, Kind kind) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Reduction reduction = reduction_of(op);
  if (reduction.count * reduction.n == 0) return refuse("nothing to compute");
  std::vector<AxisSplit> splits;
  std::int64_t inner = 1, outer = reduction.count * reduction.n;
  for (std::size_t i = reduction.groups.size(); i-- > 0;) {
    const Group& group = reduction.groups[i];
    outer /= group.extent;
    if (group.reduced) {
      splits.push_back({outer, group.extent, inner});
    } else {
      inner *= group.extent;
    }
  }
  if (splits.empty()) splits.push_back({1, 1, reduction.count});
  // Two buffers in turn for what lies between the passes; the first result is the largest.
  const std::int64_t between = splits.size() > 1 ? splits[0].outer * splits[0].inner : 0;
  op.set_scratch(2 * between * static_cast<std::int64_t>(sizeof(float)));
  return [kind, splits, between, count = reduction.count](Run& run) {
    const Passes functions = passes_of(kind);
    const float* x = run.in<float>(0);
    auto* scratch = static_cast<float*>(run.scratch());
    for (std::size_t i = 0; i < splits.size(); ++i) {
      float* y = i + 1 == splits.size() ? run.out<float>(0) : scratch + (i % 2 == 0 ? 0 : between);
      kernels::reduce(i == 0 ? functions.first : functions.then, x, y, splits[i].outer, splits[i].n,
                      splits[i].inner, run.pool());
      x = y;
    }
    auto* y = run.out<float>(0);
    if (kind == Kind::l2) kernels::unary(kernels::Unary::sqrt, {}, y, y, count, run.pool());
    if (kind == Kind::log_sum) kernels::unary(kernels::Unary::log, {}, y, y, count, run.pool());
  };
}

// Sums: double for floats; for integers the arithmetic modulo 2^64 that C++ defines.
template <class T>
using Sum = std::conditional_t<std::is_floating_point_v<T>, double, std::uint64_t>;

// A double as a T: truncated, to the nearest that T holds; NaN is 0 in an integer.
template <class T>
T to_element(double value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    if (std::isnan(value)) return 0;
    if (value <= static_cast<double>(std::numeric_limits<T>::min())) {
      return std::numeric_limits<T>::min();
    }
    // The largest 64-bit integers round up as doubles, to what no longer fits.
    if (value >= static_cast<double>(std::numeric_limits<T>::max())) {
      return std::numeric_limits<T>::max();
    }
    return static_cast<T>(value);
  }
}

// A Sum as a double, with the sign that T gives it.
template <class T>
double to_double(Sum<T> sum) {
  if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
    return static_cast<double>(static_cast<std::int64_t>(sum));
  } else {
    return static_cast<double>(sum);
  }
}

template <class T, Kind kind>
struct Linear {  // sums of x, |x| or x^2
  Sum<T> sum = 0;
  void add(T x) {
    const auto wide = static_cast<Sum<T>>(x);
    if constexpr (kind == Kind::l1) {
      sum += x < T{0} ? Sum<T>{0} - wide : wide;
    } else if constexpr (kind == Kind::l2 || kind == Kind::sum_square) {
      sum += wide * wide;
    } else {
      sum += wide;
    }
  }
  T result(std::int64_t n) const {
    if constexpr (kind == Kind::l2) return to_element<T>(std::sqrt(to_double<T>(sum)));
    if constexpr (kind == Kind::log_sum) return to_element<T>(std::log(to_double<T>(sum)));
    if constexpr (kind == Kind::mean) {
      if constexpr (std::is_floating_point_v<T>) return static_cast<T>(sum / n);
      if (n == 0) return 0;
      if constexpr (std::is_signed_v<T>) return static_cast<T>(static_cast<std::int64_t>(sum) / n);
      return static_cast<T>(sum / static_cast<std::uint64_t>(n));
    }
    return static_cast<T>(sum);
  }
};

template <class T>
struct Product {
  Sum<T> value = 1;
  void add(T x) { value *= static_cast<Sum<T>>(x); }
  T result(std::int64_t) const { return static_cast<T>(value); }
};

// The largest or smallest element, NaN above all.
template <class T, bool largest>
struct Extremum {
  using Limits = std::numeric_limits<T>;
  T value = Limits::has_infinity ? (largest ? -Limits::infinity() : Limits::infinity())
                                 : (largest ? Limits::lowest() : Limits::max());
  void add(T x) {
    if ((largest ? x > value : x < value) || x != x) value = x;
  }
  T result(std::int64_t) const { return value; }
};

// The sum of exponentials is kept relative to the largest element so far, so that it cannot
// overflow.
template <class T>
struct LogSumExp {
  double top = -std::numeric_limits<double>::infinity();
  double sum = 0;
  void add(T element) {
    const auto x = static_cast<double>(element);
    if (x == top) {
      sum += 1;
    } else if (x < top) {
      sum += std::exp(x - top);
    } else {
      sum = sum * std::exp(top - x) + 1;
      top = x;
    }
  }
  T result(std::int64_t) const { return to_element<T>(top + std::log(sum)); }
};

template <class T, class State>
void reduce_all(const Reduction& reduction, const T* x, T* y, ThreadPool& pool) {
  std::vector<Group> kept, reduced;
  for (const Group& group : reduction.groups) (group.reduced ? reduced : kept).push_back(group);
  if (reduced.empty()) reduced.push_back({1, true, 1});
  const Group last = reduced.back();
  reduced.pop_back();
  const std::int64_t runs = last.extent == 0 ? 0 : reduction.n / last.extent;
  pool.parallel_for(
      reduction.count, grain_for(reduction.n), [&](std::int64_t begin, std::int64_t end) {
        const auto offset_in = [](const std::vector<Group>& groups, std::int64_t index) {
          std::int64_t offset = 0;
          for (std::size_t i = groups.size(); i-- > 0;) {
            offset += index % groups[i].extent * groups[i].stride;
            index /= groups[i].extent;
          }
          return offset;
        };
        for (std::int64_t i = begin; i < end; ++i) {
          State state;
          const std::int64_t base = offset_in(kept, i);
          for (std::int64_t r = 0; r < runs; ++r) {
            const T* from = x + base + offset_in(reduced, r);
            for (std::int64_t j = 0; j < last.extent; ++j) state.add(from[j * last.stride]);
          }
          y[i] = state.result(reduction.n);
        }
      });
}

template <class T, class State>
Kernel kernel_of(const Reduction& reduction) {
  return [reduction](Run& run) {
    reduce_all<T, State>(reduction, run.in<T>(0), run.out<T>(0), run.pool());
  };
}

template <class T>
Kernel kernel_for(Kind kind, const Reduction& reduction) {
  switch (kind) {
    case Kind::sum:
      return kernel_of<T, Linear<T, Kind::sum>>(reduction);
    case Kind::mean:
      return kernel_of<T, Linear<T, Kind::mean>>(reduction);
    case Kind::prod:
      return kernel_of<T, Product<T>>(reduction);
    case Kind::l1:
      return kernel_of<T, Linear<T, Kind::l1>>(reduction);
    case Kind::l2:
      return kernel_of<T, Linear<T, Kind::l2>>(reduction);
    case Kind::log_sum:
      return kernel_of<T, Linear<T, Kind::log_sum>>(reduction);
    case Kind::log_sum_exp:
      return kernel_of<T, LogSumExp<T>>(reduction);
    case Kind::sum_square:
      return kernel_of<T, Linear<T, Kind::sum_square>>(reduction);
    default:
      return {};
  }
}

Choice reference(Op& op, Kind kind) {
  const Reduction reduction = reduction_of(op);
  const DType dtype = op.in(0).dtype;
  Kernel kernel;
  if (kind == Kind::max || kind == Kind::min) {
    with_type(Types<float, double, std::int32_t, std::int64_t, std::uint32_t, std::uint64_t,
                    std::int8_t, std::uint8_t, bool>{},
              dtype, [&](auto type) {
                using T = decltype(type);
                kernel = kind == Kind::max ? kernel_of<T, Extremum<T, true>>(reduction)
                                           : kernel_of<T, Extremum<T, false>>(reduction);
              });
  } else {
    with_type(Types<float, double, std::int32_t, std::int64_t, std::uint32_t, std::uint64_t>{},
              dtype, [&](auto type) { kernel = kernel_for<decltype(type)>(kind, reduction); });
  }
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

Row& declare(Row& row, Kind kind, TypeSet types) {
  return row.attr("keepdims", 1)
      .in("data", types)
      .out("reduced", like(0))
      .infer(infer)
      .simd_kernel("passes", [kind](Op& op) { return passes(op, kind); })
      .kernel("reference", [kind](Op& op) { return reference(op, kind); });
}

void with_attribute(Row& row, Kind kind, TypeSet types) {
  declare(row, kind, types).attr("axes", FormalAttribute::Kind::ints);
}

void with_input(Row& row, Kind kind, TypeSet types) {
  declare(row, kind, types).attr("noop_with_empty_axes", 0).in("axes", DType::i64, Arity::optional);
}

constexpr TypeSet kWideNoBf16 = kFloats | TypeSet{DType::i32, DType::i64, DType::u32, DType::u64};
constexpr TypeSet kWide = kWideNoBf16 | DType::bf16;
constexpr TypeSet kBytes = {DType::i8, DType::u8};

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(reduce) {
  with_attribute(op("ReduceSum").since(1, 11), Kind::sum, kWideNoBf16);
  with_input(op("ReduceSum").since(13), Kind::sum, kWide);
  const std::pair<const char*, Kind> plain[] = {{"ReduceMean", Kind::mean},
                                                {"ReduceProd", Kind::prod},
                                                {"ReduceL1", Kind::l1},
                                                {"ReduceL2", Kind::l2},
                                                {"ReduceSumSquare", Kind::sum_square}};
  for (const auto& [name, kind] : plain) {
    with_attribute(op(name).since(1, 11, 13), kind, kWide);
    with_input(op(name).since(18), kind, kWide);
  }
  const std::pair<const char*, Kind> logarithms[] = {{"ReduceLogSum", Kind::log_sum},
                                                     {"ReduceLogSumExp", Kind::log_sum_exp}};
  for (const auto& [name, kind] : logarithms) {
    with_attribute(op(name).since(1, 11, 13), kind, kWide);
    with_input(op(name).since(18, 28), kind, kWide);
  }
  const std::pair<const char*, Kind> extrema[] = {{"ReduceMax", Kind::max},
                                                  {"ReduceMin", Kind::min}};
  for (const auto& [name, kind] : extrema) {
    with_attribute(op(name).since(1, 11, 12, 13), kind, kWide | kBytes);
    with_input(op(name).since(18), kind, kWide | kBytes);
    with_input(op(name).since(20), kind, kWide | kBytes | DType::boolean);
  }
}
