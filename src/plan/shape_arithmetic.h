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

  explicit ShapeArithmetic(const graph::Graph& graph);

  /// Begins a question: what the node gives for the inputs that are added.
  void begin(std::string& question, graph::NodeId node) const;
  /// Adds an input of which the type and shape count, or (`contents`) its elements as well. False:
  /// it is too large, or holds no plain elements.
  static bool add(std::string& question, DType dtype, const Shape& shape, const Tensor* contents);

  /// The answer to a question that was asked before; else null.
  const Results* find(const std::string& question) const;
  /// Keeps an answer, unless it is large.
  void keep(std::string question, const Results& results);

 private:
  std::vector<int> kinds_;  // by node: the same where they are alike in all but their values
  std::unordered_map<std::string, Results> answers_;
};

}  // namespace mezzo::plan
