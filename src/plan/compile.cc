#include "plan/compile.h"

#include <algorithm>
#include <optional>

#include "base/shape.h"
#include "ops/convert_elements.h"
#include "plan/slice.h"

namespace mezzo::plan {
namespace {

using graph::kNone;
using graph::NodeId;
using graph::ValueId;

// What folding may keep: results that all plans share, and results of a single plan (shape
// arithmetic is a few numbers).
constexpr std::int64_t kMaxSharedFold = std::int64_t{256} << 20;
constexpr std::int64_t kMaxPlanFold = std::int64_t{1} << 20;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

std::shared_ptr<const Tensor> borrowed(const Tensor* tensor) {
  return {std::shared_ptr<const Tensor>(), tensor};
}

class Compiler {
 public:
  Compiler(const graph::Graph& graph, const Request& request, const std::vector<Tensor>& feeds,
           Resources& resources, std::set<ValueId>& contents_used)
      : graph_(graph),
        request_(request),
        feeds_(feeds),
        resources_(resources),
        contents_used_(contents_used),
        patched_(request.patches.begin(), request.patches.end()),
        observed_(request.observed.begin(), request.observed.end()) {}

  std::shared_ptr<Plan> run() {
    // Each decided branch shows more of the graph, so the slice is taken anew until no condition
    // becomes known any more.
    do {
      slice_ = slice(graph_, request_, decisions_, resources_.branch_nodes());
    } while (!plan_forward());
    finish_exports();
    remove_dead_steps();
    choose_kernels();
    place_in_arena(*plan_);
    return plan_;
  }

 private:
  // Constants of the plan's own keep to the plan; those of the file go to the session's store.
  class Store : public ops::PackStore {
   public:
    explicit Store(Compiler& compiler) : compiler_(compiler) {}
    Tensor packed(ValueId value, const Tensor& constant, const std::string& key,
                  const std::function<Tensor(const Tensor&)>& make) override {
      // The same weight may be wanted as it is and, by another node, in f32.
      const std::string full_key = std::string(name_of(constant.dtype())) + " " + key;
      return compiler_.is_shared(value)
                 ? compiler_.resources_.packed(value, constant, full_key, make)
                 : make(constant);
    }
    const Tensor& aligned(ValueId value, const Tensor& constant) override {
      return compiler_.is_shared(value) ? compiler_.resources_.aligned(value, constant) : constant;
    }

   private:
    Compiler& compiler_;
  };

  bool is_shared(ValueId value) const { return shared_.contains(value); }

  // One pass over the slice. False: a branch was decided, the slice must be taken anew.
  bool plan_forward() {
    plan_ = std::make_shared<Plan>();
    plan_->feeds = request_.feeds;
    slot_of_.clear();
    twins_.clear();
    shared_.clear();
    deferred_.clear();
    for (int i = 0; i < static_cast<int>(request_.feeds.size()); ++i) add_feed(i);
    for (const SliceItem& item : slice_.items) {
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
    return true;
  }

  void add_feed(int i) {
    const ValueId value = request_.feeds[at(i)];
    const Tensor& tensor = feeds_[at(i)];
    if (slot_of_.contains(value)) return;
    Slot slot = new_slot(value, tensor.dtype(), tensor.shape(), Slot::Place::feed);
    slot.feed = i;
    if (contents_used_.contains(value) && !patched_.contains(value)) {
      slot.constant = std::make_shared<Tensor>(tensor.owned());
    }
    define(value, add_slot(std::move(slot)));
  }

  static Slot new_slot(ValueId value, DType dtype, Shape shape, Slot::Place place) {
    Slot slot;
    slot.value = value;
    slot.dtype = dtype;
    slot.shape = std::move(shape);
    slot.place = !is_plain(dtype) && place == Slot::Place::arena ? Slot::Place::own : place;
    return slot;
  }

  int add_slot(Slot slot) {
    plan_->slots.push_back(std::move(slot));
    return static_cast<int>(plan_->slots.size()) - 1;
  }

  // From here on `value` lies in `slot`: after the caller's patch and observer have had it.
  void define(ValueId value, int slot) {
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
      shared_.erase(value);
    }
    if (observed_.contains(value)) {
      Step step;
      step.kind = Step::Kind::observe;
      step.value = value;
      step.in = {slot};
      plan_->steps.push_back(std::move(step));
    }
    slot_of_[value] = slot;
  }

