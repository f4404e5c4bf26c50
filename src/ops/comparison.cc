// Comparisons of two tensors. Spec: ai.onnx Equal-1/7/11/13/19, Less/Greater-1/7/9/13,
// LessOrEqual/GreaterOrEqual-12/16. Before opset 7 they broadcast by the attributes `broadcast` and
// `axis`. Comparisons with NaN are false. Strings can be equal since opset 19.

#include <functional>
#include <string>

#include "kernels/compare.h"
#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using kernels::Comparison;

template <class F>
Choice reference(Op& op) {
  Choice choice = refuse("no plain loop for this element type");
  with_type(NumberTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = broadcast_kernel<T, T, bool>(binary_loop(op), F{});
  });
  return choice;
}

// Of A and B, or (kSwapped) of B and A.
template <Comparison kComparison, bool kSwapped = false>
Choice vectors(Op& op) {
  const kernels::CompareArrays compare = kernels::array_comparison(kComparison, op.in(0).dtype);
  if (compare == nullptr) return refuse("only for float32, double, int32 and int64");
  const std::int64_t bytes = bits_of(op.in(0).dtype) / 8;
  return [compare, bytes, loop = binary_loop(op)](Run& run) {
    const char *a = run.in<char>(0), *b = run.in<char>(1);
    bool* y = run.out<bool>(0);
    const bool a_repeats = loop.step(0) == 0, b_repeats = loop.step(1) == 0;
    loop.run(run.pool(), [&](const std::int64_t* at, std::int64_t to, std::int64_t n) {
      const char *left = a + at[0] * bytes, *right = b + at[1] * bytes;
      kSwapped ? compare(right, b_repeats, left, a_repeats, y + to, n)
               : compare(left, a_repeats, right, b_repeats, y + to, n);
    });
  };
}

Choice equal(Op& op) {
  if (op.in(0).dtype == DType::string) {
    return broadcast_kernel<std::string, std::string, bool>(binary_loop(op), std::equal_to<>{});
  }
  if (op.in(0).dtype == DType::boolean) {
    // Bytes, of which any but 0 is true.
    return broadcast_kernel<std::uint8_t, std::uint8_t, bool>(
        binary_loop(op), [](std::uint8_t a, std::uint8_t b) { return (a != 0) == (b != 0); });
  }
  return reference<std::equal_to<>>(op);
}

void infer(Op& op) { op.set_out(0, DType::boolean, binary_shape(op)); }

Row& declare(Registry& op, const char* name, TypeSet types, Chooser simd, Chooser kernel) {
  return op(name)
      .in("A", types)
      .in("B", like(0))
      .out("C", DType::boolean)
      .infer(infer)
      .simd_kernel("simd", std::move(simd))
      .kernel("reference", std::move(kernel));
}

void declare_order(Registry& op, const char* name, const Chooser& simd, const Chooser& kernel) {
  declare(op, name, kFloats, simd, kernel).since(1).attr("axis", Kind::int_).attr("broadcast", 0);
  declare(op, name, kNumbers, simd, kernel).since(7, 9, 13);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(comparison) {
  declare_order(op, "Less", vectors<Comparison::less>, reference<std::less<>>);
  declare_order(op, "Greater", vectors<Comparison::less, true>, reference<std::greater<>>);
  declare(op, "LessOrEqual", kNumbers, vectors<Comparison::less_or_equal>,
          reference<std::less_equal<>>)
      .since(12, 16);
  declare(op, "GreaterOrEqual", kNumbers, vectors<Comparison::less_or_equal, true>,
          reference<std::greater_equal<>>)
      .since(12, 16);

  const TypeSet bool_or_index = kIndices | DType::boolean;
  const Chooser simd = vectors<Comparison::equal>;
  declare(op, "Equal", bool_or_index, simd, equal)
      .since(1)
      .attr("axis", Kind::int_)
      .attr("broadcast", 0);
  declare(op, "Equal", kNumbers | TypeSet{DType::boolean, DType::string}, simd, equal)
      .since(7, 11, 13, 19);
}
