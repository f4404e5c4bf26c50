// Convolutions in the blocked layout nChw8c, in regions where that saves more than it costs to
// convert what enters and leaves them. What works element by element follows its convolutions, so
// that a region ends only where somebody wants the plain tensor: another kernel, or the caller, for
// whom a tapped tensor is converted while the region goes on.
//
// Each region is decided as a whole. Many taps make conversions many, and the region stays plain.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/shape.h"
#include "ops/blocked.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

constexpr const char* kDomain = "mezzo";

// How a step would take part: which of its inputs and whether its output would be in blocks.
struct Part {
  std::vector<int> inputs;  // by number
  bool output = false;
  std::string own = "";  // the operator that takes its place; none: it stays what it is
  double gain = 0;       // microseconds
};

class Layout {
 public:
  explicit Layout(Program& program)
      : program_(program),
        parts_(static_cast<std::size_t>(program.size())),
        regions_(parts_.size()) {
    std::iota(regions_.begin(), regions_.end(), 0);
  }

  void run() {
    for (int i = 0; i < program_.size(); ++i) part(i) = part_of(i);
    join();
    std::map<int, double> gains;
    for (int i = 0; i < program_.size(); ++i) {
      if (takes_part(i)) gains[region(i)] += part(i).gain;
    }
    for (const auto& [slot, uses] : uses_) {
      if (uses.region >= 0) gains[region(uses.region)] -= uses.conversions() * cost(slot);
    }
    for (int i = 0; i < program_.size(); ++i) {
      if (!takes_part(i)) continue;
      if (gains[region(i)] > 0) {
        convert(i);
      } else if (part(i).gain > 0) {
        program_.miss(i, "converting to the blocked layout and back would cost more than it saves");
      }
    }
  }

 private:
  // Who deals with a slot in which layout.
  struct Uses {
    int region = -1;      // a step that takes it or gives it in blocks
    bool given = false;   // in blocks
    bool wanted = false;  // plain, by somebody
    int conversions() const { return given ? (wanted ? 1 : 0) : 1; }
  };

  Part& part(int i) { return parts_[static_cast<std::size_t>(i)]; }
  bool takes_part(int i) { return part(i).output || !part(i).inputs.empty(); }

  int region(int i) {
    int& parent = regions_[static_cast<std::size_t>(i)];
    return parent == i ? i : parent = region(parent);
  }

  bool fits(int slot) const {
    return slot >= 0 && program_.slot(slot).inside < 0 && !program_.is_constant(slot) &&
           ops::can_be_blocked(program_.slot(slot).operand);
  }

  double cost(int slot) const { return ops::reorder_cost(program_.slot(slot).operand.shape); }

  Part part_of(int i) {
    const Step& step = program_.step(i);
    if (step.removed || step.op == nullptr || step.out.empty() || step.out[0] < 0) return {};
    for (std::size_t out = 1; out < step.out.size(); ++out) {
      if (step.out[out] >= 0) return {};
    }
    const bool fused = program_.is(i, "FusedConv", "com.microsoft");
    if (fused || program_.is(i, "Conv")) return convolution(i);
    if (program_.is(i, "GlobalAveragePool") && fits(step.in[0])) {
      return {{0}, false, "BlockedGlobalAveragePool"};
    }
    if (program_.is(i, "MaxPool") && fits(step.in[0]) && fits(step.out[0])) {
      return {{0}, true, "BlockedMaxPool"};
    }
    return program_.is(i, "Concat") ? concat(i) : elementwise(i);
  }

  Part convolution(int i) {
    const Step& step = program_.step(i);
    if (!fits(step.out[0])) return {};
    if (const std::string reason = ops::stays_plain(program_.op(i)); !reason.empty()) {
      program_.miss(i, reason);
      return {};
    }
    Part result{{}, true, "BlockedConv", ops::blocked_gain(program_.op(i))};
    if (ops::can_be_blocked(program_.op(i).in(0))) {
      if (!fits(step.in[0])) return {};
      result.inputs.push_back(0);
    }
    if (const int summand = program_.in(i, 3); summand >= 0) {
      if (!fits(summand)) return {};
      result.inputs.push_back(3);
    }
    return result;
  }

