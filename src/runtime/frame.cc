#include "runtime/frame.h"

#include "base/shape.h"

namespace mezzo::runtime {

using plan::Slot;

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// An empty tensor may have no memory at all; null, however, means that an operand is omitted.
void* readable(const void* data) {
  static char nothing[64];
  return data != nullptr ? const_cast<void*>(data) : nothing;
}

}  // namespace

Frame::Frame(const plan::Plan& plan, const std::vector<Tensor>& feeds, Engine& engine)
    : plan_(plan),
      feeds_(feeds),
      engine_(engine),
      arena_(engine.buffers().take(static_cast<std::size_t>(plan.arena_bytes))),
      data_(plan.slots.size(), nullptr),
      own_(plan.slots.size()) {
  for (int i = 0; i < static_cast<int>(plan.slots.size()); ++i) data_[at(i)] = locate(i);
}

void* Frame::scratch(const plan::Step& step, int lane) const {
  return static_cast<char*>(arena_.get()) + step.scratch_offset + lane * step.scratch_stride;
}

void Frame::set_made(int slot, Tensor tensor) { own_[at(slot)] = std::move(tensor); }

Tensor Frame::view(int slot) const {
  return Tensor::view(slot_at(slot).dtype, slot_at(slot).shape, data(slot));
}

Tensor Frame::take(const plan::Export& item) {
  const Slot& facts = slot_at(item.slot);
  const int root = plan::root_of(plan_, item.slot);
  const Slot& source = slot_at(root);
  if (source.place == Slot::Place::feed)
    return feeds_[at(source.feed)].reshaped(facts.shape).owned();
  if (source.place == Slot::Place::constant)
    return engine_.aligned(source.value, *source.constant).reshaped(facts.shape);
  Tensor& own = own_[at(root)];
  if (source.place == Slot::Place::made && !own.has_value())
    throw Error(ErrorCode::internal, "an operator did not make its output");
  // An operator that makes its output knows its shape better than the plan.
  if (item.slot != root && source.place != Slot::Place::made) return own.reshaped(facts.shape);
  return item.last ? std::move(own) : own;
}

// Slots come after those that they are views of, except outputs that took over an input's place:
// hence the look at the root.
void* Frame::locate(int slot) {
  const int root = plan::root_of(plan_, slot);
  if (root == slot) return locate_root(root);
  if (data_[at(root)] == nullptr) data_[at(root)] = locate_root(root);
  return data_[at(root)] == nullptr ? nullptr
                                    : static_cast<char*>(data_[at(root)]) + begin_of(slot);
}

std::int64_t Frame::begin_of(int slot) const {
  std::int64_t begin = 0;
  for (; slot_at(slot).alias_of >= 0; slot = slot_at(slot).alias_of)
    begin += slot_at(slot).alias_begin;
  return begin;
}

void* Frame::locate_root(int root) {
  const Slot& facts = slot_at(root);
  switch (facts.place) {
    case Slot::Place::feed:
      return readable(feeds_[at(facts.feed)].data());
    case Slot::Place::constant:
      return readable(facts.constant->data());
    case Slot::Place::arena:
      return static_cast<char*>(arena_.get()) + facts.offset;
    case Slot::Place::own:
      if (!own_[at(root)].has_value()) own_[at(root)] = fresh(facts);
      return own_[at(root)].mutable_data();
    case Slot::Place::made:
      break;
  }
  return nullptr;
}

Tensor Frame::fresh(const Slot& facts) {
  if (!is_plain(facts.dtype)) return Tensor(facts.dtype, facts.shape);
  const std::size_t bytes = bytes_of(facts.dtype, element_count(facts.shape));
  return Tensor::adopt(facts.dtype, facts.shape, engine_.buffers().take(bytes));
}

}  // namespace mezzo::runtime
