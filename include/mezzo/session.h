// Running a model: feed any value, fetch any value.
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mezzo/model.h"
#include "mezzo/tensor.h"

namespace mezzo {

struct SessionOptions {
  /// Threads that a run may use, the caller's included; 0: one for each core.
  int threads = 0;
  /// The most iterations that a Loop or Scan may make before the run ends with Error(limit).
  std::int64_t loop_iterations = 100'000'000;
  /// Passes that plans do without, by the names that `explain` prints; "all" stands for every one.
  /// The environment's MEZZO_PASSES has its say first: "all" (what it is without), "none", or a
  /// list such as "-conv_scale,-gelu" or "none,gelu". Passes join nodes to fewer kernels, never
  /// over a value that a request asks for, so they change results by rounding only.
  std::vector<std::string> disabled_passes = {};
};

/// A value and what it is given. The name may be a graph input or any other value: nodes that only
/// it depended on are then not run.
using Feeds = std::vector<std::pair<std::string, Tensor>>;

/// Replaces the values that `selector` names: called with the computed tensor (its own), gives one
/// of the same type and shape.
struct Patch {
  std::string selector;
  std::function<Tensor(const Tensor&)> replace;
};

/// Shows the values that `selector` names as they are computed. The tensor is valid during the call
/// only: `clone()` it to keep it.
struct Observer {
  std::string selector;
  std::function<void(const std::string& name, const Tensor&)> see;
};

/// What a run did.
struct RunStats {
  std::int64_t nodes_executed =
      0;  ///< nodes whose kernels ran; what was folded or not needed does not count
  std::int64_t plans_run = 0;       ///< more than 1 where shapes depend on data
  std::int64_t plans_compiled = 0;  ///< of those, how many had to be compiled
};

/// When a kernel ran. Bodies of loops have records of their own, inside that of the loop; steps
/// that run for a few images of a large batch at a time have one for each time, and follow each
/// other in such a run where they would else run side by side.
struct StepTime {
  std::string node;     ///< its name, or "node 17 (Conv)" where it has none; "conv1 + relu1" for a
                        ///< kernel that does the work of several
  std::string op_type;  ///< "Conv"; "convert", "copy", "patch" and "observe" for steps that are no
                        ///< node's
  std::string kernel;   ///< as `explain` calls it
  std::int64_t multiply_adds = 0;  ///< 0 where the operator multiplies nothing to speak of
  std::int64_t start_ns = 0;       ///< since an epoch that all runs share
  std::int64_t duration_ns = 0;
};

/// Patches, observers and `check` are called on the thread that called `run`.
struct RunOptions {
  std::vector<Patch> patches = {};
  std::vector<Observer> observers = {};
  RunStats* stats = nullptr;
  /// Gets a record of each step.
  std::vector<StepTime>* times = nullptr;
  /// Called before each step of that thread; what it throws ends the run, as Error(cancelled)
  /// should.
  std::function<void()> check = {};
};

/// The fetched tensors: by position, in the order of the fetches (one that names several values
/// gives them all, in the file's order), or by name.
class Outputs {
 public:
  struct Item {
    const std::string& name;  ///< the value's
    const Tensor& tensor;     ///< no value: it lies in a branch that was not taken
  };
  /// Over the items, which belong to the outputs.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Item;

    Iterator() = default;
    Item operator*() const { return {outputs_->name(i_), outputs_->tensors_[i_]}; }
    Iterator& operator++() { return ++i_, *this; }
    Iterator operator++(int) { return {outputs_, i_++}; }
    bool operator==(const Iterator& other) const { return i_ == other.i_; }

   private:
    friend class Outputs;
    Iterator(const Outputs* outputs, std::size_t i) : outputs_(outputs), i_(i) {}
    const Outputs* outputs_ = nullptr;
    std::size_t i_ = 0;
  };

  std::size_t size() const { return tensors_.size(); }
  /// Throws Error(invalid_argument) where there are not so many.
  const Tensor& operator[](std::size_t i) const;
  /// By the value's name, or by the selector that was asked for if it named one value. Throws
  /// Error(invalid_argument).
  const Tensor& operator[](std::string_view name) const;
  const Tensor& operator[](const char* name) const { return (*this)[std::string_view(name)]; }
  const Tensor& operator[](int i) const { return (*this)[static_cast<std::size_t>(i)]; }
  /// A value's name. Throws Error(invalid_argument) where there are not so many.
  const std::string& name(std::size_t i) const;
  /// The tensors themselves, for one who keeps or changes them.
  std::vector<Tensor> take() && { return std::move(tensors_); }
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size()}; }

 private:
  friend class Session;
  std::vector<Tensor> tensors_;
  // The same for all calls that ask for the same: the values' names, and by selector which of them
  // it named.
  std::shared_ptr<const std::vector<std::string>> names_;
  std::shared_ptr<const std::vector<std::pair<std::string, std::size_t>>> asked_;
};

/// A model made ready to run. Plans are compiled for each request and shape when first asked for,
/// and kept; packed weights are shared by all of them. Movable; `run` may be called from any number
/// of threads at once.
class Session {
 public:
  explicit Session(const std::string& path, const SessionOptions& options = {});
  explicit Session(Model model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Computes the values that `fetches` name (selectors; none: the graph's outputs) from `feeds`,
  /// and nothing that they do not need. Throws Error: invalid_argument for what is wrong with the
  /// request, unsupported for an operator without a kernel, runtime for what an operator finds
  /// wrong in its inputs' contents, limit.
  Outputs run(const Feeds& feeds, const std::vector<std::string>& fetches = {},
              const RunOptions& options = {}) const;

  /// The plan that such a run has, as text: a line for each step, with the kernel and the reasons
  /// why better ones were refused.
  std::string explain(const Feeds& feeds, const std::vector<std::string>& fetches = {}) const;

  const Model& model() const;
  int threads() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mezzo
