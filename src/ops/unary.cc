// Element-wise functions of one tensor: roundings, powers, exponentials, trigonometry, predicates.
// Spec: ai.onnx Abs-1/6/13 and its like. Opset 1 carries the legacy attribute `consumed_inputs`,
// which says nothing; opset 13 adds bfloat16 to the early operators, opset 22 to the later.

#include <array>
#include <optional>

#include "base/convert.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using kernels::Unary;

struct Function {
  std::optional<Unary> simd;
  Chooser reference;
};

// The rows' common part; versions and attributes are added by the caller.
Row& declare(Registry& op, const char* name, const char* in, const char* out, TypeSet types,
             const Function& function) {
  Row& row = op(name).in(in, types).out(out, like(0)).infer(same_shape).in_place(0).batched({0});
  if (function.simd) row.simd_kernel("simd f32", UnaryF32{*function.simd});
  return row.kernel("reference", function.reference);
}

void since_1_6_13(Registry& op, const char* name, const char* in, const char* out, TypeSet since_6,
                  const Function& function) {
  declare(op, name, in, out, kFloats, function).since(1).attr("consumed_inputs", Kind::ints);
  declare(op, name, in, out, since_6, function).since(6, 13);
}

template <class F>
Function floats(F f, std::optional<Unary> simd = std::nullopt) {
  return {simd, unary_function(FloatTypes{}, f)};
}

// |x|, where the most negative integer has no counterpart and stays itself.
constexpr auto kAbs = [](auto x) {
  using T = decltype(x);
  if constexpr (std::is_floating_point_v<T>) {
    return std::fabs(x);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(x < 0 ? Wrapping<T>{0} - static_cast<Wrapping<T>>(x)
                                : static_cast<Wrapping<T>>(x));
  } else {
    return x;
  }
};

constexpr auto kNeg = [](auto x) {
  using T = decltype(x);
  if constexpr (std::is_floating_point_v<T>) {
    return -x;
  } else {
    return static_cast<T>(Wrapping<T>{0} - static_cast<Wrapping<T>>(x));
  }
};

// NaN keeps being NaN.
constexpr auto kSign = [](auto x) {
  using T = decltype(x);
  const T sign = static_cast<T>((T{0} < x) - (x < T{0}));
  if constexpr (std::is_floating_point_v<T>) {
    return x != x ? x : sign;
  } else {
    return sign;
  }
};

// Opset 9 allows integers, too; the result is truncated to them.
constexpr auto kErf = [](auto x) {
  using T = decltype(x);
  if constexpr (std::is_floating_point_v<T>) {
    return std::erf(x);
  } else {
    return static_cast<T>(std::erf(static_cast<double>(x)));
  }
};

constexpr auto kBitwiseNot = [](auto x) { return static_cast<decltype(x)>(~x); };

// Booleans are read as bytes, of which any but 0 is true.
Choice not_bool(Op& op) {
  return unary_kernel<std::uint8_t, std::uint8_t>(element_count(op.in_shape(0)),
                                                  [](std::uint8_t x) { return x == 0; });
}

void same_shape_bool(Op& op) { op.set_out(0, DType::boolean, op.in_shape(0)); }

// A predicate on f32 and f64, and on 8-bit floats through a table of all their patterns.
template <class F>
Choice classify(Op& op, F predicate) {
  const DType dtype = op.in(0).dtype;
  const std::int64_t count = element_count(op.in_shape(0));
  Choice choice = refuse("no plain loop for this element type");
  if (with_type(FloatTypes{}, dtype, [&](auto zero) {
        choice = unary_kernel<decltype(zero), std::uint8_t>(count, predicate);
      })) {
    return choice;
  }
  if (!kFloat8.contains(dtype)) return choice;
  std::array<std::uint8_t, 256> table;
  for (unsigned bits = 0; bits < 256; ++bits) {
    table[bits] = predicate(decode_small_float(dtype, bits)) ? 1 : 0;
  }
  return unary_kernel<std::uint8_t, std::uint8_t>(count,
                                                  [table](std::uint8_t x) { return table[x]; });
}

Choice is_nan(Op& op) {
  return classify(op, [](auto x) { return std::isnan(x); });
}

