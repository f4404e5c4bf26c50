// What stands between a quantised tensor and one that is made of it element by element: a table of
// 256 bytes, computed here from the steps themselves. So an activation of a network in QDQ form is
// one step, such as x * sigmoid(x) with a QuantizeLinear behind each of the two.
#include <map>
#include <set>

#include "ops/quantization.h"
#include "passes/elementwise.h"
#include "passes/passes.h"
#include "passes/quantization.h"

namespace mezzo::passes {
namespace {

constexpr std::size_t kMostSteps = 16;

// The steps from one quantised tensor to another, in descending order.
class Chain {
 public:
  Chain(const Program& program, int quantize)
      : program_(program), y_(program.step(quantize).out[0]) {
    const ops::Operand& y = program.slot(y_).operand;
    is_one_ = ops::kQuantized8.contains(y.dtype) && has_one_scale(quantize) &&
              follow(program.in(quantize, 0)) && state_.source >= 0 &&
              state_.steps.size() <= kMostSteps;
    state_.steps.insert(quantize);
  }

  bool is_one() const { return is_one_; }
  int source() const { return state_.source; }
  int y() const { return y_; }
  // Those that would go, and those that read the source, which others may read as well.
  std::vector<int> members() const { return {state_.steps.begin(), state_.steps.end()}; }
  const std::set<int>& readers() const { return state_.readers; }

  // The bytes that the steps make of all 256.
  std::vector<std::int64_t> table(Program& program) const {
    const DType type = program.slot(state_.source).operand.dtype;
    std::map<int, Tensor> values;
    values[state_.source] = Tensor::uninitialized(type, {256});
    auto* bytes = static_cast<std::uint8_t*>(values[state_.source].mutable_data());
    for (int i = 0; i < 256; ++i) bytes[i] = static_cast<std::uint8_t>(i);
    std::set<int> all = state_.steps;
    all.insert(state_.readers.begin(), state_.readers.end());
    for (const int step : all) {
      std::vector<const Tensor*> in;
      for (const int slot : program.step(step).in) {
        const auto found = values.find(slot);
        in.push_back(found != values.end() ? &found->second : nullptr);
      }
      values[program.step(step).out[0]] = program.evaluate(step, in);
    }
    const Tensor result = values.at(y_).to(DType::i64);
    const auto numbers = result.values<std::int64_t>();
    return {numbers.begin(), numbers.end()};
  }

 private:
  bool has_one_scale(int i) const { return quantization_of(program_, i).has_value(); }

  // Whether a slot depends on the source alone.
  bool follow(int slot) {
    if (slot < 0) return true;
    const ops::Operand& facts = program_.slot(slot).operand;
    if (program_.is_constant(slot))
      return element_count(facts.shape) == 1 && facts.shape.size() <= 1;
    const ops::Operand& y = program_.slot(y_).operand;
    if (!facts.known || facts.shape != y.shape || state_.steps.size() > kMostSteps) return false;
    const int producer = program_.slot(slot).producer;
    if (producer >= 0 && state_.steps.contains(producer)) return true;
    if (const int dequantize = program_.maker_of(slot, "DequantizeLinear"); dequantize >= 0)
      return follow_bytes(dequantize);
    if (!works_by_element(producer)) return false;
    for (const int input : program_.step(producer).in) {
      if (!follow(input)) return false;
    }
    state_.steps.insert(producer);
    return true;
  }

  // What is dequantised comes from the source, or is the source.
  bool follow_bytes(int dequantize) {
    if (!has_one_scale(dequantize)) return false;
    const int q = program_.in(dequantize, 0);
    if (!ops::kQuantized8.contains(program_.slot(q).operand.dtype)) return false;
    const int quantize = program_.maker_of(q, "QuantizeLinear");
    if (q != state_.source && quantize >= 0 && has_one_scale(quantize)) {
      const State before = state_;
      if (follow(program_.in(quantize, 0))) {
        state_.steps.insert({quantize, dequantize});
        return true;
      }
      state_ = before;
    }
    if (state_.source >= 0 && state_.source != q) return false;
    state_.source = q;
    state_.readers.insert(dequantize);
    return true;
  }

  bool works_by_element(int i) const {
    if (i < 0 || program_.step(i).removed || program_.step(i).op == nullptr) return false;
    const ops::Op& op = program_.op(i);
    return is_elementwise(op.row().name()) && op.out(0).dtype == DType::f32;
  }

  struct State {
    int source = -1;
    std::set<int> steps, readers;
  };

  const Program& program_;
  int y_;
  State state_;
  bool is_one_ = false;
};

}  // namespace

void byte_table(Program& program) {
  for (int i = program.size() - 1; i >= 0; --i) {
    if (!program.is(i, "QuantizeLinear")) continue;
    const Chain chain(program, i);
    if (!chain.is_one()) continue;
    const bool is_signed = program.slot(chain.y()).operand.dtype == DType::i8;
    const auto table = program.remembered<std::vector<std::int64_t>>(
        {program.in(i, 1)},
        "table from " + std::to_string(program.slot(chain.source()).operand.value) + " to " +
            std::to_string(program.slot(chain.y()).operand.value),
        [&] { return std::make_shared<std::vector<std::int64_t>>(chain.table(program)); });
    Replacement fused{.op_type = "ByteTable", .domain = "mezzo", .opset = 1};
    fused.attributes = {attribute("table", *table),
                        attribute("is_signed", std::int64_t{is_signed})};
    fused.of_any_type = true;
    fused.in = {chain.source()};
    fused.out = {chain.y()};
    if (!program.fuse(chain.members(), std::move(fused))) continue;
    for (const int reader : chain.readers()) program.drop_unread(reader, i);
  }
}

}  // namespace mezzo::passes
