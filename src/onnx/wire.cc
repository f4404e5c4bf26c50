#include "onnx/wire.h"

#include <bit>

namespace mezzo::onnx {

// Weights are used as they lie in the file, and ONNX files are little-endian.
static_assert(std::endian::native == std::endian::little, "mezzo needs a little-endian machine");

namespace {

using protozero::pbf_wire_type;

std::string name_of(pbf_wire_type type) {
  switch (type) {
    case pbf_wire_type::varint:
      return "varint";
    case pbf_wire_type::fixed64:
      return "fixed64";
    case pbf_wire_type::length_delimited:
      return "length-delimited";
    default:
      return "fixed32";
  }
}

}  // namespace

Message::Message(const Source& source, const char* name, std::string_view bytes, int depth)
    : source_(&source),
      name_(name),
      reader_(bytes.data(), bytes.size()),
      field_start_(bytes.data()),
      depth_(depth) {
  if (depth > kMaxDepth) {
    throw Error(ErrorCode::limit, "the model's bodies or types are nested too deeply")
        .at(place())
        .expected("at most " + std::to_string(kMaxDepth) + " levels of messages")
        .got("more");
  }
}

bool Message::next() {
  field_start_ = reader_.data().data();
  return guarded([&] { return reader_.next(); });
}

std::int64_t Message::int64() {
  want(pbf_wire_type::varint);
  return guarded([&] { return reader_.get_int64(); });
}

float Message::float32() {
  want(pbf_wire_type::fixed32);
  return guarded([&] { return reader_.get_float(); });
}

std::string_view Message::bytes() {
  want(pbf_wire_type::length_delimited);
  // protozero cuts lengths to 32 bits, so a longer one must be found here.
  const protozero::data_view rest = reader_.data();
  const char* at = rest.data();
  const char* const end = at + rest.size();
  const std::uint64_t length = guarded([&] { return protozero::decode_varint(&at, end); });
  const auto left = static_cast<std::size_t>(end - at);
  if (length > left) {
    throw damaged("a field is longer than the message that it is in")
        .expected("at most " + std::to_string(left) + " bytes")
        .got(std::to_string(length))
        .hint("The file may have been cut off, or it is no ONNX file");
  }
  const protozero::data_view view = guarded([&] { return reader_.get_view(); });
  return {view.data(), view.size()};
}

Message Message::message(const char* name) { return Message(*source_, name, bytes(), depth_ + 1); }

void Message::skip() {
  if (is_packed()) {
    bytes();
  } else {
    guarded([&] { reader_.skip(); });
  }
}

void Message::keep(std::string& unknown) {
  const char* const start = field_start_;
  skip();
  unknown.append(start, static_cast<std::size_t>(reader_.data().data() - start));
}

void Message::append_int64s(std::vector<std::int64_t>& values) {
  each_varint([&](std::uint64_t value) { values.push_back(static_cast<std::int64_t>(value)); });
}

void Message::want(pbf_wire_type type) const {
  if (reader_.wire_type() == type) return;
  throw damaged("field " + std::to_string(field()) + " has the wrong wire type")
      .expected(name_of(type))
      .got(name_of(reader_.wire_type()));
}

Error Message::damaged(std::string problem) const {
  return Error(ErrorCode::damaged_file, std::move(problem)).at(place());
}

std::string Message::place() const {
  return "byte " + std::to_string(field_start_ - source_->begin) + " (" + name_ + ")";
}

Error Message::broken(const protozero::exception& reason) const {
  std::string what = "a field that is no valid protobuf";
  if (dynamic_cast<const protozero::end_of_buffer_exception*>(&reason) != nullptr) {
    what = "the data ends within a field";
  } else if (dynamic_cast<const protozero::varint_too_long_exception*>(&reason) != nullptr) {
    what = "a number of more than 64 bits";
  } else if (dynamic_cast<const protozero::invalid_tag_exception*>(&reason) != nullptr) {
    what = "an invalid field number";
  } else if (dynamic_cast<const protozero::unknown_pbf_wire_type_exception*>(&reason) != nullptr) {
    what = "an unknown wire type";
  }
  return damaged(std::move(what)).hint("The file may have been cut off, or it is no ONNX file");
}

}  // namespace mezzo::onnx
