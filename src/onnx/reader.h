// Reads ONNX files: protobuf over mapped memory, nothing copied but names and small fields.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "onnx/model.h"

namespace mezzo::onnx {

/// Reads the model at `path`. External data is looked for in the model's folder, mapped, and never
/// followed out of it. Throws Error(file_error) where the file cannot be read, Error(damaged_file)
/// with byte offset and field where it is damaged.
Model read_file(const std::string& path);

/// Reads a model from memory, which `owner` keeps alive (without one the caller does, as long as
/// the Model or a tensor of it lives). `folder` is where external data is looked for; empty:
/// external data is an error.
Model read_memory(const void* data, std::size_t size, std::shared_ptr<const void> owner = nullptr,
                  const std::string& folder = "");

/// Reads a single TensorProto (the .pb files of the ONNX test data). The data is copied.
NamedTensor read_tensor_file(const std::string& path);

}  // namespace mezzo::onnx
