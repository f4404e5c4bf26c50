#include "runtime/loop_invariants.h"

#include <algorithm>
#include <map>

namespace mezzo::runtime {

using graph::BodyId;
using graph::kNone;
using graph::NodeId;
using graph::ValueId;

namespace {

// In the order in which a node's result has that of its inputs which comes last.
enum class Nature { fixed, given, computed, changing };

class Invariants {
 public:
  Invariants(const LoadedModel& model, BodyId body, const KnownInBody& known)
      : model_(model), graph_(model.graph), body_(body), known_(known) {}

  std::vector<ValueId> run() {
    const std::vector<NodeId>& nodes = graph_.body(body_).nodes;
    for (const NodeId id : nodes) {
      const Nature nature = nature_of_node(id);
      for (const ValueId output : graph_.node(id).outputs) natures_.emplace(output, nature);
    }
    for (const ValueId output : graph_.body(body_).outputs) need(output, true);
    for (const ValueId value : known_.fetched) need_fetched(value);
    for (auto id = nodes.rbegin(); id != nodes.rend(); ++id) {
      const graph::Node& node = graph_.node(*id);
      const auto is_needed = [&](ValueId output) { return needed_.contains(output); };
      if (!live_.contains(*id) && std::none_of(node.outputs.begin(), node.outputs.end(), is_needed))
        continue;
      const bool is_once = nature_of_node(*id) == Nature::computed;
      for (const ValueId input : node.inputs) need(input, !is_once);
      for (const ValueId capture : node.captures) need(capture, !is_once);
    }
    return result_;
  }

 private:
  Nature nature_of_node(NodeId id) const {
    const graph::Node& node = graph_.node(id);
    const ops::Row* row = model_.rows[static_cast<std::size_t>(id)];
    if (row == nullptr || row->is_random() || !node.bodies.empty()) return Nature::changing;
    Nature nature = Nature::fixed;
    for (const ValueId input : node.inputs) {
      if (input != kNone) nature = std::max(nature, nature_of(input));
    }
    if (nature == Nature::fixed || nature == Nature::changing) return nature;
    if (row->is_from_shapes()) return Nature::fixed;
    if (node.op_type == "DequantizeLinear") return Nature::changing;
    return row->is_view() ? nature : Nature::computed;
  }

  Nature nature_of(ValueId value) const {
    if (known_.is_constant(value)) return Nature::fixed;
    if (known_.given.contains(value)) return Nature::given;
    const auto found = natures_.find(value);
    if (found != natures_.end()) return found->second;
    return graph_.value(value).body == body_ ? Nature::changing : Nature::given;
  }

  // A value is needed: by who changes with the iterations, or `for_itself`, or not.
  void need(ValueId value, bool for_itself) {
    if (value == kNone) return;
    needed_.insert(value);
    if (for_itself && nature_of(value) == Nature::computed && results_.insert(value).second)
      result_.push_back(value);
  }

  void need_fetched(ValueId value) {
    BodyId inside = graph_.value(value).body;
    if (inside == body_) return need(value, true);
    for (;;) {
      const NodeId owner = graph_.body(inside).owner;
      inside = graph_.node(owner).body;
      if (inside == body_) {
        live_.insert(owner);
        return;
      }
    }
  }

  const LoadedModel& model_;
  const graph::Graph& graph_;
  BodyId body_;
  const KnownInBody& known_;
  std::map<ValueId, Nature> natures_;  // of the results of the body's nodes
  std::set<ValueId> needed_, results_;
  std::set<NodeId> live_;  // whatever becomes of their results
  std::vector<ValueId> result_;
};

}  // namespace

std::vector<KeptInput> kept_inputs(const graph::Graph& graph, BodyId id) {
  const graph::Body& body = graph.body(id);
  const graph::Node& node = graph.node(body.owner);
  std::size_t first_input = 0, first_output = 0, offset = 0, end = body.inputs.size();
  if (node.op_type == "Loop") {
    first_input = 2;
    first_output = 1;
  } else if (node.op_type == "Scan") {
    const onnx::Attribute* scanned = node.attribute("num_scan_inputs");
    if (scanned == nullptr || scanned->i < 0) return {};
    end -= std::min(end, static_cast<std::size_t>(scanned->i));
    offset = node.opset < 9 ? 1 : 0;
  } else {
    return {};
  }
  std::vector<KeptInput> kept;
  for (std::size_t i = first_input; i < end; ++i) {
    const std::size_t output = i - first_input + first_output;
    if (output >= body.outputs.size() || i + offset >= node.inputs.size()) break;
    if (node.inputs[i + offset] != kNone && body.outputs[output] == body.inputs[i])
      kept.push_back({static_cast<int>(i), static_cast<int>(i + offset)});
  }
  return kept;
}

std::vector<ValueId> computed_once(const LoadedModel& model, BodyId body,
                                   const KnownInBody& known) {
  return Invariants(model, body, known).run();
}

}  // namespace mezzo::runtime
