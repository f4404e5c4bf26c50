// The walk through a request's nodes: types and shapes are inferred, known results are computed,
// the others become steps.
#include "plan/compile.h"

#include <algorithm>

#include "ops/convert_elements.h"
#include "plan/compiler.h"

namespace mezzo::plan {

using graph::kNone;
using graph::NodeId;
using graph::ValueId;

Compiler::Compiler(const graph::Graph& graph, const Request& request,
                   const std::vector<Tensor>& feeds, Resources& resources,
                   std::set<ValueId>& contents_used, std::shared_ptr<const Slice>& undecided)
    : graph_(graph),
      request_(request),
      feeds_(feeds),
      resources_(resources),
      contents_used_(contents_used),
      undecided_(undecided),
      patched_(request.patches.begin(), request.patches.end()),
      observed_(request.observed.begin(), request.observed.end()),
      fed_(graph.values().size()) {
  for (const ValueId value : request.feeds) fed_[at(value)] = true;
}

std::shared_ptr<Plan> Compiler::run() {
  // Each decided branch shows more of the graph, so the slice is taken anew until no condition
  // becomes known any more.
  const auto slice_now = [&] {
    return std::make_shared<const Slice>(
        slice(graph_, request_, decisions_, resources_.branch_nodes()));
  };
  if (undecided_ == nullptr) undecided_ = slice_now();
  for (slice_ = undecided_; !plan_forward();) slice_ = slice_now();
  finish_exports();
  remove_dead_steps();
  fuse();
  split_batches();
  if (has_pass("row_bands")) {
    const int threads = resources_.pool().size();
    threads > 1 ? split_rows(*plan_, threads) : take_turns(*plan_);
  }
  choose_kernels();
  place_in_arena(*plan_);
  note_facts_of_exports();
  return plan_;
}

bool Compiler::plan_forward() {
  plan_ = std::make_shared<Plan>();
  plan_->feeds = request_.feeds;
  plan_->steps.reserve(slice_->items.size());
  plan_->slots.reserve(slice_->items.size());
  slot_of_.assign(graph_.values().size(), kNotPlanned);
  versions_ = resources_.precedents().initial();
  for (const ValueId value : patched_) versions_[at(value)] = 0;
  twins_.clear();
  copies_.clear();
  deferred_.clear();
  for (int i = 0; i < static_cast<int>(request_.feeds.size()); ++i) add_feed(i);
  for (const SliceItem& item : slice_->items) {
    if (item.joins_branch) {
      join_branch(item.node);
      continue;
    }
    try {
      if (resources_.branch_nodes().contains(item.node)) {
        if (decide_branch(item.node)) return false;
        continue;
      }
      if (!plan_node(item.node)) deferred_.push_back(item.node);
    } catch (Error& error) {
      error.add_place(graph_.describe(item.node));
      throw;
    }
  }
  // An initializer may be observed that no node reads.
  for (const ValueId value : slice_->observed) slot_of(value);
  return true;
}

void Compiler::add_feed(int i) {
  const ValueId value = request_.feeds[at(i)];
  const Tensor& tensor = feeds_[at(i)];
  if (is_planned(value)) return;
  if (const Tensor* constant = constant_of_feed(value)) {
    Slot slot = constant_slot(value, borrowed(constant));
    slot.of_file = true;
    define(value, add_slot(std::move(slot)));
    return;
  }
  Slot slot = new_slot(value, tensor.dtype(), tensor.shape(), Slot::Place::feed);
  slot.feed = i;
  if (contents_used_.contains(value) && !patched_.contains(value)) {
    slot.constant = std::make_shared<Tensor>(tensor.owned());
  }
  define(value, add_slot(std::move(slot)));
}

const Tensor* Compiler::constant_of_feed(ValueId feed) const {
  for (const auto& [value, source] : request_.constants) {
    if (value != feed) continue;
    const Tensor& initializer = graph_.value(source).initializer;
    return initializer.has_value() ? &initializer : resources_.folded(source);
  }
  return nullptr;
}

Slot Compiler::new_slot(ValueId value, DType dtype, Shape shape, Slot::Place place) {
  Slot slot;
  slot.value = value;
  slot.dtype = dtype;
  slot.shape = std::move(shape);
  slot.place = !is_plain(dtype) && place == Slot::Place::arena ? Slot::Place::own : place;
  return slot;
}

Slot Compiler::constant_slot(ValueId value, std::shared_ptr<const Tensor> constant) {
  Slot slot = new_slot(value, constant->dtype(), constant->shape(), Slot::Place::constant);
  slot.constant = std::move(constant);
  return slot;
}

int Compiler::add_slot(Slot slot) {
  plan_->slots.push_back(std::move(slot));
  return static_cast<int>(plan_->slots.size()) - 1;
}

void Compiler::define(ValueId value, int slot, Version version) {
  if (patched_.contains(value) || observed_.contains(value)) slot = narrow(slot);
  if (patched_.contains(value)) {
    const Slot& source = plan_->slots[at(slot)];
    const int patched = add_slot(new_slot(value, source.dtype, source.shape, Slot::Place::arena));
    Step step;
    step.kind = Step::Kind::patch;
    step.value = value;
    step.in = {slot};
    step.out = {patched};
    plan_->steps.push_back(std::move(step));
    slot = patched;
  }
  if (observed_.contains(value)) {
    Step step;
    step.kind = Step::Kind::observe;
    step.value = value;
    step.in = {slot};
    plan_->steps.push_back(std::move(step));
  }
  slot_of_[at(value)] = slot;
  const bool known = version != 0 && !patched_.contains(value);
  versions_[at(value)] =
      known ? version : resources_.precedents().note(value, plan_->slots[at(slot)]);
}

int Compiler::slot_of(ValueId value) {
  int& known = slot_of_[at(value)];
  if (known >= 0) return known;
  if (known == kLate) return known = add_slot(constant_slot(value, late_result(value)));
  const Tensor& initializer = graph_.value(value).initializer;
  if (!initializer.has_value()) return kNotPlanned;
  Slot slot = constant_slot(value, borrowed(&initializer));
  slot.of_file = true;
  define(value, add_slot(std::move(slot)), resources_.precedents().initial()[at(value)]);
  return known;
}

int Compiler::plain_slot_of(ValueId value) {
  const int slot = slot_of(value);
  return slot < 0 ? slot : narrow(slot);
}

const Tensor* Compiler::contents(ValueId value) {
  const int slot = plain_slot_of(value);
  if (slot < 0) return nullptr;
  Slot& facts = plan_->slots[at(slot)];
  if (facts.constant == nullptr && facts.place == Slot::Place::feed) {
    const Slot& root = plan_->slots[at(root_of(slot))];
    contents_used_.insert(root.value);
    const Tensor& tensor = feeds_[at(root.feed)];
    facts.constant = std::make_shared<Tensor>(tensor.owned().reshaped(facts.shape));
    versions_[at(value)] = resources_.precedents().note(value, facts);
  }
  return facts.constant.get();
}

const ops::Row& Compiler::row_of(NodeId id) const {
  if (const ops::Row* row = resources_.row(id)) return *row;
  const graph::Node& node = graph_.node(id);
  throw Error(ErrorCode::unsupported, "the operator is not supported")
      .got((node.domain.empty() ? "" : node.domain + ".") + node.op_type + ", opset " +
           std::to_string(node.opset))
      .hint(
          "Values that do not depend on it can be fetched; feed its output to compute what "
          "follows");
}

bool Compiler::plan_node(NodeId id) {
  const Precedent* before = resources_.precedents().find(id, versions_);
  if (plan_late(id, before)) return true;
  const graph::Node& node = graph_.node(id);
  const ops::Row& row = row_of(id);
  std::vector<int> in, captures;
  in.reserve(node.inputs.size());
  bool constant = !row.is_random();
  for (const ValueId input : node.inputs) {
    in.push_back(input == kNone ? -1 : slot_of(input));
    if (input != kNone && in.back() < 0) return false;
    constant = constant && (input == kNone || plan_->slots[at(in.back())].constant != nullptr);
  }
  for (const ValueId capture : node.captures) {
    captures.push_back(plain_slot_of(capture));
    if (captures.back() < 0) return false;
  }
  if (before != nullptr && before->op != nullptr) {
    std::shared_ptr<ops::Op> op = before->op;
    if (!fold(id, row, *op, in))
      add_step(id, std::move(op), std::move(in), std::move(captures), true);
    return true;
  }
  bool wide = !constant && wants_wide(node, row, in);
  std::vector<int> used = in;
  for (int& slot : used) {
    if (slot >= 0) slot = wide ? widen(slot) : narrow(slot);
  }
  auto op = inferred(node, row, used);
  if (op == nullptr) return false;
  if (wide && !all_known(*op)) {
    used = in;
    for (int& slot : used) {
      if (slot >= 0) slot = narrow(slot);
    }
    op = inferred(node, row, used);
    wide = false;
  }
  // What is folded is the value itself.
  if (wide || !fold(id, row, *op, used)) add_step(id, op, used, std::move(captures));
  if (!wide && used == in) remember(id, std::move(op), in);
  return true;
}

void Compiler::remember(NodeId id, std::shared_ptr<ops::Op> op, const std::vector<int>& in) {
  const graph::Node& node = graph_.node(id);
  // Kernels that have a state of their own, or run plans, are the plan's own. What is done with a
  // 16-bit float is for the steps before to say.
  if (op->row().is_random() || !node.bodies.empty()) return;
  const auto is_changed = [&](ValueId output) {
    return output != kNone && (patched_.contains(output) || is_fed(output));
  };
  if (std::any_of(node.outputs.begin(), node.outputs.end(), is_changed)) return;
  Precedent precedent{std::move(op)};
  for (const int slot : in) {
    if (slot < 0) continue;
    if (ops::is_16_bit_float(own_type(slot))) return;
    const auto& constant = plan_->slots[at(slot)].constant;
    if (constant.use_count() > 0) precedent.constants.push_back(constant);
  }
  for (const ValueId output : node.outputs) {
    if (output == kNone || !is_planned(output)) continue;
    const Slot& slot = plan_->slots[at(slot_of_[at(output)])];
    if (slot.constant == nullptr || slot.recipe != nullptr) continue;
    precedent.results.resize(node.outputs.size());
    precedent.results[at(graph_.value(output).output_index)] = slot.constant;
    precedent.of_file = slot.of_file;
  }
  if (!question_.empty() && !precedent.results.empty())
    resources_.precedents().shape_arithmetic().keep(std::move(question_), precedent.results);
  resources_.precedents().set(id, std::move(precedent), versions_);
}

bool Compiler::all_known(const ops::Op& op) {
  for (int i = 0; i < op.outputs(); ++i) {
    if (op.has_out(i) && !op.out(i).known) return false;
  }
  return true;
}

std::shared_ptr<ops::Op> Compiler::inferred(const graph::Node& node, const ops::Row& row,
                                            const std::vector<int>& in) {
  for (;;) {
    auto op = std::make_shared<ops::Op>(node, row, operands(node, in), &resources_,
                                        resources_.pool().size());
    try {
      row.infer_outputs(*op);
      return op;
    } catch (const ops::NeedsValue& needs) {
      const Tensor* known = contents(needs.value);
      if (known == nullptr) {
        needed_.insert(needs.value);
        return nullptr;
      }
      for (std::size_t i = 0; i < in.size(); ++i) {
        // A conversion of the value has a slot of its own.
        if (in[i] < 0 || node.inputs[i] != needs.value) continue;
        Slot& slot = plan_->slots[at(in[i])];
        if (slot.constant == nullptr) {
          slot.constant = std::make_shared<Tensor>(known->to(slot.dtype));
        }
      }
    }
  }
}

std::vector<ops::Operand> Compiler::operands(const graph::Node& node,
                                             const std::vector<int>& in) const {
  std::vector<ops::Operand> list(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] < 0) continue;
    list[i] = operand_of(plan_->slots[at(in[i])]);
    list[i].value = node.inputs[i];
  }
  return list;
}

