// Networks from frameworks whose images end with their channels have a Transpose ahead of each
// convolution and behind it, and element-wise operators, pads and reductions in between, which can
// do with the axes in any order. Where a group of such steps stands mostly between a Transpose and
// its inverse, it takes what the one takes and gives what the other gives.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/shape.h"
#include "passes/elementwise.h"
#include "passes/pad.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

using Axes = std::vector<std::int64_t>;

// What moving a tensor costs besides its elements, in elements.
constexpr std::int64_t kEachMove = 2000;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

Axes inverse_of(const Axes& perm) {
  Axes inverse(perm.size());
  for (std::size_t i = 0; i < perm.size(); ++i) inverse[at(perm[i])] = static_cast<std::int64_t>(i);
  return inverse;
}

// The axes' order of a Transpose; empty where step `i` is none, or its input has few axes.
Axes order_of(const Program& program, int i) {
  if (!program.is(i, "Transpose") || program.op(i).in_rank(0) < 3) return {};
  const ops::Op& op = program.op(i);
  return op.has_attr("perm") ? op.attr_ints("perm") : Axes{};
}

// Whether the others than `dropped` come in the same order on both sides.
bool keep_their_order(const Axes& perm, const std::set<std::int64_t>& dropped) {
  std::int64_t last = -1;
  for (std::size_t i = 0; i < perm.size(); ++i) {
    if (dropped.contains(static_cast<std::int64_t>(i))) continue;
    if (perm[i] < last) return false;
    last = perm[i];
  }
  return true;
}

// Groups of steps between Transposes by `perm` and back.
class Groups {
 public:
  Groups(Program& program, const Axes& perm)
      : program_(program), perm_(perm), inverse_(inverse_of(perm)) {}

  /// Whether the steps have other numbers now, and groups may be left.
  bool run() {
    const int size = program_.size();
    for (int i = 0; i < size; ++i) {
      if (std::optional<Member> member = member_of(i)) members_.emplace(i, std::move(*member));
    }
    join();
    std::map<int, std::vector<int>> groups;
    for (const auto& [i, member] : members_) groups[first_of(i)].push_back(i);
    for (const auto& [first, group] : groups) {
      if (gain_of(group) > 0) turn(group);
      if (program_.size() != size) return true;
    }
    return false;
  }

 private:
  // A step that can do with its axes in the other order, and how it does.
  struct Member {
    Replacement replacement;     // whose slots are still those of the step
    std::vector<int> images;     // slots that it is to take in the other order
    std::vector<int> constants;  // numbers along one axis: likewise
    bool gives_image = true;     // the result is in the other order as well
  };

  // Which Transposes a group does away with, and which it needs.
  struct Edges {
    std::set<int> taken;                    // slots that a Transpose gives
    std::set<int> others;                   // other slots from outside: they need one
    std::map<int, std::vector<int>> given;  // results that Transposes take back: those steps
    std::set<int> wanted;                   // results that others want as they are
  };

  // --- Steps ---

  std::optional<Member> member_of(int i) const {
    const Step& step = program_.step(i);
    if (step.removed || step.op == nullptr || step.out.size() != 1 || !is_image(step.out[0], true))
      return std::nullopt;
    const ops::Op& op = *step.op;
    Member member;
    member.replacement = {.op_type = op.row().name(), .domain = "", .opset = op.opset()};
    member.replacement.attributes = op.node().attributes;
    member.replacement.in = step.in;
    member.replacement.out = step.out;
    if (!op.row().domain().empty() || !describe(i, op.row().name(), member) ||
        member.images.empty())
      return std::nullopt;
    return member;
  }

  // Says what changes in a step; false where it can't be in the other order.
  bool describe(int i, const std::string& name, Member& member) const {
    if (is_elementwise(name) || name == "PRelu") return elementwise(i, member);
    if (name == "Pad") return pad(i, member);
    if (name == "Concat") return concat(i, member);
    const bool reduces = name == "ReduceMean" || name == "ReduceMax" || name == "ReduceMin";
    return reduces && reduce(i, member);
  }

  // A tensor of as many axes as the order has; a result may have fewer, if it is a reduction's.
  bool is_image(int slot, bool or_fewer = false) const {
    if (slot < 0) return false;
    const ops::Operand& operand = program_.slot(slot).operand;
    return operand.known && operand.dtype == DType::f32 &&
           (or_fewer ? operand.shape.size() <= perm_.size()
                     : operand.shape.size() == perm_.size() && operand.constant == nullptr);
  }