  // The slot of a value that is available, or -1.
  int slot_of(ValueId value) {
    const auto found = slot_of_.find(value);
    if (found != slot_of_.end()) return found->second;
    const Tensor& initializer = graph_.value(value).initializer;
    if (!initializer.has_value()) return -1;
    Slot slot = new_slot(value, initializer.dtype(), initializer.shape(), Slot::Place::constant);
    slot.constant = borrowed(&initializer);
    shared_.insert(value);
    define(value, add_slot(std::move(slot)));
    return slot_of_.at(value);
  }

  // The same in the value's own type.
  int plain_slot_of(ValueId value) {
    const int slot = slot_of(value);
    return slot < 0 ? slot : narrow(slot);
  }

  // The slot's value in its own type: the slot itself unless it is a 16-bit float that is kept as
  // f32.
  int narrow(int slot) {
    const DType own = plan_->slots[at(slot)].kept_for;
    return own == DType::undefined ? slot : converted(slot, own, DType::undefined);
  }

  // The slot's value in f32, where it is a 16-bit float.
  int widen(int slot) {
    const Slot& facts = plan_->slots[at(slot)];
    if (!ops::is_16_bit_float(facts.dtype)) return slot;
    if (facts.constant == nullptr) return converted(slot, DType::f32, facts.dtype);
    const auto twin = twins_.find(slot);
    if (twin != twins_.end()) return twin->second;
    Slot wide = new_slot(facts.value, DType::f32, facts.shape, Slot::Place::constant);
    wide.kept_for = facts.dtype;
    const auto make = [](const Tensor& tensor) { return tensor.to(DType::f32); };
    wide.constant =
        std::make_shared<Tensor>(store_.packed(facts.value, *facts.constant, "as f32", make));
    return twins_[slot] = add_slot(std::move(wide));
  }

  int converted(int slot, DType dtype, DType kept_for) {
    const auto twin = twins_.find(slot);
    if (twin != twins_.end()) return twin->second;
    const Slot& source = plan_->slots[at(slot)];
    Slot target = new_slot(source.value, dtype, source.shape, Slot::Place::arena);
    target.kept_for = kept_for;
    Step step;
    step.kind = Step::Kind::convert;
    step.in = {slot};
    step.out = {add_slot(std::move(target))};
    plan_->steps.push_back(step);
    return twins_[slot] = step.out[0];
  }

  // Whether the node means the same with f32 in place of its 16-bit floats: every type in question
  // follows from an input's.
  static bool can_widen(const graph::Node& node, const ops::Row& row) {
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

  // The contents of a value, if they can be had now: a constant, or a feed, of which the plan is
  // then special to these contents.
  const Tensor* contents(ValueId value) {
    const int slot = plain_slot_of(value);
    if (slot < 0) return nullptr;
    Slot& facts = plan_->slots[at(slot)];
    if (facts.constant == nullptr && facts.place == Slot::Place::feed) {
      const Slot& root = plan_->slots[at(root_of(slot))];
      contents_used_.insert(root.value);
      const Tensor& tensor = feeds_[at(root.feed)];
      facts.constant = std::make_shared<Tensor>(tensor.owned().reshaped(facts.shape));
    }
    return facts.constant.get();
  }

  // True where the branch could be decided only now.
  bool decide_branch(NodeId id) {
    const graph::Node& node = graph_.node(id);
    const ops::Row& row = row_of(id);
    if (node.inputs.size() != 1 || node.inputs[0] == kNone) {
      throw Error(ErrorCode::invalid_model, "a branch needs one input, its condition")
          .got(std::to_string(node.inputs.size()) + " inputs");
    }
    const ValueId condition = node.inputs[0];
    if (slot_of(condition) < 0) return defer(id);
    const Tensor* tensor = contents(condition);
    if (tensor == nullptr) {
      needed_.insert(condition);
      return defer(id);
    }
    if (tensor->dtype() != DType::boolean || tensor->size() != 1) {
      throw Error(ErrorCode::invalid_model, "a branch's condition must be one bool")
          .got(std::string(name_of(tensor->dtype())) + to_string(tensor->shape()));
    }
    const std::string& attribute =
        tensor->values<bool>()[0] ? row.then_attribute() : row.else_attribute();
    const auto body = node.bodies.find(attribute);
    if (body == node.bodies.end()) {
      throw Error(ErrorCode::invalid_model, "a required attribute is missing")
          .expected("attribute '" + attribute + "'");
    }
    if (graph_.body(body->second).outputs.size() < node.outputs.size()) {
      throw Error(ErrorCode::invalid_model, "the branch has fewer outputs than its node")
          .at("attribute '" + attribute + "'")
          .expected(std::to_string(node.outputs.size()))
          .got(std::to_string(graph_.body(body->second).outputs.size()));
    }
    decisions_[id] = body->second;
    return true;
  }

  bool defer(NodeId id) {
    deferred_.push_back(id);
    return false;
  }

  void join_branch(NodeId id) {
    const graph::Node& node = graph_.node(id);
    const graph::Body& body = graph_.body(decisions_.at(id));
    bool all = true;
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId outer = node.outputs[i];
      if (outer == kNone || !slice_.needed.contains(outer) || slot_of_.contains(outer)) continue;
      const ValueId inner = body.outputs[i];
      const int slot = slot_of(inner);
      if (slot < 0) {
        all = false;
        continue;
      }
      if (is_shared(inner)) shared_.insert(outer);
      define(outer, slot);
    }
    if (!all) deferred_.push_back(id);
  }

