#include "runtime/engine.h"

#include <algorithm>
#include <thread>

#include "base/memory.h"

namespace mezzo::runtime {
namespace {

// Of one request, plans that are kept in any case; more as long as those of the session are not too
// large together, in slots and steps (about 250 bytes each): a loop may need one for each
// iteration.
constexpr std::size_t kPlansInAnyCase = 32;
constexpr std::int64_t kMostInPlans = 200'000;
constexpr std::size_t kMaxRequests = 1024;  // of one session, whose plans are kept
// Of the memory: what runs may leave to later ones.
constexpr std::size_t kKeepFreePart = 4;

int thread_count(int asked) {
  if (asked < 0) {
    throw Error(ErrorCode::invalid_argument, "a negative number of threads")
        .got(std::to_string(asked));
  }
  if (asked > 0) return std::min(asked, 1024);
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

void append(std::string& key, std::int64_t number) {
  key.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void append_type(std::string& key, const Tensor& tensor) {
  append(key, static_cast<std::int64_t>(tensor.dtype()));
  append(key, tensor.rank());
  for (const std::int64_t extent : tensor.shape()) append(key, extent);
}

void append_contents(std::string& key, const Tensor& tensor) {
  if (is_plain(tensor.dtype())) {
    key.append(static_cast<const char*>(tensor.data()), tensor.bytes());
    return;
  }
  if (tensor.dtype() != DType::string) {
    const auto* elements = static_cast<const Tensor*>(tensor.data());
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      append_type(key, elements[i]);
      append_contents(key, elements[i]);
    }
    return;
  }
  for (const std::string& text : tensor.values<std::string>()) {
    append(key, static_cast<std::int64_t>(text.size()));
    key += text;
  }
}

// Whether the plan is all that the request needs, and its exports are the fetches in their order.
bool gives_exactly(const plan::Plan& plan, const std::vector<graph::ValueId>& fetches) {
  return plan.complete &&
         std::equal(plan.exports.begin(), plan.exports.end(), fetches.begin(), fetches.end(),
                    [](const plan::Export& item, auto value) { return item.value == value; });
}

}  // namespace

PlanCache::PlanCache(plan::Request request, std::set<graph::ValueId> contents)
    : request_(std::move(request)), contents_(std::move(contents)) {}

std::string PlanCache::key_of(const std::vector<Tensor>& feeds) const {
  std::string key;
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    append_type(key, feeds[i]);
    if (!contents_.empty() && contents_.contains(request_.feeds[i])) append_contents(key, feeds[i]);
  }
  return key;
}

std::shared_ptr<CachedPlan> PlanCache::find_or_compile(Engine& engine,
                                                       const std::vector<Tensor>& feeds,
                                                       RunStats& stats) {
  const std::lock_guard lock(mutex_);
  const auto found = plans_.find(key_of(feeds));
  if (found != plans_.end()) return found->second;
  std::set<graph::ValueId> contents = contents_;
  auto cached = std::make_shared<CachedPlan>();
  cached->plan = plan::compile(engine.model().graph, request_, feeds, engine, contents, undecided_);
  ++stats.plans_compiled;
  if (!cached->plan->complete) {
    const auto& needed = cached->plan->needed_contents;
    cached->next = std::make_unique<PlanCache>(
        cached->plan->continuation, std::set<graph::ValueId>(needed.begin(), needed.end()));
  }
  if (contents != contents_) {
    // More contents matter than was known: plans made without them would be found for any.
    contents_ = std::move(contents);
    forget_all();
  }
  keep(key_of(feeds), cached, engine);
  return cached;
}

void PlanCache::keep(std::string key, std::shared_ptr<CachedPlan> plan, Engine& engine) {
  const auto size = static_cast<std::int64_t>(plan->plan->slots.size() + plan->plan->steps.size());
  plan->counted = engine.plan_sizes().count(size);
  while (plans_.size() >= kPlansInAnyCase && engine.plan_sizes().total() > kMostInPlans) {
    plans_.erase(plans_.find(*oldest_first_.front()));
    oldest_first_.pop_front();
  }
  oldest_first_.push_back(&plans_.emplace(std::move(key), std::move(plan)).first->first);
}

void PlanCache::forget_all() {
  oldest_first_.clear();
  plans_.clear();
}

Engine::Engine(std::shared_ptr<const LoadedModel> model, const SessionOptions& options)
    : model_(std::move(model)),
      loop_iterations_(options.loop_iterations),
      passes_(passes::enabled(options.disabled_passes)),
      pool_(thread_count(options.threads)),
      buffers_(allocation_limit() / kKeepFreePart),
      precedents_(model_->graph) {}

std::shared_ptr<PlanCache> Engine::plans_of(const plan::Request& request) {
  const std::lock_guard lock(mutex_);
  const auto found = plans_.find(request);
  if (found != plans_.end()) return found->second;
  // Runs that go on hold what they use.
  if (plans_.size() >= kMaxRequests) plans_.clear();
  return plans_.emplace(request, std::make_shared<PlanCache>(request)).first->second;
}

std::vector<Tensor> Engine::run(const plan::Request& request, std::vector<Tensor> feeds,
                                Call& call) {
  return run(*plans_of(request), std::move(feeds), call);
}

std::vector<Tensor> Engine::run(PlanCache& plans, std::vector<Tensor> feeds, Call& call) {
  const std::vector<graph::ValueId>& fetches = plans.request().fetches;
  std::map<graph::ValueId, Tensor> known;
  std::shared_ptr<CachedPlan> current = plans.find_or_compile(*this, feeds, call.stats);
  for (;;) {
    const plan::Plan& plan = *current->plan;
    ++call.stats.plans_run;
    std::vector<Tensor> exported = execute(plan, feeds, *this, call);
    if (known.empty() && gives_exactly(plan, fetches)) return exported;
    for (std::size_t i = 0; i < exported.size(); ++i) {
      known[plan.exports[i].value] = std::move(exported[i]);
    }
    if (plan.complete) break;
    for (std::size_t i = 0; i < feeds.size(); ++i) known.try_emplace(plan.feeds[i], feeds[i]);
    for (const auto& [value, tensor] : plan.carried) known[value] = tensor;
    std::vector<Tensor> next_feeds;
    for (const graph::ValueId value : plan.continuation.feeds)
      next_feeds.push_back(known.at(value));
    feeds = std::move(next_feeds);
    current = current->next->find_or_compile(*this, feeds, call.stats);
  }
  std::vector<Tensor> results;
  for (const graph::ValueId value : fetches) {
    const auto found = known.find(value);
    results.push_back(found != known.end() ? found->second : Tensor());
  }
  return results;
}

std::string Engine::explain(const plan::Request& request, const std::vector<Tensor>& feeds) {
  RunStats stats;
  const auto cached = plans_of(request)->find_or_compile(*this, feeds, stats);
  return plan::to_text(*cached->plan, model_->graph);
}

Tensor Engine::packed(const ops::Operand& constant, const std::string& key,
                      const std::function<Tensor(const Tensor&)>& make) {
  const Tensor& tensor = *constant.constant;
  if (!constant.of_file) return make(tensor);
  // The same weight may be wanted as it is and, by another node, in f32.
  const std::string full_key = std::string(name_of(tensor.dtype())) + " " + key;
  if (constant.recipe == nullptr) return constants_.packed(constant.value, tensor, full_key, make);
  // Made only to be packed: what is packed already, or kept packed, is all the memory it takes.
  return constants_.packed_changed(constant.value, tensor, full_key, *constant.recipe, make);
}

const Tensor& Engine::aligned(const ops::Operand& constant) {
  if (!constant.of_file) return *constant.constant;
  if (constant.recipe == nullptr) return constants_.aligned(constant.value, *constant.constant);
  if (const Tensor* known = folded(constant.value)) return *known;
  const auto as_it_is = [](const Tensor& changed) { return changed; };
  return *keep_folded(constant.value,
                      constants_.packed_changed(constant.value, *constant.constant, "as it is",
                                                *constant.recipe, as_it_is));
}

const Tensor* Engine::folded(graph::ValueId value) { return constants_.folded(value); }

const Tensor* Engine::keep_folded(graph::ValueId value, Tensor tensor) {
  return constants_.keep_folded(value, std::move(tensor));
}

const ops::Row* Engine::row(graph::NodeId node) const {
  return model_->rows[static_cast<std::size_t>(node)];
}

}  // namespace mezzo::runtime
