#include "mezzo/model.h"

#include <cstring>

#include "base/memory.h"
#include "graph/selector.h"
#include "onnx/reader.h"
#include "runtime/loaded_model.h"

namespace mezzo {

namespace runtime {

LoadedModel::LoadedModel(onnx::Model model) : file(std::move(model)), graph(file) {
  const ops::Registry& registry = ops::Registry::get();
  for (graph::NodeId id = 0; id < static_cast<graph::NodeId>(graph.nodes().size()); ++id) {
    const graph::Node& node = graph.node(id);
    rows.push_back(registry.find(node.domain, node.op_type, node.opset));
    if (rows.back() != nullptr && rows.back()->is_branch()) branch_nodes.insert(id);
  }
}

}  // namespace runtime

namespace {

void set_type(ValueInfo& info, const onnx::Type& type) {
  info.type_text = graph::to_text(type);
  info.onnx_type = graph::onnx_name_of(type);
  if (type.kind != onnx::Type::Kind::tensor) return;
  info.dtype = type.dtype;
  if (!type.shape) return;
  info.shape.emplace();
  for (const onnx::Dim& dim : *type.shape)
    info.shape->push_back({dim.value, dim.param, dim.denotation});
}

ValueInfo info_of(const graph::Graph& graph, graph::ValueId id) {
  const graph::Value& value = graph.value(id);
  ValueInfo info;
  info.name = value.name;
  info.is_graph_output = value.is_output && value.body == 0;
  if (value.producer != graph::kNone) {
    info.producer = graph.node(value.producer).name;
    info.producer_op = graph.node(value.producer).op_type;
  } else {
    info.kind =
        value.initializer.has_value() ? ValueInfo::Kind::initializer : ValueInfo::Kind::input;
  }
  if (value.body != 0) {
    info.body = graph.describe(graph.body(value.body).owner) + " " + graph.body(value.body).name;
  }
  if (value.initializer.has_value()) {
    info.dtype = value.initializer.dtype();
    info.shape.emplace();
    for (const std::int64_t extent : value.initializer.shape()) info.shape->push_back({extent});
    info.type_text = std::string(name_of(info.dtype)) + to_string(value.initializer.shape());
    info.onnx_type = onnx_name_of(info.dtype);
    return info;
  }
  set_type(info, value.type);
  return info;
}

std::vector<ValueInfo> infos_of(const graph::Graph& graph, const std::vector<graph::ValueId>& ids) {
  std::vector<ValueInfo> infos;
  for (const graph::ValueId id : ids) infos.push_back(info_of(graph, id));
  return infos;
}

}  // namespace

Model Model::load(const std::string& path) {
  try {
    return within_memory(
        [&] { return Model(std::make_shared<runtime::LoadedModel>(onnx::read_file(path))); });
  } catch (Error& error) {
    if (error.place().find(path) == std::string::npos) error.add_place("'" + path + "'");
    throw;
  }
}

Model Model::from_memory(const void* data, std::size_t size, std::shared_ptr<const void> owner,
                         const std::string& folder) {
  if (owner == nullptr) {
    const std::shared_ptr<void> copy = allocate(size);
    if (size > 0) std::memcpy(copy.get(), data, size);
    data = copy.get();
    owner = copy;
  }
  return within_memory([&] {
    return Model(std::make_shared<runtime::LoadedModel>(
        onnx::read_memory(data, size, std::move(owner), folder)));
  });
}

std::vector<ValueInfo> Model::inputs() const {
  return infos_of(loaded_->graph, loaded_->graph.required_inputs());
}

std::vector<ValueInfo> Model::outputs() const {
  return infos_of(loaded_->graph, loaded_->graph.main().outputs);
}

std::vector<ValueInfo> Model::overridable_initializers() const {
  const graph::Graph& graph = loaded_->graph;
  std::vector<ValueInfo> infos;
  for (const graph::ValueId id : graph.main().inputs) {
    const graph::Value& value = graph.value(id);
    if (!value.initializer.has_value()) continue;
    ValueInfo& info = infos.emplace_back(info_of(graph, id));
    if (value.type.kind == onnx::Type::Kind::none) continue;
    info.dtype = DType::undefined;
    info.shape.reset();
    set_type(info, value.type);
  }
  return infos;
}

std::vector<ValueInfo> Model::values() const {
  std::vector<ValueInfo> infos;
  for (graph::ValueId id = 0; id < static_cast<graph::ValueId>(loaded_->graph.values().size());
       ++id) {
    infos.push_back(info_of(loaded_->graph, id));
  }
  return infos;
}

std::vector<NodeInfo> Model::nodes() const {
  const graph::Graph& graph = loaded_->graph;
  const auto names = [&](const std::vector<graph::ValueId>& ids) {
    std::vector<std::string> list;
    for (const graph::ValueId id : ids)
      list.push_back(id == graph::kNone ? "" : graph.value(id).name);
    return list;
  };
  std::vector<NodeInfo> infos;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const graph::Node& node = graph.nodes()[i];
    infos.push_back({node.name, node.op_type, node.domain, names(node.inputs), names(node.outputs),
                     loaded_->rows[i] != nullptr});
  }
  return infos;
}

std::vector<std::string> Model::select(std::string_view selector) const {
  std::vector<std::string> names;
  for (const graph::ValueId id : graph::select(loaded_->graph, selector)) {
    names.push_back(loaded_->graph.value(id).name);
  }
  return names;
}

std::string Model::graph_name() const { return loaded_->graph.main().name; }
std::string Model::graph_doc_string() const { return loaded_->file.graph.doc_string; }
std::string Model::producer_name() const { return loaded_->file.producer_name; }
std::string Model::producer_version() const { return loaded_->file.producer_version; }
std::int64_t Model::ir_version() const { return loaded_->file.ir_version; }
std::string Model::domain() const { return loaded_->file.domain; }
std::string Model::doc_string() const { return loaded_->file.doc_string; }
std::int64_t Model::model_version() const { return loaded_->file.model_version; }

std::vector<std::pair<std::string, std::int64_t>> Model::opsets() const {
  std::vector<std::pair<std::string, std::int64_t>> list;
  for (const onnx::OpsetImport& import : loaded_->file.opset_imports) {
    list.emplace_back(import.domain, import.version);
  }
  return list;
}

std::vector<std::pair<std::string, std::string>> Model::metadata() const {
  return {loaded_->file.metadata.begin(), loaded_->file.metadata.end()};
}

std::int64_t Model::parameters() const {
  std::int64_t count = 0;
  for (const graph::Value& value : loaded_->graph.values()) count += value.initializer.size();
  for (const graph::Node& node : loaded_->graph.nodes()) {
    for (const auto& attribute : node.attributes) count += attribute->t.tensor.size();
  }
  return count;
}

std::string Model::to_text() const { return graph::to_text(loaded_->graph); }

}  // namespace mezzo
