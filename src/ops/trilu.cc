// Trilu: a triangle of each matrix. Spec: Trilu-14.

#include <algorithm>

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) {
  require_rank(op, 0, 2);
  if (op.has_in(1) && element_count(op.in_shape(1)) != 1) {
    throw invalid("Trilu's k must be a scalar").got(to_string(op.in_shape(1)));
  }
  same_shape(op);
}

// Row i keeps the columns from i + k on (upper) or up to i + k (lower).
Choice by_size(Op& op) {
  const Shape& shape = op.in_shape(0);
  const std::int64_t columns = shape.back(), rows = shape[shape.size() - 2];
  const std::int64_t all_rows = product(shape, 0, op.in_rank(0) - 1);
  const bool upper = op.attr_int("upper") != 0;
  const DType dtype = op.in(0).dtype;
  return [=](Run& run) {
    const std::int64_t given = run.in_data(1) != nullptr ? *run.in<std::int64_t>(1) : 0;
    const std::int64_t k = std::clamp(given, -rows, columns);
    with_element(dtype, [&](auto element) {
      using Element = decltype(element);
      const auto keep = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          const Element* in = run.in<Element>(0) + row * columns;
          Element* out = run.out<Element>(0) + row * columns;
          const std::int64_t split =
              std::clamp<std::int64_t>(row % rows + k + (upper ? 0 : 1), 0, columns);
          const std::int64_t from = upper ? split : 0, to = upper ? columns : split;
          if (in != out) copy_run(in + from, out + from, to - from);
          fill_run(Element{}, out, from);
          fill_run(Element{}, out + to, columns - to);
        }
      };
      run.pool().parallel_for(all_rows, runs_per_task(dtype, columns), keep);
    });
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(trilu) {
  op("Trilu")
      .since(14)
      .attr("upper", 1)
      .in("input", kAllWithBf16)
      .in("k", DType::i64, Arity::optional)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size)
      .in_place(0);
}