  bool elementwise(int i, Member& member) const {
    const std::size_t rank = perm_.size();
    if (program_.slot(program_.step(i).out[0]).operand.shape.size() != rank) return false;
    for (const int slot : program_.step(i).in) {
      if (slot < 0) continue;
      const ops::Operand& operand = program_.slot(slot).operand;
      if (!operand.known || operand.shape.size() > rank) return false;
      if (is_image(slot)) {
        member.images.push_back(slot);
      } else if (element_count(operand.shape) != 1) {
        if (operand.constant == nullptr || !operand.of_file || !is_along_one_axis(operand.shape))
          return false;
        member.constants.push_back(slot);
      }
    }
    return true;
  }

  static bool is_along_one_axis(const Shape& shape) {
    return std::count_if(shape.begin(), shape.end(), [](auto extent) { return extent != 1; }) == 1;
  }

  bool pad(int i, Member& member) const {
    const ops::Op& op = program_.op(i);
    if (op.opset() < 11 || !is_image(program_.in(i, 0))) return false;
    const int value = program_.in(i, 2);
    if (value >= 0 && !program_.number(value)) return false;
    const Axes before = pads_of(program_, i);
    const std::size_t rank = perm_.size();
    if (before.size() != 2 * rank) return false;
    Axes pads(before.size());
    for (std::size_t axis = 0; axis < rank; ++axis) {
      pads[at(perm_[axis])] = before[axis];
      pads[rank + at(perm_[axis])] = before[rank + axis];
    }
    // Version 2 has all of it in attributes.
    member.replacement.opset = 2;
    member.replacement.attributes = {
        attribute("mode", op.attr_string("mode")), attribute("pads", std::move(pads)),
        attribute("value", value < 0 ? 0.0F : *program_.number(value))};
    member.replacement.in = {program_.in(i, 0)};
    member.images = {program_.in(i, 0)};
    return op.attr_string("mode") != "wrap";
  }

  bool concat(int i, Member& member) const {
    const std::vector<int>& parts = program_.step(i).in;
    if (!std::all_of(parts.begin(), parts.end(), [&](int slot) { return is_image(slot); }))
      return false;
    const std::int64_t axis =
        normalize_axis(program_.op(i).attr_int("axis"), static_cast<int>(perm_.size()));
    member.replacement.attributes = {attribute("axis", perm_[at(axis)])};
    member.images = parts;
    return true;
  }

  bool reduce(int i, Member& member) const {
    const ops::Op& op = program_.op(i);
    const bool by_input = op.opset() >= 18;
    if (!is_image(program_.in(i, 0)) || (by_input && (!op.has_in(1) || !op.is_constant(1))))
      return false;
    std::set<std::int64_t> dropped;
    for (const std::int64_t axis : by_input ? op.ints(1) : op.attr_ints("axes"))
      dropped.insert(normalize_axis(axis, static_cast<int>(perm_.size())));
    if (dropped.empty()) return false;
    Axes axes;
    for (const std::int64_t axis : dropped) axes.push_back(perm_[at(axis)]);
    std::sort(axes.begin(), axes.end());
    const std::int64_t keeps = op.attr_int("keepdims");
    member.replacement.opset = 13;
    member.replacement.attributes = {attribute("axes", std::move(axes)),
                                     attribute("keepdims", keeps)};
    member.replacement.in = {program_.in(i, 0)};
    member.images = {program_.in(i, 0)};
    member.gives_image = keeps != 0;
    return keeps != 0 || keep_their_order(perm_, dropped);
  }

  // --- Groups ---

  // Steps that take what another gives, or what one Transpose gives, belong together.
  void join() {
    std::map<int, int> user_of;
    for (const auto& [i, member] : members_) parents_[i] = i;
    for (const auto& [i, member] : members_) {
      for (const int slot : member.images) {
        const int producer = program_.slot(slot).producer;
        const auto maker = members_.find(producer);
        if (maker != members_.end() && maker->second.gives_image) unite(i, producer);
        if (is_turned(slot)) unite(i, user_of.try_emplace(slot, i).first->second);
      }
    }
  }

  int first_of(int i) {
    while (parents_[i] != i) i = parents_[i] = parents_[parents_[i]];
    return i;
  }
  void unite(int a, int b) {
    a = first_of(a);
    b = first_of(b);
    parents_[std::max(a, b)] = std::min(a, b);
  }

  // Whether a Transpose gives the slot in the order that the group does without.
  bool is_turned(int slot) const {
    return order_of(program_, program_.slot(slot).producer) == perm_;
  }

  Edges edges_of(const std::vector<int>& group) const {
    Edges edges;
    for (const int i : group) {
      const Member& member = members_.at(i);
      for (const int slot : member.images) {
        const int producer = program_.slot(slot).producer;
        if (is_turned(slot)) {
          edges.taken.insert(slot);
        } else if (!contains(group, producer) || !members_.at(producer).gives_image) {
          edges.others.insert(slot);
        }
      }
      if (!member.gives_image) continue;
      const int out = program_.step(i).out[0];
      std::vector<int> known = group;
      for (const int user : program_.slot(out).users) {
        if (order_of(program_, user) != inverse_) continue;
        std::vector<int>& steps = edges.given[out];
        if (!steps.empty() && is_named(program_.step(user).out[0])) continue;
        steps.push_back(user);
        known.push_back(user);
      }
      if (program_.is_wanted(known, out) || program_.slot(out).captured >= 0)
        edges.wanted.insert(out);
    }
    return edges;
  }

