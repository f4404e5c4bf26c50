#include "passes/program.h"

#include <algorithm>
#include <cmath>

#include "base/memory.h"

namespace mezzo::passes {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

bool Program::is(int i, std::string_view op_type, std::string_view domain) const {
  return i >= 0 && !step(i).removed && step(i).op != nullptr && op(i).row().name() == op_type &&
         op(i).row().domain() == domain;
}

int Program::in(int i, int input) const {
  return at(input) < step(i).in.size() ? step(i).in[at(input)] : -1;
}

int Program::maker(int i, int input, std::string_view op_type, std::string_view domain) const {
  return maker_of(in(i, input), op_type, domain);
}

int Program::maker_of(int slot_number, std::string_view op_type, std::string_view domain) const {
  const int producer = slot_number < 0 ? -1 : slot(slot_number).producer;
  return is(producer, op_type, domain) ? producer : -1;
}

int Program::other(int i, int slot_number) const {
  if (i < 0 || step(i).in.size() != 2) return -1;
  return in(i, 0) == slot_number ? in(i, 1) : in(i, 1) == slot_number ? in(i, 0) : -1;
}

int Program::beside_number(int i, double value) const {
  if (i < 0 || step(i).in.size() != 2) return -1;
  return is_number(in(i, 1), value) ? in(i, 0) : is_number(in(i, 0), value) ? in(i, 1) : -1;
}

bool Program::is_constant(int slot_number) const {
  return slot_number >= 0 && slot(slot_number).operand.constant != nullptr;
}

std::optional<float> Program::number(int slot_number) const {
  if (!is_constant(slot_number)) return std::nullopt;
  const Slot& facts = slot(slot_number);
  if (facts.operand.dtype != DType::f32 || facts.operand.constant->size() != 1) return std::nullopt;
  return contents(slot_number).values<float>()[0];
}

const Tensor& Program::contents(int slot_number) const {
  return host_.store().aligned(slot(slot_number).operand);
}

bool Program::is_number(int slot_number, double value) const {
  const std::optional<float> known = number(slot_number);
  return known && std::abs(static_cast<double>(*known) - value) <= 1e-6 * std::abs(value);
}

const Tensor& Program::constant(int i, int input) const { return *op(i).constant(input); }

int Program::user(int slot_number, std::string_view op_type, std::string_view domain) const {
  for (const int i : slot(slot_number).users) {
    if (is(i, op_type, domain)) return i;
  }
  return -1;
}

bool Program::is_read_besides(const std::vector<int>& members, int slot_number) const {
  const Slot& facts = slot(slot_number);
  return facts.viewed >= 0 || std::any_of(facts.users.begin(), facts.users.end(),
                                          [&](int user) { return !contains(members, user); });
}

// A slot, and the views of it.
std::vector<int> Program::names_of(int number) const {
  std::vector<int> names = {number};
  for (std::size_t k = 0; k < names.size(); ++k) {
    // Views may also be fetched without any step that reads them.
    const Slot& facts = slot(names[k]);
    const bool has_views = facts.viewed >= 0 || facts.kept_for_views;
    for (int i = 0; has_views && i < static_cast<int>(slots_.size()); ++i) {
      if (slot(i).view_of == names[k]) names.push_back(i);
    }
  }
  return names;
}

bool Program::is_wanted(const std::vector<int>& members, int number) const {
  const std::vector<int> names = names_of(number);
  return std::any_of(names.begin(), names.end(), [&](int name) {
    const Slot& facts = slot(name);
    return (!facts.kept.empty() && !facts.kept_for_views) ||
           std::any_of(facts.users.begin(), facts.users.end(),
                       [&](int user) { return !contains(members, user); });
  });
}

void Program::miss(int i, const std::string& reason) {
  std::vector<std::string>& misses = step_at(i).misses;
  const std::string text = pass_ + ": " + reason;
  if (std::find(misses.begin(), misses.end(), text) == misses.end()) misses.push_back(text);
}

// Why a value between the members must stay; empty where none must.
std::string Program::obstacle(const std::vector<int>& members, const std::vector<int>& out) const {
  for (const int member : members) {
    for (const int number : step(member).out) {
      if (number < 0 || contains(out, number) || !is_wanted(members, number)) continue;
      const Slot& inner = slot(number);
      const std::string name = "'" + host_.name_of(inner.operand.value) + "' ";
      if (!inner.kept.empty()) return name + inner.kept;
      for (const int reader : inner.users) {
        if (contains(members, reader)) continue;
        if (step(reader).op == nullptr) return name + "is " + step(reader).kind;
        return name + "is used by " + host_.describe(step(reader).nodes.back()) + " as well";
      }
    }
  }
  return "";
}

// What is given besides the last result must not be wanted before that is there.
std::string Program::early_reader(const std::vector<int>& members,
                                  const std::vector<int>& out) const {
  for (const int number : out) {
    if (number < 0) continue;
    std::vector<int> readers;
    for (const int name : names_of(number))
      readers.insert(readers.end(), slot(name).users.begin(), slot(name).users.end());
    if (slot(number).captured >= 0) readers.push_back(slot(number).captured);
    for (const int reader : readers) {
      if (reader > members.back() || contains(members, reader)) continue;
      return "'" + host_.name_of(slot(number).operand.value) + "' is used in between";
    }
  }
  return "";
}

std::shared_ptr<const graph::Node> Program::node_of(Replacement& replacement) const {
  auto node = std::make_shared<graph::Node>();
  node->op_type = replacement.op_type;
  node->domain = replacement.domain;
  node->opset = replacement.opset;
  node->attributes = std::move(replacement.attributes);
  for (const int number : replacement.in) {
    node->inputs.push_back(number < 0 ? graph::kNone : slot(number).operand.value);
  }
  for (const int number : replacement.out) {
    node->outputs.push_back(number < 0 ? graph::kNone : slot(number).operand.value);
  }
  return node;
}

std::shared_ptr<ops::Op> Program::make(const graph::Node& node,
                                       const Replacement& replacement) const {
  const ops::Row* row = ops::Registry::get().find(node.domain, node.op_type, node.opset);
  if (row == nullptr) {
    throw Error(ErrorCode::internal, "a pass builds a node of an operator that does not exist")
        .got(node.op_type);
  }
  std::vector<ops::Operand> operands;
  for (const int number : replacement.in) {
    operands.push_back(number < 0 ? ops::Operand{} : slot(number).operand);
  }
  for (const auto& [input, shape] : replacement.in_as) operands[at(input)].shape = shape;
  auto op =
      std::make_shared<ops::Op>(node, *row, std::move(operands), &host_.store(), host_.threads());
  row->infer_outputs(*op);
  return op;
}

namespace {

// Calls visit(slot) for what a step reads, and the conversions ahead of it.
template <class Visit>
void each_read(const Step& step, const Visit& visit) {
  for (const int number : step.in) {
    if (number >= 0) visit(number);
  }
  for (const Step& before : step.before) each_read(before, visit);
}

}  // namespace

void Program::remove(int i) {
  Step& old = step_at(i);
  old.removed = true;
  each_read(old, [&](int number) { std::erase(slot_at(number).users, i); });
  for (const int number : old.out) {
    if (number >= 0) slot_at(number).producer = -1;
  }
}

void Program::install(const std::vector<int>& members, Step fused) {
  const int last = members.back();
  for (const int member : members) {
    Step& old = step_at(member);
    remove(member);
    fused.nodes.insert(fused.nodes.end(), old.nodes.begin(), old.nodes.end());
    fused.passes.insert(fused.passes.end(), old.passes.begin(), old.passes.end());
    fused.misses.insert(fused.misses.end(), old.misses.begin(), old.misses.end());
  }
  each_read(fused, [&](int number) {
    std::vector<int>& users = slot_at(number).users;
    if (!contains(users, last)) users.push_back(last);
  });
  for (const int number : fused.out) {
    if (number >= 0) slot_at(number).producer = last;
  }
  fused.passes.push_back(pass_);
  step_at(last) = std::move(fused);
}

bool Program::fuse(std::vector<int> members, Replacement replacement) {
  std::sort(members.begin(), members.end());
  members.erase(std::unique(members.begin(), members.end()), members.end());
  for (const int member : members) {
    for (const int number : step(member).out) {
      if (number < 0 || replacement.of_any_type) continue;
      if (slot(number).operand.dtype != DType::f32) return false;
    }
  }
  const int last = members.back();
  std::string why_not = obstacle(members, replacement.out);
  if (why_not.empty()) why_not = early_reader(members, replacement.out);
  if (!why_not.empty()) {
    miss(last, why_not);
    return false;
  }
  std::shared_ptr<const graph::Node> node = node_of(replacement);
  std::shared_ptr<ops::Op> op;
  try {
    op = make(*node, replacement);
  } catch (const ops::NeedsValue&) {
    return false;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    miss(last, error.what());
    return false;
  }
  if (replacement.refuse != nullptr) {
    if (const std::string reason = replacement.refuse(*op); !reason.empty()) {
      miss(last, reason);
      return false;
    }
  }
  for (std::size_t i = 0; i < replacement.out.size(); ++i) {
    if (replacement.out[i] < 0) continue;
    const ops::Operand& wanted = slot(replacement.out[i]).operand;
    const ops::Operand& given = op->out(static_cast<int>(i));
    const auto as =
        std::find_if(replacement.out_as.begin(), replacement.out_as.end(),
                     [&](const auto& other) { return other.first == static_cast<int>(i); });
    const Shape& shape = as != replacement.out_as.end() ? as->second : wanted.shape;
    if (given.dtype != wanted.dtype || given.shape != shape ||
        element_count(shape) != element_count(wanted.shape)) {
      miss(last, "the result would have another shape");
      return false;
    }
  }
  Step fused;
  fused.op = std::move(op);
  fused.node = std::move(node);
  fused.in = std::move(replacement.in);
  fused.out = std::move(replacement.out);
  install(members, std::move(fused));
  return true;
}

void Program::drop_unread(int i, int other) {
  Step& unread = step_at(i);
  const bool read = std::any_of(unread.out.begin(), unread.out.end(),
                                [&](int number) { return number >= 0 && is_wanted({}, number); });
  if (!unread.removed && !read) drop(i, other);
}

void Program::drop(int i, int other) {
  remove(i);
  std::vector<graph::NodeId>& nodes = step_at(other).nodes;
  nodes.insert(nodes.end(), step(i).nodes.begin(), step(i).nodes.end());
}

void Program::read_instead(int slot, int other) {
  if (slot == other) return;
  std::vector<int>& users = slot_at(other).users;
  for (const int user : std::exchange(slot_at(slot).users, {})) {
    std::replace(step_at(user).in.begin(), step_at(user).in.end(), slot, other);
    if (!contains(users, user)) users.push_back(user);
  }
}

void Program::insert(int i, Replacement replacement, int of) {
  Step added = made(replacement);
  added.nodes = step(of).nodes;
  added.passes = {pass_};
  const auto move_on = [&](int& number) {
    if (number >= i) ++number;
  };
  for (Slot& slot : slots_) {
    for (int* number : {&slot.producer, &slot.viewed, &slot.captured}) move_on(*number);
    for (int& user : slot.users) move_on(user);
  }
  for (const int number : added.in) slot_at(number).users.push_back(i);
  for (const int number : added.out) slot_at(number).producer = i;
  steps_.insert(steps_.begin() + i, std::move(added));
}

Step Program::made(Replacement& replacement) const {
  Step step;
  step.node = node_of(replacement);
  step.op = make(*step.node, replacement);
  step.in = std::move(replacement.in);
  step.out = std::move(replacement.out);
  return step;
}

int Program::add_slot(int of, Shape shape) {
  Slot added;
  added.operand = host_.add_slot(of, std::move(shape));
  added.in_arena = true;
  slots_.push_back(std::move(added));
  return static_cast<int>(slots_.size()) - 1;
}

int Program::add_slot_inside(int whole, std::int64_t begin, int of) {
  const int added = add_slot(of, Shape(slot(of).operand.shape));
  slot_at(added).inside = whole;
  slot_at(added).begin = begin;
  return added;
}

void Program::replace(const std::vector<int>& members, Replacement replacement,
                      std::vector<Replacement> before, std::vector<Replacement> after) {
  const auto around = [&](std::vector<Replacement>& list) {
    std::vector<Step> steps;
    for (Replacement& wanted : list) {
      steps.push_back(made(wanted));
      steps.back().nodes = step(members.back()).nodes;
      steps.back().passes = {pass_};
      steps.back().placed = wanted.placed;
    }
    return steps;
  };
  Step replaced = made(replacement);
  replaced.before = around(before);
  replaced.after = around(after);
  install(members, std::move(replaced));
}

bool Program::place_inside(int part, int whole, std::int64_t begin, int joiner) {
  const Slot& facts = slot(part);
  // A feed, a constant, or another name for one.
  if (facts.producer < 0 || facts.inside >= 0) return false;
  const std::string name = "'" + host_.name_of(facts.operand.value) + "' ";
  if (!facts.kept.empty()) {
    miss(joiner, name + facts.kept);
    return false;
  }
  // Kernels may count on it that what they write begins at a line of the cache.
  if (!facts.in_arena || begin % static_cast<std::int64_t>(kAlignment) != 0) return false;
  slot_at(part).inside = whole;
  slot_at(part).begin = begin;
  return true;
}

int Program::derive(int base, const std::vector<int>& others, const std::string& key, Shape shape,
                    Recipe recipe, DType dtype) {
  std::optional<ops::Operand> operand =
      host_.derive(base, others, key, std::move(shape), std::move(recipe), dtype);
  if (!operand) return -1;
  Slot added;
  added.operand = std::move(*operand);
  slots_.push_back(std::move(added));
  return static_cast<int>(slots_.size()) - 1;
}

}  // namespace mezzo::passes
