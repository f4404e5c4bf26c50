#include "mezzo/dtype.h"

#include <array>
#include <bit>

#include "mezzo/tensor.h"

namespace mezzo {
namespace {

struct TypeFacts {
  std::string_view name;       // NumPy's or ml_dtypes'
  std::string_view onnx_name;  // as in "tensor(float)"
  int bits;
};

constexpr std::array<TypeFacts, kDTypeCount> kFacts = {{
    {"undefined", "undefined", 0},
    {"float32", "float", 32},
    {"uint8", "uint8", 8},
    {"int8", "int8", 8},
    {"uint16", "uint16", 16},
    {"int16", "int16", 16},
    {"int32", "int32", 32},
    {"int64", "int64", 64},
    {"string", "string", 0},
    {"bool", "bool", 8},
    {"float16", "float16", 16},
    {"float64", "double", 64},
    {"uint32", "uint32", 32},
    {"uint64", "uint64", 64},
    {"complex64", "complex64", 64},
    {"complex128", "complex128", 128},
    {"bfloat16", "bfloat16", 16},
    {"float8_e4m3fn", "float8e4m3fn", 8},
    {"float8_e4m3fnuz", "float8e4m3fnuz", 8},
    {"float8_e5m2", "float8e5m2", 8},
    {"float8_e5m2fnuz", "float8e5m2fnuz", 8},
    {"uint4", "uint4", 4},
    {"int4", "int4", 4},
    {"float4_e2m1fn", "float4e2m1", 4},
    {"float8_e8m0fnu", "float8e8m0", 8},
    {"uint2", "uint2", 2},
    {"int2", "int2", 2},
    {"float6_e2m3fn", "float6e2m3", 8},
    {"float6_e3m2fn", "float6e3m2", 8},
}};

constexpr TypeFacts kSequence = {"sequence", "sequence", 0};
constexpr TypeFacts kMap = {"map", "map", 0};
constexpr TypeFacts kNone = {"none", "none", 0};

const TypeFacts& facts(DType dtype) noexcept {
  if (dtype == DType::sequence) return kSequence;
  if (dtype == DType::map) return kMap;
  if (dtype == DType::none) return kNone;
  const auto index = static_cast<std::size_t>(dtype);
  return kFacts[index < kFacts.size() ? index : 0];
}

}  // namespace

int bits_of(DType dtype) noexcept { return facts(dtype).bits; }

std::size_t bytes_of(DType dtype, std::int64_t elements) noexcept {
  const auto count = static_cast<std::size_t>(elements);
  if (dtype == DType::string) return count * sizeof(std::string);
  if (!is_plain(dtype)) return count * sizeof(Tensor);
  const auto bits = static_cast<std::size_t>(bits_of(dtype));
  if (bits >= 8) return count * (bits / 8);
  return bits == 0 ? 0 : (count + 8 / bits - 1) / (8 / bits);
}

std::string_view name_of(DType dtype) noexcept { return facts(dtype).name; }

std::string onnx_name_of(DType dtype) {
  if (static_cast<int>(dtype) >= kDTypeCount) return std::string(facts(dtype).onnx_name);
  return "tensor(" + std::string(facts(dtype).onnx_name) + ")";
}

DType dtype_from_name(std::string_view name) noexcept {
  if (name.starts_with("tensor(") && name.ends_with(")")) name = name.substr(7, name.size() - 8);
  for (std::size_t i = 1; i < kFacts.size(); ++i) {
    if (name == kFacts[i].name || name == kFacts[i].onnx_name) return static_cast<DType>(i);
  }
  return DType::undefined;
}

float to_float(BFloat16 value) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

BFloat16 to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value) {  // NaN: keep it quiet, and a NaN
    return {static_cast<std::uint16_t>((bits >> 16) | 0x40)};
  }
  return {static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)};
}

float to_float(Half value) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1F;
  const std::uint32_t mantissa = value.bits & 0x3FF;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t widened = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (widened << 23) | (mantissa << 13));
}

Half to_half(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) {  // NaN: quiet, with what fits of its payload
    return {static_cast<std::uint16_t>(sign | 0x7E00 | ((magnitude >> 13) & 0x3FF))};
  }
  if (magnitude >= 0x477FF000)
    return {static_cast<std::uint16_t>(sign | 0x7C00)};  // >= 65520: infinity
  if (magnitude < 0x38800000) {
    // Below 2^-14 the result is subnormal: adding 0.5 lets the FPU round at the weight of 2^-24.
    const float rounded = std::bit_cast<float>(magnitude) + 0.5F;
    return {
        static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(rounded) - 0x3F000000))};
  }
  const std::uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1) - (112U << 23);
  return {static_cast<std::uint16_t>(sign | (rounded >> 13))};
}

}  // namespace mezzo
