#include "graph/graph.h"

#include <algorithm>
#include <queue>
#include <set>

#include "base/memory.h"
#include "graph/inline_functions.h"

namespace mezzo::graph {

const onnx::Attribute* Node::attribute(std::string_view attribute_name) const {
  for (const AttributePointer& attribute : attributes) {
    if (attribute->name == attribute_name) return attribute.get();
  }
  return nullptr;
}

/// Fills a Graph from the file's structs: bodies from the outside in, so that a body's names
/// resolve in the scopes around it.
class Builder {
 public:
  Builder(Graph& graph, const onnx::Model& model) : graph_(graph), inliner_(model) {}

  void build(const onnx::Graph& main) {
    add_body(main, kNone, kNone, "", inliner_.model_opsets());
    graph_.file_order_.reserve(main.nodes.size());
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes_.size()); ++id) {
      if (graph_.nodes_[at(id)].body == 0) graph_.file_order_.push_back(id);
    }
    name_values();
  }

 private:
  struct Scope {
    std::unordered_map<std::string, ValueId> names;
    BodyId parent;
  };

  static std::size_t at(int id) { return static_cast<std::size_t>(id); }

  std::string place(BodyId body) const {
    return body == 0 ? "graph '" + graph_.bodies_[0].name + "'"
                     : "body '" + prefixes_[at(body)] + "'";
  }

  ValueId add_value(const std::string& name, BodyId body) {
    const auto id = static_cast<ValueId>(graph_.values_.size());
    if (!scopes_[at(body)].names.emplace(name, id).second) {
      throw Error(ErrorCode::invalid_model, "two values have the same name")
          .at(place(body))
          .got("'" + name + "'")
          .hint("Every input, initializer and node output needs a name of its own");
    }
    Value value;
    value.name = name;
    value.body = body;
    graph_.values_.push_back(std::move(value));
    return id;
  }

  BodyId add_body(const onnx::Graph& source, NodeId owner, BodyId parent, const std::string& prefix,
                  const std::shared_ptr<const Opsets>& opsets) {
    check_nesting(parent, prefix);
    const auto body = static_cast<BodyId>(graph_.bodies_.size());
    graph_.bodies_.push_back({source.name, owner, {}, {}, {}});
    scopes_.push_back({{}, parent});
    prefixes_.push_back(prefix);

    add_inputs(source, body);
    add_initializers(source, body);
    const std::vector<FlatNode> flat = inliner_.flatten(source.nodes, opsets);
    const auto first = static_cast<NodeId>(graph_.nodes_.size());
    for (const FlatNode& node : flat) add_node(node, body);
    for (const onnx::ValueInfo& info : source.value_infos) declare(info, body);
    for (std::size_t i = 0; i < flat.size(); ++i) {
      resolve_inputs(flat[i], first + static_cast<NodeId>(i));
    }
    for (const onnx::ValueInfo& output : source.outputs) {
      const ValueId id = resolve(output.name, body, "an output of the graph");
      Value& value = graph_.values_[at(id)];
      if (value.type.kind == onnx::Type::Kind::none) value.type = output.type;
      if (value.body == body) value.is_output = true;
      graph_.bodies_[at(body)].outputs.push_back(id);
    }
    sort(body, first, first + static_cast<NodeId>(flat.size()));
    return body;
  }

  // The reader bounds how deep a file nests bodies, but a function whose body calls it again has no
  // end; and a path is repeated in the name of each of its values.
  void check_nesting(BodyId parent, const std::string& prefix) const {
    constexpr int kMaxDepth = 200;
    constexpr std::size_t kMaxPrefix = 4096;
    int depth = 0;
    for (BodyId around = parent; around != kNone; around = scopes_[at(around)].parent) ++depth;
    if (depth <= kMaxDepth && prefix.size() <= kMaxPrefix) return;
    throw Error(ErrorCode::limit, "bodies are nested too deeply, or have too long names")
        .at("body '" + prefix.substr(0, 100) + "...'")
        .expected("at most " + std::to_string(kMaxDepth) + " within each other and " +
                  std::to_string(kMaxPrefix) + " characters");
  }

  void add_inputs(const onnx::Graph& source, BodyId body) {
    for (const onnx::ValueInfo& input : source.inputs) {
      const ValueId id = add_value(input.name, body);
      graph_.values_[at(id)].is_input = true;
      graph_.values_[at(id)].type = input.type;
      graph_.bodies_[at(body)].inputs.push_back(id);
    }
  }

  void add_initializers(const onnx::Graph& source, BodyId body) {
    for (const onnx::NamedTensor& initializer : source.initializers) {
      set_initializer(initializer.name, initializer.tensor, body);
    }
    for (const onnx::SparseTensor& sparse : source.sparse_initializers) {
      const Tensor dense = sparse.dense();
      // Each is bounded, but not how many there are, in as few bytes.
      expanded_bytes_ += dense.bytes();
      if (expanded_bytes_ > allocation_limit() / 2) {
        throw Error(ErrorCode::limit, "the sparse initializers are too large in their dense form")
            .at(place(body))
            .expected("at most " + std::to_string(allocation_limit() / 2) + " bytes together");
      }
      set_initializer(sparse.values.name, dense, body);
    }
  }

  void set_initializer(const std::string& name, const Tensor& tensor, BodyId body) {
    auto& names = scopes_[at(body)].names;
    const auto found = names.find(name);
    ValueId id;
    if (found != names.end() && !graph_.values_[at(found->second)].initializer.has_value()) {
      id = found->second;  // an input with a default
    } else {
      id = add_value(name, body);
    }
    graph_.values_[at(id)].initializer = tensor;
  }

  void add_node(const FlatNode& flat, BodyId body) {
    const auto id = static_cast<NodeId>(graph_.nodes_.size());
    Node node;
    node.name = flat.node.name;
    node.op_type = flat.node.op_type;
    node.domain = flat.node.domain == "ai.onnx" ? "" : flat.node.domain;
    const auto opset = flat.opsets->find(node.domain);
    // Exporters forget to import the domains of their own operators; those have known only
    // version 1.
    node.opset = opset != flat.opsets->end() ? opset->second : 1;
    for (const onnx::Attribute& attribute : flat.node.attributes)
      node.attributes.push_back(std::make_shared<const onnx::Attribute>(attribute));
    node.body = body;
    for (std::size_t i = 0; i < flat.node.outputs.size(); ++i) {
      if (flat.node.outputs[i].empty()) {
        node.outputs.push_back(kNone);
        continue;
      }
      const ValueId value = add_value(flat.node.outputs[i], body);
      graph_.values_[at(value)].producer = id;
      graph_.values_[at(value)].output_index = static_cast<int>(i);
      node.outputs.push_back(value);
    }
    graph_.nodes_.push_back(std::move(node));
  }

  void declare(const onnx::ValueInfo& info, BodyId body) {
    const auto found = scopes_[at(body)].names.find(info.name);
    if (found == scopes_[at(body)].names.end()) return;
    Value& value = graph_.values_[at(found->second)];
    if (value.type.kind == onnx::Type::Kind::none) value.type = info.type;
  }

  void resolve_inputs(const FlatNode& flat, NodeId id) {
    const BodyId body = graph_.nodes_[at(id)].body;
    for (const std::string& name : flat.node.inputs) {
      if (name.empty()) {
        graph_.nodes_[at(id)].inputs.push_back(kNone);
        continue;
      }
      const ValueId value = resolve(name, body, "an input of " + graph_.describe(id));
      graph_.nodes_[at(id)].inputs.push_back(value);
      add_consumer(value, id);
    }
    for (const onnx::Attribute& attribute : flat.node.attributes) {
      for (std::size_t k = 0; k < attribute.graphs.size(); ++k) {
        std::string prefix = node_label(id) + "/" + attribute.name;
        if (attribute.graphs.size() > 1) prefix += std::to_string(k);
        if (body != 0) prefix = prefixes_[at(body)] + "/" + prefix;
        const BodyId nested = add_body(*attribute.graphs[k], id, body, prefix, flat.opsets);
        const std::string key = k == 0 ? attribute.name : attribute.name + std::to_string(k);
        graph_.nodes_[at(id)].bodies[key] = nested;
      }
    }
  }

  std::string node_label(NodeId id) const {
    const Node& node = graph_.nodes_[at(id)];
    if (!node.name.empty()) return node.name;
    for (const ValueId output : node.outputs) {
      if (output != kNone) return graph_.values_[at(output)].name;
    }
    return node.op_type + std::to_string(id);
  }

  void add_consumer(ValueId value, NodeId node) {
    std::vector<NodeId>& consumers = graph_.values_[at(value)].consumers;
    if (consumers.empty() || consumers.back() != node) consumers.push_back(node);
  }

  // Looks a name up from `body` outwards. What is found outside becomes a capture of every
  // control-flow node between there and here.
  ValueId resolve(const std::string& name, BodyId body, const std::string& use) {
    std::vector<NodeId> crossed;
    for (BodyId scope = body; scope != kNone; scope = scopes_[at(scope)].parent) {
      const auto found = scopes_[at(scope)].names.find(name);
      if (found != scopes_[at(scope)].names.end()) {
        for (const NodeId owner : crossed) {
          if (captured_.emplace(owner, found->second).second) {
            graph_.nodes_[at(owner)].captures.push_back(found->second);
            add_consumer(found->second, owner);
          }
        }
        return found->second;
      }
      crossed.push_back(graph_.bodies_[at(scope)].owner);
    }
    throw Error(ErrorCode::invalid_model, "a value is used that nothing produces")
        .at(place(body))
        .got("'" + name + "', " + use);
  }

  // Orders the nodes [first, last) that belong to `body` so that each comes after those it depends
  // on, in the file's order otherwise. Nodes of nested bodies were numbered in between and after;
  // they have bodies of their own.
  void sort(BodyId body, NodeId first, NodeId last) {
    std::vector<NodeId>& order = graph_.bodies_[at(body)].nodes;
    const auto count = at(last - first);
    std::vector<int> waiting(count, 0);
    std::vector<std::vector<NodeId>> followers(count);
    for (NodeId id = first; id < last; ++id) {
      const Node& node = graph_.nodes_[at(id)];
      const auto depend = [&](ValueId value) {
        if (value == kNone) return;
        const NodeId producer = graph_.values_[at(value)].producer;
        if (producer < first || producer >= last) return;
        followers[at(producer - first)].push_back(id);
        ++waiting[at(id - first)];
      };
      for (const ValueId input : node.inputs) depend(input);
      for (const ValueId capture : node.captures) depend(capture);
    }
    std::priority_queue<NodeId, std::vector<NodeId>, std::greater<>> ready;
    for (NodeId id = first; id < last; ++id) {
      if (waiting[at(id - first)] == 0) ready.push(id);
    }
    while (!ready.empty()) {
      const NodeId id = ready.top();
      ready.pop();
      order.push_back(id);
      for (const NodeId follower : followers[at(id - first)]) {
        if (--waiting[at(follower - first)] == 0) ready.push(follower);
      }
    }
    if (order.size() == count) return;
    std::string stuck;
    int named = 0;
    for (NodeId id = first; id < last && named < 4; ++id) {
      if (waiting[at(id - first)] == 0) continue;
      stuck += (named++ > 0 ? ", " : "") + graph_.describe(id);
    }
    throw Error(ErrorCode::invalid_model, "the graph has a cycle")
        .at(place(body))
        .got("among " + stuck);
  }

  // Values of bodies keep their plain name where nothing else in the model has it; the path always
  // finds them.
  void name_values() {
    std::unordered_map<std::string, int> uses;
    for (const Value& value : graph_.values_) ++uses[value.name];
    for (ValueId id = 0; id < static_cast<ValueId>(graph_.values_.size()); ++id) {
      Value& value = graph_.values_[at(id)];
      if (value.body != 0) {
        std::string path = prefixes_[at(value.body)] + "/" + value.name;
        if (uses[value.name] == 1) {
          graph_.by_name_.emplace(path, id);
        } else {
          // Two unnamed nodes may give the same path: the number then tells them apart.
          if (graph_.by_name_.contains(path)) path += "#" + std::to_string(id);
          value.name = path;
        }
      }
      graph_.by_name_.emplace(value.name, id);
    }
  }

  Graph& graph_;
  FunctionInliner inliner_;
  std::vector<Scope> scopes_;
  std::vector<std::string> prefixes_;
  std::set<std::pair<NodeId, ValueId>> captured_;
  std::size_t expanded_bytes_ = 0;
};

Graph::Graph(const onnx::Model& model) { Builder(*this, model).build(model.graph); }

ValueId Graph::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found != by_name_.end() ? found->second : kNone;
}

std::vector<ValueId> Graph::required_inputs() const {
  std::vector<ValueId> required;
  for (const ValueId id : main().inputs) {
    if (!value(id).initializer.has_value()) required.push_back(id);
  }
  return required;
}

std::string Graph::describe(NodeId id) const {
  const Node& n = node(id);
  const std::string label = n.name.empty() ? "node " + std::to_string(id) : "node '" + n.name + "'";
  return label + " (" + n.op_type + ")";
}

}  // namespace mezzo::graph
