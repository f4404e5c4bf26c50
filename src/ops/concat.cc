// Concat. Spec: Concat-1 (axis 1 by default), -4 (axis required), -11, -13.

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

int axis_of(const Op& op) {
  // Concat-1 says its default only in the attribute's description.
  return normalize_axis(op.has_attr("axis") ? op.attr_int("axis") : 1, op.in_rank(0));
}

void infer(Op& op) {
  if (!op.has_in(0)) throw invalid("Concat without inputs");
  const auto axis = static_cast<std::size_t>(axis_of(op));
  Shape out = op.in_shape(0);
  for (int i = 1; i < op.inputs(); ++i) {
    const Shape& shape = op.in_shape(i);
    bool fits = op.has_in(i) && shape.size() == out.size();
    for (std::size_t a = 0; fits && a < out.size(); ++a) fits = a == axis || shape[a] == out[a];
    if (!fits) {
      throw invalid("Concat's inputs differ in an axis other than the one they are joined along")
          .at("input " + std::to_string(i))
          .expected(to_string(op.in_shape(0)) + " but for axis " + std::to_string(axis))
          .got(to_string(shape));
    }
    out[axis] = checked_add(out[axis], shape[axis]);
  }
  op.set_out(0, op.in(0).dtype, std::move(out));
}

Choice by_size(Op& op) {
  const auto axis = static_cast<std::size_t>(axis_of(op));
  const std::vector<std::int64_t> target_strides = strides_of(op.out_shape(0));
  std::vector<Mover> movers;
  std::vector<std::size_t> begins;  // of each input in the output, in bytes
  std::int64_t offset = 0;
  for (int i = 0; i < op.inputs(); ++i) {
    const Shape& shape = op.in_shape(i);
    movers.emplace_back(op.in(0).dtype, shape, strides_of(shape), target_strides, 0,
                        offset * target_strides[axis]);
    begins.push_back(bytes_of(op.in(0).dtype, offset * target_strides[axis]));
    offset += shape[axis];
  }
  return [movers = std::move(movers), begins = std::move(begins)](Run& run) {
    for (std::size_t i = 0; i < movers.size(); ++i) {
      const void* part = run.in_data(static_cast<int>(i));
      // The plan may have had the part written where it belongs.
      if (part == static_cast<const char*>(run.out_data(0)) + begins[i]) continue;
      movers[i].run(part, run.out_data(0), run.pool());
    }
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(concat) {
  op("Concat")
      .since(1)
      .attr("axis", FormalAttribute::Kind::int_)
      .in("inputs", kFloats, Arity::variadic)
      .out("concat_result", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
  op("Concat")
      .since(4, 11, 13)
      .required("axis", FormalAttribute::Kind::int_)
      .in("inputs", kAllWithBf16, Arity::variadic)
      .out("concat_result", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
}
