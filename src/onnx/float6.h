// 6-bit floats as the file stores them: four elements in three bytes, the first in the lowest bits
// (onnx.proto, TensorProto.raw_data). In memory each takes a byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "mezzo/dtype.h"

namespace mezzo::onnx {

constexpr bool is_float6(DType dtype) { return dtype == DType::f6e2m3 || dtype == DType::f6e3m2; }

constexpr std::size_t packed_float6_bytes(std::size_t elements) {
  return elements / 4 * 3 + (elements % 4 * 6 + 7) / 8;
}

/// `packed` holds packed_float6_bytes(elements) bytes, `unpacked` has room for `elements`.
inline void unpack_float6(const char* packed, std::size_t elements, void* unpacked) {
  auto* out = static_cast<std::uint8_t*>(unpacked);
  const auto* in = reinterpret_cast<const std::uint8_t*>(packed);
  for (std::size_t i = 0; i < elements; ++i) {
    const std::size_t bit = i * 6, at = bit / 8, shift = bit % 8;
    unsigned bits = in[at] >> shift;
    if (shift > 2) bits |= static_cast<unsigned>(in[at + 1]) << (8 - shift);
    out[i] = static_cast<std::uint8_t>(bits & 0x3F);
  }
}

/// The inverse, of one byte an element.
inline std::string pack_float6(std::string_view unpacked) {
  std::string packed(packed_float6_bytes(unpacked.size()), '\0');
  for (std::size_t i = 0; i < unpacked.size(); ++i) {
    const std::size_t bit = i * 6, at = bit / 8, shift = bit % 8;
    const unsigned bits = (static_cast<unsigned char>(unpacked[i]) & 0x3FU) << shift;
    packed[at] = static_cast<char>(static_cast<unsigned char>(packed[at]) | (bits & 0xFF));
    if (shift > 2) packed[at + 1] = static_cast<char>(bits >> 8);
  }
  return packed;
}

}  // namespace mezzo::onnx
