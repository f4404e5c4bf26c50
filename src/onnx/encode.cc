#include "onnx/encode.h"

#include "onnx/fields.h"
#include "onnx/float6.h"
#include "onnx/wire.h"

namespace mezzo::onnx {
namespace {

// ONNX asks for offsets that are multiples of the page size, so that the data can be mapped;
// smaller tensors would be mostly padding, and stay in the model.
constexpr std::uint64_t kPage = 4096;

Error too_deep() {
  return Error(ErrorCode::limit, "the model's bodies or types are nested too deeply")
      .expected("at most " + std::to_string(kMaxDepth) + " levels of messages")
      .got("more");
}

// Unknown fields go first in each message: should one of them have become known by an edit, the
// later field counts.
class ModelEncoder {
 public:
  explicit ModelEncoder(DataFile* data) : data_(data) {}

  Encoder model(const Model& model);

 private:
  // Bounds the recursion.
  class Nested {
   public:
    explicit Nested(int& depth) : depth_(depth) {
      if (depth_ >= kMaxDepth) throw too_deep();
      ++depth_;
    }
    ~Nested() { --depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    int& depth_;
  };

  Encoder graph(const Graph& graph);
  Encoder function(const Function& function);
  Encoder node(const Node& node);
  Encoder attribute(const Attribute& attribute);
  void attribute_value(Encoder& out, const Attribute& attribute);
  Encoder value_info(const ValueInfo& value);
  Encoder type(const Type& type);
  Encoder tensor_type(const Type& type);
  Encoder tensor(const NamedTensor& tensor, DataFile* data = nullptr);
  Encoder sparse_tensor(const SparseTensor& sparse);

