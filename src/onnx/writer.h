// Writes ONNX files.
#pragma once

#include <string>

#include "onnx/model.h"

namespace mezzo::onnx {

/// The model as protobuf bytes, with what the reader did not know where it was found. Tensors whose
/// data was external are written with their data inside. Throws Error(limit) above protobuf's 2 GB.
std::string write_memory(const Model& model);
/// Writes to `path` through a temporary file beside it that is renamed at the end. Initializers go
/// to a file beside it
/// (`path` + ".data") where the model would pass 2 GB. Throws Error(file_error).
void write_file(const Model& model, const std::string& path);

}  // namespace mezzo::onnx
