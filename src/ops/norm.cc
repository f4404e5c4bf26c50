// LRN (ai.onnx 1, 13), LpNormalization (1, 22), MeanVarianceNormalization (9, 13). The versions of
// each differ in their types.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// X seen as [outer, n, inner] with the axis that a norm is taken along in the middle.
struct Split {
  std::int64_t outer, n, inner;
};

Split split_at(const Shape& shape, int axis) {
  return {product(shape, 0, axis), shape[static_cast<std::size_t>(axis)],
          product(shape, axis + 1, static_cast<int>(shape.size()))};
}

struct Lrn {
  Split split;
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

Split lp_split_of(const Op& op) {
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

Choice lp_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [split = lp_split_of(op), squares = op.attr_int("p") == 2](Run& run) {
      run.pool().parallel_for(
          split.outer * split.inner, 1 + 4096 / (split.n + 1),
          [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t line = begin; line < end; ++line) {
              const std::int64_t at =
                  line / split.inner * split.n * split.inner + line % split.inner;
              const T* x = run.in<T>(0) + at;
              T* y = run.out<T>(0) + at;
              double sum = 0;
              for (std::int64_t i = 0; i < split.n; ++i) {
                const auto value = static_cast<double>(x[i * split.inner]);
                sum += squares ? value * value : std::abs(value);
              }
              const double norm = squares ? std::sqrt(sum) : sum;
              // Zeros stay zeros: so the spec defines it.
              for (std::int64_t i = 0; i < split.n; ++i) {
                const auto value = static_cast<double>(x[i * split.inner]);
                y[i * split.inner] = norm == 0 ? T{0} : static_cast<T>(value / norm);
              }
            }
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

// Calls visit(element, statistic) for each element of X, in order.
template <class Visit>
void each_element(const Shape& shape, const std::vector<std::int64_t>& strides, Visit visit) {
  const std::int64_t n = product(shape);
  std::vector<std::int64_t> position(shape.size(), 0);
  std::int64_t statistic = 0;
  for (std::int64_t at = 0; at < n; ++at) {
    visit(at, static_cast<std::size_t>(statistic));
    for (std::size_t d = shape.size(); d-- > 0;) {
      statistic += strides[d];
      if (++position[d] < shape[d]) break;
      statistic -= strides[d] * shape[d];
      position[d] = 0;
    }
  }
}

Choice mvn_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [shape = op.in_shape(0), strides = kept_strides(op)](Run& run) {
      if (product(shape) == 0) return;
      const T* x = run.in<T>(0);
      T* y = run.out<T>(0);
      std::int64_t kept = 1;
      for (std::size_t d = 0; d < shape.size(); ++d) kept *= strides[d] != 0 ? shape[d] : 1;
      const double count = static_cast<double>(product(shape)) / static_cast<double>(kept);
      std::vector<double> means(static_cast<std::size_t>(kept)), deviations(means.size());
      each_element(shape, strides, [&](std::int64_t at, std::size_t statistic) {
        means[statistic] += static_cast<double>(x[at]) / count;
      });
      each_element(shape, strides, [&](std::int64_t at, std::size_t statistic) {
        const double difference = static_cast<double>(x[at]) - means[statistic];
        deviations[statistic] += difference * difference / count;
      });
      // The constant of the operator's definition as a function.
      for (double& deviation : deviations) deviation = std::sqrt(deviation) + 1e-9;
      each_element(shape, strides, [&](std::int64_t at, std::size_t statistic) {
        y[at] =
            static_cast<T>((static_cast<double>(x[at]) - means[statistic]) / deviations[statistic]);
      });
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
