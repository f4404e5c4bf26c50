// What a model computes with inputs of given shapes: the type and shape of every value, and how
// much work each node is. Nothing is run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mezzo/session.h"

namespace mezzo::runtime {

/// What is known of a value.
struct ValueFacts {
  DType dtype = DType::undefined;  ///< undefined: not known
  std::optional<Shape> shape;      ///< absent: not known
  bool folded = false;  ///< computed when planning: the contents depend on the shapes alone
};

struct Inspection {
  std::vector<ValueFacts> values;  ///< in the order of Model::values()
  /// In the order of Model::nodes(); 0 where the operator multiplies nothing to speak of.
  std::vector<std::int64_t> multiply_adds;
  /// Their sum; absent where it is not known.
  std::optional<std::int64_t> total_multiply_adds;
  /// Why facts are missing, or under which assumption they hold: sentences, empty where there is
  /// nothing to say.
  std::vector<std::string> remarks;
};

/// Plans the computation of all values of the main graph from `inputs`, of which only types and
/// shapes should count; where their contents decide shapes, a remark says so. What cannot be
/// planned is missing from the result, with a remark: this throws nothing for a model that loads.
/// Error(invalid_argument) where `inputs` names no value.
Inspection inspect(const Model& model, const Feeds& inputs);

}  // namespace mezzo::runtime
