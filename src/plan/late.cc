// Results that are known without computing them: of a node that is as it was in an earlier plan, or
// like another.
#include <algorithm>

#include "plan/compiler.h"

namespace mezzo::plan {

using graph::kNone;
using graph::NodeId;
using graph::ValueId;

bool Compiler::plan_late(NodeId id, const Precedent* before) {
  question_.clear();
  // Who patches or observes a value waits for its slot.
  if (!patched_.empty() || !observed_.empty()) return false;
  Precedents& precedents = resources_.precedents();
  const auto set_late = [&](ValueId output, Version version) {
    if (is_planned(output)) return;
    slot_of_[at(output)] = kLate;
    versions_[at(output)] = version;
  };
  if (before != nullptr) {
    if (before->results.empty() || before->of_file) return false;
    precedents.each_output(id, set_late);
    return true;
  }
  ask(id, row_of(id));
  const auto* results = question_.empty() ? nullptr : precedents.shape_arithmetic().find(question_);
  if (results == nullptr) return false;
  Precedent precedent{nullptr, {}, *results};
  const std::vector<ValueId>& outputs = graph_.node(id).outputs;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] == kNone) continue;
    std::shared_ptr<const Tensor>& result = precedent.results[i];
    Slot slot = constant_slot(outputs[i], result);
    set_late(outputs[i], precedents.note(outputs[i], slot));
    // The version is that of this very tensor, which other nodes' ops name.
    result = slot.constant;
  }
  precedents.set(id, std::move(precedent), versions_);
  return true;
}

void Compiler::ask(NodeId id, const ops::Row& row) {
  const graph::Node& node = graph_.node(id);
  if (row.is_random() || !node.bodies.empty()) return;
  for (const ValueId output : node.outputs) {
    if (output != kNone && is_fed(output)) return;
  }
  bool of_file = true;
  const auto add = [&](DType dtype, const Shape& shape, const Tensor* contents) {
    return (contents != nullptr || row.is_from_shapes()) &&
           ShapeArithmetic::add_input(question_, dtype, shape,
                                      row.is_from_shapes() ? nullptr : contents);
  };
  const auto add_input = [&](ValueId input) {
    const int slot = slot_of_[at(input)];
    if (slot >= 0) {
      const Slot& facts = plan_->slots[at(slot)];
      of_file = of_file && facts.of_file;
      return facts.kept_for == DType::undefined && facts.recipe == nullptr &&
             add(facts.dtype, facts.shape, facts.constant.get());
    }
    const graph::Value& facts = graph_.value(input);
    if (slot == kNotPlanned && !facts.initializer.has_value()) return false;
    of_file = of_file && slot == kNotPlanned;
    const Tensor& constant = slot == kLate ? *late_result(input) : facts.initializer;
    return add(constant.dtype(), constant.shape(), &constant);
  };
  const bool is_known = std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
    return input == kNone || add_input(input);
  });
  // What is of the file alone is computed once for all plans.
  if (!is_known || of_file) return question_.clear();
  resources_.precedents().shape_arithmetic().add_node(question_, id);
}

const std::shared_ptr<const Tensor>& Compiler::late_result(ValueId value) const {
  const graph::Value& facts = graph_.value(value);
  return resources_.precedents().of(facts.producer).results[at(facts.output_index)];
}

}  // namespace mezzo::plan
