// Cast and CastLike: conversion between element types. Spec: ai.onnx
// Cast-1/6/9/13/19/21/23/24/25/28, CastLike-15/19/21/23/24/25. Cast-1 names the type in a string.
// Strings since opset 9, `saturate` (8-bit floats) since 19, `round_mode` (float8e8m0) since 24,
// 6-bit floats since 28.
// Numbers are converted by base/convert.h; what strings are, the spec leaves half open, and this
// file says.

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include "base/convert.h"
#include "kernels/convert.h"
#include "ops/convert_elements.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

// Types. -----------------------------------------------------------------------------------------

// The names that Cast-1 uses: those of TensorProto.DataType.
DType dtype_from_enum_name(const std::string& name) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return dtype_from_name(lower);
}

DType target_type(const Op& op) {
  DType dtype = DType::undefined;
  std::string got;
  if (op.opset() < 6) {
    got = "'" + op.attr_string("to") + "'";
    dtype = dtype_from_enum_name(op.attr_string("to"));
  } else {
    const std::int64_t number = op.attr_int("to");
    got = std::to_string(number);
    if (number > 0 && number < kDTypeCount) dtype = static_cast<DType>(number);
  }
  if (!op.row().outputs()[0].types.contains(dtype)) {
    throw invalid("the type to cast to is none that this opset knows")
        .at("attribute 'to'")
        .expected("a number of TensorProto.DataType that Cast takes")
        .got(got);
  }
  return dtype;
}

void infer_cast(Op& op) { op.set_out(0, target_type(op), op.in_shape(0)); }
void infer_cast_like(Op& op) { op.set_out(0, op.in(1).dtype, op.in_shape(0)); }

CastRules rules_of(const Op& op) {
  CastRules rules;
  if (op.declares("saturate")) rules.saturate = op.attr_int("saturate") != 0;
  if (!op.declares("round_mode")) return rules;
  const std::string mode = op.attr_string("round_mode");
  using RoundMode = CastRules::RoundMode;
  if (mode == "up") {
    rules.round_mode = RoundMode::up;
  } else if (mode == "down") {
    rules.round_mode = RoundMode::down;
  } else if (mode == "nearest") {
    rules.round_mode = RoundMode::nearest;
  } else {
    throw invalid("an unknown rounding mode")
        .at("attribute 'round_mode'")
        .expected("'up', 'down' or 'nearest'")
        .got("'" + mode + "'");
  }
  return rules;
}

// Strings. ---------------------------------------------------------------------------------------

// Plain notation where that is about as short, else scientific, with as many digits as give the
// number back when read.
template <class T>
std::string to_text(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-INF" : "INF";
    const T magnitude = std::fabs(value);
    constexpr T kMost = std::is_same_v<T, float> ? static_cast<T>(1e8) : static_cast<T>(1e17);
    const bool plain = magnitude == 0 || (magnitude >= static_cast<T>(1e-4) && magnitude < kMost);
    char text[64];
    const auto end =
        std::to_chars(text, text + sizeof text, value,
                      plain ? std::chars_format::fixed : std::chars_format::scientific);
    return {text, end.ptr};
  } else {
    return std::to_string(value);
  }
}