  const ops::Row& row_of(NodeId id) const {
    if (const ops::Row* row = resources_.row(id)) return *row;
    const graph::Node& node = graph_.node(id);
    throw Error(ErrorCode::unsupported, "the operator is not supported")
        .got((node.domain.empty() ? "" : node.domain + ".") + node.op_type + ", opset " +
             std::to_string(node.opset))
        .hint(
            "Values that do not depend on it can be fetched; feed its output to compute what "
            "follows");
  }

  // False: what the node needs is not known yet.
  bool plan_node(NodeId id) {
    const graph::Node& node = graph_.node(id);
    const ops::Row& row = row_of(id);
    std::vector<int> in, captures;
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
    // Once in f32, a 16-bit float is kept so until something asks for the value itself: each
    // rounding less is less error and less work.
    bool wide =
        !constant && can_widen(node, row) && std::any_of(in.begin(), in.end(), [&](int slot) {
          return slot >= 0 && own_type(slot) != DType::undefined &&
                 ops::is_16_bit_float(own_type(slot));
        });
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
    if (!wide && fold(node, row, *op, used)) return true;
    add_step(id, std::move(op), std::move(used), std::move(captures));
    return true;
  }

  DType own_type(int slot) const {
    const Slot& facts = plan_->slots[at(slot)];
    return facts.kept_for != DType::undefined ? facts.kept_for : facts.dtype;
  }

  static bool all_known(const ops::Op& op) {
    for (int i = 0; i < op.outputs(); ++i) {
      if (op.has_out(i) && !op.out(i).known) return false;
    }
    return true;
  }

