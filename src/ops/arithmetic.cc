// Arithmetic of two tensors. Spec: ai.onnx Add/Sub/Mul/Div-1/6/7/13/14, Mod-10/13/28,
// Pow-1/7/12/13/15. Opset 1 to 6 broadcast by the attributes `broadcast` and `axis`, opset 7 as
// NumPy does. Integers wrap; integer division truncates; an integer divisor of zero is a run-time
// error.

#include "base/convert.h"
#include "ops/broadcast_f32.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using kernels::Binary;

[[noreturn, gnu::cold, gnu::noinline]] void divided_by_zero() {
  throw Error(ErrorCode::runtime, "an integer is divided by zero");
}

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return a + b;
    } else {
      return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
    }
  }
};

struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return a - b;
    } else {
      return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
    }
  }
};

struct Mul {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return a * b;
    } else {
      return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
    }
  }
};

struct Div {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) divided_by_zero();
      // The one quotient that does not fit: the processor would trap.
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return Sub{}(T{0}, a);
      }
    }
    return static_cast<T>(a / b);
  }
};

// The remainder of truncated division, which has the dividend's sign.
struct TruncatedMod {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (b == 0) divided_by_zero();
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return 0;
      }
      return static_cast<T>(a % b);
    }
  }
};

// The remainder of floored division, which has the divisor's sign (also where it is zero).
struct FlooredMod {
  template <class T>
  T operator()(T a, T b) const {
    const T rest = TruncatedMod{}(a, b);
    if constexpr (std::is_floating_point_v<T>) {
      if (rest == 0) return std::copysign(rest, b);
      return (rest < 0) != (b < 0) ? rest + b : rest;
    } else {
      return rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
    }
  }
};

template <class F>
Choice reference(Op& op) {
  Choice choice = refuse("no plain loop for this element type");
  with_type(NumberTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = broadcast_kernel<T, T, T>(binary_loop(op), F{});
  });
  return choice;
}

void infer_binary(Op& op) { op.set_out(0, op.in(0).dtype, binary_shape(op)); }

// Modulo. ---------------------------------------------------------------------------------------

void infer_mod(Op& op) {
  const std::int64_t fmod = op.attr_int("fmod");
  if (fmod != 0 && fmod != 1) {
    throw invalid("a bad mode of Mod")
        .at("attribute 'fmod'")
        .expected("0 or 1")
        .got(std::to_string(fmod));
  }
  op.set_out(0, op.in(0).dtype, broadcast_inputs(op));
}

Choice mod(Op& op) {
  return op.attr_int("fmod") != 0 ? reference<TruncatedMod>(op) : reference<FlooredMod>(op);
}

// Powers. ---------------------------------------------------------------------------------------

// base^exponent modulo 2^bits by repeated squaring; a negative exponent truncates 1 / base^|e|.
template <class T, class E>
T integer_power(T base, E exponent) {
  auto left = static_cast<std::uint64_t>(exponent);
  if constexpr (std::is_signed_v<E>) {
    if (exponent < 0) {
      if (base == 0) divided_by_zero();
      if (base != 1 && base != -1) return 0;
      left = left & 1;  // (+-1)^e depends on the parity only
    }
  }
  using W = Wrapping<T>;
  W result = 1;
  for (W factor = static_cast<W>(base); left != 0; left >>= 1, factor *= factor) {
    if (left & 1) result *= factor;
  }
  return static_cast<T>(result);
}

