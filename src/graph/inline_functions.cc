#include "graph/inline_functions.h"

#include <algorithm>
#include <optional>
#include <set>

namespace mezzo::graph {
namespace {

constexpr int kMaxDepth = 64;  // calls within calls
// Bounds on what functions that call functions unfold to: few bytes can ask for 2^64 nodes. The
// largest exported models have some 10^5 nodes, in some 10^3 calls.
constexpr std::size_t kMaxCalls = 300'000;
constexpr std::size_t kMaxBytes = std::size_t{1} << 29;

std::string canonical_domain(const std::string& domain) {
  return domain == "ai.onnx" ? "" : domain;
}

std::shared_ptr<const Opsets> opsets_of(const std::vector<onnx::OpsetImport>& imports) {
  auto opsets = std::make_shared<Opsets>();
  for (const onnx::OpsetImport& import : imports) {
    if (import.version < 0 || import.version > 1'000'000) {
      throw Error(ErrorCode::invalid_model, "an opset version out of range")
          .at("opset_import '" + import.domain + "'")
          .got(std::to_string(import.version));
    }
    (*opsets)[canonical_domain(import.domain)] = static_cast<int>(import.version);
  }
  return opsets;
}

std::string key_of(const std::string& domain, const std::string& name,
                   const std::string& overload) {
  return canonical_domain(domain) + ":" + name + ":" + overload;
}

std::size_t footprint(const std::vector<std::string>& strings) {
  std::size_t bytes = strings.size() * sizeof(std::string);
  for (const std::string& text : strings) bytes += text.size();
  return bytes;
}

// About what a copy of the node takes. Tensors are shared.
std::size_t footprint(const onnx::Node& node) {
  std::size_t bytes = sizeof(node) + node.name.size() + node.op_type.size() + node.domain.size() +
                      node.doc_string.size() + node.unknown.size() + footprint(node.inputs) +
                      footprint(node.outputs);
  for (const onnx::Attribute& attribute : node.attributes) {
    bytes += sizeof(attribute) + attribute.name.size() + attribute.s.size() +
             attribute.unknown.size() + attribute.ints.size() * sizeof(std::int64_t) +
             attribute.floats.size() * sizeof(float) + footprint(attribute.strings);
    for (const auto& body : attribute.graphs) {
      bytes += sizeof(*body);
      for (const onnx::Node& inner : body->nodes) bytes += footprint(inner);
      for (const onnx::NamedTensor& tensor : body->initializers) {
        bytes += sizeof(tensor) + tensor.name.size();
      }
      bytes += (body->inputs.size() + body->outputs.size() + body->value_infos.size()) *
               sizeof(onnx::ValueInfo);
    }
  }
  return bytes;
}

// How the names and attribute references inside a function become those of one call of it.
class Substitution {
 public:
  Substitution(const onnx::Function& function, const onnx::Node& call)
      : function_(function), call_(call) {
    prefix_ = !call.name.empty() ? call.name : call.op_type;
    if (call.name.empty()) {
      const auto named = std::find_if(call.outputs.begin(), call.outputs.end(),
                                      [](const std::string& name) { return !name.empty(); });
      if (named != call.outputs.end()) prefix_ = *named;
    }
    for (std::size_t i = 0; i < function.inputs.size(); ++i) {
      names_[function.inputs[i]] = i < call.inputs.size() ? call.inputs[i] : "";
    }
    for (std::size_t i = 0; i < function.outputs.size(); ++i) {
      const std::string& inner = function.outputs[i];
      if (i >= call.outputs.size() || call.outputs[i].empty()) continue;
      // An output that is an input, or that stands twice, needs a copy under its own name.
      if (names_.contains(inner)) {
        copies_.emplace_back(inner, call.outputs[i]);
      } else {
        names_[inner] = call.outputs[i];
      }
    }
    for (const auto& [inner, outer] : names_) callers_names_.insert(outer);
  }

  const std::string& prefix() const { return prefix_; }
  const std::vector<std::pair<std::string, std::string>>& copies() const { return copies_; }

  std::string value(const std::string& name) const {
    if (name.empty()) return name;
    const auto found = names_.find(name);
    return found != names_.end() ? found->second : prefix_ + "/" + name;
  }

  onnx::Node node(const onnx::Node& inner, const std::set<std::string>& local, int depth) const {
    onnx::Node result = inner;
    if (!inner.name.empty()) result.name = prefix_ + "/" + inner.name;
    for (std::string& name : result.inputs) rename(name, local);
    for (std::string& name : result.outputs) rename(name, local);
    result.attributes.clear();
    for (const onnx::Attribute& attribute : inner.attributes) {
      if (std::optional<onnx::Attribute> actual = resolve(attribute)) {
        for (auto& body : actual->graphs) body = graph(*body, local, depth + 1);
        result.attributes.push_back(std::move(*actual));
      }
    }
    return result;
  }

 private:
  // A name of a body inside the function stays, unless the caller has a value of that name: the
  // body may use that value as the function's argument.
  void rename(std::string& name, const std::set<std::string>& local) const {
    if (!local.contains(name)) {
      name = value(name);
    } else if (callers_names_.contains(name)) {
      name = prefix_ + "/" + name;
    }
  }

