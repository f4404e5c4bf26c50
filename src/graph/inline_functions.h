// Model-local functions, replaced by their bodies before a graph is built.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "onnx/model.h"

namespace mezzo::graph {

/// Version by domain; "" is ai.onnx.
using Opsets = std::map<std::string, int>;

/// A node of a body without calls, and the opsets under which it is read.
struct FlatNode {
  onnx::Node node;
  std::shared_ptr<const Opsets> opsets;
};

/// Replaces calls of the model's functions. One for each graph that is built: it counts what it
/// unfolds.
class FunctionInliner {
 public:
  explicit FunctionInliner(const onnx::Model& model);

  /// The nodes with every call replaced, at any depth, by the function's nodes. Their values and
  /// names get "CALLER/" before them, CALLER being the calling node's name (its first output where
  /// it has none). Attributes given by reference become the caller's. Throws Error(limit) where
  /// functions call themselves, or all that was unfolded is more than any real model has.
  std::vector<FlatNode> flatten(const std::vector<onnx::Node>& nodes,
                                const std::shared_ptr<const Opsets>& opsets);
  const std::shared_ptr<const Opsets>& model_opsets() const { return model_opsets_; }

 private:
  void append(const onnx::Node& node, const std::shared_ptr<const Opsets>& opsets, int depth,
              std::vector<FlatNode>& out);
  void spend(const onnx::Function& function, std::size_t calls, std::size_t bytes);
  const onnx::Function* function_of(const onnx::Node& node) const;

  std::map<std::string, const onnx::Function*> functions_;  // by "domain:name:overload"
  std::map<const onnx::Function*, std::shared_ptr<const Opsets>> function_opsets_;
  std::shared_ptr<const Opsets> model_opsets_;
  std::size_t calls_ = 0, bytes_ = 0;
};

}  // namespace mezzo::graph
