// What a model's main graph says of its values, and the names inside its bodies.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "onnx/model.h"

namespace mezzo::onnx {

using Names = std::unordered_set<std::string>;

/// What a graph says of a value: pointers into it, null where it does not.
struct Origin {
  static constexpr std::size_t kNoNode = static_cast<std::size_t>(-1);
  std::size_t producer = kNoNode;  ///< index of the node
  const NamedTensor* initializer = nullptr;
  const SparseTensor* sparse = nullptr;
  const ValueInfo* input = nullptr;
  const ValueInfo* output = nullptr;
  const ValueInfo* info = nullptr;

  bool has_default() const { return initializer != nullptr || sparse != nullptr; }
};

/// The values of a graph, which must stay as it is.
class Values {
 public:
  explicit Values(const Graph& graph);

  /// Null where the graph has none of that name.
  const Origin* find(std::string_view name) const;

 private:
  void declare(const std::vector<ValueInfo>& list, const ValueInfo* Origin::*member);

  std::unordered_map<std::string_view, Origin> values_;
};

/// The value of that name. Throws Error(invalid_argument) where the main graph has none, which says
/// where else it is.
const Origin& find(const Model& model, const Values& values, const std::string& name);

/// The value as an input or output. `own` is what the file says of it in that place, if anything.
ValueInfo declaration(const std::string& name, const Origin& origin, const ValueInfo* own);

/// The values that the graph has itself.
Names defined_in(const Graph& graph);

/// The values that a node needs: its inputs, and those that its bodies take from outside. `scopes`
/// are the names of the bodies around it.
void add_needs(const Node& node, std::vector<Names>& scopes, std::vector<std::string>& needs);

/// visit(node, attribute, body) for all bodies, of bodies as well.
template <class Visit>
void each_body(const std::vector<Node>& nodes, const Visit& visit) {
  for (const Node& node : nodes) {
    for (const Attribute& attribute : node.attributes) {
      for (const auto& body : attribute.graphs) {
        visit(node, attribute, *body);
        each_body(body->nodes, visit);
      }
    }
  }
}

}  // namespace mezzo::onnx
