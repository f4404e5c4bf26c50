// Activation functions. Spec: ai.onnx Relu-1/6/13/14, LeakyRelu-1/6/16, PRelu-1/6/7/9/16,
// Elu-1/6/22 and their like; com.microsoft Gelu, FastGelu, QuickGelu, BiasGelu. Opset 1 carries the
// legacy attribute `consumed_inputs`. Selu's defaults have more digits since opset 6. PRelu's slope
// is one per channel (or one for all) before opset 7, then broadcast.

#include <cmath>

#include "ops/broadcast_f32.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using kernels::Unary;
using kernels::UnaryArgs;

Row& declare(Registry& op, const char* name, TypeSet types, Chooser simd, Chooser reference) {
  return op(name)
      .in("X", types)
      .out("Y", like(0))
      .infer(same_shape)
      .in_place(0)
      .batched({0})
      .banded(rows_of_elements)
      .simd_kernel("simd f32", std::move(simd))
      .kernel("reference", std::move(reference));
}

UnaryArgs alpha(const Op& op) { return {op.attr_float("alpha"), 0}; }
UnaryArgs alpha_beta(const Op& op) { return {op.attr_float("alpha"), op.attr_float("beta")}; }
UnaryArgs alpha_gamma(const Op& op) { return {op.attr_float("alpha"), op.attr_float("gamma")}; }

// A reference chooser for f(x, alpha, beta) with what `args` reads from the attributes.
template <class F>
Chooser with_args(UnaryArgs (*args)(const Op&), F f) {
  return unary_reference(FloatTypes{}, [args, f](const Op& op) {
    return [f, values = args(op)](auto x) {
      using T = decltype(x);
      return f(x, static_cast<T>(values.alpha), static_cast<T>(values.beta));
    };
  });
}

template <class F>
Chooser plain(F f) {
  return unary_function(FloatTypes{}, f);
}