  // Whether a slot is known by that name to others than the steps that read it.
  bool is_named(int slot) const {
    const Slot& facts = program_.slot(slot);
    return !facts.kept.empty() || facts.captured >= 0 || facts.viewed >= 0;
  }

  // Elements that need not be moved any more, less those that would have to.
  std::int64_t gain_of(const std::vector<int>& group) const {
    const auto cost = [&](int slot) {
      return element_count(program_.slot(slot).operand.shape) + kEachMove;
    };
    const Edges edges = edges_of(group);
    std::int64_t gain = 0;
    for (const int slot : edges.taken) {
      if (!program_.is_wanted(group, slot) && program_.slot(slot).captured < 0) gain += cost(slot);
    }
    for (const auto& [slot, steps] : edges.given)
      gain += static_cast<std::int64_t>(steps.size()) * cost(slot);
    for (const int slot : edges.others) gain -= cost(slot);
    for (const int slot : edges.wanted) gain -= cost(slot);
    return gain;
  }

  // --- The change ---

  Shape turned(const Shape& shape) const {
    Shape result(shape.size());
    for (std::size_t axis = 0; axis < shape.size(); ++axis) result[at(perm_[axis])] = shape[axis];
    return result;
  }

  static Replacement transpose(const Axes& perm, int in, int out) {
    return {.op_type = "Transpose",
            .domain = "",
            .opset = 13,
            .attributes = {attribute("perm", perm)},
            .in = {in},
            .out = {out}};
  }

  void turn(const std::vector<int>& group) {
    const Edges edges = edges_of(group);
    std::map<int, int> images;  // by slot: in the other order
    for (const int slot : edges.taken) images[slot] = program_.in(program_.slot(slot).producer, 0);
    for (const auto& [slot, steps] : edges.given) {
      images[slot] = program_.step(steps[0]).out[0];
      for (const int step : steps) {
        program_.read_instead(program_.step(step).out[0], images[slot]);
        program_.drop(step, program_.slot(slot).producer);
      }
    }
    const auto image_of = [&](int slot) {
      const auto [known, is_new] = images.try_emplace(slot, -1);
      if (is_new)
        known->second = program_.add_slot(slot, turned(program_.slot(slot).operand.shape));
      return known->second;
    };
    std::map<int, int> readers;  // by taken slot: what a step gives that reads it
    for (auto i = group.rbegin(); i != group.rend(); ++i) {
      Member& member = members_.at(*i);
      Replacement& step = member.replacement;
      const int out = step.out[0];
      for (int& slot : step.in) {
        if (contains(member.images, slot)) {
          slot = image_of(slot);
        } else if (contains(member.constants, slot)) {
          slot = along_its_axis(slot);
        }
      }
      if (member.gives_image) step.out = {image_of(out)};
      for (const int slot : member.images) readers[slot] = step.out[0];
      program_.replace({*i}, std::move(step), {}, {});
      if (edges.wanted.contains(out))
        program_.insert(*i + 1, transpose(perm_, image_of(out), out), *i);
    }
    for (const int slot : edges.others) {
      const std::vector<int>& users = program_.slot(images.at(slot)).users;
      const int first = *std::min_element(users.begin(), users.end());
      program_.insert(first, transpose(inverse_, slot, images.at(slot)), first);
    }
    for (const int slot : edges.taken)
      program_.drop_unread(program_.slot(slot).producer, program_.slot(readers.at(slot)).producer);
  }

  // Numbers along one of the last axes, along the same one in the other order.
  int along_its_axis(int slot) {
    Shape shape = program_.slot(slot).operand.shape;
    shape.insert(shape.begin(), perm_.size() - shape.size(), 1);
    shape = turned(shape);
    return program_.derive(slot, {}, "axes in another order", shape,
                           [shape](const Tensor& tensor) { return tensor.reshaped(shape); });
  }

  Program& program_;
  Axes perm_, inverse_;
  std::map<int, Member> members_;  // by step
  std::map<int, int> parents_;     // of members, up to the first of each group
};

}  // namespace

void transposes(Program& program) {
  std::set<Axes> orders;
  for (int i = 0; i < program.size(); ++i) {
    if (Axes order = order_of(program, i); !order.empty()) orders.insert(std::move(order));
  }
  for (const Axes& order : orders) {
    while (Groups(program, order).run()) {
    }
  }
}

}  // namespace mezzo::passes