[[noreturn]] void not_a_number(const std::string& text) {
  throw Error(ErrorCode::runtime, "a string to be cast is no number").got("'" + text + "'");
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  // from_chars knows no plus sign. "+-1" stays wrong.
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

// from_chars takes "inf", "infinity" and "nan" in any case, as the spec asks.
template <class T>
T float_from(const std::string& text) {
  const std::string_view part = trimmed(text);
  T value = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
  if (end != part.data() + part.size() || part.empty()) not_a_number(text);
  if (error == std::errc::result_out_of_range) {
    // Too small or too large: the sign of the exponent tells.
    const std::size_t exponent = part.find_first_of("eE");
    const bool small = exponent == std::string_view::npos
                           ? part.find_first_of("123456789") > part.find('.')
                           : part.substr(exponent + 1).starts_with('-');
    value = small ? T{0} : std::numeric_limits<T>::infinity();
    return part.front() == '-' ? -value : value;
  }
  if (error != std::errc{}) not_a_number(text);
  return value;
}

std::int64_t int_from(const std::string& text) {
  const std::string_view part = trimmed(text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
  if (error == std::errc{} && end == part.data() + part.size()) return value;
  std::uint64_t large = 0;  // the upper half of uint64
  const auto again = std::from_chars(part.data(), part.data() + part.size(), large);
  if (again.ec == std::errc{} && again.ptr == part.data() + part.size()) {
    return static_cast<std::int64_t>(large);
  }
  // "2.718" or "1e3": truncated.
  return saturate_to<std::int64_t>(float_from<double>(text));
}

// Booleans print as ONNX Runtime prints them, 1 and 0; read are also the words.
bool bool_from(const std::string& text) {
  std::string word(trimmed(text));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (word == "true" || word == "false") return word == "true";
  return float_from<double>(text) != 0;
}

Kernel to_strings(DType from, std::int64_t count) {
  // What has no text of its own is first converted: 16-bit and smaller floats to f32, integers
  // below a byte and booleans to int64.
  const bool is_int = kInts.contains(from) || from == DType::boolean || from == DType::u4 ||
                      from == DType::i4 || from == DType::u2 || from == DType::i2;
  const DType wide = from == DType::f64 || from == DType::u64 ? from
                     : is_int                                 ? DType::i64
                                                              : DType::f32;
  return [from, wide, count](Run& run) {
    Tensor converted = Tensor::uninitialized(wide, {count});
    convert(from, run.in_data(0), wide, converted.mutable_data(), count);
    auto* out = run.out<std::string>(0);
    with_type(Types<float, double, std::int64_t, std::uint64_t>{}, wide, [&](auto zero) {
      const auto values = converted.values<decltype(zero)>();
      for (std::size_t i = 0; i < values.size(); ++i) out[i] = to_text(values[i]);
    });
  };
}

Kernel from_strings(DType to, std::int64_t count, const CastRules& rules) {
  const bool is_float = kFloatsBf16.contains(to) || kFloat8.contains(to) || kFloat6.contains(to) ||
                        to == DType::f4e2m1 || to == DType::f8e8m0;
  const DType wide = to == DType::f32       ? DType::f32
                     : to == DType::boolean ? DType::boolean
                     : is_float             ? DType::f64
                                            : DType::i64;
  return [to, wide, count, rules](Run& run) {
    Tensor parsed = Tensor::uninitialized(wide, {count});
    const auto* in = run.in<std::string>(0);
    const auto parse = [&](auto* values, auto read) {
      for (std::int64_t i = 0; i < count; ++i) values[i] = read(in[i]);
    };
    void* data = parsed.mutable_data();
    if (wide == DType::f32) parse(static_cast<float*>(data), float_from<float>);
    if (wide == DType::f64) parse(static_cast<double*>(data), float_from<double>);
    if (wide == DType::i64) parse(static_cast<std::int64_t*>(data), int_from);
    if (wide == DType::boolean) parse(static_cast<bool*>(data), bool_from);
    convert(wide, data, to, run.out_data(0), count, rules);
  };
}

// Kernels. ---------------------------------------------------------------------------------------

Choice cast_vectors(Op& op) {
  const DType from = op.in(0).dtype, to = op.out(0).dtype;
  if (kernels::array_converter(from, to) == nullptr) {
    return refuse("not from float32 to integers or between it and a 16-bit float");
  }
  const std::int64_t count = element_count(op.in_shape(0));
  return Kernel([=](Run& run) {
    convert_elements(from, run.in_data(0), to, run.out_data(0), count, run.pool());
  });
}

Choice cast(Op& op) {
  const DType from = op.in(0).dtype, to = op.out(0).dtype;
  const std::int64_t count = element_count(op.in_shape(0));
  const CastRules rules = rules_of(op);
  if (from == DType::string && to == DType::string) {
    return Kernel(
        [count](Run& run) { std::copy_n(run.in<std::string>(0), count, run.out<std::string>(0)); });
  }
  if (to == DType::string) return to_strings(from, count);
  if (from == DType::string) return from_strings(to, count, rules);
  return Kernel([=](Run& run) {
    convert_elements(from, run.in_data(0), to, run.out_data(0), count, run.pool(), rules);
  });
}

bool keeps_type(const Op& op) { return op.in(0).dtype == op.out(0).dtype; }

Row& declare_cast(Registry& op, TypeSet types, Kind to) {
  return op("Cast")
      .required("to", to)
      .in("input", types)
      .out("output", types)
      .infer(infer_cast)
      .simd_kernel("simd convert", cast_vectors)
      .kernel("reference", cast)
      .view_where(keeps_type);
}

Row& declare_cast_like(Registry& op, TypeSet types) {
  return op("CastLike")
      .in("input", types)
      .in("target_type", types)
      .out("output", like(1))
      .infer(infer_cast_like)
      .simd_kernel("simd convert", cast_vectors)
      .kernel("reference", cast)
      .view_where(keeps_type);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(cast) {
  const TypeSet plain = kNumbersNoBf16 | DType::boolean;
  const TypeSet with_strings = plain | TypeSet{DType::bf16, DType::string};
  const TypeSet since_19 = with_strings | kFloat8 | TypeSet{DType::u4, DType::i4, DType::f4e2m1};
  const TypeSet since_24 = since_19 | TypeSet{DType::f8e8m0, DType::u2, DType::i2};
  declare_cast(op, plain, Kind::string).since(1);
  declare_cast(op, with_strings, Kind::int_).since(6, 9, 13);
  declare_cast(op, since_19, Kind::int_).since(19, 21, 23).attr("saturate", 1);
  declare_cast(op, since_24, Kind::int_).since(24, 25).attr("saturate", 1).attr("round_mode", "up");
  declare_cast(op, since_24 | kFloat6, Kind::int_)
      .since(28)
      .attr("saturate", 1)
      .attr("round_mode", "up");

  declare_cast_like(op, with_strings).since(15);
  declare_cast_like(op, since_19).since(19, 21, 23).attr("saturate", 1);
  declare_cast_like(op, since_24).since(24, 25).attr("saturate", 1).attr("round_mode", "up");
}
