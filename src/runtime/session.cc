#include "mezzo/session.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/memory.h"
#include "base/shape.h"
#include "graph/selector.h"
#include "runtime/engine.h"

namespace mezzo {

using graph::ValueId;

namespace {

void check_index(std::size_t i, std::size_t size) {
  if (i < size) return;
  throw Error(ErrorCode::invalid_argument, "there are not so many outputs")
      .expected("an index below " + std::to_string(size))
      .got(std::to_string(i));
}

}  // namespace

const Tensor& Outputs::operator[](std::size_t i) const {
  check_index(i, size());
  return tensors_[i];
}

const std::string& Outputs::name(std::size_t i) const {
  check_index(i, size());
  return (*names_)[i];
}

const Tensor& Outputs::operator[](std::string_view name) const {
  for (const Item item : *this) {
    if (item.name == name) return item.tensor;
  }
  if (asked_ != nullptr) {
    for (const auto& [selector, index] : *asked_) {
      if (selector == name) return tensors_[index];
    }
  }
  std::string names;
  for (const Item item : *this) names += (names.empty() ? "'" : ", '") + item.name + "'";
  throw Error(ErrorCode::invalid_argument, "no such output was fetched")
      .expected(names.empty() ? "nothing: no value was fetched" : names)
      .got("'" + std::string(name) + "'");
}

namespace {

// Whether a tensor, sequence, map or optional is of that type, shapes aside.
bool is_of(const onnx::Type& type, const Tensor& tensor) {
  using Kind = onnx::Type::Kind;
  if (type.kind == Kind::optional && tensor.dtype() == DType::none) return true;
  if (type.kind == Kind::optional) return type.element == nullptr || is_of(*type.element, tensor);
  if (type.kind == Kind::tensor)
    return type.dtype == DType::undefined || type.dtype == tensor.dtype();
  if (type.kind == Kind::map) {
    return tensor.dtype() == DType::map &&
           static_cast<const Tensor*>(tensor.data())[0].dtype() == type.dtype;
  }
  if (type.kind != Kind::sequence) return true;
  if (tensor.dtype() != DType::sequence) return false;
  const auto elements = tensor.values<Tensor>();
  return type.element == nullptr ||
         std::all_of(elements.begin(), elements.end(),
                     [&](const Tensor& element) { return is_of(*type.element, element); });
}

void check_feed(const graph::Value& value, const Tensor& tensor) {
  const auto fail = [&](std::string problem, const std::string& got) {
    throw Error(ErrorCode::invalid_argument, std::move(problem))
        .at("feed '" + value.name + "'")
        .expected(graph::to_text(value.type))
        .got(got);
  };
  if (!tensor.has_value()) fail("a feed without a value", "an empty Tensor");
  if (!value.is_input || value.type.kind == onnx::Type::Kind::none) return;
  const std::string got = std::string(name_of(tensor.dtype())) + to_string(tensor.shape());
  if (value.type.kind != onnx::Type::Kind::tensor) {
    if (!is_of(value.type, tensor)) fail("a feed of the wrong type", got);
    return;
  }
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
                "sequences, and values of less than a byte, inside a loop cannot be stacked")
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

// A request by the names that a caller gave, resolved.
struct Resolved {
  struct Wanted {
    ValueId value;
    std::size_t position;  // among the request's fetches
    bool in_loop;
    bool last;  // not wanted again
  };
  plan::Request request;                // without repetitions, in order
  std::vector<std::size_t> feed_order;  // by the request's feeds: their numbers among the caller's
  std::vector<Wanted> wanted;           // in the caller's order, repetitions included
  bool in_order = true;                 // which is that of the request's fetches
  // Selectors that name one value, and its place in `wanted`.
  using Asked = std::vector<std::pair<std::string, std::size_t>>;
  using Names = std::vector<std::string>;
  std::shared_ptr<const Names> names;  // of `wanted`; the outputs hold both
  std::shared_ptr<const Asked> asked;
  std::shared_ptr<runtime::PlanCache> plans;
};

template <class T>
void make_unique(std::vector<T>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

void resolve_feeds(const graph::Graph& graph, const Feeds& feeds, Resolved& resolved) {
  // By value, so that the order in which a caller names the feeds makes no other plan.
  std::map<ValueId, std::size_t> order;
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    const std::string& name = feeds[i].first;
    ValueId value = graph.find(name);
    if (value == graph::kNone) value = graph::select_one(graph, name);
    if (!order.emplace(value, i).second) {
      throw Error(ErrorCode::invalid_argument, "a value is fed twice").at("feed '" + name + "'");
    }
  }
  for (const auto& [value, number] : order) {
    resolved.request.feeds.push_back(value);
    resolved.feed_order.push_back(number);
  }
}

Resolved resolve(const runtime::LoadedModel& model, const Feeds& feeds,
                 const std::vector<std::string>& fetches) {
  const graph::Graph& graph = model.graph;
  Resolved resolved;
  resolve_feeds(graph, feeds, resolved);
  std::vector<ValueId> wanted;
  Resolved::Asked asked;
  if (fetches.empty()) wanted = graph.main().outputs;
  for (const std::string& selector : fetches) {
    const std::vector<ValueId> values = graph::select(graph, selector);
    if (values.size() == 1) asked.emplace_back(selector, wanted.size());
    wanted.insert(wanted.end(), values.begin(), values.end());
  }
  resolved.asked = std::make_shared<const Resolved::Asked>(std::move(asked));
  Resolved::Names names;
  for (const ValueId value : wanted) names.push_back(graph.value(value).name);
  resolved.names = std::make_shared<const Resolved::Names>(std::move(names));
  std::vector<ValueId>& sorted = resolved.request.fetches;
  sorted = wanted;
  make_unique(sorted);
  for (const ValueId value : wanted) {
    const auto position = std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin();
    const auto place = static_cast<std::size_t>(position);
    resolved.in_order = resolved.in_order && place == resolved.wanted.size();
    resolved.wanted.push_back({value, place, lies_in_loop(model, value), false});
  }
  std::vector<bool> seen(sorted.size(), false);
  for (auto item = resolved.wanted.rbegin(); item != resolved.wanted.rend(); ++item) {
    item->last = !seen[item->position];
    seen[item->position] = true;
  }
  return resolved;
}

// Adds the caller's functions to a call, and the values that they look at to the request.
void resolve_functions(const graph::Graph& graph, const RunOptions& options, plan::Request& request,
                       runtime::Call& call) {
  for (const Patch& patch : options.patches) {
    for (const ValueId value : graph::select(graph, patch.selector))
      call.patches[value].push_back(&patch);
  }
  for (const Observer& observer : options.observers) {
    for (const ValueId value : graph::select(graph, observer.selector)) {
      call.observers[value].push_back(&observer);
    }
  }
  for (const auto& [value, patches] : call.patches) request.patches.push_back(value);
  for (const auto& [value, observers] : call.observers) request.observed.push_back(value);
}

std::vector<Tensor> ordered(const Resolved& resolved, const graph::Graph& graph,
                            const Feeds& feeds) {
  std::vector<Tensor> tensors;
  tensors.reserve(feeds.size());
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    tensors.push_back(feeds[resolved.feed_order[i]].second);
    check_feed(graph.value(resolved.request.feeds[i]), tensors.back());
  }
  return tensors;
}

}  // namespace

