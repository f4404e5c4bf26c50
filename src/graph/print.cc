#include "graph/graph.h"

namespace mezzo::graph {

std::string to_text(const onnx::Type& type) {
  using Kind = onnx::Type::Kind;
  const auto element = [&] { return type.element ? to_text(*type.element) : std::string("?"); };
  switch (type.kind) {
    case Kind::none:
      return "?";
    case Kind::sequence:
      return "sequence(" + element() + ")";
    case Kind::optional:
      return "optional(" + element() + ")";
    case Kind::map:
      return "map(" + std::string(name_of(type.dtype)) + ", " + element() + ")";
    case Kind::opaque:
      return "opaque";
    case Kind::tensor:
    case Kind::sparse_tensor:
      break;
  }
  std::string text(name_of(type.dtype));
  if (!type.shape) return text + "[...]";
  text += "[";
  for (std::size_t i = 0; i < type.shape->size(); ++i) {
    const onnx::Dim& dim = (*type.shape)[i];
    if (i > 0) text += ", ";
    text += dim.value ? std::to_string(*dim.value) : dim.param.empty() ? "?" : dim.param;
  }
  text += "]";
  return type.kind == Kind::sparse_tensor ? "sparse " + text : text;
}

std::string onnx_name_of(const onnx::Type& type) {
  using Kind = onnx::Type::Kind;
  const auto element = [&] { return type.element ? onnx_name_of(*type.element) : std::string(); };
  switch (type.kind) {
    case Kind::none:
      return "";
    case Kind::tensor:
      return mezzo::onnx_name_of(type.dtype);
    case Kind::sparse_tensor:
      return "sparse_" + mezzo::onnx_name_of(type.dtype);
    case Kind::sequence:
      return "seq(" + element() + ")";
    case Kind::optional:
      return "optional(" + element() + ")";
    case Kind::map: {
      const std::string key = mezzo::onnx_name_of(type.dtype);  // "tensor(KEY)"
      return "map(" + key.substr(7, key.size() - 8) + "," + element() + ")";
    }
    case Kind::opaque:
      break;
  }
  return "opaque";
}

namespace {

std::string attribute_text(const onnx::Attribute& attribute) {
  using Kind = onnx::Attribute::Kind;
  const auto list = [](const auto& items, const auto& show) {
    std::string text = "[";
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i == 8) return text + ", ...]";
      text += (i > 0 ? ", " : "") + show(items[i]);
    }
    return text + "]";
  };
  const auto number = [](auto value) { return std::to_string(value); };
  const auto quoted = [](const std::string& s) { return '"' + s + '"'; };
  switch (attribute.kind) {
    case Kind::float_:
      return number(attribute.f);
    case Kind::int_:
      return number(attribute.i);
    case Kind::string:
      return quoted(attribute.s);
    case Kind::tensor:
      return std::string(name_of(attribute.t.tensor.dtype())) +
             to_string(attribute.t.tensor.shape());
    case Kind::floats:
      return list(attribute.floats, number);
    case Kind::ints:
      return list(attribute.ints, number);
    case Kind::strings:
      return list(attribute.strings, quoted);
    default:
      return "...";
  }
}

void append_body(const Graph& graph, BodyId id, const std::string& indent, std::string& text) {
  const auto names = [&](const std::vector<ValueId>& values) {
    std::string list;
    for (const ValueId value : values) {
      list += (list.empty() ? "" : ", ") +
              (value == kNone ? std::string("-") : graph.value(value).name);
    }
    return list;
  };
  const Body& body = graph.body(id);
  for (const NodeId node_id : body.nodes) {
    const Node& node = graph.node(node_id);
    text += indent + names(node.outputs) + " = ";
    if (!node.domain.empty()) text += node.domain + ".";
    text += node.op_type + "(" + names(node.inputs);
    for (const AttributePointer& attribute : node.attributes) {
      if (!attribute->graphs.empty()) continue;
      text += ", " + attribute->name + "=" + attribute_text(*attribute);
    }
    text += ")\n";
    for (const auto& [attribute, nested] : node.bodies) {
      text += indent + "  " + attribute + "(" + names(graph.body(nested).inputs) + ") -> " +
              names(graph.body(nested).outputs) + ":\n";
      append_body(graph, nested, indent + "    ", text);
    }
  }
}

}  // namespace

std::string to_text(const Graph& graph) {
  std::string text = "graph " + graph.main().name + "\n";
  for (const ValueId id : graph.main().inputs) {
    text += "input " + graph.value(id).name + ": " + to_text(graph.value(id).type) + "\n";
  }
  for (const Value& value : graph.values()) {
    if (value.body != 0 || !value.initializer.has_value()) continue;
    text += "initializer " + value.name + ": " + std::string(name_of(value.initializer.dtype())) +
            to_string(value.initializer.shape()) + "\n";
  }
  append_body(graph, 0, "", text);
  for (const ValueId id : graph.main().outputs) {
    text += "output " + graph.value(id).name + ": " + to_text(graph.value(id).type) + "\n";
  }
  return text;
}

}  // namespace mezzo::graph
