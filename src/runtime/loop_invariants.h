// What of a loop's body is the same in all iterations.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "graph/graph.h"
#include "runtime/loaded_model.h"

namespace mezzo::runtime {

/// A body's input that the body hands on as it is: every iteration gets what the loop's node got.
struct KeptInput {
  int input = 0;     ///< which of the body's
  int argument = 0;  ///< which of the node's inputs
};

/// Those of a Loop or Scan; none of other nodes.
std::vector<KeptInput> kept_inputs(const graph::Graph& graph, graph::BodyId body);

/// What is known of a body's values before its first iteration.
struct KnownInBody {
  std::set<graph::ValueId> given;  ///< values of the body that no iteration changes
  std::function<bool(graph::ValueId)> is_constant;  ///< whether planning knows its contents
  /// Values that are fetched, at any depth, besides the body's outputs.
  std::vector<graph::ValueId> fetched;
};

/// The values that nodes of `body` compute from nothing that changes, as far as other nodes read
/// them or they are asked for. Not among them: what planning finds out without a run (results of
/// constants and of shapes), and dequantised values, which passes look through.
std::vector<graph::ValueId> computed_once(const LoadedModel& model, graph::BodyId body,
                                          const KnownInBody& known);

}  // namespace mezzo::runtime