  // The op with its outputs' shapes; null where they depend on contents that are not known yet.
  std::shared_ptr<ops::Op> inferred(const graph::Node& node, const ops::Row& row,
                                    const std::vector<int>& in) {
    for (;;) {
      auto op = std::make_shared<ops::Op>(node, row, operands(node, in), &store_,
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

  std::vector<ops::Operand> operands(const graph::Node& node, const std::vector<int>& in) const {
    std::vector<ops::Operand> list(in.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (in[i] < 0) continue;
      const Slot& slot = plan_->slots[at(in[i])];
      list[i].value = node.inputs[i];
      list[i].dtype = slot.dtype;
      list[i].shape = slot.shape;
      list[i].constant = slot.constant.get();
    }
    return list;
  }

  bool fold(const graph::Node& node, const ops::Row& row, ops::Op& op, const std::vector<int>& in) {
    if (row.is_random() || !node.bodies.empty()) return false;
    bool shared = true;
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (in[i] < 0) continue;
      if (plan_->slots[at(in[i])].constant == nullptr && !row.is_from_shapes()) return false;
      shared = shared && is_shared(node.inputs[i]);
    }
    std::int64_t bytes = 0;
    for (int i = 0; i < op.outputs(); ++i) {
      if (!op.has_out(i)) continue;
      const std::int64_t count = op.out(i).known ? element_count(op.out(i).shape) : 0;
      bytes = checked_add(bytes, checked_mul(count, 16));
    }
    if (bytes > (shared ? kMaxSharedFold : kMaxPlanFold)) return false;
    std::vector<std::shared_ptr<const Tensor>> results =
        shared ? folded_before(node) : decltype(folded_before(node)){};
    if (results.empty()) {
      for (Tensor& tensor : results_of(op, row)) {
        results.push_back(std::make_shared<Tensor>(std::move(tensor)));
      }
      for (std::size_t i = 0; shared && i < node.outputs.size(); ++i) {
        if (node.outputs[i] == kNone) continue;
        results[i] = borrowed(resources_.keep_folded(node.outputs[i], *results[i]));
      }
    }
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId value = node.outputs[i];
      if (value == kNone) continue;
      Slot slot = new_slot(value, results[i]->dtype(), results[i]->shape(), Slot::Place::constant);
      slot.constant = results[i];
      if (shared) shared_.insert(value);
      define(value, add_slot(std::move(slot)));
    }
    return true;
  }

  std::vector<Tensor> results_of(ops::Op& op, const ops::Row& row) {
    if (row.is_view() && op.outputs() == 1) {
      const Tensor& source = *op.constant(0);
      return {source.reshaped(op.out_shape(0))};
    }
    return evaluate(op, resources_.pool());
  }

  std::vector<std::shared_ptr<const Tensor>> folded_before(const graph::Node& node) {
    std::vector<std::shared_ptr<const Tensor>> results;
    for (const ValueId value : node.outputs) {
      const Tensor* tensor = value == kNone ? nullptr : resources_.folded(value);
      if (value != kNone && tensor == nullptr) return {};
      results.push_back(borrowed(tensor));
    }
    return results;
  }

  void add_step(NodeId id, std::shared_ptr<ops::Op> op, std::vector<int> in,
                std::vector<int> captures) {
    const graph::Node& node = graph_.node(id);
    const ops::Row& row = op->row();
    const bool view = row.is_view() && !op->has_out(1) && op->out(0).known;
    Step step;
    step.node = id;
    step.in = std::move(in);
    step.captures = std::move(captures);
    for (int i = 0; i < op->outputs(); ++i) {
      if (!op->has_out(i)) {
        step.out.push_back(-1);
        continue;
      }
      const ops::Operand& out = op->out(i);
      Slot slot = new_slot(node.outputs[at(i)], out.dtype, out.shape,
                           out.known ? Slot::Place::arena : Slot::Place::made);
      slot.kept_for = output_kept_for(row, i, step.in);
      if (view) {
        slot.alias_of = step.in[0];
        slot.place = plan_->slots[at(step.in[0])].place;
      }
      step.out.push_back(add_slot(std::move(slot)));
    }
    const std::vector<int> outs = step.out;
    step.op = std::move(op);
    if (!view) plan_->steps.push_back(std::move(step));
    for (std::size_t i = 0; i < outs.size(); ++i) {
      // What the kernel is still to make can be handed on, but nothing can be planned on it here.
      if (outs[i] < 0) continue;
      if (plan_->slots[at(outs[i])].place == Slot::Place::made) {
        made_[node.outputs[i]] = outs[i];
      } else {
        define(node.outputs[i], outs[i]);
      }
    }
  }

  // The own type of an output whose type is that of an input which was widened.
  DType output_kept_for(const ops::Row& row, int output, const std::vector<int>& in) const {
    const std::vector<ops::Formal>& formals = row.outputs();
    const ops::Formal& formal = formals[std::min(at(output), formals.size() - 1)];
    if (formal.like < 0 || at(formal.like) >= in.size() || in[at(formal.like)] < 0)
      return DType::undefined;
    return plan_->slots[at(in[at(formal.like)])].kept_for;
  }

  // --- what leaves the plan
  // -------------------------------------------------------------------------------------------------

  int export_slot(ValueId value) {
    // A patch or an observer waits for the shape: it is applied by the plan that continues this
    // one.
    const int slot = plain_slot_of(value);
    if (slot >= 0) return slot;
    const auto made = made_.find(value);
    return made != made_.end() ? made->second : -1;
  }

  bool is_finished(ValueId value) const {
    return slot_of_.contains(value) ||
           (made_.contains(value) && !patched_.contains(value) && !observed_.contains(value));
  }

  void finish_exports() {
    plan_->not_taken = slice_.not_taken;
    Request& rest = plan_->continuation;
    for (const ValueId value : slice_.fetches) {
      const int slot = export_slot(value);
      if (slot >= 0 && is_finished(value)) {
        plan_->exports.push_back({value, slot});
      } else {
        rest.fetches.push_back(value);
      }
    }
    for (const auto& [loop, values] : slice_.inner_fetches) {
      if (std::find(deferred_.begin(), deferred_.end(), loop) != deferred_.end()) {
        rest.fetches.insert(rest.fetches.end(), values.begin(), values.end());
      } else {
        plan_->inner_fetches[loop] = values;
      }
    }
    bool observers_wait = false;
    for (const ValueId value : slice_.undecided) {
      if (observed_.contains(value)) observers_wait = true;
      if (std::find(request_.fetches.begin(), request_.fetches.end(), value) !=
          request_.fetches.end()) {
        rest.fetches.push_back(value);
      }
    }
    for (const ValueId value : slice_.observed)
      observers_wait = observers_wait || !slot_of_.contains(value);
    plan_->complete = rest.fetches.empty() && !observers_wait;
    if (!plan_->complete) finish_continuation();
  }

  void finish_continuation() {
    Request& rest = plan_->continuation;
    rest.body = request_.body;
    rest.feeds = request_.feeds;
    for (const ValueId value : request_.patches) {
      if (!slot_of_.contains(value)) rest.patches.push_back(value);
    }
    for (const ValueId value : request_.observed) {
      if (!slot_of_.contains(value)) rest.observed.push_back(value);
    }
    std::set<ValueId> handed(rest.feeds.begin(), rest.feeds.end());
    for (const Export& fetch : plan_->exports) {
      if (handed.insert(fetch.value).second) rest.feeds.push_back(fetch.value);
    }
    std::vector<ValueId> carried;
    const auto hand_on = [&](ValueId value) {
      if (value == kNone || handed.contains(value)) return;
      const int slot = export_slot(value);
      if (slot < 0 || is_shared(value)) return;
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

  // Steps whose results only served to know shapes are dropped: the shapes are known.
  void remove_dead_steps() {
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
    std::vector<Step> kept;
    for (std::size_t i = plan_->steps.size(); i-- > 0;) {
      Step& step = plan_->steps[i];
      bool needed = step.kind == Step::Kind::observe || plan_->inner_fetches.contains(step.node);
      for (const int slot : step.out) needed = needed || (slot >= 0 && live[at(slot)]);
      if (!needed) continue;
      for (const int slot : step.in) mark(slot);
      for (const int slot : step.captures) mark(slot);
      if (step.kind == Step::Kind::kernel) ++plan_->node_count;
      kept.push_back(std::move(step));
    }
    std::reverse(kept.begin(), kept.end());
    plan_->steps = std::move(kept);
    // A view stands where its root stands, wherever that has gone.
    for (Slot& slot : plan_->slots) {
      if (slot.alias_of >= 0) slot.place = plan_->slots[at(root_of(slot.alias_of))].place;
    }
  }

  int root_of(int slot) const {
    while (plan_->slots[at(slot)].alias_of >= 0) slot = plan_->slots[at(slot)].alias_of;
    return slot;
  }

  void choose_kernels() {
    for (Step& step : plan_->steps) {
      if (step.kind != Step::Kind::kernel) continue;
      try {
        step.chosen = ops::choose(*step.op);
        for (int i = 0; i < step.op->inputs(); ++i) align_constant(step, i);
      } catch (Error& error) {
        error.add_place(graph_.describe(step.node));
        throw;
      }
    }
  }

  // A constant that the kernel reads as it is must lie at an address that suits its type; one that
  // was packed need not.
  void align_constant(const Step& step, int i) {
    if (step.in[at(i)] < 0 || step.op->is_packed(i) || !step.op->is_constant(i)) return;
    Slot& slot = plan_->slots[at(root_of(step.in[at(i)]))];
    if (slot.place != Slot::Place::constant || !is_shared(slot.value)) return;
    const Tensor& aligned = resources_.aligned(slot.value, *slot.constant);
    if (&aligned != slot.constant.get()) slot.constant = borrowed(&aligned);
  }

  const graph::Graph& graph_;
  const Request& request_;
  const std::vector<Tensor>& feeds_;
  Resources& resources_;
  std::set<ValueId>& contents_used_;
  std::set<ValueId> patched_, observed_;
  Store store_{*this};

  Decisions decisions_;
  Slice slice_;
  std::shared_ptr<Plan> plan_;
  std::map<ValueId, int> slot_of_;  // values that can be planned on
  std::map<int, int> twins_;        // slots that hold the same value as f32 and as a 16-bit float
  std::map<ValueId, int> made_;     // values that exist only when the plan has run
  std::set<ValueId> shared_;        // constants that depend on nothing but the file
  std::set<ValueId> needed_;        // whose contents decide how it goes on
  std::vector<NodeId> deferred_;
};

}  // namespace

std::shared_ptr<Plan> compile(const graph::Graph& graph, const Request& request,
                              const std::vector<Tensor>& feeds, Resources& resources,
                              std::set<ValueId>& contents_used) {
  return Compiler(graph, request, feeds, resources, contents_used).run();
}

}  // namespace mezzo::plan
