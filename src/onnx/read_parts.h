// The messages that several others contain. Each function reads one, whose name it was given.
#pragma once

#include <cstdint>
#include <string>

#include "onnx/model.h"
#include "onnx/wire.h"

namespace mezzo::onnx {

/// TensorProto. The tensor looks into the source or its external file wherever the data lies there
/// as it does in memory.
NamedTensor read_tensor(Message message);
SparseTensor read_sparse_tensor(Message message);
Type read_type(Message message);
ValueInfo read_value_info(Message message);
/// StringStringEntryProto, appended.
void read_entry(Message message, StringPairs& entries);

/// A TensorProto.DataType. Throws Error(invalid_model) for a number that is none.
DType read_dtype(const Message& message, std::int64_t number);

}  // namespace mezzo::onnx
