// What nodes gave for inputs of a few known numbers. Exporters compute the same shapes anew in each
// layer; for a new shape of the feeds, the first layer's answers are those of all others.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "graph/graph.h"
#include "mezzo/tensor.h"

namespace mezzo::plan {

class ShapeArithmetic {
 public:
  using Results = std::vector<std::shared_ptr<const Tensor>>;

  /// Elements and results of more bytes are not shape arithmetic.
  static constexpr std::size_t kFewBytes = 256;

  explicit ShapeArithmetic(const graph::Graph& graph)
      : graph_(graph), kinds_(graph.nodes().size(), -1) {}

  /// A question is what a node gives for certain inputs. This adds one, of which the type and shape
  /// count, or (`contents`) its elements as well. False: it is too large, or has no plain elements.
  static bool add_input(std::string& question, DType dtype, const Shape& shape,
                        const Tensor* contents);
  /// Adds what the node's results depend on besides.
  void add_node(std::string& question, graph::NodeId node);

  /// The answer to a question that was asked before; else null.
  const Results* find(const std::string& question) const;
  /// Keeps an answer, unless it is large.
  void keep(std::string question, const Results& results);

 private:
  const graph::Graph& graph_;
  // By node, once it is asked for: the same where they are alike in all but their values.
  std::vector<int> kinds_;
  std::unordered_map<std::string, int> known_kinds_;
  std::unordered_map<std::string, Results> answers_;
};

}  // namespace mezzo::plan
