// Runs the bodies of one control-flow step: each is a request of its own, with plans of its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "ops/op.h"
#include "plan/plan.h"
#include "runtime/engine.h"
#include "runtime/frame.h"
#include "runtime/loop_invariants.h"

namespace mezzo::runtime {

class BodyRunner : public ops::Bodies {
 public:
  /// All must outlive it.
  BodyRunner(const plan::Plan& plan, const plan::Step& step, const Frame& frame, Engine& engine,
             Call& call)
      : plan_(plan), step_(step), frame_(frame), engine_(engine), call_(call) {}

  std::vector<Tensor> call(graph::BodyId id, std::vector<Tensor> inputs) override;
  std::int64_t iteration_limit() const override { return engine_.loop_iterations(); }
  onnx::Type declared_output(graph::BodyId id, int i) const override;

 private:
  // Where an output of the body comes from.
  struct Output {
    bool is_input = false;  // an input that it hands on; else a fetch
    int position = 0;       // which of them
  };
  // A body's request, the same for all iterations.
  struct Prepared {
    std::shared_ptr<PlanCache> plans;
    std::vector<Tensor> outer;  // the feeds behind the body's inputs: they are the same each time
    std::vector<Output> outputs;
    std::vector<std::pair<graph::ValueId, int>> collected;
  };

  const Prepared& prepare(graph::BodyId id, const std::vector<Tensor>& inputs);
  void compute_once(graph::BodyId id, const std::vector<KeptInput>& kept,
                    const std::vector<Tensor>& inputs, plan::Request& request, Prepared& prepared);
  bool is_plain_initializer(graph::ValueId value) const;
  const plan::Slot* constant_of_file(int slot) const;
  bool lies_in(graph::ValueId value, graph::BodyId body) const;

  const plan::Plan& plan_;
  const plan::Step& step_;
  const Frame& frame_;
  Engine& engine_;
  Call& call_;
  std::map<graph::BodyId, Prepared> prepared_;
};

}  // namespace mezzo::runtime
