// Protobuf bytes under construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mezzo/dtype.h"

namespace mezzo::onnx {

/// One message: its small fields as text, and the places between them where large ones go. Those
/// are only pointed to, so that a model of any size is written without a copy of its weights, and
/// its length is known before.
class Encoder {
 public:
  void integer(std::uint32_t field, std::int64_t value);
  void float32(std::uint32_t field, float value);
  void bytes(std::uint32_t field, std::string_view value);
  /// The same for bytes that outlive the encoder.
  void large_bytes(std::uint32_t field, std::string_view value);
  void message(std::uint32_t field, const Encoder& child);
  /// A string where it is not empty, an integer where it is not 0.
  void optional(std::uint32_t field, std::string_view value);
  void optional(std::uint32_t field, std::int64_t value);
  /// Fields that are already encoded.
  void encoded(std::string_view fields) { text_ += fields; }

  std::size_t size() const { return text_.size() + inserted_bytes_; }
  /// How deep messages are nested in this one.
  int height() const { return height_; }
  /// Calls sink(std::string_view) for all bytes in order.
  template <class Sink>
  void pour(Sink&& sink) const;

 private:
  struct Insertion {
    std::size_t position;  // in text_, before which it goes
    std::string_view bytes;
  };

  void tag(std::uint32_t field, int wire_type);
  void varint(std::uint64_t value);

  std::string text_;
  std::vector<Insertion> insertions_;
  std::size_t inserted_bytes_ = 0;
  int height_ = 0;
};

template <class Sink>
void Encoder::pour(Sink&& sink) const {
  std::size_t done = 0;
  for (const Insertion& insertion : insertions_) {
    sink(std::string_view(text_).substr(done, insertion.position - done));
    sink(insertion.bytes);
    done = insertion.position;
  }
  sink(std::string_view(text_).substr(done));
}

}  // namespace mezzo::onnx
