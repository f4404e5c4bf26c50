// Clip: min(max(x, min), max). Spec: ai.onnx Clip-1/6/11/12/13.
// The bounds are attributes before opset 11 and inputs since. NaN stays NaN. A bound that is absent
// is the type's least or greatest finite value, so that an infinity becomes finite.

#include <cfloat>

#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

void infer_inputs(Op& op) {
  for (const int i : {1, 2}) {
    if (op.has_in(i) && element_count(op.in_shape(i)) != 1) {
      throw invalid("a bound must be a scalar")
          .at(i == 1 ? "input 'min'" : "input 'max'")
          .expected("one element")
          .got(to_string(op.in_shape(i)));
    }
  }
  same_shape(op);
}

// The two bounds at run time.
template <class T>
using Bounds = std::function<std::pair<T, T>(const Run&)>;

template <class T>
Bounds<T> bounds_of(const Op& op) {
  using Limits = std::numeric_limits<T>;
  if (op.opset() >= 11) {
    return [](const Run& run) {
      const T* least = run.in<T>(1);
      const T* most = run.in<T>(2);
      return std::pair(least != nullptr ? *least : Limits::lowest(),
                       most != nullptr ? *most : Limits::max());
    };
  }
  // Only a bound that the node itself states counts for types other than float32.
  const bool has_min = op.node().attribute("min") != nullptr;
  const bool has_max = op.node().attribute("max") != nullptr;
  const std::pair values(has_min ? static_cast<T>(op.attr_float("min")) : Limits::lowest(),
                         has_max ? static_cast<T>(op.attr_float("max")) : Limits::max());
  return [values](const Run&) { return values; };
}

Choice clip_f32(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  return Kernel([bounds = bounds_of<float>(op), n = element_count(op.in_shape(0))](Run& run) {
    const auto [least, most] = bounds(run);
    kernels::unary(kernels::Unary::clip, {least, most}, run.in<float>(0), run.out<float>(0), n,
                   run.pool());
  });
}

Choice clip(Op& op) {
  Choice choice = refuse("no plain loop for this element type");
  with_type(NumberTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = Kernel([bounds = bounds_of<T>(op), n = element_count(op.in_shape(0))](Run& run) {
      const auto [least, most] = bounds(run);
      unary_kernel<T, T>(n, [least = least, most = most](T x) {
        const T raised = x < least ? least : x;
        return most < raised ? most : raised;
      })(run);
    });
  });
  return choice;
}

Row& declare(Registry& op, TypeSet types) {
  return op("Clip")
      .in("input", types)
      .out("output", like(0))
      .in_place(0)
      .batched({0})
      .simd_kernel("simd f32", clip_f32)
      .kernel("reference", clip);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(clip) {
  declare(op, kFloats)
      .since(1)
      .attr("min", Kind::float_)
      .attr("max", Kind::float_)
      .attr("consumed_inputs", Kind::ints)
      .infer(same_shape);
  declare(op, kFloats).since(6).attr("min", -FLT_MAX).attr("max", FLT_MAX).infer(same_shape);
  declare(op, kNumbers)
      .since(11, 12, 13)
      .in("min", like(0), Arity::optional)
      .in("max", like(0), Arity::optional)
      .infer(infer_inputs);
}
