// Det: determinants of a stack of square matrices. Spec: ai.onnx Det-11, -22 (bfloat16).
#include <cmath>

#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) {
  require_rank(op, 0, 2);
  Shape shape = op.in_shape(0);
  const std::int64_t n = shape.back();
  shape.pop_back();
  if (shape.back() != n) {
    throw invalid("the matrices are not square").got(to_string(op.in_shape(0)));
  }
  shape.pop_back();
  op.set_out(0, op.in(0).dtype, std::move(shape));
}

// By elimination with row pivots; destroys `a` [n, n]. An empty matrix has determinant 1.
double determinant(double* a, std::int64_t n) {
  double result = 1;
  for (std::int64_t c = 0; c < n; ++c) {
    std::int64_t pivot = c;
    for (std::int64_t r = c + 1; r < n; ++r) {
      if (std::abs(a[r * n + c]) > std::abs(a[pivot * n + c])) pivot = r;
    }
    if (pivot != c) {
      std::swap_ranges(a + c * n, a + c * n + n, a + pivot * n);
      result = -result;
    }
    const double head = a[c * n + c];
    result *= head;
    if (head == 0) return 0;
    for (std::int64_t r = c + 1; r < n; ++r) {
      const double factor = a[r * n + c] / head;
      for (std::int64_t j = c; j < n; ++j) a[r * n + j] -= factor * a[c * n + j];
    }
  }
  return result;
}

Choice reference(Op& op) {
  const std::int64_t n = op.in_shape(0).back(), count = element_count(op.out_shape(0));
  Kernel kernel;
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    kernel = [n, count](Run& run) {
      run.pool().parallel_for(count, grain_for(n * n), [&](std::int64_t begin, std::int64_t end) {
        std::vector<double> a(static_cast<std::size_t>(n * n));
        for (std::int64_t i = begin; i < end; ++i) {
          std::copy_n(run.in<T>(0) + i * n * n, n * n, a.data());
          run.out<T>(0)[i] = static_cast<T>(determinant(a.data(), n));
        }
      });
    };
  });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(det) {
  op("Det")
      .since(11, 22)
      .in("X", kFloatsBf16)
      .out("Y", like(0))
      .infer(infer)
      .kernel("reference", reference);
}