struct Power {
  template <class T, class E>
  T operator()(T base, E exponent) const {
    if constexpr (std::is_integral_v<T> && std::is_integral_v<E>) {
      return integer_power(base, exponent);
    } else if constexpr (std::is_same_v<T, E>) {
      return std::pow(base, exponent);
    } else {
      return saturate_to<T>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
  }
};

// The exponent's type may be any: it is first converted to `wide`, of which there are few.
template <class T, class E>
Kernel power_kernel(const Op& op, DType wide) {
  const DType narrow = op.in(1).dtype;
  const std::int64_t exponents = element_count(op.in_shape(1));
  return [loop = binary_loop(op), wide, narrow, exponents](Run& run) {
    Tensor converted;
    const E* exponent = run.in<E>(1);
    if (narrow != wide) {
      converted = Tensor::uninitialized(wide, {exponents});
      convert(narrow, run.in_data(1), wide, converted.mutable_data(), exponents);
      exponent = static_cast<const E*>(converted.data());
    }
    const T* base = run.in<T>(0);
    T* y = run.out<T>(0);
    loop.run(
        run.pool(),
        [&](const std::int64_t* at, std::int64_t to, std::int64_t n) {
          apply_run(Power{}, base + at[0], loop.step(0), exponent + at[1], loop.step(1), y + to, n);
        },
        kElementwiseGrain / 8);
  };
}

Choice power(Op& op) {
  const DType base = op.in(0).dtype, exponent = op.in(1).dtype;
  if (base == DType::f32 && exponent == DType::f32) {
    return power_kernel<float, float>(op, DType::f32);
  }
  const bool is_16_bit = exponent == DType::f16 || exponent == DType::bf16;
  Choice choice = refuse("no plain loop for these element types");
  with_type(Types<float, double, std::int32_t, std::int64_t>{}, base, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>) {
      if (kSignedInts.contains(exponent)) {
        choice = power_kernel<T, std::int64_t>(op, DType::i64);
        return;
      }
      if (kUnsignedInts.contains(exponent)) {
        choice = power_kernel<T, std::uint64_t>(op, DType::u64);
        return;
      }
    }
    if (!is_16_bit) choice = power_kernel<T, double>(op, DType::f64);
  });
  return choice;
}

// x^2 is by far the most frequent power.
Choice square_f32(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Tensor* exponent = op.constant(1);
  if (exponent == nullptr || exponent->size() != 1) return refuse("no constant scalar exponent");
  if (op.out_shape(0) != op.in_shape(0)) return refuse("the exponent's rank broadcasts the base");
  const Tensor value = exponent->to(DType::f64);
  if (value.values<double>()[0] != 2) return refuse("the exponent is not 2");
  return UnaryF32{kernels::Unary::square}(op);
}

Choice power_f32(Op& op) {
  if (op.in(0).dtype != DType::f32 || op.in(1).dtype != DType::f32) return refuse("not float32");
  return BinaryF32{Binary::pow}(op);
}

void declare(Registry& op, const char* name, Binary simd, Chooser plain) {
  const auto row = [&](TypeSet types) -> Row& {
    return op(name)
        .in("A", types)
        .in("B", like(0))
        .out("C", like(0))
        .infer(infer_binary)
        .in_place(0)
        .in_place(1)
        .simd_kernel("simd f32", BinaryF32{simd})
        .kernel("reference", plain);
  };
  const TypeSet since_6 = kFloats | TypeSet{DType::i32, DType::i64, DType::u32, DType::u64};
  row(kFloats)
      .since(1)
      .attr("axis", Kind::int_)
      .attr("broadcast", 0)
      .attr("consumed_inputs", Kind::ints);
  row(since_6).since(6).attr("axis", Kind::int_).attr("broadcast", 0);
  row(kNumbers).since(7, 13, 14).batched_by_shape();
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(arithmetic) {
  declare(op, "Add", Binary::add, reference<Add>);
  declare(op, "Sub", Binary::sub, reference<Sub>);
  declare(op, "Mul", Binary::mul, reference<Mul>);
  declare(op, "Div", Binary::div, reference<Div>);

  op("Mod")
      .since(10, 13, 28)
      .attr("fmod", 0)
      .in("A", kNumbers)
      .in("B", like(0))
      .out("C", like(0))
      .infer(infer_mod)
      .in_place(0)
      .in_place(1)
      .kernel("reference", mod);

  op("Pow")
      .since(1)
      .attr("axis", Kind::int_)
      .attr("broadcast", 0)
      .in("X", kFloats)
      .in("Y", like(0))
      .out("Z", like(0))
      .infer(infer_binary)
      .in_place(0)
      .simd_kernel("square f32", square_f32)
      .simd_kernel("simd f32", power_f32)
      .kernel("reference", power);
  op("Pow")
      .since(7, 12, 13, 15)
      .in("X", kFloatsBf16 | kIndices)
      .in("Y", kNumbers)
      .out("Z", like(0))
      .infer(infer_binary)
      .in_place(0)
      .simd_kernel("square f32", square_f32)
      .simd_kernel("simd f32", power_f32)
      .kernel("reference", power);
}
