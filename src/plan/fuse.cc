// Between planning and the choice of kernels, passes replace several steps by one.
#include "plan/compiler.h"

namespace mezzo::plan {

using graph::NodeId;
using graph::ValueId;

// A constant that a pass makes becomes a slot of the plan.
class Compiler::PassHost : public passes::Host {
 public:
  explicit PassHost(Compiler& compiler) : compiler_(compiler) {}

  ops::PackStore& store() override { return compiler_.resources_; }
  int threads() override { return compiler_.resources_.pool().size(); }
  std::string name_of(ValueId value) override { return compiler_.graph_.value(value).name; }
  std::string describe(NodeId node) override { return compiler_.graph_.describe(node); }

  std::optional<passes::Origin> origin(int slot) override {
    const Slot& facts = compiler_.plan_->slots[at(slot)];
    const bool is_own = facts.value >= 0 && at(facts.value) < compiler_.graph_.values().size();
    const NodeId producer = is_own ? compiler_.graph_.value(facts.value).producer : graph::kNone;
    if (facts.constant == nullptr || producer == graph::kNone) return std::nullopt;
    passes::Origin origin{&compiler_.graph_.node(producer), {}};
    for (const ValueId input : origin.node->inputs) {
      origin.in.push_back(input == graph::kNone ? -1 : compiler_.slot_of_[at(input)]);
      if (input != graph::kNone && origin.in.back() < 0) return std::nullopt;
    }
    return origin;
  }

  ops::Operand add_slot(int of, Shape shape) override {
    const Slot& source = compiler_.plan_->slots[at(of)];
    Slot slot = new_slot(source.value, source.dtype, std::move(shape), Slot::Place::arena);
    ops::Operand operand = operand_of(slot);
    compiler_.add_slot(std::move(slot));
    return operand;
  }

  std::optional<ops::Operand> derive(int base, const std::vector<int>& others,
                                     const std::string& key, Shape shape, passes::Recipe recipe,
                                     DType dtype) override {
    Compiler& c = compiler_;
    std::vector<int> sources = {base};
    sources.insert(sources.end(), others.begin(), others.end());
    // A number may be made into constants of several shapes.
    const std::optional<std::string> full_key = key_of(sources, key + " as " + to_string(shape));
    if (!full_key) return std::nullopt;
    const Slot& source = c.plan_->slots[at(base)];
    const ValueId value = c.resources_.derived(*full_key);
    if (source.recipe != nullptr) {
      recipe = [first = source.recipe, second = std::move(recipe)](Tensor tensor) {
        return second((*first)(std::move(tensor)));
      };
    }
    if (dtype == DType::undefined) dtype = source.dtype;
    Slot slot = new_slot(value, dtype, std::move(shape), Slot::Place::constant);
    slot.constant = source.constant;
    slot.of_file = true;
    slot.recipe = std::make_shared<const ops::Recipe>(std::move(recipe));
    ops::Operand operand = operand_of(slot);
    c.add_slot(std::move(slot));
    return operand;
  }

  Tensor evaluate(const ops::Op& op, const std::vector<const Tensor*>& in) override {
    std::vector<ops::Operand> operands;
    for (std::size_t i = 0; i < in.size(); ++i) {
      operands.push_back(op.in(static_cast<int>(i)));
      if (in[i] == nullptr) continue;
      operands.back().shape = in[i]->shape();
      operands.back().constant = in[i];
      operands.back().of_file = false;
      operands.back().recipe = nullptr;
    }
    ops::Op other(op.node(), op.row(), std::move(operands), &compiler_.resources_, 1);
    op.row().infer_outputs(other);
    ThreadPool alone(1);
    return plan::evaluate(other, alone)[0];
  }

  std::shared_ptr<const void> remembered(
      const std::vector<int>& of, const std::string& key,
      const std::function<std::shared_ptr<const void>()>& make) override {
    const std::optional<std::string> full_key = key_of(of, key);
    return full_key ? compiler_.resources_.remembered(*full_key, make) : make();
  }

 private:
  // `key` of those slots for all plans; nothing where one is no constant of the file alone.
  std::optional<std::string> key_of(const std::vector<int>& slots, const std::string& key) const {
    std::string full_key = key + " of";
    for (const int slot : slots) {
      const Slot& facts = compiler_.plan_->slots[at(slot)];
      if (facts.constant == nullptr || !facts.of_file) return std::nullopt;
      full_key += ' ';
      full_key += std::to_string(facts.value);
      full_key += mezzo::name_of(facts.dtype);
    }
    return full_key;
  }

