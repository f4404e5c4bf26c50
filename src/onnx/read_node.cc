#include "onnx/read_node.h"

#include <array>

#include "onnx/fields.h"
#include "onnx/read_parts.h"

namespace mezzo::onnx {
namespace {

using Kind = Attribute::Kind;

// The field that holds the value of an attribute of each kind.
constexpr std::array<std::uint32_t, 15> kValueFields = {
    0,
    field::attribute::f,
    field::attribute::i,
    field::attribute::s,
    field::attribute::t,
    field::attribute::g,
    field::attribute::floats,
    field::attribute::ints,
    field::attribute::strings,
    field::attribute::tensors,
    field::attribute::graphs,
    field::attribute::sparse_tensor,
    field::attribute::sparse_tensors,
    field::attribute::tp,
    field::attribute::type_protos,
};

Kind kind_of_value(std::uint32_t value_field) {
  for (std::size_t kind = 1; kind < kValueFields.size(); ++kind) {
    if (kValueFields[kind] == value_field) return static_cast<Kind>(kind);
  }
  return Kind::undefined;
}

// The kind that the attribute says it has, or, as files before IR version 2 do not say it, the one
// that its value shows.
Kind find_kind(Message message) {
  Kind shown = Kind::undefined;
  Kind declared = Kind::undefined;
  while (message.next()) {
    if (message.field() != field::attribute::type) {
      if (shown == Kind::undefined) shown = kind_of_value(message.field());
      message.skip();
      continue;
    }
    const std::int64_t number = message.int64();
    if (number < 0 || number >= static_cast<std::int64_t>(kValueFields.size())) {
      throw message.damaged("an unknown attribute type")
          .expected("an AttributeProto.AttributeType, 1 to 14")
          .got(std::to_string(number));
    }
    declared = static_cast<Kind>(number);
  }
  return declared == Kind::undefined ? shown : declared;
}

std::shared_ptr<const Graph> read_body(Message message) {
  auto body = std::make_shared<Graph>();
  read_graph(message, *body);
  return body;
}

// The field of an attribute's own kind.
void read_value(Message& message, Attribute& attribute) {
  // A singular message that comes twice counts once, and the last time.
  const auto only = [](auto& list, auto value) {
    list.clear();
    list.push_back(std::move(value));
  };
  switch (attribute.kind) {
    case Kind::undefined:
      break;
    case Kind::float_:
      attribute.f = message.float32();
      break;
    case Kind::int_:
      attribute.i = message.int64();
      break;
    case Kind::string:
      attribute.s = message.string();
      break;
    case Kind::tensor:
      attribute.t = read_tensor(message.message("TensorProto"));
      break;
    case Kind::graph:
      only(attribute.graphs, read_body(message.message("GraphProto")));
      break;
    case Kind::floats:
      message.each_fixed<float>([&](float value) { attribute.floats.push_back(value); });
      break;
    case Kind::ints:
      message.append_int64s(attribute.ints);
      break;
    case Kind::strings:
      attribute.strings.push_back(message.string());
      break;
    case Kind::tensors:
      attribute.tensors.push_back(read_tensor(message.message("TensorProto")));
      break;
    case Kind::graphs:
      attribute.graphs.push_back(read_body(message.message("GraphProto")));
      break;
    case Kind::sparse_tensor:
      only(attribute.sparse_tensors, read_sparse_tensor(message.message("SparseTensorProto")));
      break;
    case Kind::sparse_tensors:
      attribute.sparse_tensors.push_back(read_sparse_tensor(message.message("SparseTensorProto")));
      break;
    case Kind::type_proto:
      only(attribute.types, read_type(message.message("TypeProto")));
      break;
    case Kind::type_protos:
      attribute.types.push_back(read_type(message.message("TypeProto")));
      break;
  }
}

void read_attribute_fields(Message& message, Attribute& attribute) {
  const std::uint32_t value_field = kValueFields[static_cast<std::size_t>(attribute.kind)];
  bool has_value = false;
  while (message.next()) {
    switch (message.field()) {
      case field::attribute::name:
        attribute.name = message.string();
        break;
      case field::attribute::ref_attr_name:
        attribute.ref_attr_name = message.string();
        break;
      case field::attribute::doc_string:
        attribute.doc_string = message.string();
        break;
      case field::attribute::type:  // known from find_kind
        message.skip();
        break;
      default:
        if (message.field() == value_field) {
          read_value(message, attribute);
          has_value = true;
        } else {
          message.keep(attribute.unknown);
        }
    }
  }
  const bool needs_value = attribute.kind == Kind::tensor || attribute.kind == Kind::graph ||
                           attribute.kind == Kind::sparse_tensor ||
                           attribute.kind == Kind::type_proto;
  if (needs_value && !has_value && attribute.ref_attr_name.empty()) {
    throw message.damaged("an attribute without a value");
  }
}

void read_node(Message& message, Node& node) {
  namespace field = onnx::field::node;
  while (message.next()) {
    switch (message.field()) {
      case field::input:
        node.inputs.push_back(message.string());
        break;
      case field::output:
        node.outputs.push_back(message.string());
        break;
      case field::name:
        node.name = message.string();
        break;
      case field::op_type:
        node.op_type = message.string();
        break;
      case field::attribute:
        node.attributes.push_back(read_attribute(message.message("AttributeProto")));
        break;
      case field::doc_string:
        node.doc_string = message.string();
        break;
      case field::domain:
        node.domain = message.string();
        break;
      case field::overload:
        node.overload = message.string();
        break;
      case field::metadata_props:
        read_entry(message.message("StringStringEntryProto"), node.metadata);
        break;
      default:
        message.keep(node.unknown);
    }
  }
}

TensorAnnotation read_annotation(Message message) {
  namespace field = onnx::field::annotation;
  TensorAnnotation annotation;
  while (message.next()) {
    switch (message.field()) {
      case field::tensor_name:
        annotation.tensor_name = message.string();
        break;
      case field::quant_parameter_tensor_names:
        read_entry(message.message("StringStringEntryProto"), annotation.parameters);
        break;
      default:
        message.keep(annotation.unknown);
    }
  }
  return annotation;
}

}  // namespace

Attribute read_attribute(Message message) {
  Attribute attribute;
  attribute.kind = find_kind(message);
  try {
    read_attribute_fields(message, attribute);
  } catch (Error& error) {
    if (!attribute.name.empty()) error.add_place("attribute '" + attribute.name + "'");
    throw;
  }
  return attribute;
}

void append_node(Message message, std::vector<Node>& nodes) {
  const std::size_t index = nodes.size();
  Node& node = nodes.emplace_back();
  try {
    read_node(message, node);
  } catch (Error& error) {
    std::string place = "node " + std::to_string(index);
    if (!node.op_type.empty()) place += " " + node.op_type;
    if (!node.name.empty()) place += " '" + node.name + "'";
    error.add_place(place);
    throw;
  }
}

void read_graph(Message message, Graph& graph) {
  namespace field = onnx::field::graph;
  while (message.next()) {
    switch (message.field()) {
      case field::node:
        append_node(message.message("NodeProto"), graph.nodes);
        break;
      case field::name:
        graph.name = message.string();
        break;
      case field::initializer:
        graph.initializers.push_back(read_tensor(message.message("TensorProto")));
        break;
      case field::doc_string:
        graph.doc_string = message.string();
        break;
      case field::input:
        graph.inputs.push_back(read_value_info(message.message("ValueInfoProto")));
        break;
      case field::output:
        graph.outputs.push_back(read_value_info(message.message("ValueInfoProto")));
        break;
      case field::value_info:
        graph.value_infos.push_back(read_value_info(message.message("ValueInfoProto")));
        break;
      case field::quantization_annotation:
        graph.quantization.push_back(read_annotation(message.message("TensorAnnotation")));
        break;
      case field::sparse_initializer:
        graph.sparse_initializers.push_back(
            read_sparse_tensor(message.message("SparseTensorProto")));
        break;
      case field::metadata_props:
        read_entry(message.message("StringStringEntryProto"), graph.metadata);
        break;
      default:
        message.keep(graph.unknown);
    }
  }
}

}  // namespace mezzo::onnx