  // Operators whose result at each place depends on what the inputs hold at that place, and perhaps
  // on numbers.
  Part elementwise(int i) {
    static const std::set<std::string, std::less<>> kNames = {
        "Abs",       "Add",        "Ceil",  "Celu",  "Clip",        "Div",       "Elu",
        "Erf",       "Exp",        "Floor", "Gelu",  "HardSigmoid", "HardSwish", "LeakyRelu",
        "Log",       "Max",        "Min",   "Mish",  "Mul",         "Neg",       "Pow",
        "QuickGelu", "Reciprocal", "Relu",  "Round", "Selu",        "Sigmoid",   "Sign",
        "Softplus",  "Softsign",   "Sqrt",  "Sub",   "Swish",       "Tanh",      "ThresholdedRelu"};
    const Step& step = program_.step(i);
    if (!kNames.contains(step.op->row().name()) || !fits(step.out[0])) return {};
    Part result{{}, true};
    const Shape& shape = program_.slot(step.out[0]).operand.shape;
    for (int input = 0; input < static_cast<int>(step.in.size()); ++input) {
      const int slot = step.in[static_cast<std::size_t>(input)];
      if (slot < 0) continue;
      const Shape& other = program_.slot(slot).operand.shape;
      if (fits(slot) && other == shape) {
        result.inputs.push_back(input);
      } else if (other.size() > 4 || element_count(other) != 1) {
        return {};
      }
    }
    return result.inputs.empty() ? Part{} : result;
  }

  // Of channels, which are then blocks.
  Part concat(int i) {
    const Step& step = program_.step(i);
    const ops::Op& op = program_.op(i);
    const std::int64_t axis = op.has_attr("axis") ? op.attr_int("axis") : 1;
    const bool fit =
        std::all_of(step.in.begin(), step.in.end(), [&](int slot) { return fits(slot); });
    if (!fits(step.out[0]) || !fit || (axis != 1 && axis != -3)) return {};
    Part result{{}, true};
    result.inputs.resize(step.in.size());
    std::iota(result.inputs.begin(), result.inputs.end(), 0);
    return result;
  }

  // Regions: steps that hand tensors in blocks to each other. Steps that work element by element
  // are worth nothing by themselves, so that they join only what makes their input in blocks.
  void join() {
    for (int i = 0; i < program_.size(); ++i) {
      const Step& step = program_.step(i);
      if (takes_part(i) && part(i).gain <= 0 && !any_given(i)) part(i) = {};
      for (int input = 0; input < static_cast<int>(step.in.size()); ++input) {
        const int slot = step.in[static_cast<std::size_t>(input)];
        if (slot < 0 || step.removed) continue;
        const std::vector<int>& inputs = part(i).inputs;
        if (std::find(inputs.begin(), inputs.end(), input) == inputs.end()) {
          uses_[slot].wanted = true;
        } else {
          meet(slot, i);
        }
      }
      if (!part(i).output) continue;
      uses_[step.out[0]].given = true;
      uses_[step.out[0]].wanted = !program_.slot(step.out[0]).kept.empty();
      meet(step.out[0], i);
    }
  }

  bool any_given(int i) {
    const std::vector<int>& inputs = part(i).inputs;
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](int input) { return uses_[program_.in(i, input)].given; });
  }

  void meet(int slot, int i) {
    int& other = uses_[slot].region;
    if (other >= 0) {
      regions_[static_cast<std::size_t>(region(i))] = region(other);
    } else {
      other = i;
    }
  }

  int blocked(int slot) {
    int& made = blocked_.try_emplace(slot, -1).first->second;
    if (made < 0) {
      made = program_.add_slot(slot, ops::blocked_shape(program_.slot(slot).operand.shape));
    }
    return made;
  }

  void convert(int i) {
    const Step& step = program_.step(i);
    const ops::Op& op = program_.op(i);
    Replacement replacement;
    replacement.op_type = op.row().name();
    replacement.domain = op.row().domain();
    replacement.opset = op.opset();
    replacement.attributes = op.node().attributes;
    if (!part(i).own.empty()) {
      replacement.op_type = part(i).own;
      replacement.domain = kDomain;
      replacement.opset = 1;
    } else if (program_.is(i, "Concat")) {
      replacement.attributes = {attribute("axis", std::int64_t{1})};
    }
    replacement.in = step.in;
    replacement.out = step.out;
    std::vector<Replacement> before, after;
    for (const int input : part(i).inputs) {
      int& slot = replacement.in[static_cast<std::size_t>(input)];
      if (!uses_[slot].given && !blocked_.contains(slot)) {
        before.push_back({"ToBlocked", kDomain, 1, {}, {slot}, {blocked(slot)}});
      }
      slot = blocked(slot);
    }
    if (part(i).output) {
      int& slot = replacement.out[0];
      const int plain = slot;
      slot = blocked(plain);
      if (uses_[plain].wanted) after.push_back({"FromBlocked", kDomain, 1, {}, {slot}, {plain}});
    }
    program_.replace(i, std::move(replacement), std::move(before), std::move(after));
  }

  Program& program_;
  std::vector<Part> parts_;
  std::vector<int> regions_;    // by step: another one of its region, in the end the same for all
  std::map<int, Uses> uses_;    // by slot
  std::map<int, int> blocked_;  // the form in blocks of a slot
};

}  // namespace

void layout(Program& program) { Layout(program).run(); }

}  // namespace mezzo::passes
