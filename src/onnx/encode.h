// Models as protobuf messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/encoder.h"
#include "onnx/model.h"

namespace mezzo::onnx {

/// Protobuf's limit for a message: what its 32-bit sizes can count.
inline constexpr std::size_t kMaxMessageBytes = 0x7FFFFFFF;

/// A second file that large initializers go to.
struct DataFile {
  std::string location;  ///< its name, as the model will say it
  struct Piece {
    std::uint64_t offset;
    std::string_view bytes;
  };
  std::vector<Piece> pieces;       ///< ascending, with gaps for alignment
  std::deque<std::string> packed;  ///< what pieces that are in no tensor's memory look at
  std::uint64_t size = 0;
};

/// The whole model; it and its tensors must outlive the result. Large initializers go to `data`
/// where that is given. Throws Error(invalid_argument) for what cannot be written: a tensor without
/// a value, bodies nested deeper than the reader accepts.
Encoder encode(const Model& model, DataFile* data = nullptr);

/// write_file, with another limit than kMaxMessageBytes for a model in one file.
void write_file(const Model& model, const std::string& path, std::size_t max_bytes);

}  // namespace mezzo::onnx
