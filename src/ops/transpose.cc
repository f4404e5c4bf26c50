// Transpose. Spec: Transpose-1, -13, -21, -23, -24, -25 (types only).

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// Output axis i is input axis perm[i]; without the attribute the axes are reversed.
std::vector<std::size_t> permutation(const Op& op) {
  const auto rank = static_cast<std::size_t>(op.in_rank(0));
  std::vector<std::size_t> perm(rank);
  if (!op.has_attr("perm")) {
    for (std::size_t i = 0; i < rank; ++i) perm[i] = rank - 1 - i;
    return perm;
  }
  const std::vector<std::int64_t> given = op.attr_ints("perm");
  std::vector<bool> seen(rank, false);
  bool valid = given.size() == rank;
  for (std::size_t i = 0; valid && i < rank; ++i) {
    const std::int64_t axis = given[i] < 0 ? given[i] + op.in_rank(0) : given[i];
    valid = axis >= 0 && axis < op.in_rank(0) && !seen[static_cast<std::size_t>(axis)];
    if (!valid) break;
    perm[i] = static_cast<std::size_t>(axis);
    seen[perm[i]] = true;
  }
  if (!valid) {
    throw invalid("'perm' is no permutation of the axes")
        .expected(std::to_string(rank) + " different axes")
        .got(to_string(given));
  }
  return perm;
}

void infer(Op& op) {
  Shape out;
  for (const std::size_t axis : permutation(op)) out.push_back(op.in_shape(0)[axis]);
  op.set_out(0, op.in(0).dtype, std::move(out));
}

Choice by_size(Op& op) {
  const std::vector<std::int64_t> strides = strides_of(op.in_shape(0));
  std::vector<std::int64_t> source_strides;
  for (const std::size_t axis : permutation(op)) source_strides.push_back(strides[axis]);
  const DType dtype = op.in(0).dtype;
  const std::int64_t count = element_count(op.in_shape(0));
  return [dtype, count,
          mover = Mover(dtype, op.out_shape(0), source_strides, strides_of(op.out_shape(0)))](
             Run& run) {
    on_whole_bytes(
        dtype, run.in_data(0), count, run.out_data(0), count,
        [&](const void* source, void* target) { mover.run(source, target, run.pool()); });
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(transpose) {
  op("Transpose")
      .since(1, 13, 21, 23, 24, 25)
      .attr("perm", FormalAttribute::Kind::ints)
      .in("data", kAllIr13)
      .out("transposed", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
}