struct Session::Impl {
  Impl(Model loaded, const SessionOptions& options)
      : model(std::move(loaded)), engine(model.shared_internals(), options) {}

  // What a call's names mean, kept: looking names up takes longer than running a small model.
  std::shared_ptr<const Resolved> resolved_for(const Feeds& feeds,
                                               const std::vector<std::string>& fetches) {
    std::string key;
    for (const auto& [name, tensor] : feeds) (key += name) += '\0';
    key += '\0';
    for (const std::string& selector : fetches) (key += selector) += '\0';
    const std::lock_guard lock(mutex);
    const auto found = resolved.find(key);
    if (found != resolved.end()) return found->second;
    auto made = std::make_shared<Resolved>(resolve(engine.model(), feeds, fetches));
    made->plans = engine.plans_of(made->request);
    constexpr std::size_t kMostKept = 256;
    if (resolved.size() >= kMostKept) resolved.clear();
    return resolved.emplace(std::move(key), std::move(made)).first->second;
  }

  Model model;
  runtime::Engine engine;
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<const Resolved>> resolved;
};

Session::Session(const std::string& path, const SessionOptions& options)
    : Session(Model::load(path), options) {}

Session::Session(Model model, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Outputs Session::run(const Feeds& feeds, const std::vector<std::string>& fetches,
                     const RunOptions& options) const {
  runtime::Engine& engine = impl_->engine;
  const graph::Graph& graph = engine.model().graph;
  const std::shared_ptr<const Resolved> resolved = impl_->resolved_for(feeds, fetches);
  std::vector<Tensor> tensors = ordered(*resolved, graph, feeds);
  runtime::Call call;
  call.times = options.times;
  if (options.check) call.check = &options.check;
  if (graph.bodies().size() > 1) {
    for (std::size_t i = 0; i < tensors.size(); ++i)
      call.feeds.emplace(resolved->request.feeds[i], tensors[i]);
  }
  std::vector<Tensor> results = within_memory([&] {
    if (options.patches.empty() && options.observers.empty()) {
      return engine.run(*resolved->plans, std::move(tensors), call);
    }
    plan::Request request = resolved->request;
    resolve_functions(graph, options, request, call);
    return engine.run(request, std::move(tensors), call);
  });
  Outputs outputs;
  outputs.names_ = resolved->names;
  outputs.asked_ = resolved->asked;
  if (resolved->in_order) {
    outputs.tensors_ = std::move(results);
  } else {
    outputs.tensors_.reserve(resolved->wanted.size());
    for (const Resolved::Wanted& wanted : resolved->wanted) {
      Tensor& result = results[wanted.position];
      outputs.tensors_.push_back(wanted.last ? std::move(result) : result);
    }
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Resolved::Wanted& wanted = resolved->wanted[i];
    if (wanted.in_loop && !outputs.tensors_[i].has_value())
      outputs.tensors_[i] = stacked((*resolved->names)[i], call.collected[wanted.value]);
  }
  if (options.stats != nullptr) *options.stats = call.stats;
  return outputs;
}

std::string Session::explain(const Feeds& feeds, const std::vector<std::string>& fetches) const {
  const std::shared_ptr<const Resolved> resolved = impl_->resolved_for(feeds, fetches);
  const std::vector<Tensor> tensors = ordered(*resolved, impl_->engine.model().graph, feeds);
  return within_memory([&] { return impl_->engine.explain(resolved->request, tensors); });
}

const Model& Session::model() const { return impl_->model; }
int Session::threads() const { return impl_->engine.pool().size(); }

}  // namespace mezzo
