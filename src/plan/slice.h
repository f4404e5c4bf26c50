// Which nodes a request needs: back from what is fetched, up to what is fed.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "plan/request.h"

namespace mezzo::plan {

/// A branch node (If) whose condition is known, and the body that it takes.
using Decisions = std::map<graph::NodeId, graph::BodyId>;

struct SliceItem {
  graph::NodeId node;
  bool joins_branch = false;  ///< the node is a decided branch, here only to give its body's
                              ///< outputs their outer names
};

struct Slice {
  std::vector<SliceItem> items;           ///< in an order in which they can run
  std::vector<bool> needed;               ///< by value: whether some item or fetch uses it
  std::vector<graph::ValueId> fetches;    ///< fetches that are values of this plan
  std::vector<graph::ValueId> observed;   ///< observed values of this plan
  std::vector<graph::ValueId> not_taken;  ///< fetches inside a branch that is not taken
  std::vector<graph::ValueId>
      undecided;  ///< fetched or observed, inside a branch whose condition is not known yet
  std::map<graph::NodeId, std::vector<graph::ValueId>>
      inner_fetches;  ///< fetches inside loops, by the outermost loop
};

/// Throws Error(invalid_argument) where an input that is needed is not fed, with the names of all
/// that are missing.
Slice slice(const graph::Graph& graph, const Request& request, const Decisions& decisions,
            const std::set<graph::NodeId>& branch_nodes);

}  // namespace mezzo::plan
