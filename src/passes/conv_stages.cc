#include "passes/conv_stages.h"

namespace mezzo::passes {
namespace {

bool is_clamp(const std::string& activation) {
  return activation == "Relu" || activation == "Clip";
}

class Chain {
 public:
  Chain(Program& program, int conv, const std::function<bool(int)>& fits,
        const std::function<bool(int)>& is_free)
      : program_(program), fits_(fits), is_free_(is_free) {
    stages_.members = {conv};
    stages_.y = program.step(conv).out[0];
    stages_.summand = program.in(conv, 3);
    stage_ = stages_.summand >= 0 ? Stage::sum : Stage::conv;
    const ops::Op& op = program.op(conv);
    const std::string own = op.declares("activation") ? op.attr_string("activation") : "";
    if (own.empty()) return;
    stage_ = Stage::result;
    // Other activations come behind the kernel.
    stages_.gives_plain = is_clamp(own);
  }

  ConvStages run() {
    while (stage_ != Stage::result && !program_.slot(stages_.y).kept.empty()) {
      const Slot& y = program_.slot(stages_.y);
      // A view may be read before the next step.
      if (y.users.size() != 1 || y.viewed >= 0 || !add(y.users[0])) break;
    }
    return std::move(stages_);
  }

 private:
  enum class Stage { conv, scaled, sum, result };

  // Takes the step behind the last one in, if it is one of the stages that are left.
  bool add(int i) {
    const Step& step = program_.step(i);
    if (!is_free_(i)) return false;
    const Shape& shape = program_.slot(stages_.y).operand.shape;
    if (program_.slot(step.out[0]).operand.shape != shape) return false;
    const Stage before = stage_;
    if (std::optional<Activation> activation = activation_of(program_, i)) {
      if (!is_clamp(activation->name)) return false;
      stages_.activation = std::move(activation);
      stage_ = Stage::result;
    } else if (stage_ == Stage::conv && add_affine(i, shape)) {
      stage_ = Stage::scaled;
    } else if (stage_ != Stage::sum && add_sum(i)) {
      stage_ = Stage::sum;
    } else {
      return false;
    }
    (before == Stage::conv     ? stages_.conv
     : before == Stage::scaled ? stages_.scaled
                               : stages_.sum) = stages_.y;
    stages_.members.push_back(i);
    stages_.y = step.out[0];
    return true;
  }

  bool add_affine(int i, const Shape& shape) {
    const std::optional<Affine> affine =
        affine_of(program_, i, program_.in(i, 0) == stages_.y ? 0 : 1, shape);
    if (!affine) return false;
    const auto constant = [&](const std::string& name, Recipe recipe) {
      return constant_of(program_, *affine, name, std::move(recipe));
    };
    // The weights that plans without the tap have packed, if what is tapped can be told from what
    // they give.
    const auto [weights, bias] = folded(program_, stages_.members[0], *affine);
    if (weights < 0 || bias < 0) return false;
    const bool can_return = affine->numbers->can_return;
    int factor = -1;
    if (affine->numbers->scales) {
      factor = can_return ? constant(" inverse factors", inverse_factors(*affine))
                          : constant(" factors", factors(*affine));
      if (factor < 0) return false;
    }
    if (can_return) stages_.weights = weights;
    (can_return ? stages_.unscale : stages_.scale) = factor;
    stages_.shift = bias;
    return true;
  }

  bool add_sum(int i) {
    if (!program_.is(i, "Add")) return false;
    const int other = program_.other(i, stages_.y);
    if (other < 0 || other == stages_.y || !fits_(other) ||
        program_.slot(other).operand.shape != program_.slot(stages_.y).operand.shape) {
      return false;
    }
    stages_.summand = other;
    return true;
  }

  Program& program_;
  const std::function<bool(int)>&fits_, &is_free_;
  ConvStages stages_;
  Stage stage_;
};

}  // namespace

ConvStages conv_stages(Program& program, int conv, const std::function<bool(int slot)>& fits,
                       const std::function<bool(int step)>& is_free) {
  return Chain(program, conv, fits, is_free).run();
}

}  // namespace mezzo::passes