  std::optional<onnx::Attribute> resolve(const onnx::Attribute& attribute) const {
    if (attribute.ref_attr_name.empty()) return attribute;
    const auto with_name =
        [&](const std::vector<onnx::Attribute>& list) -> std::optional<onnx::Attribute> {
      for (const onnx::Attribute& candidate : list) {
        if (candidate.name != attribute.ref_attr_name) continue;
        onnx::Attribute actual = candidate;
        actual.name = attribute.name;
        return actual;
      }
      return std::nullopt;
    };
    if (auto given = with_name(call_.attributes)) return given;
    return with_name(function_.default_attributes);
  }

  std::shared_ptr<const onnx::Graph> graph(const onnx::Graph& inner, std::set<std::string> local,
                                           int depth) const {
    if (depth > kMaxDepth) throw Error(ErrorCode::limit, "bodies are nested too deeply");
    for (const onnx::ValueInfo& input : inner.inputs) local.insert(input.name);
    for (const onnx::NamedTensor& initializer : inner.initializers) local.insert(initializer.name);
    for (const onnx::SparseTensor& sparse : inner.sparse_initializers)
      local.insert(sparse.values.name);
    for (const onnx::Node& node : inner.nodes)
      local.insert(node.outputs.begin(), node.outputs.end());
    auto result = std::make_shared<onnx::Graph>(inner);
    for (onnx::Node& node : result->nodes) node = this->node(node, local, depth);
    for (onnx::NamedTensor& initializer : result->initializers) rename(initializer.name, local);
    for (onnx::SparseTensor& sparse : result->sparse_initializers)
      rename(sparse.values.name, local);
    for (auto* infos : {&result->inputs, &result->outputs, &result->value_infos}) {
      for (onnx::ValueInfo& info : *infos) rename(info.name, local);
    }
    return result;
  }

  const onnx::Function& function_;
  const onnx::Node& call_;
  std::string prefix_;
  std::map<std::string, std::string> names_;
  std::set<std::string> callers_names_;
  std::vector<std::pair<std::string, std::string>> copies_;
};

}  // namespace

FunctionInliner::FunctionInliner(const onnx::Model& model) {
  if (model.opset_imports.empty()) {
    model_opsets_ =
        std::make_shared<Opsets>(Opsets{{"", 1}});  // before IR 3 there was only opset 1
  } else {
    model_opsets_ = opsets_of(model.opset_imports);
  }
  for (const onnx::Function& function : model.functions) {
    functions_[key_of(function.domain, function.name, function.overload)] = &function;
    function_opsets_[&function] =
        function.opset_imports.empty() ? model_opsets_ : opsets_of(function.opset_imports);
  }
}

const onnx::Function* FunctionInliner::function_of(const onnx::Node& node) const {
  if (functions_.empty()) return nullptr;
  const auto found = functions_.find(key_of(node.domain, node.op_type, node.overload));
  return found != functions_.end() ? found->second : nullptr;
}

std::vector<FlatNode> FunctionInliner::flatten(const std::vector<onnx::Node>& nodes,
                                               const std::shared_ptr<const Opsets>& opsets) {
  std::vector<FlatNode> flat;
  flat.reserve(nodes.size());
  for (const onnx::Node& node : nodes) append(node, opsets, 0, flat);
  return flat;
}

void FunctionInliner::append(const onnx::Node& node, const std::shared_ptr<const Opsets>& opsets,
                             int depth, std::vector<FlatNode>& out) {
  const onnx::Function* function = function_of(node);
  if (function == nullptr) {
    out.push_back({node, opsets});
    return;
  }
  if (depth >= kMaxDepth) {
    throw Error(ErrorCode::limit, "functions call each other too deeply, or themselves")
        .at("function '" + function->name + "'")
        .expected("at most " + std::to_string(kMaxDepth) + " calls within each other");
  }
  if (node.inputs.size() > function->inputs.size() ||
      node.outputs.size() > function->outputs.size()) {
    throw Error(ErrorCode::invalid_model,
                "a call with more inputs or outputs than the function has")
        .at("node '" + node.name + "' (" + node.op_type + ")");
  }
  spend(*function, 1, 0);
  const Substitution substitution(*function, node);
  const std::shared_ptr<const Opsets>& inner_opsets = function_opsets_.at(function);
  for (const onnx::Node& inner : function->nodes) {
    const onnx::Node actual = substitution.node(inner, {}, 0);
    spend(*function, 0, footprint(actual));
    append(actual, inner_opsets, depth + 1, out);
  }
  for (const auto& [inner, outer] : substitution.copies()) {
    onnx::Node copy;
    copy.op_type = "Identity";
    copy.name = substitution.prefix() + "/output";
    copy.inputs = {substitution.value(inner)};
    copy.outputs = {outer};
    static const auto kIdentityOpset = std::make_shared<const Opsets>(Opsets{{"", 16}});
    out.push_back({std::move(copy), kIdentityOpset});
  }
}

void FunctionInliner::spend(const onnx::Function& function, std::size_t calls, std::size_t bytes) {
  calls_ += calls;
  bytes_ += bytes;
  if (calls_ > kMaxCalls || bytes_ > kMaxBytes) {
    throw Error(ErrorCode::limit, "the model's functions unfold to too many nodes")
        .at("function '" + function.name + "'")
        .expected("at most " + std::to_string(kMaxCalls) + " calls and " +
                  std::to_string(kMaxBytes) + " bytes");
  }
}

}  // namespace mezzo::graph
