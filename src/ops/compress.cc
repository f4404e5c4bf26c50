// Compress: the slices for which a condition holds. Spec: Compress-9, -11, -28 (types).

#include <algorithm>

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// The tensor as [outer, extent, inner]; without an axis it is flat.
struct View {
  std::int64_t outer = 1, extent = 1, inner = 1;
};

View view_of(const Op& op) {
  const Shape& shape = op.in_shape(0);
  if (!op.has_attr("axis")) return {1, product(shape), 1};
  const int axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  return {product(shape, 0, axis), shape[static_cast<std::size_t>(axis)],
          product(shape, axis + 1, op.in_rank(0))};
}

// The positions that are selected. A condition that is too short selects nothing beyond its end.
std::vector<std::int64_t> selected(const bool* condition, std::int64_t length,
                                   std::int64_t extent) {
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < std::min(length, extent); ++i) {
    if (condition[i]) positions.push_back(i);
  }
  return positions;
}

Shape shape_for(const Op& op, std::int64_t count) {
  if (!op.has_attr("axis")) return {count};
  Shape shape = op.in_shape(0);
  shape[static_cast<std::size_t>(normalize_axis(op.attr_int("axis"), op.in_rank(0)))] = count;
  return shape;
}

void infer(Op& op) {
  require_rank(op, 0, 1);
  require_rank(op, 1, 1, 1);
  const View view = view_of(op);
  const Tensor* condition = op.constant(1);
  if (condition == nullptr) {
    op.set_out_unknown(0, op.in(0).dtype);
    return;
  }
  const auto positions = selected(condition->values<bool>().data(), condition->size(), view.extent);
  op.set_out(0, op.in(0).dtype, shape_for(op, static_cast<std::int64_t>(positions.size())));
}

Choice by_size(Op& op) {
  return [view = view_of(op)](Run& run) {
    const Op& op = run.op();
    const DType dtype = op.in(0).dtype;
    const std::vector<std::int64_t> positions =
        selected(run.in<bool>(1), op.in_shape(1)[0], view.extent);
    const auto count = static_cast<std::int64_t>(positions.size());
    void* made = op.out(0).known ? run.out_data(0) : run.allocate(0, dtype, shape_for(op, count));
    if (view.inner == 0) return;
    with_element(dtype, [&](auto element) {
      using Element = decltype(element);
      const Element* in = run.in<Element>(0);
      auto* out = static_cast<Element*>(made);
      const auto copy = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t from =
              i / count * view.extent + positions[static_cast<std::size_t>(i % count)];
          copy_run(in + from * view.inner, out + i * view.inner, view.inner);
        }
      };
      run.pool().parallel_for(view.outer * count, runs_per_task(dtype, view.inner), copy);
    });
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(compress) {
  op("Compress")
      .since(9, 11, 28)
      .attr("axis", FormalAttribute::Kind::int_)
      .in("input", kAllWithBf16)
      .in("condition", DType::boolean)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
}
