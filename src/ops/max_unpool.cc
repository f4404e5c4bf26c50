// MaxUnpool (ai.onnx 9, 11, 22): puts the elements of X where MaxPool found them. The indices count
// in the shape that kernel, strides and pads imply; a larger output_shape pads that at the ends, as
// the official tests have it.

#include <algorithm>
#include <string>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {
namespace {

// [N, C, extents], the shape in which the indices count.
Shape counted_shape(const Op& op) {
  const Shape& x = op.in_shape(0);
  Shape shape = {x[0], x[1]};
  for (const std::int64_t extent : unpooled_extents(op, x)) shape.push_back(extent);
  return shape;
}

void infer(Op& op) {
  require_rank(op, 0, 3);
  if (op.in_shape(1) != op.in_shape(0)) {
    throw invalid("there must be an index for each element")
        .at("input 'I'")
        .expected(to_string(op.in_shape(0)))
        .got(to_string(op.in_shape(1)));
  }
  Shape shape = counted_shape(op);
  if (op.has_in(2)) {
    const Shape wanted = op.ints(2);
    const bool fits = wanted.size() == shape.size() &&
                      std::equal(shape.begin(), shape.end(), wanted.begin(),
                                 [](std::int64_t least, std::int64_t w) { return w >= least; });
    if (!fits) {
      throw invalid("the output shape has no room for what is unpooled")
          .at("input 'output_shape'")
          .expected("at least " + to_string(shape))
          .got(to_string(wanted));
    }
    shape = wanted;
  }
  op.set_out(0, op.in(0).dtype, shape);
}

template <class T>
void run_as(const Shape& counted, Run& run) {
  const Shape& y_shape = run.op().out_shape(0);
  const auto strides = strides_of(y_shape);
  const std::int64_t room = product(counted);
  T* y = run.out<T>(0);
  std::fill_n(y, product(y_shape), T{0});
  const auto* indices = run.in<std::int64_t>(1);
  const std::int64_t count = product(run.op().in_shape(0));
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = indices[i];
    if (rest < 0 || rest >= room) {
      throw Error(ErrorCode::runtime, "an index is out of range")
          .at("I, element " + std::to_string(i))
          .expected("0 to " + std::to_string(room - 1))
          .got(std::to_string(rest));
    }
    std::int64_t at = 0;
    for (std::size_t d = counted.size(); d-- > 0; rest /= counted[d]) {
      at += rest % counted[d] * strides[d];
    }
    y[at] = run.in<T>(0)[i];
  }
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [counted = counted_shape(op)](Run& run) { run_as<T>(counted, run); };
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(max_unpool) {
  using Kind = FormalAttribute::Kind;
  const auto declare = [](Row& row, TypeSet types) {
    row.required("kernel_shape", Kind::ints)
        .attr("pads", Kind::ints)
        .attr("strides", Kind::ints)
        .in("X", types)
        .in("I", DType::i64)
        .in("output_shape", DType::i64, Arity::optional)
        .out("output", like(0))
        .infer(infer)
        .kernel("reference", reference);
  };
  declare(op("MaxUnpool").since(9, 11), kFloats);
  declare(op("MaxUnpool").since(22), kFloatsBf16);
}