void Compiler::add_step(NodeId id, std::shared_ptr<ops::Op> op, std::vector<int> in,
                        std::vector<int> captures, bool as_before) {
  const graph::Node& node = graph_.node(id);
  const ops::Row& row = op->row();
  const bool view = row.is_view(*op) && !op->has_out(1) && op->out(0).known;
  int next = static_cast<int>(plan_->slots.size());
  std::vector<int> outs(at(op->outputs()), -1);
  for (int i = 0; i < op->outputs(); ++i) {
    if (!op->has_out(i)) continue;
    const ops::Operand& out = op->out(i);
    Slot slot = new_slot(node.outputs[at(i)], out.dtype, out.shape,
                         out.known ? Slot::Place::arena : Slot::Place::made);
    slot.kept_for = output_kept_for(row, i, in);
    if (view) {
      slot.alias_of = in[0];
      slot.place = plan_->slots[at(in[0])].place;
    }
    outs[at(i)] = add_slot(std::move(slot));
  }
  if (!view) {
    Step& step = plan_->steps.emplace_back();
    step.node = id;
    step.op = std::move(op);
    step.in = std::move(in);
    step.out = std::move(outs);
    step.captures = std::move(captures);
  }
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const ValueId value = node.outputs[i];
    if (value == kNone) continue;
    const int slot = next++;
    if (is_fed(value)) continue;
    // What the kernel is still to make can be handed on, but nothing can be planned on it here.
    if (plan_->slots[at(slot)].place == Slot::Place::made) {
      made_[value] = slot;
    } else {
      define(value, slot, as_before ? resources_.precedents().version(id, i) : 0);
      if (view) keep_apart(value);
    }
  }
}

std::shared_ptr<Plan> compile(const graph::Graph& graph, const Request& request,
                              const std::vector<Tensor>& feeds, Resources& resources,
                              std::set<ValueId>& contents_used,
                              std::shared_ptr<const Slice>& undecided) {
  const std::lock_guard lock(resources.precedents().mutex());
  return Compiler(graph, request, feeds, resources, contents_used, undecided).run();
}

}  // namespace mezzo::plan
