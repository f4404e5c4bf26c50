// CDist: the distances between all rows of two matrices. com.microsoft CDist-1 (SciPy's cdist).

#include <algorithm>
#include <cmath>

#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // multiply-adds that are worth a thread

void infer(Op& op) {
  require_rank(op, 0, 2, 2);
  require_rank(op, 1, 2, 2);
  if (op.in_shape(0)[1] != op.in_shape(1)[1]) {
    throw invalid("the rows of A and B must have the same length")
        .expected(std::to_string(op.in_shape(0)[1]))
        .got(std::to_string(op.in_shape(1)[1]));
  }
  const std::string metric = op.attr_string("metric");
  if (metric != "sqeuclidean" && metric != "euclidean") {
    throw invalid("an unknown metric")
        .expected("'sqeuclidean' or 'euclidean'")
        .got("'" + metric + "'");
  }
  op.set_out(0, op.in(0).dtype, {op.in_shape(0)[0], op.in_shape(1)[0]});
}

Choice reference(Op& op) {
  Choice choice = refuse("neither float32 nor float64");
  const std::int64_t m = op.in_shape(0)[0], n = op.in_shape(1)[0], k = op.in_shape(0)[1];
  const bool root = op.attr_string("metric") == "euclidean";
  with_type(FloatTypes{}, op.in(0).dtype, [&]<class T>(T) {
    choice = Kernel([=](Run& run) {
      const T *a = run.in<T>(0), *b = run.in<T>(1);
      T* c = run.out<T>(0);
      const std::int64_t row_cost = std::max<std::int64_t>(n * k, 1);
      run.pool().parallel_for(m, std::max<std::int64_t>(kGrain / row_cost, 1),
                              [=](std::int64_t begin, std::int64_t end) {
                                for (std::int64_t i = begin; i < end; ++i) {
                                  for (std::int64_t j = 0; j < n; ++j) {
                                    double sum = 0;
                                    for (std::int64_t l = 0; l < k; ++l) {
                                      const double d =
                                          static_cast<double>(a[i * k + l]) - b[j * k + l];
                                      sum += d * d;
                                    }
                                    c[i * n + j] = static_cast<T>(root ? std::sqrt(sum) : sum);
                                  }
                                }
                              });
    });
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(cdist) {
  op("CDist", "com.microsoft")
      .since(1)
      .attr("metric", "sqeuclidean")
      .in("A", {DType::f32, DType::f64})
      .in("B", like(0))
      .out("C", like(0))
      .infer(infer)
      .kernel("reference", reference);
}
