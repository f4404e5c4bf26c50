// Models made by hand, in the file format's own structs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "onnx/model.h"

namespace mezzo::onnx {

inline Attribute attribute(std::string name, std::int64_t value) {
  Attribute result;
  result.name = std::move(name);
  result.kind = Attribute::Kind::int_;
  result.i = value;
  return result;
}

inline Attribute attribute(std::string name, std::string value) {
  Attribute result;
  result.name = std::move(name);
  result.kind = Attribute::Kind::string;
  result.s = std::move(value);
  return result;
}

inline Attribute attribute(std::string name, float value) {
  Attribute result;
  result.name = std::move(name);
  result.kind = Attribute::Kind::float_;
  result.f = value;
  return result;
}

inline Attribute attribute(std::string name, std::vector<std::int64_t> values) {
  Attribute result;
  result.name = std::move(name);
  result.kind = Attribute::Kind::ints;
  result.ints = std::move(values);
  return result;
}

inline Attribute attribute(std::string name, Tensor tensor) {
  Attribute result;
  result.name = std::move(name);
  result.kind = Attribute::Kind::tensor;
  result.t.tensor = std::move(tensor);
  return result;
}

inline Attribute attribute(std::string name, Graph body) {
  Attribute result;
  result.name = std::move(name);
  result.kind = Attribute::Kind::graph;
  result.graphs.push_back(std::make_shared<const Graph>(std::move(body)));
  return result;
}

/// In a function's body: the caller's attribute `from`.
inline Attribute reference(std::string name, std::string from, Attribute::Kind kind) {
  Attribute result;
  result.name = std::move(name);
  result.kind = kind;
  result.ref_attr_name = std::move(from);
  return result;
}

inline Node node(std::string op_type, std::vector<std::string> inputs,
                 std::vector<std::string> outputs, std::vector<Attribute> attributes = {},
                 std::string name = "") {
  Node result;
  result.op_type = std::move(op_type);
  result.inputs = std::move(inputs);
  result.outputs = std::move(outputs);
  result.attributes = std::move(attributes);
  result.name = std::move(name);
  return result;
}

/// A value of a declared type; negative extents stay open. Of DType::undefined nothing is declared.
inline ValueInfo value(std::string name, DType dtype = DType::f32,
                       std::initializer_list<std::int64_t> dims = {}) {
  ValueInfo result;
  result.name = std::move(name);
  if (dtype == DType::undefined) return result;
  result.type.kind = Type::Kind::tensor;
  result.type.dtype = dtype;
  result.type.shape.emplace();
  for (const std::int64_t dim : dims) {
    Dim& extent = result.type.shape->emplace_back();
    if (dim >= 0) extent.value = dim;
  }
  return result;
}

inline NamedTensor initializer(std::string name, Tensor tensor) {
  NamedTensor result;
  result.name = std::move(name);
  result.tensor = std::move(tensor);
  return result;
}

inline Graph graph(std::vector<Node> nodes, std::vector<ValueInfo> inputs,
                   std::vector<ValueInfo> outputs, std::vector<NamedTensor> initializers = {},
                   std::string name = "g") {
  Graph result;
  result.name = std::move(name);
  result.nodes = std::move(nodes);
  result.inputs = std::move(inputs);
  result.outputs = std::move(outputs);
  result.initializers = std::move(initializers);
  return result;
}

inline Model model(Graph main, std::int64_t opset = 21) {
  Model result;
  result.ir_version = 10;
  result.graph = std::move(main);
  result.opset_imports = {{"", opset}};
  return result;
}

}  // namespace mezzo::onnx
