// Writes ONNX files.
#pragma once

#include <string>

#include "onnx/model.h"

namespace mezzo::onnx {

/// The model as protobuf bytes, with what the reader did not know where it was found. Tensors whose
/// data was external are written with their data inside. Throws Error(limit) above protobuf's 2 GB.
std::string write_memory(const Model& model);

/// When initializers go to a second file, `path` + ".data".
enum class ExternalData { when_too_large, always };

/// Writes to `path` through a temporary file beside it that is renamed at the end. Initializers of
/// a page (4096 bytes) or more go to a second file where that is asked for, or where the model
/// would pass 2 GB without it. Throws Error(file_error), Error(limit) where even so it would.
void write_file(const Model& model, const std::string& path,
                ExternalData external = ExternalData::when_too_large);

}  // namespace mezzo::onnx
