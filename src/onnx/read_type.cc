// TypeProto, ValueInfoProto and StringStringEntryProto.

#include "onnx/fields.h"
#include "onnx/read_parts.h"

namespace mezzo::onnx {
namespace {

Dim read_dimension(Message message) {
  namespace field = onnx::field::dimension;
  Dim dim;
  while (message.next()) {
    switch (message.field()) {
      case field::dim_value:  // a oneof with dim_param: the last one counts
        dim.value = message.int64();
        dim.param.clear();
        break;
      case field::dim_param:
        dim.param = message.string();
        dim.value.reset();
        break;
      case field::denotation:
        dim.denotation = message.string();
        break;
      default:
        message.keep(dim.unknown);
    }
  }
  return dim;
}

void read_shape(Message message, Type& type) {
  std::vector<Dim>& dims = type.shape.emplace();
  type.shape_unknown.clear();
  while (message.next()) {
    if (message.field() == field::shape::dim) {
      dims.push_back(read_dimension(message.message("TensorShapeProto.Dimension")));
    } else {
      message.keep(type.shape_unknown);
    }
  }
}

void read_tensor_type(Message message, Type& type) {
  namespace field = onnx::field::tensor_type;
  while (message.next()) {
    switch (message.field()) {
      case field::elem_type:
        type.dtype = read_dtype(message, message.int32());
        break;
      case field::shape:
        read_shape(message.message("TensorShapeProto"), type);
        break;
      default:
        message.keep(type.kind_unknown);
    }
  }
}

// TypeProto.Sequence, Optional and Map: an element's type, and for a map the key's before it.
void read_container_type(Message message, Type& type) {
  const bool is_map = type.kind == Type::Kind::map;
  const std::uint32_t element_field = is_map
                                          ? static_cast<std::uint32_t>(field::map_type::value_type)
                                          : field::element_type::elem_type;
  while (message.next()) {
    if (message.field() == element_field) {
      type.element = std::make_shared<const Type>(read_type(message.message("TypeProto")));
    } else if (is_map && message.field() == field::map_type::key_type) {
      type.dtype = read_dtype(message, message.int32());
    } else {
      message.keep(type.kind_unknown);
    }
  }
}

}  // namespace

Type read_type(Message message) {
  namespace field = onnx::field::type;
  Type type;
  // The value is a oneof: the last one counts.
  const auto become = [&](Type::Kind kind) {
    type.kind = kind;
    type.dtype = DType::undefined;
    type.shape.reset();
    type.element.reset();
    type.kind_unknown.clear();
    type.shape_unknown.clear();
  };
  while (message.next()) {
    switch (message.field()) {
      case field::tensor_type:
        become(Type::Kind::tensor);
        read_tensor_type(message.message("TypeProto.Tensor"), type);
        break;
      case field::sparse_tensor_type:
        become(Type::Kind::sparse_tensor);
        read_tensor_type(message.message("TypeProto.SparseTensor"), type);
        break;
      case field::sequence_type:
        become(Type::Kind::sequence);
        read_container_type(message.message("TypeProto.Sequence"), type);
        break;
      case field::optional_type:
        become(Type::Kind::optional);
        read_container_type(message.message("TypeProto.Optional"), type);
        break;
      case field::map_type:
        become(Type::Kind::map);
        read_container_type(message.message("TypeProto.Map"), type);
        break;
      case field::opaque_type:  // nothing is known of it but its bytes
        become(Type::Kind::opaque);
        message.keep(type.unknown);
        break;
      case field::denotation:
        type.denotation = message.string();
        break;
      default:
        message.keep(type.unknown);
    }
  }
  return type;
}

ValueInfo read_value_info(Message message) {
  namespace field = onnx::field::value_info;
  ValueInfo value;
  while (message.next()) {
    switch (message.field()) {
      case field::name:
        value.name = message.string();
        break;
      case field::type:
        value.type = read_type(message.message("TypeProto"));
        break;
      case field::doc_string:
        value.doc_string = message.string();
        break;
      case field::metadata_props:
        read_entry(message.message("StringStringEntryProto"), value.metadata);
        break;
      default:
        message.keep(value.unknown);
    }
  }
  return value;
}

void read_entry(Message message, StringPairs& entries) {
  namespace field = onnx::field::entry;
  StringPair& entry = entries.emplace_back();
  while (message.next()) {
    switch (message.field()) {
      case field::key:
        entry.first = message.string();
        break;
      case field::value:
        entry.second = message.string();
        break;
      default:
        message.keep(entry.unknown);
    }
  }
}

}  // namespace mezzo::onnx
