// NodeProto, AttributeProto and GraphProto, which contain one another.
#pragma once

#include "onnx/model.h"
#include "onnx/wire.h"

namespace mezzo::onnx {

/// Adds to `graph`: protobuf merges a message that comes twice.
void read_graph(Message message, Graph& graph);
/// A NodeProto, appended. Errors say which node.
void append_node(Message message, std::vector<Node>& nodes);
Attribute read_attribute(Message message);

}  // namespace mezzo::onnx
