#include "onnx/edit.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <protozero/pbf_reader.hpp>

#include "mezzo/error.h"
#include "onnx/values.h"

namespace mezzo::onnx {
namespace {

// `fields` without those of the number.
std::string without_field(const std::string& fields, std::uint32_t number) {
  std::string rest;
  protozero::pbf_reader reader(fields.data(), fields.size());
  const char* start = fields.data();
  while (reader.next()) {
    const bool is_kept = reader.tag() != number;
    reader.skip();
    const char* const end = reader.data().data();
    if (is_kept) rest.append(start, end);
    start = end;
  }
  return rest;
}

std::string canonical(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

std::string function_key(const std::string& domain, const std::string& name,
                         const std::string& overload) {
  return canonical(domain) + ":" + name + ":" + overload;
}

std::vector<std::string> without_repeats(const std::vector<std::string>& names) {
  std::vector<std::string> result;
  Names seen;
  for (const std::string& name : names) {
    if (seen.insert(name).second) result.push_back(name);
  }
  return result;
}

class Extraction {
 public:
  Extraction(const Model& model, const std::vector<std::string>& inputs,
             const std::vector<std::string>& outputs)
      : model_(model),
        graph_(model.graph),
        values_(model.graph),
        inputs_(without_repeats(inputs)),
        outputs_(without_repeats(outputs)),
        node_kept_(model.graph.nodes.size(), false) {}

  Model run() {
    choose_ends();
    for (const std::string& output : outputs_) trace(output);
    // The slice is known; what belongs to it follows.
    keep_annotations();
    take_functions_and_domains();
    result_ = model_;
    result_.unknown = without_field(model_.unknown, kTrainingInfo);
    write_graph();
    write_model();
    return std::move(result_);
  }

 private:
  static constexpr std::uint32_t kTrainingInfo = 20;  // ModelProto.training_info

  void choose_ends() {
    own_inputs_ = inputs_.empty();
    if (outputs_.empty()) {
      for (const ValueInfo& output : graph_.outputs) outputs_.push_back(output.name);
      outputs_ = without_repeats(outputs_);
    }
    for (const std::string& name : outputs_) find(model_, values_, name);
    for (const std::string& name : inputs_) {
      find(model_, values_, name);
      ends_.insert(name);
      kept_.insert(name);
    }
  }

  // Keeps all that `output` is computed from.
  void trace(const std::string& output) {
    std::vector<std::string> pending = {output};
    while (!pending.empty()) {
      const std::string name = std::move(pending.back());
      pending.pop_back();
      if (!kept_.insert(name).second) continue;
      const Origin* origin = values_.find(name);
      if (origin == nullptr) {
        throw Error(ErrorCode::invalid_model, "a value is used that nothing produces")
            .got("'" + name + "'");
      }
      if (origin->producer != Origin::kNoNode) {
        keep_node(origin->producer, pending);
      } else if (!origin->has_default() && !own_inputs_) {
        throw Error(ErrorCode::invalid_argument,
                    "the output cannot be computed from the inputs that were named")
            .at("output '" + output + "'")
            .expected("the graph's input '" + name + "' among them, or values that it leads to")
            .got(inputs_text());
      }
    }
  }

  void keep_node(std::size_t index, std::vector<std::string>& pending) {
    if (node_kept_[index]) return;
    node_kept_[index] = true;
    const Node& node = graph_.nodes[index];
    kept_.insert(node.outputs.begin(), node.outputs.end());
    std::vector<Names> scopes;
    add_needs(node, scopes, pending);
  }

  std::string inputs_text() const {
    std::string text;
    for (const std::string& name : inputs_) text += (text.empty() ? "'" : ", '") + name + "'";
    return text;
  }

  // An annotation names tensors that no node may use. It stays where they can: where they are
  // initializers, or computed anyhow.
  void keep_annotations() {
    for (const TensorAnnotation& annotation : graph_.quantization) {
      if (!kept_.contains(annotation.tensor_name)) continue;
      const auto is_there = [&](const StringPair& pair) {
        const Origin* origin = values_.find(pair.second);
        return kept_.contains(pair.second) || (origin != nullptr && origin->has_default());
      };
      const StringPairs& parameters = annotation.parameters;
      if (!std::all_of(parameters.begin(), parameters.end(), is_there)) continue;
      for (const StringPair& pair : parameters) kept_.insert(pair.second);
      annotations_.push_back(annotation);
    }
  }

  // Functions call others, so this goes on until nothing new is found.
  void take_functions_and_domains() {
    std::multimap<std::string, std::size_t> functions;
    for (std::size_t i = 0; i < model_.functions.size(); ++i) {
      const Function& function = model_.functions[i];
      functions.emplace(function_key(function.domain, function.name, function.overload), i);
    }
    function_kept_.assign(model_.functions.size(), false);
    domains_.insert("");
    std::vector<const Node*> pending;
    const auto add_bodies = [&](const std::vector<Attribute>& attributes) {
      for (const Attribute& attribute : attributes) {
        for (const auto& body : attribute.graphs) {
          for (const Node& node : body->nodes) pending.push_back(&node);
        }
      }
    };
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (node_kept_[i]) pending.push_back(&graph_.nodes[i]);
    }
    while (!pending.empty()) {
      const Node& node = *pending.back();
      pending.pop_back();
      domains_.insert(canonical(node.domain));
      add_bodies(node.attributes);
      const auto key = function_key(node.domain, node.op_type, node.overload);
      const auto [first, last] = functions.equal_range(key);
      for (auto each = first; each != last; ++each) {
        if (function_kept_[each->second]) continue;
        function_kept_[each->second] = true;
        const Function& function = model_.functions[each->second];
        for (const OpsetImport& import : function.opset_imports) {
          domains_.insert(canonical(import.domain));
        }
        for (const Node& inner : function.nodes) pending.push_back(&inner);
        add_bodies(function.default_attributes);
      }
    }
  }

  void write_graph() {
    Graph& graph = result_.graph;
    write_ends();
    write_nodes();
    std::erase_if(graph.initializers, [&](const auto& each) { return !kept_.contains(each.name); });
    std::erase_if(graph.sparse_initializers,
                  [&](const auto& each) { return !kept_.contains(each.values.name); });
    graph.quantization = annotations_;
    // What is an input or output is declared there.
    Names declared;
    const auto is_of_no_use = [&](const ValueInfo& info) {
      return !kept_.contains(info.name) || ends_.contains(info.name) ||
             !declared.insert(info.name).second;
    };
    std::erase_if(graph.value_infos, is_of_no_use);
    // A former output that is now in the middle.
    for (const ValueInfo& output : graph_.outputs) {
      if (!is_of_no_use(output)) graph.value_infos.push_back(output);
    }
  }

  void write_ends() {
    Graph& graph = result_.graph;
    graph.inputs.clear();
    const auto add_input = [&](const std::string& name) {
      const Origin& origin = *values_.find(name);
      graph.inputs.push_back(declaration(name, origin, origin.input));
    };
    for (const std::string& name : inputs_) add_input(name);
    for (const ValueInfo& input : graph_.inputs) {
      if (!kept_.contains(input.name) || ends_.contains(input.name)) continue;
      add_input(input.name);
      ends_.insert(input.name);
    }
    graph.outputs.clear();
    for (const std::string& name : outputs_) {
      const Origin& origin = *values_.find(name);
      graph.outputs.push_back(declaration(name, origin, origin.output));
    }
  }

  void write_nodes() {
    std::vector<Node>& nodes = result_.graph.nodes;
    std::vector<Node> kept;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (!node_kept_[i]) continue;
      for (std::string& output : nodes[i].outputs) {
        if (ends_.contains(output)) output = unused_name(output);
      }
      kept.push_back(std::move(nodes[i]));
    }
    nodes = std::move(kept);
    ends_.insert(outputs_.begin(), outputs_.end());
  }

