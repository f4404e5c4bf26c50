// The branches of an If are planned in its place, as soon as its condition is known.
#include "plan/compiler.h"

namespace mezzo::plan {

using graph::kNone;
using graph::NodeId;
using graph::ValueId;

bool Compiler::decide_branch(NodeId id) {
  const graph::Node& node = graph_.node(id);
  const ops::Row& row = row_of(id);
  if (node.inputs.size() != 1 || node.inputs[0] == kNone) {
    throw Error(ErrorCode::invalid_model, "a branch needs one input, its condition")
        .got(std::to_string(node.inputs.size()) + " inputs");
  }
  const ValueId condition = node.inputs[0];
  if (slot_of(condition) < 0) return defer(id);
  const Tensor* tensor = contents(condition);
  if (tensor == nullptr) {
    needed_.insert(condition);
    return defer(id);
  }
  if (tensor->dtype() != DType::boolean || tensor->size() != 1) {
    throw Error(ErrorCode::invalid_model, "a branch's condition must be one bool")
        .got(std::string(name_of(tensor->dtype())) + to_string(tensor->shape()));
  }
  const std::string& attribute =
      tensor->values<bool>()[0] ? row.then_attribute() : row.else_attribute();
  const auto body = node.bodies.find(attribute);
  if (body == node.bodies.end()) {
    throw Error(ErrorCode::invalid_model, "a required attribute is missing")
        .expected("attribute '" + attribute + "'");
  }
  if (graph_.body(body->second).outputs.size() < node.outputs.size()) {
    throw Error(ErrorCode::invalid_model, "the branch has fewer outputs than its node")
        .at("attribute '" + attribute + "'")
        .expected(std::to_string(node.outputs.size()))
        .got(std::to_string(graph_.body(body->second).outputs.size()));
  }
  decisions_[id] = body->second;
  return true;
}

bool Compiler::defer(NodeId id) {
  deferred_.push_back(id);
  return false;
}

void Compiler::join_branch(NodeId id) {
  const graph::Node& node = graph_.node(id);
  const graph::Body& body = graph_.body(decisions_.at(id));
  bool all = true;
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const ValueId outer = node.outputs[i];
    if (outer == kNone || !slice_->needed[at(outer)] || is_planned(outer)) continue;
    const ValueId inner = body.outputs[i];
    const int slot = slot_of(inner);
    if (slot < 0) {
      all = false;
      continue;
    }
    define(outer, slot);
  }
  if (!all) deferred_.push_back(id);
}

}  // namespace mezzo::plan
