// The ONNX file format in memory: one plain struct for each message of onnx.proto, field for field.
//
// Tensors look straight into the mapped file (or the memory that was given): a weight is not copied
// when a model is read, and may therefore be misaligned for its type. Fields that this version does
// not know are kept as bytes, so that writing loses nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "mezzo/tensor.h"

namespace mezzo::onnx {

struct Graph;

/// StringStringEntryProto: key and value. Used as the pair that it is.
struct StringPair : std::pair<std::string, std::string> {
  using pair::pair;
  std::string unknown;
};

using StringPairs = std::vector<StringPair>;

/// One extent of a declared shape: a number, a name ("batch"), or neither.
struct Dim {
  std::optional<std::int64_t> value;
  std::string param;
  std::string denotation;
  std::string unknown;
};

/// TypeProto.
struct Type {
  enum class Kind { none, tensor, sparse_tensor, sequence, map, optional, opaque };
  Kind kind = Kind::none;
  DType dtype = DType::undefined;         ///< element type (tensor, sparse_tensor); key type (map)
  std::optional<std::vector<Dim>> shape;  ///< absent: rank unknown
  std::shared_ptr<const Type> element;    ///< sequence, map (the value type), optional
  std::string denotation;
  std::string unknown;
  std::string kind_unknown;   ///< of the TypeProto.Tensor, .Sequence, ... inside
  std::string shape_unknown;  ///< of the TensorShapeProto inside that
};

/// ValueInfoProto.
struct ValueInfo {
  std::string name;
  Type type;
  std::string doc_string;
  StringPairs metadata;
  std::string unknown;
};

/// TensorProto.
struct NamedTensor {
  std::string name;
  Tensor tensor;
  std::string doc_string;
  StringPairs metadata;
  StringPairs external;  ///< external_data as written; empty where the data was in the file
  std::string unknown;
};

/// SparseTensorProto: `values` [NNZ] at `indices` ([NNZ] linear or [NNZ, rank]) of a tensor of
/// shape `dims`. Stays as it is in the file; whoever needs it dense asks for that.
struct SparseTensor {
  NamedTensor values;
  NamedTensor indices;
  Shape dims;
  std::string unknown;
  /// All of it, with zeros between. Throws Error(invalid_model) where the indices are unsorted,
  /// repeated or out of range.
  Tensor dense() const;
};

/// AttributeProto. The numbers are AttributeProto.AttributeType's.
struct Attribute {
  enum class Kind {
    undefined = 0,
    float_ = 1,
    int_ = 2,
    string = 3,
    tensor = 4,
    graph = 5,
    floats = 6,
    ints = 7,
    strings = 8,
    tensors = 9,
    graphs = 10,
    sparse_tensor = 11,
    sparse_tensors = 12,
    type_proto = 13,
    type_protos = 14,
  };
  std::string name;
  Kind kind = Kind::undefined;
  std::string ref_attr_name;  ///< in a function's body: take the caller's attribute of that name
  std::string doc_string;
  float f = 0;
  std::int64_t i = 0;
  std::string s;
  NamedTensor t;
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  std::vector<std::string> strings;
  std::vector<NamedTensor> tensors;
  std::vector<std::shared_ptr<const Graph>> graphs;  ///< one for kind `graph`
  std::vector<SparseTensor> sparse_tensors;          ///< one for kind `sparse_tensor`
  std::vector<Type> types;                           ///< one for kind `type_proto`
  std::string unknown;
};

/// NodeProto. An empty input or output name is an omitted optional one.
struct Node {
  std::string name, op_type, domain, overload, doc_string;
  std::vector<std::string> inputs, outputs;
  std::vector<Attribute> attributes;
  StringPairs metadata;
  std::string unknown;
};

/// TensorAnnotation: quantisation parameters of a value, by name.
struct TensorAnnotation {
  std::string tensor_name;
  StringPairs parameters;
  std::string unknown;
};

/// GraphProto.
struct Graph {
  std::string name, doc_string;
  std::vector<Node> nodes;
  std::vector<NamedTensor> initializers;
  std::vector<SparseTensor> sparse_initializers;
  std::vector<ValueInfo> inputs, outputs, value_infos;
  std::vector<TensorAnnotation> quantization;
  StringPairs metadata;
  std::string unknown;
};

struct OpsetImport {
  std::string domain;
  std::int64_t version = 0;
  std::string unknown = {};
};

/// FunctionProto.
struct Function {
  std::string name, domain, overload, doc_string;
  std::vector<std::string> inputs, outputs, attributes;
  std::vector<Attribute> default_attributes;  ///< attribute_proto
  std::vector<Node> nodes;
  std::vector<OpsetImport> opset_imports;
  std::vector<ValueInfo> value_infos;
  StringPairs metadata;
  std::string unknown;
};

/// ModelProto.
struct Model {
  std::int64_t ir_version = 0;
  std::string producer_name, producer_version, domain, doc_string;
  std::int64_t model_version = 0;
  Graph graph;
  std::vector<OpsetImport> opset_imports;
  std::vector<Function> functions;
  StringPairs metadata;
  std::string unknown;
};

}  // namespace mezzo::onnx

// `auto& [key, value]` of a StringPair.
template <>
struct std::tuple_size<mezzo::onnx::StringPair> : std::integral_constant<std::size_t, 2> {};
template <std::size_t I>
struct std::tuple_element<I, mezzo::onnx::StringPair> {
  using type = std::string;
};
