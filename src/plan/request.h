// What is asked of a model in one call, without the data.
#pragma once

#include <compare>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace mezzo::plan {

/// Which values are given, wanted, changed and looked at. Two calls with equal requests and equal
/// shapes share their plans.
struct Request {
  graph::BodyId body = 0;             ///< whose outputs are computed: 0, or the body of a loop
  std::vector<graph::ValueId> feeds;  ///< in the order in which `run` gets their tensors
  std::vector<graph::ValueId>
      fetches;  ///< in the order in which `run` gives them; may lie in nested bodies
  std::vector<graph::ValueId>
      patches;  ///< replaced by a function of the caller as soon as they are there
  std::vector<graph::ValueId> observed;  ///< shown to a function of the caller, after any patch
  /// Feeds that are constants of the file, whatever is given, each with a value of an outer graph
  /// that has its contents: an initializer, or computed from such when planning.
  std::vector<std::pair<graph::ValueId, graph::ValueId>> constants;

  auto operator<=>(const Request&) const = default;
};

}  // namespace mezzo::plan
