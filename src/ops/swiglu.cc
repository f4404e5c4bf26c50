// SwiGLU: a gate through Swish, times a value. Spec: SwiGLU-28; N. Shazeer, "GLU Variants Improve
// Transformer", 2020.

#include <cmath>

#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// The gate's Swish goes to the output and is multiplied there while it is still in the cache.
constexpr std::int64_t kPiece = 4096;

void infer_swiglu(Op& op) {
  if (op.in_shape(0) != op.in_shape(1)) {
    throw invalid("SwiGLU's inputs must have the same shape")
        .expected(to_string(op.in_shape(0)))
        .got(to_string(op.in_shape(1)));
  }
  same_shape(op);
}

Choice simd(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  return [alpha = op.attr_float("alpha"), count = product(op.in_shape(0))](Run& run) {
    const float *a = run.in<float>(0), *b = run.in<float>(1);
    float* y = run.out<float>(0);
    run.pool().parallel_for(count, kPiece, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; i += kPiece) {
        const std::int64_t n = std::min(kPiece, end - i);
        kernels::unary(kernels::Unary::swish, {alpha, 0}, a + i, y + i, n, run.pool());
        kernels::binary(kernels::Binary::mul, {}, y + i, b + i, y + i, n, run.pool());
      }
    });
  };
}

template <class T>
T swish(T x, T alpha) {
  const T z = alpha * x;
  const T e = std::exp(-std::fabs(z));  // never overflows
  return x * (z >= 0 ? 1 / (1 + e) : e / (1 + e));
}

Choice reference(Op& op) {
  Choice choice = refuse("no plain loop for this element type");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [alpha = op.attr_float("alpha"), count = product(op.in_shape(0))](Run& run) {
      const T *a = run.in<T>(0), *b = run.in<T>(1);
      T* y = run.out<T>(0);
      run.pool().parallel_for(count, kElementwiseGrain / 4,
                              [&](std::int64_t begin, std::int64_t end) {
                                for (std::int64_t i = begin; i < end; ++i) {
                                  y[i] = swish(a[i], static_cast<T>(alpha)) * b[i];
                                }
                              });
    };
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(swiglu) {
  op("SwiGLU")
      .since(28)
      .attr("alpha", 1.0F)
      .in("A", kFloatsBf16)
      .in("B", like(0))
      .out("Y", like(0))
      .infer(infer_swiglu)
      .simd_kernel("simd f32", simd)
      .kernel("reference", reference);
}