Choice is_inf(Op& op) {
  const bool negative = op.attr_int("detect_negative") != 0;
  const bool positive = op.attr_int("detect_positive") != 0;
  return classify(op,
                  [=](auto x) { return std::isinf(x) && (std::signbit(x) ? negative : positive); });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(unary) {
  const TypeSet signed_numbers = kSignedInts | kFloatsBf16;
  since_1_6_13(op, "Abs", "X", "Y", kNumbers, {Unary::abs, unary_function(NumberTypes{}, kAbs)});
  since_1_6_13(
      op, "Neg", "X", "Y", signed_numbers,
      {Unary::neg,
       unary_function(Types<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t>{},
                      kNeg)});
  since_1_6_13(op, "Reciprocal", "X", "Y", kFloatsBf16,
               floats([](auto x) { return 1 / x; }, Unary::reciprocal));
  since_1_6_13(op, "Sqrt", "X", "Y", kFloatsBf16,
               floats([](auto x) { return std::sqrt(x); }, Unary::sqrt));
  since_1_6_13(op, "Exp", "input", "output", kFloatsBf16,
               floats([](auto x) { return std::exp(x); }, Unary::exp));
  since_1_6_13(op, "Log", "input", "output", kFloatsBf16,
               floats([](auto x) { return std::log(x); }, Unary::log));
  since_1_6_13(op, "Floor", "X", "Y", kFloatsBf16,
               floats([](auto x) { return std::floor(x); }, Unary::floor));
  since_1_6_13(op, "Ceil", "X", "Y", kFloatsBf16,
               floats([](auto x) { return std::ceil(x); }, Unary::ceil));
  since_1_6_13(op, "Tanh", "input", "output", kFloatsBf16,
               floats([](auto x) { return std::tanh(x); }, Unary::tanh));

  // The default rounding mode, which nobody here changes, is to nearest with ties to even.
  declare(op, "Round", "X", "Y", kFloatsBf16,
          floats([](auto x) { return std::nearbyint(x); }, Unary::round))
      .since(11, 22);
  declare(op, "Sin", "input", "output", kFloatsBf16,
          floats([](auto x) { return std::sin(x); }, Unary::sin))
      .since(7, 22);
  declare(op, "Cos", "input", "output", kFloatsBf16,
          floats([](auto x) { return std::cos(x); }, Unary::cos))
      .since(7, 22);
  declare(op, "Tan", "input", "output", kFloatsBf16, floats([](auto x) { return std::tan(x); }))
      .since(7, 22);
  declare(op, "Asin", "input", "output", kFloatsBf16, floats([](auto x) { return std::asin(x); }))
      .since(7, 22);
  declare(op, "Acos", "input", "output", kFloatsBf16, floats([](auto x) { return std::acos(x); }))
      .since(7, 22);
  declare(op, "Atan", "input", "output", kFloatsBf16,
          floats([](auto x) { return std::atan(x); }, Unary::atan))
      .since(7, 22);
  declare(op, "Sinh", "input", "output", kFloatsBf16, floats([](auto x) { return std::sinh(x); }))
      .since(9, 22);
  declare(op, "Cosh", "input", "output", kFloatsBf16, floats([](auto x) { return std::cosh(x); }))
      .since(9, 22);
  declare(op, "Asinh", "input", "output", kFloatsBf16, floats([](auto x) { return std::asinh(x); }))
      .since(9, 22);
  declare(op, "Acosh", "input", "output", kFloatsBf16, floats([](auto x) { return std::acosh(x); }))
      .since(9, 22);
  declare(op, "Atanh", "input", "output", kFloatsBf16, floats([](auto x) { return std::atanh(x); }))
      .since(9, 22);

  declare(op, "Sign", "input", "output", kNumbers,
          {std::nullopt, unary_function(NumberTypes{}, kSign)})
      .since(9, 13);
  declare(op, "Erf", "input", "output", kNumbers, {Unary::erf, unary_function(NumberTypes{}, kErf)})
      .since(9, 13);
  declare(op, "BitwiseNot", "X", "Y", kInts,
          {std::nullopt, unary_function(IntTypes{}, kBitwiseNot)})
      .since(18);
  declare(op, "Not", "X", "Y", DType::boolean, {std::nullopt, not_bool}).since(1);

  op("IsNaN")
      .since(9, 13, 20)
      .in("X", kFloatsBf16 | kFloat8)
      .out("Y", DType::boolean)
      .infer(same_shape_bool)
      .kernel("reference", is_nan);
  op("IsInf")
      .since(10, 20)
      .attr("detect_negative", 1)
      .attr("detect_positive", 1)
      .in("X", kFloatsBf16 | kFloat8)
      .out("Y", DType::boolean)
      .infer(same_shape_bool)
      .kernel("reference", is_inf);
}
