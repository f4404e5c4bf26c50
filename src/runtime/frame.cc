#include "runtime/frame.h"

namespace mezzo::runtime {

using plan::Slot;

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// An empty tensor may have no memory at all; null, however, means that an operand is omitted.
char* readable(const void* data) {
  static char nothing[64];
  return data != nullptr ? static_cast<char*>(const_cast<void*>(data)) : nothing;
}

}  // namespace

Frame::Frame(const plan::Plan& plan, const std::vector<Tensor>& feeds, Engine& engine)
    : plan_(plan),
      feeds_(feeds),
      engine_(engine),
      arena_(engine.buffers().take(static_cast<std::size_t>(plan.arena_bytes))),
      data_(plan.slots.size(), nullptr),
      own_(plan.slots.size()) {
  for (std::size_t i = 0; i < data_.size(); ++i) {
    const plan::Location& location = plan.locations[i];
    if (location.place != Slot::Place::made) data_[i] = start_of(location) + location.begin;
  }
}

char* Frame::start_of(const plan::Location& location) {
  const auto root = at(location.root);
  switch (location.place) {
    case Slot::Place::feed:
      return readable(feeds_[at(slot_at(location.root).feed)].data());
    case Slot::Place::constant:
      return readable(location.constant);
    case Slot::Place::arena:
    case Slot::Place::made:
      break;
    case Slot::Place::own:
      if (is_plain(slot_at(location.root).dtype)) {
        if (own_[root] == nullptr)
          own_[root] = engine_.buffers().take(static_cast<std::size_t>(location.bytes));
        return static_cast<char*>(own_[root].get());
      }
      const Slot& facts = slot_at(location.root);
      return static_cast<char*>(tensors_.try_emplace(location.root, facts.dtype, facts.shape)
                                    .first->second.mutable_data());
  }
  return static_cast<char*>(arena_.get());
}

void* Frame::scratch(const plan::Step& step, int lane) const {
  return static_cast<char*>(arena_.get()) + step.scratch_offset + lane * step.scratch_stride;
}

void Frame::set_made(int slot, Tensor tensor) { tensors_[slot] = std::move(tensor); }

Tensor Frame::view(int slot) const {
  return Tensor::view(slot_at(slot).dtype, slot_at(slot).shape, data(slot));
}

Tensor Frame::take(const plan::Export& item) {
  const plan::Location& location = plan_.locations[at(item.slot)];
  switch (location.place) {
    case Slot::Place::feed:
      return feeds_[at(slot_at(location.root).feed)].reshaped(item.shape).owned();
    case Slot::Place::constant:
      return engine_.aligned(plan::operand_of(slot_at(location.root))).reshaped(item.shape);
    case Slot::Place::made: {
      // Its shape is better known to who made it than to the plan.
      const auto made = tensors_.find(location.root);
      if (made != tensors_.end()) return made->second;
      throw Error(ErrorCode::internal, "an operator did not make its output");
    }
    case Slot::Place::arena:
    case Slot::Place::own:
      break;
  }
  if (!is_plain(item.dtype)) return tensors_.at(location.root).reshaped(item.shape);
  std::shared_ptr<void>& memory = own_[at(location.root)];
  return Tensor::adopt(item.dtype, item.shape, item.last ? std::move(memory) : memory);
}

}  // namespace mezzo::runtime
