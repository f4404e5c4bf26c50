#include "onnx/reader.h"

#include <string_view>
#include <utility>

#include "base/mapped_file.h"
#include "onnx/fields.h"
#include "onnx/read_node.h"
#include "onnx/read_parts.h"
#include "onnx/wire.h"

namespace mezzo::onnx {
namespace {

OpsetImport read_opset_import(Message message) {
  namespace field = onnx::field::opset;
  OpsetImport import;
  while (message.next()) {
    switch (message.field()) {
      case field::domain:
        import.domain = message.string();
        break;
      case field::version:
        import.version = message.int64();
        break;
      default:
        message.keep(import.unknown);
    }
  }
  return import;
}

void read_function_fields(Message& message, Function& function) {
  namespace field = onnx::field::function;
  while (message.next()) {
    switch (message.field()) {
      case field::name:
        function.name = message.string();
        break;
      case field::input:
        function.inputs.push_back(message.string());
        break;
      case field::output:
        function.outputs.push_back(message.string());
        break;
      case field::attribute:
        function.attributes.push_back(message.string());
        break;
      case field::attribute_proto:
        function.default_attributes.push_back(read_attribute(message.message("AttributeProto")));
        break;
      case field::node:
        append_node(message.message("NodeProto"), function.nodes);
        break;
      case field::doc_string:
        function.doc_string = message.string();
        break;
      case field::opset_import:
        function.opset_imports.push_back(read_opset_import(message.message("OperatorSetIdProto")));
        break;
      case field::domain:
        function.domain = message.string();
        break;
      case field::overload:
        function.overload = message.string();
        break;
      case field::value_info:
        function.value_infos.push_back(read_value_info(message.message("ValueInfoProto")));
        break;
      case field::metadata_props:
        read_entry(message.message("StringStringEntryProto"), function.metadata);
        break;
      default:
        message.keep(function.unknown);
    }
  }
}

Function read_function(Message message) {
  Function function;
  try {
    read_function_fields(message, function);
  } catch (Error& error) {
    error.add_place("function '" + function.name + "'");
    throw;
  }
  return function;
}

Model read_model(Message message) {
  namespace field = onnx::field::model;
  Model model;
  bool has_graph = false;
  while (message.next()) {
    switch (message.field()) {
      case field::ir_version:
        model.ir_version = message.int64();
        break;
      case field::producer_name:
        model.producer_name = message.string();
        break;
      case field::producer_version:
        model.producer_version = message.string();
        break;
      case field::domain:
        model.domain = message.string();
        break;
      case field::model_version:
        model.model_version = message.int64();
        break;
      case field::doc_string:
        model.doc_string = message.string();
        break;
      case field::graph:
        read_graph(message.message("GraphProto"), model.graph);
        has_graph = true;
        break;
      case field::opset_import:
        model.opset_imports.push_back(read_opset_import(message.message("OperatorSetIdProto")));
        break;
      case field::metadata_props:
        read_entry(message.message("StringStringEntryProto"), model.metadata);
        break;
      case field::functions:
        model.functions.push_back(read_function(message.message("FunctionProto")));
        break;
      default:
        message.keep(model.unknown);
    }
  }
  if (!has_graph) {
    throw Error(ErrorCode::damaged_file, "the file has no graph")
        .hint("Is it an ONNX model? The data may also be a single tensor");
  }
  return model;
}

Model read_source(const char* data, std::size_t size, std::shared_ptr<const void> owner,
                  ExternalFiles external) {
  const std::string_view bytes(data, size);
  if (bytes.empty()) {
    throw Error(ErrorCode::damaged_file, "the file is empty").expected("an ONNX model");
  }
  if (bytes.starts_with("version https://git-lfs")) {
    throw Error(ErrorCode::damaged_file, "the file is a Git LFS pointer, not the model itself")
        .hint("Fetch it with 'git lfs pull'");
  }
  const Source source{data, size, std::move(owner), &external};
  return read_model(Message(source, "ModelProto", bytes));
}

}  // namespace

Model read_file(const std::string& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  try {
    Model model = read_source(file->data(), file->size(), file, ExternalFiles::beside(path));
    file->forget_pages();
    return model;
  } catch (Error& error) {
    error.add_place("'" + path + "'");
    throw;
  }
}

Model read_memory(const void* data, std::size_t size, std::shared_ptr<const void> owner,
                  const std::string& folder) {
  return read_source(static_cast<const char*>(data), size, std::move(owner), ExternalFiles(folder));
}

NamedTensor read_tensor_file(const std::string& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  ExternalFiles external("");
  const Source source{file->data(), file->size(), file, &external};
  try {
    const std::string_view bytes(file->data(), file->size());
    NamedTensor result = read_tensor(Message(source, "TensorProto", bytes));
    result.tensor = result.tensor.clone();  // the file may change or go after this
    return result;
  } catch (Error& error) {
    error.add_place("'" + path + "'");
    throw;
  }
}

}  // namespace mezzo::onnx
