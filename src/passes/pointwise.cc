// Element-wise functions that follow each other, in one walk over the elements: each takes what the
// ones before it have left in the first-level cache, and results that nobody else wants are written
// nowhere. Those that are fetched are written on the way.
#include "ops/pointwise.h"

#include <algorithm>

#include "base/shape.h"
#include "passes/conv.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

class Chain {
 public:
  explicit Chain(Program& program) : program_(program) {}

  // Takes step `i` in, if it is a function of the chain's shape.
  bool add(int i) {
    const Step& step = program_.step(i);
    if (step.removed || step.op == nullptr || step.out.size() != 1) return false;
    // Conversions around it have readers of their own.
    if (!step.before.empty() || !step.after.empty()) return false;
    const std::optional<ops::PointwiseFunction> function = function_of(i);
    if (!function) return false;
    const Shape& shape = program_.slot(step.out[0]).operand.shape;
    if (members_.empty()) {
      shape_ = shape;
      // The first input is to be one of the chain's shape.
      const auto full = std::find_if(step.in.begin(), step.in.end(), [&](int slot) {
        return slot >= 0 && program_.slot(slot).operand.shape == shape;
      });
      if (full == step.in.end()) return false;
      inputs_.push_back(*full);
    }
    if (shape != shape_) return false;
    members_.push_back(i);
    functions_.push_back(*function);
    return true;
  }

  // Takes in the next reader of what the chain gives, again and again.
  void grow() {
    for (int next = next_reader(); next >= 0 && add(next); next = next_reader()) {
    }
  }

  void fuse() {
    if (members_.size() < 2) return;
    Replacement chain{.op_type = "Pointwise", .domain = "mezzo", .opset = 1};
    // Inputs first: results are numbered behind them.
    for (const int member : members_) {
      for (const int slot : operands_of(member)) {
        if (result_of(slot) < 0 && !contains(inputs_, slot)) inputs_.push_back(slot);
      }
    }
    std::vector<std::int64_t> functions, operands, results, streamed;
    std::vector<float> parameters;
    for (std::size_t k = 0; k < members_.size(); ++k) {
      functions.push_back(functions_[k].number);
      parameters.insert(parameters.end(), {functions_[k].args.alpha, functions_[k].args.beta});
      std::vector<int> slots = operands_of(members_[k]);
      slots.resize(2, -1);
      for (const int slot : slots) operands.push_back(number_of(slot));
    }
    for (std::size_t k = members_.size(); k-- > 0;) {
      const int slot = program_.step(members_[k]).out[0];
      const bool is_read = program_.is_read_besides(members_, slot),
                 is_kept = !program_.slot(slot).kept.empty();
      if (!is_read && !is_kept && k + 1 < members_.size()) continue;
      chain.out.push_back(slot);
      results.push_back(static_cast<std::int64_t>(k));
      streamed.push_back(!is_read && is_kept && element_count(shape_) >= kStreamedElements ? 1 : 0);
    }
    chain.in = inputs_;
    chain.attributes = {attribute("functions", functions), attribute("operands", operands),
                        attribute("parameters", parameters), attribute("results", results),
                        attribute("streamed", streamed)};
    program_.replace(members_, std::move(chain), {}, {});
  }

 private:
  std::optional<ops::PointwiseFunction> function_of(int i) const {
    if (!program_.is(i, "Clip")) return ops::pointwise_function(program_.op(i));
    // Its bounds are inputs.
    const std::optional<Activation> clip = activation_of(program_, i);
    if (!clip || program_.op(i).in(0).dtype != DType::f32) return std::nullopt;
    return ops::PointwiseFunction::of(kernels::Unary::clip,
                                      {clip->parameters[0], clip->parameters[1]});
  }

  // The slots that a member's function takes.
  std::vector<int> operands_of(int member) const {
    if (program_.is(member, "Clip")) return {program_.in(member, 0)};
    return program_.step(member).in;
  }

  // The member that gives a slot, by its place in the chain; else -1.
  int result_of(int slot) const {
    for (std::size_t k = 0; k < members_.size(); ++k) {
      if (program_.step(members_[k]).out[0] == slot) return static_cast<int>(k);
    }
    return -1;
  }

  std::int64_t number_of(int slot) const {
    const int result = result_of(slot);
    if (result >= 0) return static_cast<std::int64_t>(inputs_.size()) + result;
    const auto input = std::find(inputs_.begin(), inputs_.end(), slot);
    return input == inputs_.end() ? -1 : input - inputs_.begin();
  }

  // The first step behind the chain that reads what it gives, since whoever reads must come behind
  // the last member. -1: none, or it reads under another name.
  int next_reader() const {
    int next = program_.size(), viewed = program_.size();
    for (const int member : members_) {
      const Slot& result = program_.slot(program_.step(member).out[0]);
      if (result.viewed >= 0) viewed = std::min(viewed, result.viewed);
      for (const int user : result.users) {
        if (!contains(members_, user)) next = std::min(next, user);
      }
    }
    return next < viewed ? next : -1;
  }

  Program& program_;
  Shape shape_;
  std::vector<int> members_, inputs_;
  std::vector<ops::PointwiseFunction> functions_;
};

}  // namespace

void pointwise(Program& program) {
  if (!ops::simd_allowed()) return;
  for (int i = 0; i < program.size(); ++i) {
    Chain chain(program);
    if (!chain.add(i)) continue;
    chain.grow();
    chain.fuse();
  }
}

}  // namespace mezzo::passes
