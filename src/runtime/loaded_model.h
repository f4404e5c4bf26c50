// A model with its graph: what Model and Session share.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "graph/graph.h"
#include "onnx/model.h"
#include "ops/op.h"

namespace mezzo::runtime {

/// Immutable.
class LoadedModel {
 public:
  explicit LoadedModel(onnx::Model model);

  onnx::Model file;
  graph::Graph graph;
  std::vector<const ops::Row*> rows;  ///< by node; null: the operator is not known
  std::set<graph::NodeId> branch_nodes;
};

}  // namespace mezzo::runtime
