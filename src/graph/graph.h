// The graph as loaded: every value of the model under its name, and it never changes.
//
// All values, nodes and bodies of a model, those of nested bodies included, stand in one numbered
// list each. A body that uses a value of an outer graph simply holds that value's number.
// Model-local functions are inlined when the graph is built; their values are named "CALLER/VALUE"
// after the calling node.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "onnx/model.h"

namespace mezzo::graph {

using ValueId = int;
using NodeId = int;
using BodyId = int;
inline constexpr int kNone = -1;

/// Shared: what passes make of a node has most of its attributes.
using AttributePointer = std::shared_ptr<const onnx::Attribute>;

/// A named edge.
struct Value {
  std::string name;  ///< as in the file, where that is unique in the model; else with the path:
                     ///< "NODE/ATTRIBUTE/NAME"
  BodyId body = 0;   ///< the graph it belongs to; 0 is the main graph
  NodeId producer = kNone;  ///< kNone: an input of its graph, or an initializer
  int output_index = 0;     ///< which of the producer's outputs it is
  std::vector<NodeId> consumers;
  bool is_input = false;   ///< an input of its graph (an initializer may be one as well: a default,
                           ///< up to IR 3 always)
  bool is_output = false;  ///< an output of its graph
  onnx::Type type;         ///< as declared in the file; Kind::none where nothing is
  Tensor initializer;      ///< has_value() for an initializer; may be misaligned for its type
};

struct Node {
  std::string name;  ///< may be empty
  std::string op_type, domain;
  int opset = 0;                 ///< the version of `domain` that is imported where the node stands
  std::vector<ValueId> inputs;   ///< kNone: omitted
  std::vector<ValueId> outputs;  ///< kNone: omitted
  std::vector<AttributePointer> attributes;  ///< none null
  BodyId body = 0;                           ///< where it stands
  std::map<std::string, BodyId> bodies;      ///< by attribute name
  std::vector<ValueId> captures;             ///< outer values that its bodies use, at any depth

  const onnx::Attribute* attribute(std::string_view attribute_name) const;
};

/// The main graph (number 0) or a subgraph of If, Loop, Scan, ...
struct Body {
  std::string name;
  NodeId owner = kNone;       ///< the node whose attribute it is
  std::vector<NodeId> nodes;  ///< in an order in which they can run
  std::vector<ValueId>
      inputs;  ///< those of the file, initializers included where the file lists them
  std::vector<ValueId> outputs;
};

/// Immutable after construction: free to be read by any number of threads.
class Graph {
 public:
  /// Throws Error(invalid_model) on cycles, on values that nobody produces and on duplicate names,
  /// Error(limit) on functions or bodies nested beyond reason.
  explicit Graph(const onnx::Model& model);

  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Body>& bodies() const { return bodies_; }
  const Value& value(ValueId id) const { return values_[static_cast<std::size_t>(id)]; }
  const Node& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }
  const Body& body(BodyId id) const { return bodies_[static_cast<std::size_t>(id)]; }
  const Body& main() const { return bodies_[0]; }
  /// The nodes of the main graph in the file's order, which need not be the order in which they can
  /// run.
  const std::vector<NodeId>& file_order() const { return file_order_; }

  /// The value with exactly that name, or kNone.
  ValueId find(std::string_view name) const;
  /// The inputs that a caller must give: those of the main graph without an initializer.
  std::vector<ValueId> required_inputs() const;
  /// "node 'conv1' (Conv)", or "node 17 (Conv)" where it has no name: for messages.
  std::string describe(NodeId id) const;

 private:
  friend class Builder;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<Body> bodies_;
  std::vector<NodeId> file_order_;
  std::unordered_map<std::string, ValueId> by_name_;
};

/// The graph as text, a line a node.
std::string to_text(const Graph& graph);
/// "float32[1, 3, H, W]", "sequence(int64[?])", or "?" where nothing is declared.
std::string to_text(const onnx::Type& type);
/// "tensor(float)", "seq(map(string,tensor(float)))", or "" where nothing is declared.
std::string onnx_name_of(const onnx::Type& type);

}  // namespace mezzo::graph
