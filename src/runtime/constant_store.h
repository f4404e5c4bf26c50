// What is computed from a model's weights once, for all plans: aligned copies, packed forms, folded
// nodes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/slabs.h"
#include "graph/graph.h"
#include "mezzo/tensor.h"

namespace mezzo::runtime {

/// Thread-safe. What it hands out stays where it is as long as the store lives.
class ConstantStore {
 public:
  ConstantStore();
  Tensor packed(graph::ValueId value, const Tensor& constant, const std::string& key,
                const std::function<Tensor(const Tensor&)>& make);
  /// Like `packed`, of what `change` makes of a copy of the constant.
  Tensor packed_changed(graph::ValueId value, const Tensor& constant, const std::string& key,
                        const std::function<Tensor(Tensor)>& change,
                        const std::function<Tensor(const Tensor&)>& make);
  /// Frees what `packed` has needed besides its results, when a plan is done.
  void forget_scratch();
  const Tensor& aligned(graph::ValueId value, const Tensor& constant);
  const Tensor* folded(graph::ValueId value);
  const Tensor* keep_folded(graph::ValueId value, Tensor tensor);
  /// The number of a constant that is made of others: -2 and below, the same for the same key.
  graph::ValueId derived(const std::string& key);
  /// What `make` gave when `key` was first asked for.
  std::shared_ptr<const void> remembered(const std::string& key,
                                         const std::function<std::shared_ptr<const void>()>& make);

 private:
  Tensor kept(graph::ValueId value, const Tensor& constant, const std::string& key,
              const std::function<Tensor()>& source,
              const std::function<Tensor(const Tensor&)>& make);
  Tensor copied(const Tensor& constant);

  std::mutex mutex_;
  std::shared_ptr<void> scratch_;
  std::size_t scratch_bytes_ = 0;
  Slabs slabs_;
  std::size_t kept_bytes_ = 0;
  std::map<std::pair<graph::ValueId, std::string>, Tensor> packed_;
  std::map<graph::ValueId, Tensor> aligned_, folded_;
  std::map<std::string, graph::ValueId> derived_;
  std::map<std::string, std::shared_ptr<const void>> remembered_;
};

}  // namespace mezzo::runtime
