// 16-bit floats have no kernels of their own: a node whose types all follow from its inputs' is
// planned with f32 in their place, and its outputs stay f32 until something asks for the value.
#include <algorithm>

#include "ops/convert_elements.h"
#include "plan/compiler.h"

namespace mezzo::plan {

using graph::ValueId;

int Compiler::narrow(int slot) {
  const DType own = plan_->slots[at(slot)].kept_for;
  return own == DType::undefined ? slot : converted(slot, own, DType::undefined);
}

int Compiler::widen(int slot) {
  const Slot& facts = plan_->slots[at(slot)];
  if (!ops::is_16_bit_float(facts.dtype)) return slot;
  if (facts.constant == nullptr) return converted(slot, DType::f32, facts.dtype);
  const auto twin = twins_.find(slot);
  if (twin != twins_.end()) return twin->second;
  Slot wide = new_slot(facts.value, DType::f32, facts.shape, Slot::Place::constant);
  wide.kept_for = facts.dtype;
  const auto make = [](const Tensor& tensor) { return tensor.to(DType::f32); };
  wide.constant = std::make_shared<Tensor>(resources_.packed(operand_of(facts), "as f32", make));
  wide.of_file = facts.of_file;
  return twins_[slot] = add_slot(std::move(wide));
}

int Compiler::converted(int slot, DType dtype, DType kept_for) {
  const auto twin = twins_.find(slot);
  if (twin != twins_.end()) return twin->second;
  return twins_[slot] = add_conversion(slot, dtype, kept_for);
}

int Compiler::add_conversion(int slot, DType dtype, DType kept_for) {
  const Slot& source = plan_->slots[at(slot)];
  Slot target = new_slot(source.value, dtype, source.shape, Slot::Place::arena);
  target.kept_for = kept_for;
  Step step;
  step.kind = Step::Kind::convert;
  step.in = {slot};
  step.out = {add_slot(std::move(target))};
  plan_->steps.push_back(step);
  return step.out[0];
}

bool Compiler::can_widen(const graph::Node& node, const ops::Row& row) {
  if (!node.bodies.empty()) return false;
  for (const ops::Formal& formal : row.inputs()) {
    if (formal.types == ops::kSequence) return false;
    const bool narrow = formal.types.contains(DType::f16) || formal.types.contains(DType::bf16);
    if (narrow && !formal.types.contains(DType::f32)) return false;
  }
  for (const ops::Formal& formal : row.outputs()) {
    const bool narrow = formal.types.contains(DType::f16) || formal.types.contains(DType::bf16);
    if (narrow && formal.like < 0) return false;
  }
  return true;
}

bool Compiler::wants_wide(const graph::Node& node, const ops::Row& row,
                          const std::vector<int>& in) const {
  const auto is_narrow = [&](int slot) {
    return slot >= 0 && own_type(slot) != DType::undefined && ops::is_16_bit_float(own_type(slot));
  };
  const auto is_wide = [&](int slot) {
    const Slot& facts = plan_->slots[at(slot)];
    return facts.kept_for != DType::undefined ||
           (facts.constant == nullptr && twins_.contains(slot));
  };
  // Once in f32, a 16-bit float is kept so until something asks for the value itself: each
  // rounding less is less error and less work. But what only moves elements moves less when they
  // are small.
  return can_widen(node, row) && std::any_of(in.begin(), in.end(), [&](int slot) {
           return is_narrow(slot) && (!row.moves_elements() || is_wide(slot));
         });
}

DType Compiler::own_type(int slot) const {
  const Slot& facts = plan_->slots[at(slot)];
  return facts.kept_for != DType::undefined ? facts.kept_for : facts.dtype;
}

DType Compiler::output_kept_for(const ops::Row& row, int output, const std::vector<int>& in) const {
  const std::vector<ops::Formal>& formals = row.outputs();
  const ops::Formal& formal = formals[std::min(at(output), formals.size() - 1)];
  if (formal.like < 0 || at(formal.like) >= in.size() || in[at(formal.like)] < 0)
    return DType::undefined;
  return plan_->slots[at(in[at(formal.like)])].kept_for;
}

}  // namespace mezzo::plan
