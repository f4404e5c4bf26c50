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
  if (inputs.size() != body.inputs.size()) {
    throw Error(ErrorCode::invalid_model,
                "a body has another number of inputs than its node gives it")
        .at("body '" + body.name + "'")
        .expected(std::to_string(inputs.size()))
        .got(std::to_string(body.inputs.size()));
  }
  const Prepared& prepared = prepare(id, inputs);
  std::vector<Tensor> feeds = inputs;
  feeds.insert(feeds.end(), prepared.outer.begin(), prepared.outer.end());
  std::vector<Tensor> results = engine_.run(*prepared.plans, std::move(feeds), call_);
  std::vector<Tensor> outputs;
  for (const Output& output : prepared.outputs)
    outputs.push_back(output.is_input ? inputs[at(output.position)] : results[at(output.position)]);
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

const BodyRunner::Prepared& BodyRunner::prepare(BodyId id, const std::vector<Tensor>& inputs) {
  const auto found = prepared_.find(id);
  if (found != prepared_.end()) return found->second;
  const graph::Graph& graph = engine_.model().graph;
  const graph::Body& body = graph.body(id);
  Prepared prepared;
  plan::Request request;
  request.body = id;
  request.feeds = body.inputs;
  std::vector<KeptInput> kept = kept_inputs(graph, id);
  std::erase_if(kept, [&](const KeptInput& state) {
    return call_.patches.contains(body.inputs[at(state.input)]);
  });
  for (const KeptInput& state : kept) {
    if (const plan::Slot* constant = constant_of_file(step_.in[at(state.argument)]))
      request.constants.emplace_back(body.inputs[at(state.input)], constant->value);
  }
  const graph::Node& node = graph.node(step_.node);
  for (std::size_t i = 0; i < node.captures.size(); ++i) {
    if (is_plain_initializer(node.captures[i])) continue;
    request.feeds.push_back(node.captures[i]);
    prepared.outer.push_back(frame_.view(step_.captures[i]));
    if (const plan::Slot* constant = constant_of_file(step_.captures[i]))
      request.constants.emplace_back(node.captures[i], constant->value);
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
  for (const ValueId output : body.outputs) {
    const auto state = std::find_if(kept.begin(), kept.end(), [&](const KeptInput& input) {
      return body.inputs[at(input.input)] == output;
    });
    prepared.outputs.push_back(state == kept.end() ? Output{false, add_fetch(output)}
                                                   : Output{true, state->input});
  }
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
  compute_once(id, kept, inputs, request, prepared);
  prepared.plans = engine_.plans_of(request);
  return prepared_.emplace(id, std::move(prepared)).first->second;
}

// What no iteration changes is computed ahead of the first one, and fed to all. Callers that patch
// or observe values of the body are called in each.
void BodyRunner::compute_once(BodyId id, const std::vector<KeptInput>& kept,
                              const std::vector<Tensor>& inputs, plan::Request& request,
                              Prepared& prepared) {
  const graph::Body& body = engine_.model().graph.body(id);
  const std::string& op_type = engine_.model().graph.node(step_.node).op_type;
  if ((op_type != "Loop" && op_type != "Scan") || !request.patches.empty() ||
      !request.observed.empty())
    return;
  plan::Request once;
  once.body = id;
  once.constants = request.constants;
  std::vector<Tensor> feeds;
  for (const KeptInput& state : kept) {
    once.feeds.push_back(body.inputs[at(state.input)]);
    feeds.push_back(inputs[at(state.input)]);
  }
  const auto outer = request.feeds.begin() + static_cast<std::ptrdiff_t>(body.inputs.size());
  once.feeds.insert(once.feeds.end(), outer, request.feeds.end());
  feeds.insert(feeds.end(), prepared.outer.begin(), prepared.outer.end());
  KnownInBody known;
  known.given.insert(once.feeds.begin(), once.feeds.end());
  known.is_constant = [&](ValueId value) {
    return is_plain_initializer(value) ||
           std::any_of(request.constants.begin(), request.constants.end(),
                       [&](const auto& constant) { return constant.first == value; });
  };
  for (const auto& [value, position] : prepared.collected) known.fetched.push_back(value);
  once.fetches = computed_once(engine_.model(), id, known);
  if (once.fetches.empty()) return;
  const std::vector<Tensor> results = engine_.run(once, std::move(feeds), call_);
  request.feeds.insert(request.feeds.end(), once.fetches.begin(), once.fetches.end());
  prepared.outer.insert(prepared.outer.end(), results.begin(), results.end());
}

// The body's plan takes weights from the file itself: there they are constants, which can be
// packed.
bool BodyRunner::is_plain_initializer(ValueId value) const {
  return engine_.model().graph.value(value).initializer.has_value() &&
         !call_.feeds.contains(value) && !call_.patches.contains(value);
}

// The slot, if it is an initializer of the file or was computed from such alone; else null.
const plan::Slot* BodyRunner::constant_of_file(int slot) const {
  if (slot < 0) return nullptr;
  const plan::Slot& facts = plan_.slots[at(slot)];
  if (facts.place != plan::Slot::Place::constant || !facts.of_file || facts.recipe != nullptr ||
      facts.value < 0 || facts.kept_for != DType::undefined)
    return nullptr;
  const Tensor& initializer = engine_.model().graph.value(facts.value).initializer;
  const Tensor* tensor = initializer.has_value() ? &initializer : engine_.folded(facts.value);
  return tensor != nullptr && tensor->dtype() == facts.dtype && tensor->shape() == facts.shape
             ? &facts
             : nullptr;
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