  // A name that no value has, those in bodies included: a body's must not hide it.
  std::string unused_name(const std::string& name) {
    if (all_names_.empty()) {
      all_names_ = defined_in(graph_);
      each_body(graph_.nodes, [&](const Node&, const Attribute&, const Graph& body) {
        all_names_.merge(defined_in(body));
      });
    }
    std::string candidate = name + "_computed";
    for (int i = 2; !all_names_.insert(candidate).second; ++i) {
      candidate = name + "_computed_" + std::to_string(i);
    }
    return candidate;
  }

  void write_model() {
    std::vector<Function> functions;
    for (std::size_t i = 0; i < function_kept_.size(); ++i) {
      if (function_kept_[i]) functions.push_back(std::move(result_.functions[i]));
    }
    result_.functions = std::move(functions);
    std::erase_if(result_.opset_imports, [&](const OpsetImport& import) {
      return !domains_.contains(canonical(import.domain));
    });
  }

  const Model& model_;
  const Graph& graph_;
  const Values values_;
  std::vector<std::string> inputs_, outputs_;
  bool own_inputs_ = false;
  Names ends_;  // inputs; at the end outputs, too
  Names kept_;  // values of the part
  std::vector<bool> node_kept_, function_kept_;
  std::vector<TensorAnnotation> annotations_;
  Names domains_;    // of operators that are used
  Names all_names_;  // filled when first needed
  Model result_;
};

}  // namespace

Model expose(Model model, const std::vector<std::string>& values) {
  std::vector<ValueInfo> added;
  Names names;
  {
    const Values known(model.graph);
    for (const std::string& name : values) {
      const Origin& origin = find(model, known, name);
      if (origin.output != nullptr || !names.insert(name).second) continue;
      added.push_back(declaration(name, origin, nullptr));
    }
  }
  // What is an output is declared there.
  std::erase_if(model.graph.value_infos,
                [&](const ValueInfo& info) { return names.contains(info.name); });
  std::move(added.begin(), added.end(), std::back_inserter(model.graph.outputs));
  return model;
}

Model extract(const Model& model, const std::vector<std::string>& inputs,
              const std::vector<std::string>& outputs) {
  return Extraction(model, inputs, outputs).run();
}

}  // namespace mezzo::onnx