// Written so that no intermediate overflows where the result does not.
constexpr auto kSigmoid = [](auto x) {
  const auto e = std::exp(-std::fabs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
};
constexpr auto kSoftplus = [](auto x) {
  return (x > 0 ? x : decltype(x){0}) + std::log1p(std::exp(-std::fabs(x)));
};
constexpr auto kRelu = [](auto x) { return x < 0 ? decltype(x){0} : x; };
constexpr auto kLeakyRelu = [](auto x, auto a, auto) { return x < 0 ? a * x : x; };
constexpr auto kElu = [](auto x, auto a, auto) { return x < 0 ? a * std::expm1(x) : x; };
constexpr auto kSelu = [](auto x, auto a, auto gamma) {
  return x <= 0 ? gamma * a * std::expm1(x) : gamma * x;
};
constexpr auto kCelu = [](auto x, auto a, auto) {
  // max(0, x) + min(0, a (exp(x / a) - 1)), where a negative `a` lets both terms count.
  const auto bent = a * std::expm1(x / a);
  return (x > 0 ? x : decltype(x){0}) + (bent < 0 || std::isnan(bent) ? bent : decltype(x){0});
};
constexpr auto kThresholdedRelu = [](auto x, auto a, auto) {
  return x > a || std::isnan(x) ? x : decltype(x){0};
};
constexpr auto kHardSigmoid = [](auto x, auto a, auto b) {
  const auto y = a * x + b;
  return y < 0 ? decltype(x){0} : y > 1 ? decltype(x){1} : y;
};
constexpr auto kHardSwish = [](auto x) {
  using T = decltype(x);
  return x * kHardSigmoid(x, T{1} / T{6}, T{0.5});
};
constexpr auto kSwish = [](auto x, auto a, auto) { return x * kSigmoid(a * x); };
constexpr auto kSoftsign = [](auto x) { return x / (1 + std::fabs(x)); };
constexpr auto kMish = [](auto x) { return x * std::tanh(kSoftplus(x)); };
constexpr auto kGeluErf = [](auto x) {
  using T = decltype(x);
  return x / 2 * (1 + std::erf(x * static_cast<T>(0.70710678118654752440)));  // 1 / sqrt 2
};
constexpr auto kGeluTanh = [](auto x) {
  using T = decltype(x);
  constexpr T kSqrt2OverPi = static_cast<T>(0.79788456080286535588);
  return x / 2 * (1 + std::tanh(kSqrt2OverPi * (x + static_cast<T>(0.044715) * x * x * x)));
};

void infer_gelu(Op& op) {
  const std::string approximate = op.attr_string("approximate");
  if (approximate != "none" && approximate != "tanh") {
    throw invalid("an unknown approximation of Gelu")
        .at("attribute 'approximate'")
        .expected("'none' or 'tanh'")
        .got("'" + approximate + "'");
  }
  same_shape(op);
}

Choice gelu_f32(Op& op) {
  return UnaryF32{op.attr_string("approximate") == "tanh" ? Unary::gelu_tanh : Unary::gelu_erf}(op);
}

Choice gelu_reference(Op& op) {
  return op.attr_string("approximate") == "tanh" ? plain(kGeluTanh)(op) : plain(kGeluErf)(op);
}

// x < -lambd: x + bias; x > lambd: x - bias; else 0. In double for all types, so that comparisons
// of unsigned integers with -lambd are right.
Choice shrink(Op& op) {
  const double bias = op.attr_float("bias"), lambd = op.attr_float("lambd");
  return unary_function(NumberTypes{}, [=](auto x) {
    const auto value = static_cast<double>(x);
    const double y = value < -lambd      ? value + bias
                     : value > lambd     ? value - bias
                     : std::isnan(value) ? value
                                         : 0.0;
    return saturate_to<decltype(x)>(y);
  })(op);
}

// The slope's shape as broadcast to x. The early spec calls the slope shared "across channels"
// where it has one element; otherwise there is one for each channel, axis 1.
Shape slope_shape(const Op& op) {
  const Shape& x = op.in_shape(0);
  Shape slope = op.in_shape(1);
  if (op.opset() < 7) {
    if (element_count(slope) == 1) return {};
    if (slope.size() == 1 && x.size() >= 2 && slope[0] == x[1]) slope.resize(x.size() - 1, 1);
  }
  if (!broadcasts_to(slope, x)) {
    throw invalid("the slope cannot be broadcast to the input")
        .expected("a shape that broadcasts to " + to_string(x))
        .got(to_string(op.in_shape(1)));
  }
  return slope;
}

void infer_prelu(Op& op) {
  slope_shape(op);
  same_shape(op);
}

Choice prelu(Op& op) {
  Choice choice = refuse("no plain loop for this element type");
  using PReluTypes = Types<float, double, std::int32_t, std::int64_t, std::uint32_t, std::uint64_t>;
  with_type(PReluTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = broadcast_kernel<T, T, T>(
        BroadcastLoop({op.in_shape(0), slope_shape(op)}, op.out_shape(0)), [](T x, T slope) -> T {
          if constexpr (std::is_floating_point_v<T>) {
            return x < 0 ? x * slope : x;
          } else {
            using W = Wrapping<T>;
            return x < T{0} ? static_cast<T>(static_cast<W>(x) * static_cast<W>(slope)) : x;
          }
        });
  });
  return choice;
}

Choice prelu_simd(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const auto slope = broadcast_of(op.in_shape(0), slope_shape(op), op.out_shape(0));
  if (!slope || slope->swapped)
    return refuse("a slope that is neither a scalar, a row nor a column");
  return Kernel([slope = *slope, n = element_count(op.out_shape(0))](Run& run) {
    kernels::binary(kernels::Binary::prelu, slope, run.in<float>(0), run.in<float>(1),
                    run.out<float>(0), n, run.pool());
  });
}

// FastGelu and BiasGelu: gelu(x + bias), with the bias over the last axis.
void infer_biased(Op& op) {
  if (op.has_in(1)) {
    require_rank(op, 1, 1, 1);
    if (op.in_rank(0) == 0 || op.in_shape(1)[0] != op.in_shape(0).back()) {
      throw invalid("the bias does not fit the input's last axis")
          .expected(to_string(op.in_shape(0)))
          .got(to_string(op.in_shape(1)));
    }
  }
  same_shape(op);
}

