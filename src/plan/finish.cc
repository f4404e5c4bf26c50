// What is done to the steps when all are there: dead ones are dropped, the others get kernels.
#include <algorithm>

#include "plan/compiler.h"

namespace mezzo::plan {

void Compiler::remove_dead_steps() {
  std::vector<bool> live(plan_->slots.size(), false);
  const auto mark = [&](int slot) {
    for (; slot >= 0 && !live[at(slot)]; slot = plan_->slots[at(slot)].alias_of) {
      live[at(slot)] = true;
      if (plan_->slots[at(slot)].alias_of >= 0) ++plan_->node_count;
    }
  };
  for (const Export& item : plan_->exports) {
    mark(item.slot);
    Slot& root = plan_->slots[at(root_of(item.slot))];
    if (root.place == Slot::Place::arena) root.place = Slot::Place::own;
  }
  std::vector<bool> is_needed(plan_->steps.size());
  for (std::size_t i = plan_->steps.size(); i-- > 0;) {
    const Step& step = plan_->steps[i];
    bool needed = step.kind == Step::Kind::observe || plan_->inner_fetches.contains(step.node);
    for (const int slot : step.out) needed = needed || (slot >= 0 && live[at(slot)]);
    if (!needed) continue;
    for (const int slot : step.in) mark(slot);
    for (const int slot : step.captures) mark(slot);
    if (step.kind == Step::Kind::kernel) ++plan_->node_count;
    is_needed[i] = true;
  }
  std::size_t next = 0;
  std::erase_if(plan_->steps, [&](const Step&) { return !is_needed[next++]; });
  // A view stands where its root stands, wherever that has gone.
  for (Slot& slot : plan_->slots) {
    if (slot.alias_of >= 0) slot.place = plan_->slots[at(root_of(slot.alias_of))].place;
  }
}

int Compiler::root_of(int slot) const { return plan::root_of(*plan_, slot); }

void Compiler::choose_kernels() {
  for (Step& step : plan_->steps) {
    if (step.kind != Step::Kind::kernel) continue;
    if (step.placed) {
      static const auto nothing =
          std::make_shared<const ops::Chosen>(ops::Chosen{"in place", [](ops::Run&) {}, 0, {}});
      step.chosen = nothing;
      continue;
    }
    try {
      step.chosen = ops::choose(*step.op);
      for (int i = 0; i < step.op->inputs(); ++i) align_constant(step, i);
      if (step.bands.empty()) step.scratch_bytes = step.chosen->scratch_bytes;
      for (BandStep& band : step.bands) {
        if (band.op == nullptr) continue;
        band.chosen = ops::choose(*band.op);
        step.scratch_bytes = std::max(step.scratch_bytes, band.chosen->scratch_bytes);
      }
    } catch (Error& error) {
      error.add_place(describe(step, graph_));
      throw;
    }
  }
}

void Compiler::align_constant(const Step& step, int i) {
  if (step.in[at(i)] < 0 || step.op->is_packed(i) || !step.op->is_constant(i)) return;
  Slot& slot = plan_->slots[at(root_of(step.in[at(i)]))];
  if (slot.place != Slot::Place::constant || !slot.of_file) return;
  const Tensor& aligned = resources_.aligned(operand_of(slot));
  if (&aligned != slot.constant.get()) slot.constant = borrowed(&aligned);
}

}  // namespace mezzo::plan
