// Split. Spec: Split-1 (lengths as attribute or input, of the data's type), -2, -11 (attribute),
// -13 (input), -18 (num_outputs).

#include <algorithm>

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

int axis_of(const Op& op) { return normalize_axis(op.attr_int("axis"), op.in_rank(0)); }

// The output lengths where none are given: equal ones, and from opset 18 on the last may be
// shorter.
std::vector<std::int64_t> equal_lengths(const Op& op, std::int64_t extent) {
  const std::int64_t parts = std::max(op.outputs(), 1);
  if (op.opset() >= 18 && op.has_attr("num_outputs") && op.attr_int("num_outputs") != parts) {
    throw invalid("Split's num_outputs is not the number of outputs")
        .expected(std::to_string(parts))
        .got(std::to_string(op.attr_int("num_outputs")));
  }
  if (op.opset() < 18 && extent % parts != 0) {
    throw invalid("Split cannot make equal parts")
        .expected("an extent that " + std::to_string(parts) + " divides")
        .got(std::to_string(extent));
  }
  const std::int64_t length = extent / parts + (extent % parts != 0 ? 1 : 0);
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < parts; ++i) {
    lengths.push_back(std::min(length, extent));
    extent -= lengths.back();
  }
  return lengths;
}

std::vector<std::int64_t> lengths_of(const Op& op) {
  if (op.has_in(1)) return op.ints(1);
  if (op.opset() < 13 && op.has_attr("split")) return op.attr_ints("split");
  return equal_lengths(op, op.in_shape(0)[static_cast<std::size_t>(axis_of(op))]);
}

void infer(Op& op) {
  const auto axis = static_cast<std::size_t>(axis_of(op));
  const std::int64_t extent = op.in_shape(0)[axis];
  const std::vector<std::int64_t> lengths = lengths_of(op);
  std::int64_t sum = 0;
  bool valid = static_cast<int>(lengths.size()) == op.outputs();
  for (const std::int64_t length : lengths) {
    valid = valid && length >= 0;
    if (valid) sum = checked_add(sum, length);
  }
  if (!valid || sum != extent) {
    throw invalid("Split's lengths do not fit")
        .expected(std::to_string(op.outputs()) + " lengths that sum to " + std::to_string(extent))
        .got(to_string(lengths));
  }
  for (int i = 0; i < op.outputs(); ++i) {
    Shape out = op.in_shape(0);
    out[axis] = lengths[static_cast<std::size_t>(i)];
    op.set_out(i, op.in(0).dtype, std::move(out));
  }
}

Choice by_size(Op& op) {
  const auto axis = static_cast<std::size_t>(axis_of(op));
  const Shape& shape = op.in_shape(0);
  const std::vector<std::int64_t> source_strides = strides_of(shape);
  const std::vector<std::int64_t> lengths = lengths_of(op);
  std::vector<std::pair<int, Mover>> movers;
  std::int64_t offset = 0;
  for (int i = 0; i < op.outputs(); ++i) {
    if (op.has_out(i)) {
      movers.emplace_back(i, Mover(op.in(0).dtype, op.out_shape(i), source_strides,
                                   strides_of(op.out_shape(i)), offset * source_strides[axis]));
    }
    // An omitted output has its part, too.
    offset += lengths[static_cast<std::size_t>(i)];
  }
  return [movers = std::move(movers)](Run& run) {
    for (const auto& [i, mover] : movers) mover.run(run.in_data(0), run.out_data(i), run.pool());
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(split) {
  op("Split")
      .since(1)
      .attr("axis", Kind::int_)  // no default is documented; 0, as later
      .attr("split", Kind::ints)
      .in("input", kFloats)
      .in("split", like(0), Arity::optional)
      .out("outputs...", like(0), Arity::variadic)
      .infer(infer)
      .kernel_by_size(by_size);
  op("Split")
      .since(2, 11)
      .attr("axis", 0)
      .attr("split", Kind::ints)
      .in("input", kAllNoBf16)
      .out("outputs", like(0), Arity::variadic)
      .infer(infer)
      .kernel_by_size(by_size);
  op("Split")
      .since(13)
      .attr("axis", 0)
      .in("input", kAllWithBf16)
      .in("split", DType::i64, Arity::optional)
      .out("outputs", like(0), Arity::variadic)
      .infer(infer)
      .kernel_by_size(by_size);
  op("Split")
      .since(18)
      .attr("axis", 0)
      .attr("num_outputs", Kind::int_)
      .in("input", kAllWithBf16)
      .in("split", DType::i64, Arity::optional)
      .out("outputs", like(0), Arity::variadic)
      .infer(infer)
      .kernel_by_size(by_size);
}
