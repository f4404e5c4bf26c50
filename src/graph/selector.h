// Selectors: strings that name values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace mezzo::graph {

// clang-format off
/// The values that `selector` names, in the file's order, at least one:
///   conv1_out         a value's exact name
///   conv1, conv1:1    a node's first output, or the output of that number, where no value has the name
///   [-2], [-2]:1      the node of that index in the file's order, counted from the end where negative
///   block3/*          a glob over value names: * (any run), ? (any character), [abc] (one of)
///   op:Conv           the first outputs of all nodes of that operator, which may be a glob, too
///   /layer\d+.*relu/  a regular expression that must match somewhere in the value's name
/// An exact name goes before every pattern. Throws Error(invalid_argument) with the nearest names
/// where nothing matches.
// clang-format on
std::vector<ValueId> select(const Graph& graph, std::string_view selector);

/// The one value that `selector` names; throws where it names several.
ValueId select_one(const Graph& graph, std::string_view selector);

}  // namespace mezzo::graph
