#include "onnx/encoder.h"

#include <algorithm>
#include <bit>
#include <protozero/buffer_string.hpp>
#include <protozero/varint.hpp>

namespace mezzo::onnx {
namespace {

constexpr int kVarint = 0;
constexpr int kLengthDelimited = 2;
constexpr int kFixed32 = 5;

// Below this, copying costs less than keeping account.
constexpr std::size_t kLarge = 512;

}  // namespace

void Encoder::tag(std::uint32_t field, int wire_type) {
  varint((std::uint64_t{field} << 3) | static_cast<std::uint64_t>(wire_type));
}

void Encoder::varint(std::uint64_t value) { protozero::add_varint_to_buffer(&text_, value); }

void Encoder::integer(std::uint32_t field, std::int64_t value) {
  tag(field, kVarint);
  varint(static_cast<std::uint64_t>(value));
}

void Encoder::float32(std::uint32_t field, float value) {
  tag(field, kFixed32);
  const auto bits = std::bit_cast<std::uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) text_.push_back(static_cast<char>(bits >> shift));
}

void Encoder::bytes(std::uint32_t field, std::string_view value) {
  tag(field, kLengthDelimited);
  varint(value.size());
  text_ += value;
}

void Encoder::large_bytes(std::uint32_t field, std::string_view value) {
  if (value.size() < kLarge) return bytes(field, value);
  tag(field, kLengthDelimited);
  varint(value.size());
  insertions_.push_back({text_.size(), value});
  inserted_bytes_ += value.size();
}

void Encoder::message(std::uint32_t field, const Encoder& child) {
  tag(field, kLengthDelimited);
  varint(child.size());
  for (const Insertion& insertion : child.insertions_) {
    insertions_.push_back({text_.size() + insertion.position, insertion.bytes});
  }
  inserted_bytes_ += child.inserted_bytes_;
  height_ = std::max(height_, child.height_ + 1);
  text_ += child.text_;
}

void Encoder::optional(std::uint32_t field, std::string_view value) {
  if (!value.empty()) bytes(field, value);
}

void Encoder::optional(std::uint32_t field, std::int64_t value) {
  if (value != 0) integer(field, value);
}

}  // namespace mezzo::onnx
