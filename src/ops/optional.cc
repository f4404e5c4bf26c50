// Optionals. Spec: Optional-15, -28, OptionalHasElement-15, -18, -28, OptionalGetElement-15, -18,
// -28.
//
// An optional that holds something is what it holds; one that holds nothing is a tensor of type
// DType::none.

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

void infer_optional(Op& op) {
  if (op.has_in(0)) return same_shape(op);
  op.set_out(0, DType::none, {});
}

Choice copy(Op&) {
  return [](Run& run) {
    const Operand& out = run.op().out(0);
    if (!run.op().has_in(0)) return;
    copy_all(out.dtype, run.in_data(0), run.out_data(0), element_count(out.shape), run.pool());
  };
}

void infer_get(Op& op) {
  if (op.in(0).dtype == DType::none) {
    throw Error(ErrorCode::runtime, "the optional holds nothing")
        .hint("Ask OptionalHasElement first, and read it in a branch of an If");
  }
  same_shape(op);
}

Choice has_element(Op&) {
  return [](Run& run) {
    *run.out<bool>(0) = run.op().has_in(0) && run.op().in(0).dtype != DType::none;
  };
}

void infer_flag(Op& op) { op.set_out(0, DType::boolean, {}); }

constexpr TypeSet kAny = kAllIr14 | kOptional;

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(optional) {
  op("Optional")
      .since(15, 28)
      .attr("type", Kind::type_proto)
      .in("input", kAllIr14 | kSequence, Arity::optional)
      .out("output", kAny)
      .infer(infer_optional)
      .kernel("copy", copy);
  op("OptionalHasElement")
      .since(15)
      .in("input", kAny)
      .out("output", DType::boolean)
      .infer(infer_flag)
      .from_shapes()
      .kernel("from the type", has_element);
  op("OptionalHasElement")
      .since(18, 28)
      .in("input", kAny, Arity::optional)
      .out("output", DType::boolean)
      .infer(infer_flag)
      .from_shapes()
      .kernel("from the type", has_element);
  op("OptionalGetElement")
      .since(15, 18, 28)
      .in("input", kAny)
      .out("output", like(0))
      .infer(infer_get)
      .view();
}
