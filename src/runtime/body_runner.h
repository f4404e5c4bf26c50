// Runs the bodies of one control-flow step: each is a request of its own, with plans of its own.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "ops/op.h"
#include "plan/plan.h"
#include "runtime/engine.h"
#include "runtime/frame.h"

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
  // A body's request, the same for all iterations.
  struct Prepared {
    plan::Request request;
    std::vector<Tensor> outer;  // captures, and the caller's feeds inside the body
    std::vector<int> outputs;   // where the body's outputs stand among the fetches
    std::vector<std::pair<graph::ValueId, int>> collected;
  };

  const Prepared& prepare(graph::BodyId id);
  bool is_plain_initializer(graph::ValueId value) const;
  bool lies_in(graph::ValueId value, graph::BodyId body) const;

  const plan::Plan& plan_;
  const plan::Step& step_;
  const Frame& frame_;
  Engine& engine_;
  Call& call_;
  std::map<graph::BodyId, Prepared> prepared_;
};

}  // namespace mezzo::runtime
