// Element types, as ONNX names and numbers them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mezzo {

/// The element type of a tensor. The numbers are those of TensorProto.DataType (ONNX 1.23).
enum class DType : std::uint8_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  string = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  c64 = 14,   ///< complex of two f32
  c128 = 15,  ///< complex of two f64
  bf16 = 16,
  f8e4m3fn = 17,
  f8e4m3fnuz = 18,
  f8e5m2 = 19,
  f8e5m2fnuz = 20,
  u4 = 21,  ///< two elements a byte, the first in the low half
  i4 = 22,
  f4e2m1 = 23,
  f8e8m0 = 24,
  u2 = 25,  ///< four elements a byte, the first in the lowest bits
  i2 = 26,
  f6e2m3 = 27,  ///< in memory one element a byte, in the lower six bits; packed in files only
  f6e3m2 = 28,
  // ONNX's values that are no tensors are held as tensors of tensors.
  sequence = 61,  ///< [n] tensors, which may themselves be sequences or maps
  map = 62,       ///< two tensors: the keys [n] and, in the same order, the values
  none = 63,      ///< an optional that holds nothing; one that does is what it holds
};

/// Element types of the ONNX spec: the numbers below this one (0 is undefined).
inline constexpr int kDTypeCount = 29;

/// Whether elements are plain bytes, and not strings or (of a sequence or map) tensors.
constexpr bool is_plain(DType dtype) noexcept {
  return dtype != DType::string && dtype != DType::sequence && dtype != DType::map;
}
/// Bits that one element takes in memory; 0 for those that are not plain, undefined and none.
int bits_of(DType dtype) noexcept;
/// Bytes of `elements` elements, the sub-byte types packed. Strings and the tensors of
/// sequences count sizeof(std::string) and sizeof(Tensor) each.
std::size_t bytes_of(DType dtype, std::int64_t elements) noexcept;
/// "float32", "int64", "bfloat16", ...: NumPy's and ml_dtypes' names.
std::string_view name_of(DType dtype) noexcept;
/// "tensor(float)", ...: the type strings of the ONNX spec; "sequence", "map" and "none" of what is
/// no tensor.
std::string onnx_name_of(DType dtype);
/// The type with that NumPy or ONNX name ("float32", "float", "tensor(float)"), or undefined.
DType dtype_from_name(std::string_view name) noexcept;

/// IEEE half precision: storage only, converted from and to float with round-to-nearest-even.
struct Half {
  std::uint16_t bits = 0;
};
/// The upper half of an IEEE single: storage only, converted with round-to-nearest-even.
struct BFloat16 {
  std::uint16_t bits = 0;
};
struct Complex64 {
  float re = 0, im = 0;
};
struct Complex128 {
  double re = 0, im = 0;
};

float to_float(Half value) noexcept;
float to_float(BFloat16 value) noexcept;
Half to_half(float value) noexcept;
BFloat16 to_bfloat16(float value) noexcept;

/// DTypeOf<T>::value is the DType whose elements are T in memory.
template <class T>
struct DTypeOf;
// clang-format off
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<std::int8_t> { static constexpr DType value = DType::i8; };
template <> struct DTypeOf<std::int16_t> { static constexpr DType value = DType::i16; };
template <> struct DTypeOf<std::int32_t> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<std::int64_t> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<std::uint8_t> { static constexpr DType value = DType::u8; };
template <> struct DTypeOf<std::uint16_t> { static constexpr DType value = DType::u16; };
template <> struct DTypeOf<std::uint32_t> { static constexpr DType value = DType::u32; };
template <> struct DTypeOf<std::uint64_t> { static constexpr DType value = DType::u64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };
template <> struct DTypeOf<Half> { static constexpr DType value = DType::f16; };
template <> struct DTypeOf<BFloat16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<Complex64> { static constexpr DType value = DType::c64; };
template <> struct DTypeOf<Complex128> { static constexpr DType value = DType::c128; };
template <> struct DTypeOf<std::string> { static constexpr DType value = DType::string; };
// clang-format on

}  // namespace mezzo
