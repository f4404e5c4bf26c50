// What a plan hands on: to the caller, and to the plan that continues it.
#include <algorithm>

#include "plan/compiler.h"

namespace mezzo::plan {

using graph::kNone;
using graph::NodeId;
using graph::ValueId;

int Compiler::export_slot(ValueId value) {
  // A patch or an observer waits for the shape: it is applied by the plan that continues this
  // one.
  const int slot = plain_slot_of(value);
  if (slot >= 0) return slot;
  const auto made = made_.find(value);
  return made != made_.end() ? made->second : -1;
}

// Else a caller who writes to one tensor would have to copy it first. Here the copy costs least:
// what was computed just now is in the caches.
void Compiler::keep_apart(ValueId view) {
  const auto is_fetched = [&](ValueId value) {
    return std::find(slice_->fetches.begin(), slice_->fetches.end(), value) !=
           slice_->fetches.end();
  };
  const int slot = slot_of_[at(view)];
  const Slot& facts = plan_->slots[at(slot)];
  if (!is_fetched(view) || facts.place != Slot::Place::arena) return;
  if (facts.kept_for != DType::undefined) return;  // what is handed on is a conversion
  const int root = root_of(slot);
  for (const ValueId other : slice_->fetches) {
    const int taken = slot_of_[at(other)];
    if (other == view || taken < 0 || root_of(taken) != root) continue;
    copies_[view] = add_conversion(slot, facts.dtype, DType::undefined);
    return;
  }
}

bool Compiler::is_finished(ValueId value) const {
  return is_planned(value) ||
         (made_.contains(value) && !patched_.contains(value) && !observed_.contains(value));
}

void Compiler::finish_exports() {
  plan_->not_taken = slice_->not_taken;
  Request& rest = plan_->continuation;
  for (const ValueId value : slice_->fetches) {
    const auto copy = copies_.find(value);
    const int slot = copy != copies_.end() ? copy->second : export_slot(value);
    if (slot >= 0 && is_finished(value)) {
      plan_->exports.push_back({value, slot});
    } else {
      rest.fetches.push_back(value);
    }
  }
  for (const auto& [loop, values] : slice_->inner_fetches) {
    if (std::find(deferred_.begin(), deferred_.end(), loop) != deferred_.end()) {
      rest.fetches.insert(rest.fetches.end(), values.begin(), values.end());
    } else {
      plan_->inner_fetches[loop] = values;
    }
  }
  bool observers_wait = false;
  for (const ValueId value : slice_->undecided) {
    if (observed_.contains(value)) observers_wait = true;
    if (std::find(request_.fetches.begin(), request_.fetches.end(), value) !=
        request_.fetches.end()) {
      rest.fetches.push_back(value);
    }
  }
  for (const ValueId value : slice_->observed)
    observers_wait = observers_wait || !is_planned(value);
  plan_->complete = rest.fetches.empty() && !observers_wait;
  if (!plan_->complete) finish_continuation();
}

void Compiler::note_facts_of_exports() {
  std::set<int> seen;
  for (auto item = plan_->exports.rbegin(); item != plan_->exports.rend(); ++item) {
    const Slot& slot = plan_->slots[at(item->slot)];
    item->dtype = slot.dtype;
    item->shape = slot.shape;
    item->last = seen.insert(root_of(item->slot)).second;
  }
}

void Compiler::finish_continuation() {
  Request& rest = plan_->continuation;
  rest.body = request_.body;
  rest.feeds = request_.feeds;
  rest.constants = request_.constants;
  for (const ValueId value : request_.patches) {
    if (!is_planned(value)) rest.patches.push_back(value);
  }
  for (const ValueId value : request_.observed) {
    if (!is_planned(value)) rest.observed.push_back(value);
  }
  std::set<ValueId> handed(rest.feeds.begin(), rest.feeds.end());
  for (const Export& fetch : plan_->exports) {
    if (handed.insert(fetch.value).second) rest.feeds.push_back(fetch.value);
  }
  std::vector<ValueId> carried;
  const auto hand_on = [&](ValueId value) {
    if (value == kNone || handed.contains(value)) return;
    const int slot = export_slot(value);
    if (slot < 0 || plan_->slots[at(slot)].of_file) return;
    handed.insert(value);
    if (plan_->slots[at(slot)].constant != nullptr) {
      plan_->carried.emplace_back(value, *plan_->slots[at(slot)].constant);
      needed_.insert(value);
      carried.push_back(value);
    } else {
      plan_->exports.push_back({value, slot});
      rest.feeds.push_back(value);
    }
  };
  for (const ValueId value : rest.fetches) hand_on(value);
  for (const ValueId value : rest.observed) hand_on(value);
  for (const NodeId id : deferred_) {
    const graph::Node& node = graph_.node(id);
    for (const ValueId value : node.inputs) hand_on(value);
    for (const ValueId value : node.captures) hand_on(value);
    if (const auto decision = decisions_.find(id); decision != decisions_.end()) {
      for (const ValueId value : graph_.body(decision->second).outputs) hand_on(value);
    }
  }
  rest.feeds.insert(rest.feeds.end(), carried.begin(), carried.end());
  for (const ValueId value : contents_used_) needed_.insert(value);
  plan_->needed_contents.assign(needed_.begin(), needed_.end());
}

}  // namespace mezzo::plan
