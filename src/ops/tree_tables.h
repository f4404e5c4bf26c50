// The attributes of the tree ensembles of ai.onnx.ml as tables.
#pragma once

#include <string>
#include <vector>

#include "ops/op.h"
#include "ops/tree_forest.h"

namespace mezzo::ops {

/// A list of numbers: floats in `name` or (version 3) numbers in `name` + "_as_tensor".
std::vector<double> float_list(const Op& op, const std::string& name);

/// The trees of TreeEnsembleClassifier and TreeEnsembleRegressor, versions 1 and 3, whose votes
/// stand in attributes that begin with `votes`: "class" or "target". Throws Error(invalid_model)
/// where the lists do not fit each other, or where the nodes of a tree are not one tree.
ForestTables tables_by_id(const Op& op, const std::string& votes);

/// The trees of TreeEnsemble-5.
ForestTables tables_by_index(const Op& op);

}  // namespace mezzo::ops
