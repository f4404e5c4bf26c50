#include "mezzo/session.h"

#include <algorithm>
#include <cstring>

#include "base/memory.h"
#include "base/shape.h"
#include "graph/selector.h"
#include "runtime/engine.h"

namespace mezzo {

using graph::ValueId;

const Tensor& Outputs::operator[](std::size_t i) const {
  if (i >= items_.size()) {
    throw Error(ErrorCode::invalid_argument, "there are not so many outputs")
        .expected("an index below " + std::to_string(items_.size()))
        .got(std::to_string(i));
  }
  return items_[i].tensor;
}

const Tensor& Outputs::operator[](std::string_view name) const {
  for (const Item& item : items_) {
    if (item.name == name) return item.tensor;
  }
  for (const auto& [selector, index] : asked_) {
    if (selector == name) return items_[index].tensor;
  }
  std::string names;
  for (const Item& item : items_) names += (names.empty() ? "'" : ", '") + item.name + "'";
  throw Error(ErrorCode::invalid_argument, "no such output was fetched")
      .expected(names.empty() ? "nothing: no value was fetched" : names)
      .got("'" + std::string(name) + "'");
}

struct Session::Impl {
  Impl(Model loaded, const SessionOptions& options)
      : model(std::move(loaded)), engine(model.shared_internals(), options) {}
  Model model;
  runtime::Engine engine;
};

namespace {

void check_feed(const graph::Value& value, const Tensor& tensor) {
  const auto fail = [&](std::string problem, const std::string& got) {
    throw Error(ErrorCode::invalid_argument, std::move(problem))
        .at("feed '" + value.name + "'")
        .expected(graph::to_text(value.type))
        .got(got);
  };
  if (!tensor.has_value()) fail("a feed without a value", "an empty Tensor");
  if (!value.is_input || value.type.kind != onnx::Type::Kind::tensor) return;
  const std::string got = std::string(name_of(tensor.dtype())) + to_string(tensor.shape());
  if (value.type.dtype != DType::undefined && value.type.dtype != tensor.dtype()) {
    fail("a feed of the wrong type", got);
  }
  if (!value.type.shape) return;
  if (value.type.shape->size() != tensor.shape().size())
    fail("a feed with the wrong number of axes", got);
  for (std::size_t i = 0; i < tensor.shape().size(); ++i) {
    const auto& extent = (*value.type.shape)[i].value;
    // Exporters write 0 and negative numbers for what is open.
    if (extent && *extent > 0 && *extent != tensor.shape()[i])
      fail("a feed of the wrong shape", got);
  }
}

// One tensor for all that a loop computed under one name.
Tensor stacked(const std::string& name, const std::vector<Tensor>& tensors) {
  if (tensors.empty()) return {};
  Shape shape = tensors.front().shape();
  for (const Tensor& tensor : tensors) {
    if (tensor.shape() == shape && tensor.dtype() == tensors.front().dtype()) continue;
    throw Error(ErrorCode::unsupported,
                "a value inside a loop changes its shape from one iteration to the next")
        .at("fetch '" + name + "'")
        .expected(to_string(shape))
        .got(to_string(tensor.shape()))
        .hint("Use an observer to see each iteration's tensor");
  }
  shape.insert(shape.begin(), static_cast<std::int64_t>(tensors.size()));
  Tensor all = Tensor::uninitialized(tensors.front().dtype(), shape);
  if (all.dtype() == DType::string) {
    auto* out = static_cast<std::string*>(all.mutable_data());
    for (const Tensor& tensor : tensors) {
      out = std::copy_n(static_cast<const std::string*>(tensor.data()), tensor.size(), out);
    }
    return all;
  }
  if (bits_of(all.dtype()) < 8) {
    throw Error(ErrorCode::unsupported,
                "values of less than a byte inside a loop cannot be stacked")
        .at("fetch '" + name + "'")
        .hint("Use an observer to see each iteration's tensor");
  }
  auto* out = static_cast<char*>(all.mutable_data());
  for (const Tensor& tensor : tensors) {
    if (tensor.bytes() > 0) std::memcpy(out, tensor.data(), tensor.bytes());
    out += tensor.bytes();
  }
  return all;
}

bool lies_in_loop(const runtime::LoadedModel& model, ValueId value) {
  for (graph::BodyId body = model.graph.value(value).body; body != 0;) {
    const graph::NodeId owner = model.graph.body(body).owner;
    if (!model.branch_nodes.contains(owner)) return true;
    body = model.graph.node(owner).body;
  }
  return false;
}

// A call's names resolved: what is fed, wanted, changed and watched.
struct Resolved {
  plan::Request request;
  std::vector<Tensor> feeds;
  std::vector<ValueId> wanted;  // in the caller's order, repetitions included
  std::vector<std::pair<std::string, std::size_t>> asked;
};

Resolved resolve(const runtime::LoadedModel& model, const Feeds& feeds,
                 const std::vector<std::string>& fetches, const RunOptions& options,
                 runtime::Call& call) {
  const graph::Graph& graph = model.graph;
  Resolved resolved;
  // By value, so that the order in which a caller names the feeds makes no other plan.
  for (const auto& [name, tensor] : feeds) {
    ValueId value = graph.find(name);
    if (value == graph::kNone) value = graph::select_one(graph, name);
    check_feed(graph.value(value), tensor);
    if (!call.feeds.emplace(value, tensor).second) {
      throw Error(ErrorCode::invalid_argument, "a value is fed twice").at("feed '" + name + "'");
    }
  }
  for (const auto& [value, tensor] : call.feeds) {
    resolved.request.feeds.push_back(value);
    resolved.feeds.push_back(tensor);
  }
  if (fetches.empty()) resolved.wanted = graph.main().outputs;
  for (const std::string& selector : fetches) {
    const std::vector<ValueId> values = graph::select(graph, selector);
    if (values.size() == 1) resolved.asked.emplace_back(selector, resolved.wanted.size());
    resolved.wanted.insert(resolved.wanted.end(), values.begin(), values.end());
  }
  resolved.request.fetches = resolved.wanted;
  std::sort(resolved.request.fetches.begin(), resolved.request.fetches.end());
  const auto end = std::unique(resolved.request.fetches.begin(), resolved.request.fetches.end());
  resolved.request.fetches.erase(end, resolved.request.fetches.end());
  for (const Patch& patch : options.patches) {
    for (const ValueId value : graph::select(graph, patch.selector))
      call.patches[value].push_back(&patch);
  }
  for (const Observer& observer : options.observers) {
    for (const ValueId value : graph::select(graph, observer.selector)) {
      call.observers[value].push_back(&observer);
    }
  }
  for (const auto& [value, patches] : call.patches) resolved.request.patches.push_back(value);
  for (const auto& [value, observers] : call.observers) resolved.request.observed.push_back(value);
  return resolved;
}

}  // namespace

Session::Session(const std::string& path, const SessionOptions& options)
    : Session(Model::load(path), options) {}

Session::Session(Model model, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Outputs Session::run(const Feeds& feeds, const std::vector<std::string>& fetches,
                     const RunOptions& options) const {
  runtime::Call call;
  const runtime::LoadedModel& model = impl_->engine.model();
  Resolved resolved = resolve(model, feeds, fetches, options, call);
  const std::vector<Tensor> results = within_memory(
      [&] { return impl_->engine.run(resolved.request, std::move(resolved.feeds), call); });
  Outputs outputs;
  outputs.asked_ = std::move(resolved.asked);
  for (const ValueId value : resolved.wanted) {
    const auto& sorted = resolved.request.fetches;
    const auto position = std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin();
    const std::string& name = model.graph.value(value).name;
    outputs.items_.push_back({name, results[static_cast<std::size_t>(position)]});
    if (!outputs.items_.back().tensor.has_value() && lies_in_loop(model, value)) {
      outputs.items_.back().tensor = stacked(name, call.collected[value]);
    }
  }
  if (options.stats != nullptr) *options.stats = call.stats;
  return outputs;
}

std::string Session::explain(const Feeds& feeds, const std::vector<std::string>& fetches) const {
  runtime::Call call;
  const Resolved resolved = resolve(impl_->engine.model(), feeds, fetches, {}, call);
  return within_memory([&] { return impl_->engine.explain(resolved.request, resolved.feeds); });
}

const Model& Session::model() const { return impl_->model; }
int Session::threads() const { return impl_->engine.pool().size(); }

}  // namespace mezzo
