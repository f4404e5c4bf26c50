// com.microsoft SkipLayerNormalization and SkipSimplifiedLayerNormalization (1): what transformer
// optimisers make of a residual sum and the (RMS) normalisation after it. Spec: ONNX Runtime's
// docs/ContribOperators.md.

#include <algorithm>
#include <cmath>
#include <string>

#include "base/shape.h"
#include "kernels/elementwise_f32.h"
#include "kernels/layer_norm_f32.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

struct SkipNorm {
  std::int64_t rows, n;
  std::int64_t skip_rows;  // rows of `skip`, repeated for the batch
  double epsilon;
  bool centered;
  int bias;  // number of the input that is added to the sum
};

SkipNorm skip_norm_of(const Op& op) {
  require_rank(op, 0, 1);
  const bool centered = op.row().name() == "SkipLayerNormalization";
  const Shape& x = op.in_shape(0);
  Shape skip = op.in_shape(1);
  while (skip.size() > 1 && skip.front() == 1) skip.erase(skip.begin());
  Shape tail = x;
  while (tail.size() > 1 && tail.front() == 1) tail.erase(tail.begin());
  if (tail.size() > skip.size())
    tail.erase(tail.begin(), tail.end() - static_cast<int>(skip.size()));
  if (skip != tail) {
    throw invalid("the summands do not fit each other")
        .at("input 'skip'")
        .expected(to_string(x) + ", or without its batch")
        .got(to_string(op.in_shape(1)));
  }
  for (int i = 2; i < op.inputs(); ++i) {
    if (op.has_in(i) && op.in_shape(i) != Shape{x.back()}) {
      throw invalid("a parameter does not fit the input")
          .at("input " + std::to_string(i))
          .expected("[" + std::to_string(x.back()) + "]")
          .got(to_string(op.in_shape(i)));
    }
  }
  return {product(x, 0, op.in_rank(0) - 1),
          x.back(),
          product(skip, 0, static_cast<int>(skip.size()) - 1),
          static_cast<double>(op.attr_float("epsilon")),
          centered,
          centered ? 4 : 3};
}

void infer(Op& op) {
  skip_norm_of(op);
  same_shape(op);
  Shape statistics = op.in_shape(0);
  statistics.back() = 1;
  op.set_out(1, DType::f32, statistics);
  op.set_out(2, DType::f32, statistics);
  op.set_out(3, op.in(0).dtype, op.in_shape(0));
}

// Where the sum of row `r` goes: to the output that wants it, or else to y.
template <class T>
T* sum_of_row(const SkipNorm& norm, Run& run, std::int64_t r) {
  return (run.out<T>(3) != nullptr ? run.out<T>(3) : run.out<T>(0)) + r * norm.n;
}

// The row of the second summand that belongs to row `r`.
template <class T>
const T* skip_of_row(const SkipNorm& norm, Run& run, std::int64_t r) {
  return run.in<T>(1) + r % norm.skip_rows * norm.n;
}

template <class OfRows>
void each_range(const SkipNorm& norm, Run& run, const OfRows& of_rows) {
  run.pool().parallel_for(norm.rows, 1 + 8192 / (norm.n + 1), of_rows);
}

Choice rows(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const SkipNorm norm = skip_norm_of(op);
  if (norm.n == 0) return refuse("an empty tensor");
  return [norm](Run& run) {
    const auto ranges = kernels::RangeKernels::find();
    const auto add = [&](const float* a, const float* b, float* y) {
      ranges.binary(kernels::Binary::add, {}, a, b, y, 0, norm.n);
    };
    const auto norm_rows = [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t r = first; r < first + count; ++r) {
        float* sum = sum_of_row<float>(norm, run, r);
        add(run.in<float>(0) + r * norm.n, skip_of_row<float>(norm, run, r), sum);
        if (const float* bias = run.in<float>(norm.bias)) add(sum, bias, sum);
      }
      kernels::LayerNormArgs args;
      args.epsilon = static_cast<float>(norm.epsilon);
      args.scale = run.in<float>(2);
      args.bias = norm.centered ? run.in<float>(3) : nullptr;
      if (run.out<float>(1) != nullptr) args.mean = run.out<float>(1) + first;
      if (run.out<float>(2) != nullptr) args.inv_std = run.out<float>(2) + first;
      (norm.centered ? kernels::layer_norm_rows : kernels::rms_norm_rows)(
          args, sum_of_row<float>(norm, run, first), run.out<float>(0) + first * norm.n, count,
          norm.n, run.pool());
    };
    each_range(norm, run, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; r += kernels::kNormRows)
        norm_rows(r, std::min(kernels::kNormRows, end - r));
    });
  };
}

template <class T>
void reference_row(const SkipNorm& norm, Run& run, std::int64_t r) {
  const T *x = run.in<T>(0) + r * norm.n, *skip = skip_of_row<T>(norm, run, r);
  const T* other_bias = run.in<T>(norm.bias);
  T* sum = sum_of_row<T>(norm, run, r);
  for (std::int64_t i = 0; i < norm.n; ++i)
    sum[i] = x[i] + skip[i] + (other_bias != nullptr ? other_bias[i] : T{0});
  const T *scale = run.in<T>(2), *bias = norm.centered ? run.in<T>(3) : nullptr;
  T* y = run.out<T>(0) + r * norm.n;
  double mean = 0, squares = 0;
  for (std::int64_t i = 0; norm.centered && i < norm.n; ++i) mean += static_cast<double>(sum[i]);
  mean /= static_cast<double>(norm.n);
  for (std::int64_t i = 0; i < norm.n; ++i) {
    squares += (static_cast<double>(sum[i]) - mean) * (static_cast<double>(sum[i]) - mean);
  }
  const double inv_std = 1 / std::sqrt(squares / static_cast<double>(norm.n) + norm.epsilon);
  if (run.out<float>(1) != nullptr) run.out<float>(1)[r] = static_cast<float>(mean);
  if (run.out<float>(2) != nullptr) run.out<float>(2)[r] = static_cast<float>(inv_std);
  for (std::int64_t i = 0; i < norm.n; ++i) {
    const double normal = (static_cast<double>(sum[i]) - mean) * inv_std;
    y[i] = static_cast<T>(normal * static_cast<double>(scale[i]) +
                          (bias != nullptr ? static_cast<double>(bias[i]) : 0.0));
  }
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [norm = skip_norm_of(op)](Run& run) {
      each_range(norm, run, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) reference_row<T>(norm, run, r);
      });
    };
  });
  return choice;
}

Row& common(Row& row) {
  return row.since(1)
      .attr("epsilon", 1e-12F)
      .in("input", kFloatsBf16)
      .in("skip", like(0))
      .in("gamma", like(0))
      .out("output", like(0))
      .out("mean", DType::f32, Arity::optional)
      .out("inv_std_var", DType::f32, Arity::optional)
      .out("input_skip_bias_sum", like(0), Arity::optional)
      .infer(infer)
      .simd_kernel("rows", rows)
      .kernel("reference", reference);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(skip_layer_norm) {
  common(op("SkipLayerNormalization", "com.microsoft"))
      .in("beta", like(0), Arity::optional)
      .in("bias", like(0), Arity::optional);
  common(op("SkipSimplifiedLayerNormalization", "com.microsoft"))
      .in("bias", like(0), Arity::optional);
}
