// Softmax, LogSoftmax and Hardmax. Spec: ai.onnx, each -1, -11 (negative axis), -13.
// Before opset 13 the input is seen as 2-D, split before `axis` (default 1), and each row is
// normalised as a whole; since 13 it is one axis (default -1).
#include <cmath>
#include <limits>

#include "kernels/elementwise_f32.h"
#include "kernels/softmax_f32.h"
#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum class Function { softmax, log_softmax, hardmax };

AxisSplit split_of(const Op& op) {
  const Shape& shape = op.in_shape(0);
  const std::int64_t axis = op.attr_int("axis");
  if (op.row().versions().front() >= 13)
    return split_at(shape, normalize_axis(axis, op.in_rank(0)));
  // The 2-D view may also be split behind the last axis: rows of one element.
  const int at = axis == op.in_rank(0) ? op.in_rank(0) : normalize_axis(axis, op.in_rank(0));
  return {product(shape, 0, at), product(shape, at, op.in_rank(0)), 1};
}

void infer(Op& op) {
  split_of(op);
  same_shape(op);
}

Choice rows(Op& op, bool log) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const AxisSplit split = split_of(op);
  if (split.inner != 1) return refuse("the axis is not the innermost");
  if (split.outer * split.n == 0) return refuse("nothing to compute");
  kernels::SoftmaxArgs args;
  args.log = log;
  return [args, split](Run& run) {
    kernels::softmax_rows(args, run.in<float>(0), run.out<float>(0), split.outer, split.n,
                          run.pool());
  };
}

// Softmax of `width` neighbouring columns at once, [n, width] with rows `stride` apart: every loop
// runs along memory.
void softmax_columns(const float* x, float* y, std::int64_t n, std::int64_t stride,
                     std::int64_t width, bool log, ThreadPool& pool) {
  std::vector<float> top(x, x + width), sum(static_cast<std::size_t>(width), 0.0F);
  const kernels::UnaryArgs none;
  for (std::int64_t i = 1; i < n; ++i) {
    kernels::binary(kernels::Binary::max, {}, top.data(), x + i * stride, top.data(), width, pool);
  }
  std::vector<float> power(log ? static_cast<std::size_t>(width) : 0);
  for (std::int64_t i = 0; i < n; ++i) {
    float* row = y + i * stride;
    kernels::binary(kernels::Binary::sub, {}, x + i * stride, top.data(), row, width, pool);
    float* exponential = log ? power.data() : row;
    kernels::unary(kernels::Unary::exp, none, row, exponential, width, pool);
    kernels::binary(kernels::Binary::add, {}, sum.data(), exponential, sum.data(), width, pool);
  }
  if (log) kernels::unary(kernels::Unary::log, none, sum.data(), sum.data(), width, pool);
  const auto finish = log ? kernels::Binary::sub : kernels::Binary::div;
  for (std::int64_t i = 0; i < n; ++i) {
    kernels::binary(finish, {}, y + i * stride, sum.data(), y + i * stride, width, pool);
  }
}

Choice columns(Op& op, bool log) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const AxisSplit split = split_of(op);
  if (split.outer * split.n * split.inner == 0) return refuse("nothing to compute");
  if (split.inner < 16) return refuse("fewer than 16 elements behind the axis");
  return [split, log](Run& run) {
    // Columns are taken in pieces whose rows stay in the first cache.
    const std::int64_t width = std::min<std::int64_t>(split.inner, 1024);
    const std::int64_t pieces = (split.inner + width - 1) / width;
    run.pool().parallel_for(
        split.outer * pieces, grain_for(split.n * width / 4),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t column = i % pieces * width;
            const std::int64_t at = i / pieces * split.n * split.inner + column;
            softmax_columns(run.in<float>(0) + at, run.out<float>(0) + at, split.n, split.inner,
                            std::min(width, split.inner - column), log, run.pool());
          }
        });
  };
}

// One row of n > 0 elements, `stride` apart; y may be x.
template <class T>
void row_reference(Function function, const T* x, T* y, std::int64_t n, std::int64_t stride) {
  std::int64_t top = 0;
  bool has_nan = false;
  for (std::int64_t i = 0; i < n; ++i) {
    if (x[i * stride] > x[top * stride]) top = i;
    has_nan |= std::isnan(x[i * stride]);
  }
  if (function == Function::hardmax) {
    for (std::int64_t i = 0; i < n; ++i) y[i * stride] = i == top ? T{1} : T{0};
    return;
  }
  const double largest =
      has_nan ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(x[top * stride]);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i * stride] - largest);
  const double log_sum = std::log(sum);
  for (std::int64_t i = 0; i < n; ++i) {
    const double shifted = x[i * stride] - largest;
    y[i * stride] =
        static_cast<T>(function == Function::softmax ? std::exp(shifted) / sum : shifted - log_sum);
  }
}

Choice reference(Op& op, Function function) {
  const AxisSplit split = split_of(op);
  Kernel kernel;
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    kernel = [split, function](Run& run) {
      if (split.outer * split.n * split.inner == 0) return;
      run.pool().parallel_for(
          split.outer * split.inner, grain_for(split.n * 10),
          [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
              const std::int64_t at = i / split.inner * split.n * split.inner + i % split.inner;
              row_reference(function, run.in<T>(0) + at, run.out<T>(0) + at, split.n, split.inner);
            }
          });
    };
  });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

void declare(Row& row, Function function, int axis, TypeSet types) {
  row.attr("axis", axis).in("input", types).out("output", like(0)).infer(infer).in_place(0);
  if (function != Function::hardmax) {
    const bool log = function == Function::log_softmax;
    row.simd_kernel("rows", [log](Op& op) { return rows(op, log); });
    row.simd_kernel("columns", [log](Op& op) { return columns(op, log); });
  }
  row.kernel("reference", [function](Op& op) { return reference(op, function); });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(softmax) {
  const std::pair<const char*, Function> functions[] = {{"Softmax", Function::softmax},
                                                        {"LogSoftmax", Function::log_softmax},
                                                        {"Hardmax", Function::hardmax}};
  for (const auto& [name, function] : functions) {
    declare(op(name).since(1, 11), function, 1, kFloats);
    declare(op(name).since(13), function, -1, kFloatsBf16);
  }
}