  Compiler& compiler_;
};

// Why each slot must exist, whatever the steps do: empty where it need not.
std::vector<Compiler::Kept> Compiler::reasons_to_keep() const {
  std::vector<Kept> kept(plan_->slots.size());
  const auto keep = [&](int slot, const std::string& reason) {
    if (slot < 0) return;
    if (kept[at(slot)].reason.empty() || kept[at(slot)].for_views) kept[at(slot)] = {reason, false};
  };
  const auto keep_viewed = [&](int slot) {
    if (slot < 0 || plan_->slots[at(slot)].alias_of < 0) return;
    const std::string reason =
        "is the memory of '" + graph_.value(plan_->slots[at(slot)].value).name + "'";
    for (int source = plan_->slots[at(slot)].alias_of; source >= 0;
         source = plan_->slots[at(source)].alias_of) {
      if (kept[at(source)].reason.empty()) kept[at(source)] = {reason, true};
    }
  };
  const std::set<ValueId> fetched(request_.fetches.begin(), request_.fetches.end());
  for (const Export& item : plan_->exports) {
    keep(item.slot,
         fetched.contains(item.value) ? "is fetched" : "is needed when the plan is continued");
    keep_viewed(item.slot);
  }
  for (const Step& step : plan_->steps) {
    for (const int slot : step.in) keep_viewed(slot);
    for (const int slot : step.captures) {
      keep(slot, "is used by a body of " + graph_.describe(step.node));
      keep_viewed(slot);
    }
  }
  return kept;
}

bool Compiler::has_pass(std::string_view name) const {
  const auto& passes = resources_.passes();
  return std::any_of(passes.begin(), passes.end(),
                     [&](const passes::Pass& pass) { return pass.name == name; });
}

// Steps read what an Identity is of, or a Cast to the same type, rather than that: passes look for
// who computes a value.
void Compiler::read_through() {
  const auto is_same = [&](const Slot& view) {
    const Slot& source = plan_->slots[at(view.alias_of)];
    return view.alias_begin == 0 && view.dtype == source.dtype && view.shape == source.shape &&
           view.kept_for == source.kept_for;
  };
  for (Step& step : plan_->steps) {
    if (step.kind != Step::Kind::kernel) continue;
    for (int& slot : step.in) {
      while (slot >= 0 && plan_->slots[at(slot)].alias_of >= 0 && is_same(plan_->slots[at(slot)]))
        slot = plan_->slots[at(slot)].alias_of;
    }
  }
}

void Compiler::fuse() {
  if (resources_.passes().empty()) return;
  read_through();
  std::vector<Kept> kept = reasons_to_keep();
  std::vector<passes::Slot> slots(plan_->slots.size());
  // Shapes, and the lists of what steps take and give, are lent to the program.
  for (std::size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = plan_->slots[i];
    slots[i].operand = operand_of(slot, std::move(slot.shape));
    slots[i].kept = std::move(kept[i].reason);
    slots[i].kept_for_views = kept[i].for_views;
    slots[i].view_of = slot.alias_of;
    slots[i].in_arena = slot.place == Slot::Place::arena && slot.alias_of < 0;
  }
  std::vector<passes::Step> steps(plan_->steps.size());
  for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
    Step& step = plan_->steps[at(i)];
    passes::Step& shown = steps[at(i)];
    shown.planned = i;
    shown.op = step.op;
    shown.kind = step.kind == Step::Kind::convert ? "converted"
                 : step.kind == Step::Kind::patch ? "patched"
                                                  : "observed";
    if (step.kind == Step::Kind::kernel) shown.nodes = {step.node};
    for (const int slot : step.in) {
      if (slot < 0) continue;
      std::vector<int>& users = slots[at(slot)].users;
      if (users.empty() || users.back() != i) users.push_back(i);
    }
    for (const int slot : step.out) {
      if (slot >= 0) slots[at(slot)].producer = i;
    }
    const auto note_view = [&](int source) {
      for (; source >= 0; source = plan_->slots[at(source)].alias_of) {
        if (slots[at(source)].viewed < 0) slots[at(source)].viewed = i;
      }
    };
    for (const int slot : step.in) {
      if (slot >= 0) note_view(plan_->slots[at(slot)].alias_of);
    }
    for (const int slot : step.captures) {
      note_view(slot);
      for (int source = slot; source >= 0; source = plan_->slots[at(source)].alias_of) {
        if (slots[at(source)].captured < 0) slots[at(source)].captured = i;
      }
    }
    shown.in = std::move(step.in);
    shown.out = std::move(step.out);
  }
  PassHost host(*this);
  passes::Program program(std::move(slots), std::move(steps), host);
  for (const passes::Pass& pass : resources_.passes()) {
    if (pass.run == nullptr) continue;
    program.set_pass(pass.name);
    pass.run(program);
  }
  take_over(program);
}

namespace {

// What passes have made of a step.
void adopt(Step& step, passes::Step& shown) {
  step.misses = std::move(shown.misses);
  step.passes = std::move(shown.passes);
  step.placed = shown.placed;
  step.in = std::move(shown.in);
  step.out = std::move(shown.out);
  if (shown.node == nullptr) return;
  step.node = shown.nodes.front();
  step.nodes = std::move(shown.nodes);
  step.fused = std::move(shown.node);
  step.op = std::move(shown.op);
}

}  // namespace

void Compiler::take_over(passes::Program& program) {
  std::vector<Step> steps;
  steps.reserve(plan_->steps.size());
  const auto add = [&](std::vector<passes::Step>& around) {
    for (passes::Step& shown : around) adopt(steps.emplace_back(), shown);
  };
  for (int i = 0; i < program.size(); ++i) {
    passes::Step& shown = program.steps()[at(i)];
    if (shown.removed) continue;
    add(shown.before);
    adopt(
        steps.emplace_back(shown.planned < 0 ? Step() : std::move(plan_->steps[at(shown.planned)])),
        shown);
    add(shown.after);
  }
  plan_->steps = std::move(steps);
  for (int i = 0; i < static_cast<int>(plan_->slots.size()); ++i) {
    passes::Slot& shown = program.slots()[at(i)];
    Slot& slot = plan_->slots[at(i)];
    slot.shape = std::move(shown.operand.shape);
    if (shown.inside < 0) continue;
    slot.alias_of = shown.inside;
    slot.alias_begin = shown.begin;
    slot.place = plan_->slots[at(root_of(i))].place;
  }
}

}  // namespace mezzo::plan
