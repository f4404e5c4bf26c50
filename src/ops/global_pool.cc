// GlobalMaxPool, GlobalAveragePool (ai.onnx 1, 22), GlobalLpPool (1, 2, 22; p was a float in 1):
// one number for each plane of [N, C, D1, ...].

#include <algorithm>
#include <limits>

#include "base/shape.h"
#include "kernels/reduce_f32.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) {
  require_rank(op, 0, 2);
  Shape shape(op.in_shape(0).size(), 1);
  shape[0] = op.in_shape(0)[0];
  shape[1] = op.in_shape(0)[1];
  op.set_out(0, op.in(0).dtype, shape);
}

template <kernels::Reduce kReduce>
Choice simd(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const std::int64_t planes = product(op.in_shape(0), 0, 2);
  const std::int64_t size = product(op.in_shape(0), 2, op.in_rank(0));
  if (planes == 0 || size == 0) return refuse("an empty tensor");
  return [planes, size](Run& run) {
    kernels::reduce(kReduce, run.in<float>(0), run.out<float>(0), planes, size, 1, run.pool());
  };
}

// The maximum of one plane; NaN is carried through.
template <class T>
double maximum(const T* x, std::int64_t n) {
  T best = -std::numeric_limits<T>::infinity();
  for (std::int64_t i = 0; i < n; ++i) {
    if (x[i] != x[i]) return static_cast<double>(x[i]);
    best = std::max(best, x[i]);
  }
  return static_cast<double>(best);
}

template <class T>
double mean(const T* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  return sum / static_cast<double>(n);
}

// A kernel that gives of_plane(elements, count) for each plane.
template <class OfPlane>
Choice each_plane(Op& op, OfPlane of_plane) {
  Choice choice = refuse("not float32 or float64");
  const std::int64_t planes = product(op.in_shape(0), 0, 2);
  const std::int64_t size = product(op.in_shape(0), 2, op.in_rank(0));
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [=](Run& run) {
      const T* x = run.in<T>(0);
      T* y = run.out<T>(0);
      run.pool().parallel_for(planes, 1 + 16384 / (size + 1),
                              [&](std::int64_t begin, std::int64_t end) {
                                for (std::int64_t i = begin; i < end; ++i) {
                                  y[i] = static_cast<T>(of_plane(x + i * size, size));
                                }
                              });
    };
  });
  return choice;
}

Choice max_reference(Op& op) {
  return each_plane(op, [](const auto* x, std::int64_t n) { return maximum(x, n); });
}

Choice mean_reference(Op& op) {
  return each_plane(op, [](const auto* x, std::int64_t n) { return mean(x, n); });
}

Row& global(Row& row, TypeSet types) { return row.in("X", types).out("Y", like(0)); }

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(global_pool) {
  for (const auto& [version, types] :
       {std::pair{1, TypeSet(kFloats)}, std::pair{22, TypeSet(kFloatsBf16)}}) {
    global(op("GlobalMaxPool").since(version), types)
        .infer(infer)
        .simd_kernel("simd", simd<kernels::Reduce::max>)
        .kernel("reference", max_reference);
    global(op("GlobalAveragePool").since(version), types)
        .infer(infer)
        .simd_kernel("simd", simd<kernels::Reduce::mean>)
        .kernel("reference", mean_reference);
  }
}
