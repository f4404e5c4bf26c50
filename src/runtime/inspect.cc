#include "runtime/inspect.h"

#include <algorithm>
#include <set>

#include "base/shape.h"
#include "graph/selector.h"
#include "runtime/engine.h"

namespace mezzo::runtime {
namespace {

using graph::kNone;
using graph::NodeId;
using graph::ValueId;

class Inspector {
 public:
  explicit Inspector(const Model& model)
      : graph_(model.internals().graph), engine_(model.shared_internals(), one_thread()) {
    result_.values.resize(graph_.values().size());
    result_.multiply_adds.resize(graph_.nodes().size(), 0);
  }

  Inspection run(const Feeds& inputs) {
    for (ValueId id = 0; id < static_cast<ValueId>(graph_.values().size()); ++id) {
      const Tensor& initializer = graph_.value(id).initializer;
      if (initializer.has_value()) set(id, initializer.dtype(), initializer.shape());
    }
    std::map<ValueId, Tensor> feeds;
    for (const auto& [name, tensor] : inputs) feeds[graph::select_one(graph_, name)] = tensor;
    const bool all_supported = find_plannable(feeds);
    std::set<ValueId> contents;
    try {
      take(*compile(feeds, contents), all_supported);
    } catch (const Error& error) {
      result_.remarks.push_back(std::string("The model cannot be planned: ") + error.what());
    }
    for (const ValueId value : contents) {
      result_.remarks.push_back("Shapes depend on the contents of '" + graph_.value(value).name +
                                "': these are for zeros.");
    }
    return std::move(result_);
  }

 private:
  static SessionOptions one_thread() {
    SessionOptions options;
    options.threads = 1;
    options.disabled_passes = {"all"};  // each node's own work is asked for
    return options;
  }

  void set(ValueId value, DType dtype, std::optional<Shape> shape) {
    ValueFacts& facts = result_.values[static_cast<std::size_t>(value)];
    facts.dtype = dtype;
    facts.shape = std::move(shape);
  }

  // The operators that a node needs and that are not there, its bodies' included.
  void missing_operators(NodeId id, std::set<std::string>& names) const {
    const graph::Node& node = graph_.node(id);
    if (engine_.row(id) == nullptr) {
      names.insert((node.domain.empty() ? "" : node.domain + ".") + node.op_type + " (opset " +
                   std::to_string(node.opset) + ")");
    }
    for (const auto& [attribute, body] : node.bodies) {
      for (const NodeId inner : graph_.body(body).nodes) missing_operators(inner, names);
    }
  }

  // Collects the values that depend on supported operators only. False where some do not.
  bool find_plannable(const std::map<ValueId, Tensor>& feeds) {
    std::set<ValueId> lost;
    std::set<std::string> missing;
    for (const NodeId id : graph_.main().nodes) {
      const graph::Node& node = graph_.node(id);
      std::set<std::string> own;
      missing_operators(id, own);
      const auto is_lost = [&](ValueId value) { return lost.contains(value); };
      const bool fails = !own.empty() ||
                         std::any_of(node.inputs.begin(), node.inputs.end(), is_lost) ||
                         std::any_of(node.captures.begin(), node.captures.end(), is_lost);
      missing.merge(own);
      for (const ValueId value : node.outputs) {
        if (value == kNone || feeds.contains(value)) continue;
        if (fails) {
          lost.insert(value);
        } else {
          plannable_.push_back(value);
        }
      }
    }
    if (missing.empty()) return true;
    std::string names;
    for (const std::string& name : missing) names += (names.empty() ? "" : ", ") + name;
    result_.remarks.push_back("Not supported: " + names + ".");
    return false;
  }

  std::shared_ptr<plan::Plan> compile(const std::map<ValueId, Tensor>& feeds,
                                      std::set<ValueId>& contents) {
    plan::Request request;
    std::vector<Tensor> tensors;
    for (const auto& [value, tensor] : feeds) {
      request.feeds.push_back(value);
      tensors.push_back(tensor);
    }
    request.fetches = plannable_;
    std::sort(request.fetches.begin(), request.fetches.end());
    std::shared_ptr<const plan::Slice> undecided;
    return plan::compile(graph_, request, tensors, engine_, contents, undecided);
  }

  void take(const plan::Plan& plan, bool all_supported) {
    for (const plan::Slot& slot : plan.slots) {
      const bool made = slot.place == plan::Slot::Place::made;
      set(slot.value, slot.dtype, made ? std::nullopt : std::optional(slot.shape));
      result_.values[static_cast<std::size_t>(slot.value)].folded =
          slot.place == plan::Slot::Place::constant &&
          !graph_.value(slot.value).initializer.has_value();
    }
    std::int64_t total = 0;
    bool known = all_supported && plan.complete;
    for (const plan::Step& step : plan.steps) {
      if (step.kind != plan::Step::Kind::kernel) continue;
      const std::int64_t count = step.op->row().count_multiply_adds(*step.op);
      result_.multiply_adds[static_cast<std::size_t>(step.node)] += count;
      total = checked_add(total, count);
      if (graph_.node(step.node).bodies.empty()) continue;
      known = false;
      result_.remarks.push_back("The work inside " + graph_.describe(step.node) +
                                " depends on how often it runs its body.");
    }
    if (!plan.complete) {
      result_.remarks.push_back("Some shapes depend on what the inputs hold.");
    }
    if (known) result_.total_multiply_adds = total;
  }

  const graph::Graph& graph_;
  Engine engine_;
  std::vector<ValueId> plannable_;
  Inspection result_;
};

}  // namespace

Inspection inspect(const Model& model, const Feeds& inputs) { return Inspector(model).run(inputs); }

}  // namespace mezzo::runtime
