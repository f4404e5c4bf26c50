// What all runs of a session share, and how a request is run.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/thread_pool.h"
#include "mezzo/session.h"
#include "plan/compile.h"
#include "runtime/buffer_pool.h"
#include "runtime/constant_store.h"
#include "runtime/loaded_model.h"

namespace mezzo::runtime {

/// The caller's side of one run, which nested bodies share.
struct Call {
  /// The feeds, where the model has bodies: those that lie inside one are for it.
  std::map<graph::ValueId, Tensor> feeds;
  std::map<graph::ValueId, std::vector<const Patch*>> patches;
  std::map<graph::ValueId, std::vector<const Observer*>> observers;
  /// Fetched values inside loops: a tensor for each time that they were computed.
  std::map<graph::ValueId, std::vector<Tensor>> collected;
  RunStats stats;
  std::vector<StepTime>* times = nullptr;
  const std::function<void()>* check = nullptr;
};

struct CachedPlan;
class Engine;

/// Plans of one request by what they depend on: the types and shapes of the feeds, and the contents
/// of those that decide shapes. Thread-safe. When the session has too many, the oldest goes.
class PlanCache {
 public:
  explicit PlanCache(plan::Request request, std::set<graph::ValueId> contents = {});

  const plan::Request& request() const { return request_; }
  std::shared_ptr<CachedPlan> find_or_compile(Engine& engine, const std::vector<Tensor>& feeds,
                                              RunStats& stats);

 private:
  void keep(std::string key, std::shared_ptr<CachedPlan> plan, Engine& engine);
  void forget_all();
  std::string key_of(const std::vector<Tensor>& feeds) const;

  plan::Request request_;
  std::mutex mutex_;
  std::set<graph::ValueId> contents_;
  std::shared_ptr<const plan::Slice> undecided_;  // see plan::compile
  std::unordered_map<std::string, std::shared_ptr<CachedPlan>> plans_;
  std::deque<const std::string*> oldest_first_;  // the keys there
};

/// How much the plans of a session hold, in slots and steps. Each plan counts itself while it
/// lives.
class PlanSizes {
 public:
  using Total = std::atomic<std::int64_t>;

  std::int64_t total() const { return *total_; }
  /// Counts as many until what is returned is gone.
  std::shared_ptr<const void> count(std::int64_t size) const {
    *total_ += size;
    return {nullptr, [total = total_, size](const void*) { *total -= size; }};
  }

 private:
  std::shared_ptr<Total> total_ = std::make_shared<Total>(0);
};

/// A plan with those that continue it.
struct CachedPlan {
  std::shared_ptr<plan::Plan> plan;
  std::unique_ptr<PlanCache> next;  ///< null where the plan is complete
  std::shared_ptr<const void> counted;
};

class Engine : public plan::Resources {
 public:
  Engine(std::shared_ptr<const LoadedModel> model, const SessionOptions& options);

  /// Runs `request` on the tensors of its feeds: a tensor for each fetch, without a value where it
  /// lies in a branch that was not taken or (then it is in call.collected) inside a loop.
  std::vector<Tensor> run(const plan::Request& request, std::vector<Tensor> feeds, Call& call);
  /// The same for a request whose plans are at hand.
  std::vector<Tensor> run(PlanCache& plans, std::vector<Tensor> feeds, Call& call);
  /// The plans of a request, compiled as far as that goes without running, as text.
  std::string explain(const plan::Request& request, const std::vector<Tensor>& feeds);

  /// The plans of a request.
  std::shared_ptr<PlanCache> plans_of(const plan::Request& request);

  const LoadedModel& model() const { return *model_; }
  BufferPool& buffers() { return buffers_; }
  const PlanSizes& plan_sizes() const { return plan_sizes_; }
  std::int64_t loop_iterations() const { return loop_iterations_; }

  Tensor packed(const ops::Operand& constant, const std::string& key,
                const std::function<Tensor(const Tensor&)>& make) override;
  const Tensor& aligned(const ops::Operand& constant) override;
  const Tensor* folded(graph::ValueId value) override;
  const Tensor* keep_folded(graph::ValueId value, Tensor tensor) override;
  graph::ValueId derived(const std::string& key) override { return constants_.derived(key); }
  plan::Precedents& precedents() override { return precedents_; }
  void planned() override { constants_.forget_scratch(); }
  std::shared_ptr<const void> remembered(
      const std::string& key, const std::function<std::shared_ptr<const void>()>& make) override {
    return constants_.remembered(key, make);
  }
  const std::vector<passes::Pass>& passes() const override { return passes_; }
  ThreadPool& pool() override { return pool_; }
  const ops::Row* row(graph::NodeId node) const override;
  const std::set<graph::NodeId>& branch_nodes() const override { return model_->branch_nodes; }

 private:
  std::shared_ptr<const LoadedModel> model_;
  std::int64_t loop_iterations_;
  std::vector<passes::Pass> passes_;
  ThreadPool pool_;
  BufferPool buffers_;
  ConstantStore constants_;
  plan::Precedents precedents_;
  PlanSizes plan_sizes_;
  std::mutex mutex_;
  std::map<plan::Request, std::shared_ptr<PlanCache>> plans_;
};

/// Runs one plan: the tensors of its exports, in order. (runtime/execute.cc)
std::vector<Tensor> execute(const plan::Plan& plan, const std::vector<Tensor>& feeds,
                            Engine& engine, Call& call);

}  // namespace mezzo::runtime
