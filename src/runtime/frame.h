// Where the tensors of one run lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "mezzo/tensor.h"
#include "plan/plan.h"
#include "runtime/engine.h"

namespace mezzo::runtime {

/// The memory of one run of a plan. What is null here is a slot that no step of the plan uses.
/// Several threads may ask for places at the same time.
class Frame {
 public:
  Frame(const plan::Plan& plan, const std::vector<Tensor>& feeds, Engine& engine);

  void* data(int slot) const { return slot < 0 ? nullptr : data_[static_cast<std::size_t>(slot)]; }
  /// The scratch memory of a step, for one lane of the micro-batches that it is in.
  void* scratch(const plan::Step& step, int lane) const;

  void set_made(int slot, Tensor tensor);

  /// A slot as a tensor that lives only as long as this frame.
  Tensor view(int slot) const;
  /// What a plan exports, as a tensor that may outlive the run. In the order of the exports, once.
  Tensor take(const plan::Export& item);

 private:
  const plan::Slot& slot_at(int slot) const { return plan_.slots[static_cast<std::size_t>(slot)]; }
  // Where the memory begins that a slot is part of.
  char* start_of(const plan::Location& location);

  const plan::Plan& plan_;
  const std::vector<Tensor>& feeds_;
  Engine& engine_;
  std::shared_ptr<void> arena_;
  std::vector<void*> data_;
  std::vector<std::shared_ptr<void>> own_;  // by root: of plain elements
  std::map<int, Tensor> tensors_;           // by root: of other elements, or made by a step
};

}  // namespace mezzo::runtime
