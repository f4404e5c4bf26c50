#include "plan/slice.h"

#include <algorithm>

namespace mezzo::plan {
namespace {

using graph::BodyId;
using graph::kNone;
using graph::NodeId;
using graph::ValueId;

class Slicer {
 public:
  Slicer(const graph::Graph& graph, const Request& request, const Decisions& decisions,
         const std::set<NodeId>& branch_nodes)
      : graph_(graph),
        request_(request),
        decisions_(decisions),
        branch_nodes_(branch_nodes),
        fed_(request.feeds.begin(), request.feeds.end()),
        nodes_(graph.nodes().size()) {
    slice_.needed.resize(graph.values().size());
  }

  Slice run() {
    for (const ValueId value : request_.fetches) add_wanted(value, true);
    for (const ValueId value : request_.observed) add_wanted(value, false);
    while (!pending_.empty()) {
      const ValueId value = pending_.back();
      pending_.pop_back();
      visit(value);
    }
    if (!missing_.empty()) fail_missing();
    emit(request_.body);
    return std::move(slice_);
  }

 private:
  // The control-flow nodes around `value`, the outermost first, each with the body in which the
  // value lies; those inside request_.body only.
  std::vector<std::pair<NodeId, BodyId>> owners(ValueId value) const {
    std::vector<std::pair<NodeId, BodyId>> chain;
    for (BodyId body = graph_.value(value).body; body != request_.body && body != 0;) {
      const NodeId owner = graph_.body(body).owner;
      chain.emplace_back(owner, body);
      body = graph_.node(owner).body;
    }
    std::reverse(chain.begin(), chain.end());
    return chain;
  }

  // Finds the place of a fetched or observed value among the branches and loops around it.
  void add_wanted(ValueId value, bool fetched) {
    if (!fed_.contains(value)) {
      for (const auto& [owner, body] : owners(value)) {
        if (!branch_nodes_.contains(owner)) {
          if (fetched) slice_.inner_fetches[owner].push_back(value);
          need_node(owner);
          return;
        }
        const auto decision = decisions_.find(owner);
        if (decision == decisions_.end()) {
          slice_.undecided.push_back(value);
          need_node(owner);
          return;
        }
        if (decision->second != body) {
          if (fetched) slice_.not_taken.push_back(value);
          return;
        }
      }
    }
    (fetched ? slice_.fetches : slice_.observed).push_back(value);
    need(value);
  }

  void need(ValueId value) {
    if (value == kNone || slice_.needed[static_cast<std::size_t>(value)]) return;
    slice_.needed[static_cast<std::size_t>(value)] = true;
    pending_.push_back(value);
  }

  void visit(ValueId value) {
    if (fed_.contains(value)) return;
    const graph::Value& facts = graph_.value(value);
    if (facts.producer != kNone) {
      need_node(facts.producer);
      const auto decision = decisions_.find(facts.producer);
      if (decision != decisions_.end()) {
        need(
            graph_.body(decision->second).outputs.at(static_cast<std::size_t>(facts.output_index)));
      }
      return;
    }
    if (!facts.initializer.has_value()) missing_.push_back(value);
  }

  void need_node(NodeId id) {
    if (has_node(id)) return;
    nodes_[static_cast<std::size_t>(id)] = true;
    // The bodies around a node must be walked through to reach it.
    for (BodyId body = graph_.node(id).body; body != request_.body && body != 0;) {
      const NodeId owner = graph_.body(body).owner;
      nodes_[static_cast<std::size_t>(owner)] = true;
      body = graph_.node(owner).body;
    }
    const graph::Node& node = graph_.node(id);
    if (decisions_.contains(id)) return;  // its body's nodes say what they need
    if (branch_nodes_.contains(id)) {
      if (!node.inputs.empty())
        need(node.inputs[0]);  // first the condition; the rest is planned when it is known
      return;
    }
    for (const ValueId input : node.inputs) need(input);
    for (const ValueId capture : node.captures) need(capture);
  }

  bool has_node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }

  void emit(BodyId body) {
    for (const NodeId id : graph_.body(body).nodes) {
      if (!has_node(id)) continue;
      const auto decision = decisions_.find(id);
      if (decision == decisions_.end()) {
        slice_.items.push_back({id, false});
        continue;
      }
      emit(decision->second);
      slice_.items.push_back({id, true});
    }
  }

  [[noreturn]] void fail_missing() const {
    std::vector<ValueId> sorted = missing_;
    std::sort(sorted.begin(), sorted.end());
    std::string names;
    for (const ValueId value : sorted) {
      const graph::Value& facts = graph_.value(value);
      names += (names.empty() ? "'" : ", '") + facts.name + "' " + graph::to_text(facts.type);
    }
    throw Error(ErrorCode::missing_input, "an input that the request needs is not given")
        .expected(names)
        .hint("Feed it, or feed a value further on that everything fetched can be computed from");
  }

  const graph::Graph& graph_;
  const Request& request_;
  const Decisions& decisions_;
  const std::set<NodeId>& branch_nodes_;
  std::set<ValueId> fed_;
  std::vector<bool> nodes_;  // by number: whether it is needed
  std::vector<ValueId> pending_, missing_;
  Slice slice_;
};

}  // namespace

Slice slice(const graph::Graph& graph, const Request& request, const Decisions& decisions,
            const std::set<NodeId>& branch_nodes) {
  return Slicer(graph, request, decisions, branch_nodes).run();
}

}  // namespace mezzo::plan
