// A cursor over one protobuf message that turns every kind of damage into an Error with the byte
// offset at which it was found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "mezzo/error.h"
#include "onnx/external_data.h"

namespace mezzo::onnx {

/// How deep messages may be nested, a body of a body counting as three (attribute, graph, node).
/// protobuf's own parsers stop at 100; the recursion of reader, writer and destructors at this.
inline constexpr int kMaxDepth = 200;

/// The bytes that are read, and what keeps them alive.
struct Source {
  const char* begin = nullptr;
  std::size_t size = 0;
  std::shared_ptr<const void> owner;  ///< null where the caller keeps them
  ExternalFiles* external = nullptr;  ///< never null while reading
};

/// One message. Copying is cheap, and gives a second cursor over the same fields.
class Message {
 public:
  /// `name` is the message's in onnx.proto and lives forever.
  Message(const Source& source, const char* name, std::string_view bytes, int depth = 0);

  /// Goes on to the next field. Its value must then be taken by exactly one of the calls below.
  bool next();
  std::uint32_t field() const { return reader_.tag(); }

  std::int64_t int64();
  std::int32_t int32() { return static_cast<std::int32_t>(int64()); }
  float float32();
  std::string string() { return std::string(bytes()); }
  /// A view of the source.
  std::string_view bytes();
  Message message(const char* name);
  void skip();
  /// Appends the field as it stands, tag and payload.
  void keep(std::string& unknown);

  /// Whether the field is length-delimited: for a repeated number, whether it is packed.
  bool is_packed() const {
    return reader_.wire_type() == protozero::pbf_wire_type::length_delimited;
  }
  /// Calls fn(uint64_t) for each value of a repeated integer, packed or not.
  template <class Fn>
  void each_varint(Fn&& fn);
  /// Calls fn(T) for each value of a repeated float or double, packed or not.
  template <class T, class Fn>
  void each_fixed(Fn&& fn);
  void append_int64s(std::vector<std::int64_t>& values);

  const Source& source() const { return *source_; }
  /// An Error(invalid_model) at the current field.
  Error damaged(std::string problem) const;
  /// "byte 1234 (NodeProto)": where the current field starts.
  std::string place() const;

 private:
  void want(protozero::pbf_wire_type type) const;
  // Runs a protozero call, whose exceptions know nothing of places.
  template <class Fn>
  auto guarded(Fn&& fn) -> decltype(fn());
  Error broken(const protozero::exception& reason) const;

  const Source* source_;
  const char* name_;
  protozero::pbf_reader reader_;
  const char* field_start_;
  int depth_;
};

template <class Fn>
auto Message::guarded(Fn&& fn) -> decltype(fn()) {
  try {
    return fn();
  } catch (const protozero::exception& reason) {
    throw broken(reason);
  }
}

template <class Fn>
void Message::each_varint(Fn&& fn) {
  if (!is_packed()) return fn(static_cast<std::uint64_t>(int64()));
  const std::string_view packed = bytes();
  const char* at = packed.data();
  const char* const end = at + packed.size();
  while (at != end) fn(guarded([&] { return protozero::decode_varint(&at, end); }));
}

template <class T, class Fn>
void Message::each_fixed(Fn&& fn) {
  using protozero::pbf_wire_type;
  if (!is_packed()) {
    want(sizeof(T) == 4 ? pbf_wire_type::fixed32 : pbf_wire_type::fixed64);
    fn(guarded([&] {
      if constexpr (sizeof(T) == 4) {
        return reader_.get_float();
      } else {
        return reader_.get_double();
      }
    }));
    return;
  }
  const std::string_view packed = bytes();
  if (packed.size() % sizeof(T) != 0) {
    throw damaged("a packed field whose length is no multiple of its elements' size")
        .expected("a multiple of " + std::to_string(sizeof(T)) + " bytes")
        .got(std::to_string(packed.size()));
  }
  for (std::size_t i = 0; i < packed.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, packed.data() + i, sizeof(T));
    fn(value);
  }
}

}  // namespace mezzo::onnx