  DataFile* data_;
  int depth_ = 0;
};

void entries(Encoder& out, std::uint32_t number, const StringPairs& pairs) {
  for (const StringPair& pair : pairs) {
    Encoder child;
    child.encoded(pair.unknown);
    child.bytes(field::entry::key, pair.first);
    child.bytes(field::entry::value, pair.second);
    out.message(number, child);
  }
}

void strings(Encoder& out, std::uint32_t number, const std::vector<std::string>& values) {
  for (const std::string& value : values) out.bytes(number, value);
}

void opset_imports(Encoder& out, std::uint32_t number, const std::vector<OpsetImport>& imports) {
  for (const OpsetImport& import : imports) {
    Encoder child;
    child.encoded(import.unknown);
    child.bytes(field::opset::domain, import.domain);
    child.integer(field::opset::version, import.version);
    out.message(number, child);
  }
}

Encoder shape(const std::vector<Dim>& dims, const std::string& unknown) {
  namespace field = onnx::field::dimension;
  Encoder out;
  out.encoded(unknown);
  for (const Dim& dim : dims) {
    Encoder child;
    child.encoded(dim.unknown);
    if (dim.value) {
      child.integer(field::dim_value, *dim.value);
    } else {
      child.optional(field::dim_param, dim.param);
    }
    child.optional(field::denotation, dim.denotation);
    out.message(onnx::field::shape::dim, child);
  }
  return out;
}

Encoder ModelEncoder::model(const Model& model) {
  namespace field = onnx::field::model;
  Encoder out;
  out.encoded(model.unknown);
  out.integer(field::ir_version, model.ir_version);
  out.optional(field::producer_name, model.producer_name);
  out.optional(field::producer_version, model.producer_version);
  out.optional(field::domain, model.domain);
  out.optional(field::model_version, model.model_version);
  out.optional(field::doc_string, model.doc_string);
  out.message(field::graph, graph(model.graph));
  opset_imports(out, field::opset_import, model.opset_imports);
  entries(out, field::metadata_props, model.metadata);
  for (const Function& each : model.functions) out.message(field::functions, function(each));
  if (out.height() > kMaxDepth) throw too_deep();
  return out;
}

Encoder ModelEncoder::graph(const Graph& graph) {
  namespace field = onnx::field::graph;
  const Nested nested(depth_);
  Encoder out;
  out.encoded(graph.unknown);
  for (const Node& each : graph.nodes) out.message(field::node, node(each));
  out.optional(field::name, graph.name);
  for (const NamedTensor& each : graph.initializers) {
    out.message(field::initializer, tensor(each, data_));
  }
  out.optional(field::doc_string, graph.doc_string);
  for (const ValueInfo& each : graph.inputs) out.message(field::input, value_info(each));
  for (const ValueInfo& each : graph.outputs) out.message(field::output, value_info(each));
  for (const ValueInfo& each : graph.value_infos) out.message(field::value_info, value_info(each));
  for (const TensorAnnotation& each : graph.quantization) {
    Encoder child;
    child.encoded(each.unknown);
    child.bytes(onnx::field::annotation::tensor_name, each.tensor_name);
    entries(child, onnx::field::annotation::quant_parameter_tensor_names, each.parameters);
    out.message(field::quantization_annotation, child);
  }
  for (const SparseTensor& each : graph.sparse_initializers) {
    out.message(field::sparse_initializer, sparse_tensor(each));
  }
  entries(out, field::metadata_props, graph.metadata);
  return out;
}

Encoder ModelEncoder::function(const Function& function) {
  namespace field = onnx::field::function;
  const Nested nested(depth_);
  Encoder out;
  out.encoded(function.unknown);
  out.bytes(field::name, function.name);
  strings(out, field::input, function.inputs);
  strings(out, field::output, function.outputs);
  strings(out, field::attribute, function.attributes);
  for (const Node& each : function.nodes) out.message(field::node, node(each));
  out.optional(field::doc_string, function.doc_string);
  opset_imports(out, field::opset_import, function.opset_imports);
  out.optional(field::domain, function.domain);
  for (const Attribute& each : function.default_attributes) {
    out.message(field::attribute_proto, attribute(each));
  }
  for (const ValueInfo& each : function.value_infos) {
    out.message(field::value_info, value_info(each));
  }
  out.optional(field::overload, function.overload);
  entries(out, field::metadata_props, function.metadata);
  return out;
}

Encoder ModelEncoder::node(const Node& node) {
  namespace field = onnx::field::node;
  const Nested nested(depth_);
  Encoder out;
  out.encoded(node.unknown);
  strings(out, field::input, node.inputs);
  strings(out, field::output, node.outputs);
  out.optional(field::name, node.name);
  out.bytes(field::op_type, node.op_type);
  for (const Attribute& each : node.attributes) out.message(field::attribute, attribute(each));
  out.optional(field::doc_string, node.doc_string);
  out.optional(field::domain, node.domain);
  out.optional(field::overload, node.overload);
  entries(out, field::metadata_props, node.metadata);
  return out;
}

Encoder ModelEncoder::attribute(const Attribute& attribute) {
  namespace field = onnx::field::attribute;
  const Nested nested(depth_);
  Encoder out;
  out.encoded(attribute.unknown);
  out.bytes(field::name, attribute.name);
  // A reference has no value of its own.
  if (attribute.ref_attr_name.empty()) attribute_value(out, attribute);
  out.optional(field::doc_string, attribute.doc_string);
  if (attribute.kind != Attribute::Kind::undefined) {
    out.integer(field::type, static_cast<std::int64_t>(attribute.kind));
  }
  out.optional(field::ref_attr_name, attribute.ref_attr_name);
  return out;
}

// The only element of a list that stands for a singular field.
template <class T>
const T& only(const Attribute& attribute, const std::vector<T>& values) {
  if (values.size() != 1) {
    throw Error(ErrorCode::invalid_argument, "an attribute of a singular kind with several values")
        .at("attribute '" + attribute.name + "'")
        .expected("1")
        .got(std::to_string(values.size()));
  }
  return values.front();
}

void ModelEncoder::attribute_value(Encoder& out, const Attribute& attribute) {
  namespace field = onnx::field::attribute;
  using Kind = Attribute::Kind;
  switch (attribute.kind) {
    case Kind::undefined:
      break;
    case Kind::float_:
      out.float32(field::f, attribute.f);
      break;
    case Kind::int_:
      out.integer(field::i, attribute.i);
      break;
    case Kind::string:
      out.large_bytes(field::s, attribute.s);
      break;
    case Kind::tensor:
      out.message(field::t, tensor(attribute.t));
      break;
    case Kind::graph:
      out.message(field::g, graph(*only(attribute, attribute.graphs)));
      break;
    case Kind::floats:
      for (const float value : attribute.floats) out.float32(field::floats, value);
      break;
    case Kind::ints:
      for (const std::int64_t value : attribute.ints) out.integer(field::ints, value);
      break;
    case Kind::strings:
      strings(out, field::strings, attribute.strings);
      break;
    case Kind::tensors:
      for (const NamedTensor& each : attribute.tensors) out.message(field::tensors, tensor(each));
      break;
    case Kind::graphs:
      for (const auto& each : attribute.graphs) out.message(field::graphs, graph(*each));
      break;
    case Kind::sparse_tensor:
      out.message(field::sparse_tensor, sparse_tensor(only(attribute, attribute.sparse_tensors)));
      break;
    case Kind::sparse_tensors:
      for (const SparseTensor& each : attribute.sparse_tensors) {
        out.message(field::sparse_tensors, sparse_tensor(each));
      }
      break;
    case Kind::type_proto:
      out.message(field::tp, type(only(attribute, attribute.types)));
      break;
    case Kind::type_protos:
      for (const Type& each : attribute.types) out.message(field::type_protos, type(each));
      break;
  }
}

Encoder ModelEncoder::value_info(const ValueInfo& value) {
  namespace field = onnx::field::value_info;
  Encoder out;
  out.encoded(value.unknown);
  out.bytes(field::name, value.name);
  if (value.type.kind != Type::Kind::none || !value.type.denotation.empty() ||
      !value.type.unknown.empty()) {
    out.message(field::type, type(value.type));
  }
  out.optional(field::doc_string, value.doc_string);
  entries(out, field::metadata_props, value.metadata);
  return out;
}

Encoder ModelEncoder::tensor_type(const Type& type) {
  namespace field = onnx::field::tensor_type;
  Encoder out;
  out.encoded(type.kind_unknown);
  out.optional(field::elem_type, static_cast<std::int64_t>(type.dtype));
  if (type.shape) out.message(field::shape, shape(*type.shape, type.shape_unknown));
  return out;
}

Encoder ModelEncoder::type(const Type& type) {
  namespace field = onnx::field::type;
  using Kind = Type::Kind;
  const Nested nested(depth_);
  Encoder out;
  out.encoded(type.unknown);
  const auto element = [&](std::uint32_t number) {
    const Nested container(depth_);
    Encoder child;
    child.encoded(type.kind_unknown);
    if (type.kind == Kind::map) {
      child.optional(onnx::field::map_type::key_type, static_cast<std::int64_t>(type.dtype));
    }
    if (type.element != nullptr) child.message(number, this->type(*type.element));
    return child;
  };
  switch (type.kind) {
    case Kind::none:
    case Kind::opaque:  // in `unknown`
      break;
    case Kind::tensor:
      out.message(field::tensor_type, tensor_type(type));
      break;
    case Kind::sparse_tensor:
      out.message(field::sparse_tensor_type, tensor_type(type));
      break;
    case Kind::sequence:
      out.message(field::sequence_type, element(onnx::field::element_type::elem_type));
      break;
    case Kind::optional:
      out.message(field::optional_type, element(onnx::field::element_type::elem_type));
      break;
    case Kind::map:
      out.message(field::map_type, element(onnx::field::map_type::value_type));
      break;
  }
  out.optional(field::denotation, type.denotation);
  return out;
}

Encoder ModelEncoder::tensor(const NamedTensor& named, DataFile* data) {
  namespace field = onnx::field::tensor;
  const Tensor& tensor = named.tensor;
  if (!tensor.has_value()) {
    throw Error(ErrorCode::invalid_argument, "a tensor without a value cannot be written")
        .at("tensor '" + named.name + "'");
  }
  Encoder out;
  out.encoded(named.unknown);
  for (const std::int64_t extent : tensor.shape()) out.integer(field::dims, extent);
  out.integer(field::data_type, static_cast<std::int64_t>(tensor.dtype()));
  out.optional(field::name, named.name);
  out.optional(field::doc_string, named.doc_string);
  entries(out, field::metadata_props, named.metadata);
  if (tensor.dtype() == DType::string) {
    for (const std::string& value : tensor.values<std::string>()) {
      out.large_bytes(field::string_data, value);
    }
    return out;
  }
  std::string_view bytes(static_cast<const char*>(tensor.data()), tensor.bytes());
  std::string packed;
  if (is_float6(tensor.dtype())) bytes = packed = pack_float6(bytes);
  if (data == nullptr || bytes.size() < kPage) {
    packed.empty() ? out.large_bytes(field::raw_data, bytes) : out.bytes(field::raw_data, bytes);
    return out;
  }
  if (!packed.empty()) bytes = data->packed.emplace_back(std::move(packed));
  const std::uint64_t offset = (data->size + kPage - 1) / kPage * kPage;
  data->pieces.push_back({offset, bytes});
  data->size = offset + bytes.size();
  entries(out, field::external_data,
          {{"location", data->location},
           {"offset", std::to_string(offset)},
           {"length", std::to_string(bytes.size())}});
  out.integer(field::data_location, 1);
  return out;
}

Encoder ModelEncoder::sparse_tensor(const SparseTensor& sparse) {
  namespace field = onnx::field::sparse_tensor;
  Encoder out;
  out.encoded(sparse.unknown);
  out.message(field::values, tensor(sparse.values));
  out.message(field::indices, tensor(sparse.indices));
  for (const std::int64_t extent : sparse.dims) out.integer(field::dims, extent);
  return out;
}

}  // namespace

Encoder encode(const Model& model, DataFile* data) { return ModelEncoder(data).model(model); }

}  // namespace mezzo::onnx
