#include "runtime/body_runner.h"

#include <algorithm>
#include <string>

namespace mezzo::runtime {

using graph::BodyId;
using graph::ValueId;

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

std::vector<Tensor> BodyRunner::call(BodyId id, std::vector<Tensor> inputs) {
  const graph::Body& body = engine_.model().graph.body(id);
  const Prepared& prepared = prepare(id);
  if (inputs.size() != body.inputs.size()) {
    throw Error(ErrorCode::invalid_model,
                "a body has another number of inputs than its node gives it")
        .at("body '" + body.name + "'")
        .expected(std::to_string(inputs.size()))
        .got(std::to_string(body.inputs.size()));
  }
  std::vector<Tensor> feeds = std::move(inputs);
  feeds.insert(feeds.end(), prepared.outer.begin(), prepared.outer.end());
  std::vector<Tensor> results = engine_.run(prepared.request, std::move(feeds), call_);
  std::vector<Tensor> outputs;
  for (const int position : prepared.outputs) outputs.push_back(results[at(position)]);
  for (const auto& [value, position] : prepared.collected) {
    if (results[at(position)].has_value()) call_.collected[value].push_back(results[at(position)]);
  }
  return outputs;
}

onnx::Type BodyRunner::declared_output(BodyId id, int i) const {
  const graph::Graph& graph = engine_.model().graph;
  const graph::Body& body = graph.body(id);
  if (at(i) >= body.outputs.size()) return {};
  return graph.value(body.outputs[at(i)]).type;
}

const BodyRunner::Prepared& BodyRunner::prepare(BodyId id) {
  const auto found = prepared_.find(id);
  if (found != prepared_.end()) return found->second;
  const graph::Graph& graph = engine_.model().graph;
  const graph::Body& body = graph.body(id);
  Prepared prepared;
  plan::Request& request = prepared.request;
  request.body = id;
  request.feeds = body.inputs;
  const graph::Node& node = graph.node(step_.node);
  for (std::size_t i = 0; i < node.captures.size(); ++i) {
    if (is_plain_initializer(node.captures[i])) continue;
    request.feeds.push_back(node.captures[i]);
    prepared.outer.push_back(frame_.view(step_.captures[i]));
  }
  for (const auto& [value, tensor] : call_.feeds) {
    if (!lies_in(value, id)) continue;
    request.feeds.push_back(value);
    prepared.outer.push_back(tensor);
  }
  const auto add_fetch = [&](ValueId value) {
    const auto position = std::find(request.fetches.begin(), request.fetches.end(), value);
    if (position != request.fetches.end())
      return static_cast<int>(position - request.fetches.begin());
    request.fetches.push_back(value);
    return static_cast<int>(request.fetches.size()) - 1;
  };
  for (const ValueId output : body.outputs) prepared.outputs.push_back(add_fetch(output));
  if (const auto wanted = plan_.inner_fetches.find(step_.node);
      wanted != plan_.inner_fetches.end()) {
    for (const ValueId value : wanted->second) {
      if (lies_in(value, id)) prepared.collected.emplace_back(value, add_fetch(value));
    }
  }
  for (const auto& [value, patches] : call_.patches) {
    if (lies_in(value, id)) request.patches.push_back(value);
  }
  for (const auto& [value, observers] : call_.observers) {
    if (lies_in(value, id)) request.observed.push_back(value);
  }
  return prepared_.emplace(id, std::move(prepared)).first->second;
}

// The body's plan takes weights from the file itself: there they are constants, which can be
// packed.
bool BodyRunner::is_plain_initializer(ValueId value) const {
  return engine_.model().graph.value(value).initializer.has_value() &&
         !call_.feeds.contains(value) && !call_.patches.contains(value);
}

bool BodyRunner::lies_in(ValueId value, BodyId body) const {
  const graph::Graph& graph = engine_.model().graph;
  for (BodyId around = graph.value(value).body; around != 0;) {
    if (around == body) return true;
    around = graph.node(graph.body(around).owner).body;
  }
  return false;
}

}  // namespace mezzo::runtime
