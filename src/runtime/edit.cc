// Models made from a loaded one, and saved. The edits themselves are onnx/edit's; here selectors
// become names of the file, and types that it does not declare are looked for.
#include "onnx/edit.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "base/memory.h"
#include "graph/selector.h"
#include "mezzo/model.h"
#include "onnx/writer.h"
#include "runtime/inspect.h"
#include "runtime/loaded_model.h"

namespace mezzo {
namespace {

using graph::ValueId;

constexpr std::int64_t kOpen = -1;  // an extent that is not known

bool is_open(const Dim& dim) { return !dim.value || *dim.value <= 0; }

// What selectors name, in their order, each value once.
class Selection {
 public:
  explicit Selection(const runtime::LoadedModel& model) : graph_(model.graph) {
    const onnx::Graph& file = model.file.graph;
    for (const onnx::ValueInfo& input : file.inputs) own_.insert(input.name);
    for (const onnx::NamedTensor& each : file.initializers) own_.insert(each.name);
    for (const onnx::SparseTensor& each : file.sparse_initializers) own_.insert(each.values.name);
    for (const onnx::Node& node : file.nodes) own_.insert(node.outputs.begin(), node.outputs.end());
  }

  /// The names in the file. Keeps the values in `ids`, too.
  std::vector<std::string> names(const std::vector<std::string>& selectors,
                                 std::vector<ValueId>& ids) const {
    std::vector<std::string> names;
    std::unordered_set<ValueId> seen;
    for (const std::string& selector : selectors) {
      for (const ValueId id : graph::select(graph_, selector)) {
        if (!seen.insert(id).second) continue;
        check_in_main_graph(id, selector);
        names.push_back(graph_.value(id).name);
        ids.push_back(id);
      }
    }
    return names;
  }

 private:
  void check_in_main_graph(ValueId id, const std::string& selector) const {
    const graph::Value& value = graph_.value(id);
    if (value.body == 0 && own_.contains(value.name)) return;
    const graph::Body& body = graph_.body(value.body);
    throw Error(ErrorCode::invalid_argument,
                "only values of the main graph can be inputs or outputs of a model")
        .at("selector '" + selector + "': value '" + value.name + "'")
        .expected("a value of the main graph")
        .got(value.body == 0 ? "a value inside a function"
                             : "a value in a body of " + graph_.describe(body.owner))
        .hint("A session can fetch it without an edit");
  }

  const graph::Graph& graph_;
  std::unordered_set<std::string_view> own_;  // names of the file's main graph
};

// Zeros for every input. An open first extent, mostly that of a batch, becomes 1, others `extent`.
// None where an input's type or rank is not declared.
Feeds zeros_for(const std::vector<ValueInfo>& inputs, std::int64_t extent) {
  Feeds feeds;
  for (const ValueInfo& input : inputs) {
    if (input.dtype == DType::undefined || !input.shape) return {};
    Shape shape;
    for (const Dim& dim : *input.shape) {
      shape.push_back(is_open(dim) ? (shape.empty() ? 1 : extent) : *dim.value);
    }
    feeds.emplace_back(input.name, Tensor(input.dtype, std::move(shape)));
  }
  return feeds;
}

// What planning tells of the values, the others undefined. Networks that make pictures smaller
// cannot be planned for small ones, so larger extents are tried until all is known.
std::vector<runtime::ValueFacts> facts_of(const Model& model, const std::vector<ValueId>& values) {
  std::vector<runtime::ValueFacts> facts(values.size());
  const std::vector<ValueInfo> inputs = model.inputs();
  bool fixed = true;
  for (const ValueInfo& input : inputs) {
    fixed = fixed && input.shape && std::none_of(input.shape->begin(), input.shape->end(), is_open);
  }
  for (const std::int64_t extent : {1, 64, 256}) {
    runtime::Inspection found;
    try {
      found = runtime::inspect(model, zeros_for(inputs, extent));
    } catch (const Error&) {
      break;  // inputs too large for zeros, say: the edit is as good without
    }
    bool complete = true;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (facts[i].dtype != DType::undefined) continue;
      facts[i] = found.values[static_cast<std::size_t>(values[i])];
      // Extents count where they hold for every input; what holds otherwise is their number.
      if (facts[i].shape && !(fixed && found.remarks.empty())) {
        facts[i].shape->assign(facts[i].shape->size(), kOpen);
      }
      complete = complete && facts[i].dtype != DType::undefined;
    }
    if (fixed || complete) break;
  }
  return facts;
}

// Declares those of the values of which the file does not say the type, where it can be found.
void declare_types(const Model& model, std::vector<ValueId> values, onnx::Graph& file) {
  const graph::Graph& graph = model.internals().graph;
  std::erase_if(values, [&](ValueId id) {
    const graph::Value& value = graph.value(id);
    return value.type.kind != onnx::Type::Kind::none || value.initializer.has_value();
  });
  if (values.empty()) return;
  const std::vector<runtime::ValueFacts> facts = facts_of(model, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool is_tensor = facts[i].dtype == DType::string || bits_of(facts[i].dtype) > 0;
    if (!is_tensor) continue;
    onnx::ValueInfo& info = file.value_infos.emplace_back();
    info.name = graph.value(values[i]).name;
    info.type.kind = onnx::Type::Kind::tensor;
    info.type.dtype = facts[i].dtype;
    if (!facts[i].shape) continue;
    info.type.shape.emplace();
    for (const std::int64_t extent : *facts[i].shape) {
      onnx::Dim& dim = info.type.shape->emplace_back();
      if (extent != kOpen) dim.value = extent;
    }
  }
}

}  // namespace

Model Model::expose(const std::vector<std::string>& selectors) const {
  return within_memory([&] {
    std::vector<ValueId> ids;
    const std::vector<std::string> names = Selection(*loaded_).names(selectors, ids);
    onnx::Model file = loaded_->file;
    declare_types(*this, ids, file.graph);
    return Model(std::make_shared<runtime::LoadedModel>(onnx::expose(std::move(file), names)));
  });
}

Model Model::extract(const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs) const {
  return within_memory([&] {
    const Selection selection(*loaded_);
    std::vector<ValueId> ids;
    const std::vector<std::string> input_names = selection.names(inputs, ids);
    const std::vector<std::string> output_names = selection.names(outputs, ids);
    onnx::Model file = loaded_->file;
    declare_types(*this, ids, file.graph);
    return Model(
        std::make_shared<runtime::LoadedModel>(onnx::extract(file, input_names, output_names)));
  });
}

void Model::save(const std::string& path, const SaveOptions& options) const {
  within_memory([&] {
    onnx::write_file(
        loaded_->file, path,
        options.external_data ? onnx::ExternalData::always : onnx::ExternalData::when_too_large);
  });
}

std::string Model::to_bytes() const {
  return within_memory([&] { return onnx::write_memory(loaded_->file); });
}

}  // namespace mezzo