template <class F>
Choice biased_reference(Op& op, F f) {
  if (!op.has_in(1)) return plain(f)(op);
  Choice choice = refuse("no plain loop for this element type");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice =
        broadcast_kernel<T, T, T>(BroadcastLoop({op.in_shape(0), op.in_shape(1)}, op.out_shape(0)),
                                  [f](T x, T bias) { return f(x + bias); });
  });
  return choice;
}

Choice biased_f32(Op& op, Unary function) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  if (!op.has_in(1)) return UnaryF32{function}(op);
  const kernels::Broadcast bias{.form = kernels::Broadcast::Form::row, .n = op.in_shape(1)[0]};
  return Kernel([function, bias, n = element_count(op.in_shape(0))](Run& run) {
    auto* y = run.out<float>(0);
    kernels::binary(kernels::Binary::add, bias, run.in<float>(0), run.in<float>(1), y, n,
                    run.pool());
    kernels::unary(function, {}, y, y, n, run.pool());
  });
}

Choice fast_gelu_f32(Op& op) { return biased_f32(op, Unary::gelu_tanh); }
Choice fast_gelu(Op& op) { return biased_reference(op, kGeluTanh); }
Choice bias_gelu_f32(Op& op) { return biased_f32(op, Unary::gelu_erf); }
Choice bias_gelu(Op& op) { return biased_reference(op, kGeluErf); }

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(activations) {
  const auto simd = [](Unary function, UnaryArgs (*args)(const Op&) = nullptr) {
    return args != nullptr ? UnaryF32{function, args} : UnaryF32{function};
  };
  const auto relu = unary_function(
      Types<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t>{}, kRelu);
  declare(op, "Relu", kFloats, simd(Unary::relu), relu)
      .since(1)
      .attr("consumed_inputs", Kind::ints);
  declare(op, "Relu", kFloatsBf16 | kSignedInts, simd(Unary::relu), relu).since(6, 13, 14);

  declare(op, "Sigmoid", kFloats, simd(Unary::sigmoid), plain(kSigmoid))
      .since(1)
      .attr("consumed_inputs", Kind::ints);
  declare(op, "Sigmoid", kFloatsBf16, simd(Unary::sigmoid), plain(kSigmoid)).since(6, 13);

  const auto leaky = with_args(alpha, kLeakyRelu);
  declare(op, "LeakyRelu", kFloats, simd(Unary::leaky_relu, alpha), leaky)
      .since(1)
      .attr("alpha", 0.01F)
      .attr("consumed_inputs", Kind::ints);
  declare(op, "LeakyRelu", kFloatsBf16, simd(Unary::leaky_relu, alpha), leaky)
      .since(6, 16)
      .attr("alpha", 0.01F);

  const auto elu = with_args(alpha, kElu);
  declare(op, "Elu", kFloats, simd(Unary::elu, alpha), elu)
      .since(1)
      .attr("alpha", 1.0F)
      .attr("consumed_inputs", Kind::ints);
  declare(op, "Elu", kFloatsBf16, simd(Unary::elu, alpha), elu).since(6, 22).attr("alpha", 1.0F);

  const auto selu = with_args(alpha_gamma, kSelu);
  declare(op, "Selu", kFloats, simd(Unary::selu, alpha_gamma), selu)
      .since(1)
      .attr("alpha", 1.6732F)
      .attr("gamma", 1.0507F)
      .attr("consumed_inputs", Kind::ints);
  declare(op, "Selu", kFloatsBf16, simd(Unary::selu, alpha_gamma), selu)
      .since(6, 22)
      .attr("alpha", 1.67326319217681884765625F)
      .attr("gamma", 1.05070102214813232421875F);

  const auto hard_sigmoid = with_args(alpha_beta, kHardSigmoid);
  declare(op, "HardSigmoid", kFloats, simd(Unary::hard_sigmoid, alpha_beta), hard_sigmoid)
      .since(1)
      .attr("alpha", 0.2F)
      .attr("beta", 0.5F)
      .attr("consumed_inputs", Kind::ints);
  declare(op, "HardSigmoid", kFloatsBf16, simd(Unary::hard_sigmoid, alpha_beta), hard_sigmoid)
      .since(6, 22)
      .attr("alpha", 0.2F)
      .attr("beta", 0.5F);

  declare(op, "Celu", kFloatsBf16, simd(Unary::celu, alpha), with_args(alpha, kCelu))
      .since(12, 28)
      .attr("alpha", 1.0F);
  declare(op, "ThresholdedRelu", kFloatsBf16, simd(Unary::thresholded_relu, alpha),
          with_args(alpha, kThresholdedRelu))
      .since(10, 22)
      .attr("alpha", 1.0F);
  declare(op, "Swish", kFloatsBf16, simd(Unary::swish, alpha), with_args(alpha, kSwish))
      .since(24)
      .attr("alpha", 1.0F);
  declare(op, "HardSwish", kFloatsBf16, simd(Unary::hard_swish), plain(kHardSwish)).since(14, 22);
  declare(op, "Softplus", kFloatsBf16, simd(Unary::softplus), plain(kSoftplus)).since(1, 22);
  declare(op, "Mish", kFloatsBf16, simd(Unary::mish), plain(kMish)).since(18, 22);
  op("Softsign")
      .since(1, 22)
      .in("input", kFloatsBf16)
      .out("output", like(0))
      .infer(same_shape)
      .in_place(0)
      .batched({0})
      .simd_kernel("simd f32", simd(Unary::softsign))
      .kernel("reference", plain(kSoftsign));
  op("Gelu")
      .since(20)
      .attr("approximate", "none")
      .in("X", kFloatsBf16)
      .out("Y", like(0))
      .infer(infer_gelu)
      .in_place(0)
      .batched({0})
      .simd_kernel("simd f32", gelu_f32)
      .kernel("reference", gelu_reference);
  op("Shrink")
      .since(9)
      .attr("bias", 0.0F)
      .attr("lambd", 0.5F)
      .in("input", kNumbersNoBf16)
      .out("output", like(0))
      .infer(same_shape)
      .in_place(0)
      .batched({0})
      .kernel("reference", shrink);

  const auto declare_prelu = [&](TypeSet types) -> Row& {
    return op("PRelu")
        .in("X", types)
        .in("slope", like(0))
        .out("Y", like(0))
        .infer(infer_prelu)
        .in_place(0)
        .batched_by_shape()
        .simd_kernel("simd f32", prelu_simd)
        .kernel("reference", prelu);
  };
  declare_prelu(kFloats).since(1).attr("consumed_inputs", Kind::ints);
  declare_prelu(kFloatsBf16 | TypeSet{DType::i32, DType::i64, DType::u32, DType::u64})
      .since(6, 7, 9, 16);

  // ONNX Runtime's own.
  const auto declare_microsoft = [&](const char* name) -> Row& {
    return op(name, "com.microsoft").since(1).in_place(0).batched({0});
  };
  declare_microsoft("Gelu")
      .in("X", kFloats)
      .out("Y", like(0))
      .infer(same_shape)
      .simd_kernel("simd f32", simd(Unary::gelu_erf))
      .kernel("reference", plain(kGeluErf));
  declare_microsoft("QuickGelu")
      .attr("alpha", 1.702F)
      .in("X", kFloatsBf16)
      .out("Y", like(0))
      .infer(same_shape)
      .simd_kernel("simd f32", simd(Unary::swish, alpha))
      .kernel("reference", with_args(alpha, kSwish));
  declare_microsoft("FastGelu")
      .in("X", kFloatsBf16)
      .in("bias", like(0), Arity::optional)
      .out("Y", like(0))
      .infer(infer_biased)
      .simd_kernel("simd f32", fast_gelu_f32)
      .kernel("reference", fast_gelu);
  declare_microsoft("BiasGelu")
      .in("A", kFloatsBf16)
      .in("B", like(0))
      .out("C", like(0))
      .infer(infer_biased)
      .simd_kernel("simd f32", bias_gelu_f32)
      .kernel("reference", bias_gelu);
}
