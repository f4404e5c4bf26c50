// A QuantizeLinear that a DequantizeLinear undoes, as behind every operator of a network in QDQ
// form: one step, which leaves float32 as it is in memory, so that a region of the blocked layout
// goes on through it. Of one scale and zero point for the whole tensor.
#include "ops/quantization.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// The scale and zero point of either operator, where they are known; none: no value.
struct Parameters {
  float scale = 0;
  int zero_point = 0;
  bool operator==(const Parameters&) const = default;
};

std::optional<Parameters> parameters_of(const Program& program, int i) {
  const std::optional<float> scale = program.number(program.in(i, 1));
  if (!scale) return std::nullopt;
  Parameters parameters{*scale, 0};
  const int zero_point = program.in(i, 2);
  if (zero_point < 0) return parameters;
  if (!program.is_constant(zero_point)) return std::nullopt;
  const Tensor value = program.constant(i, 2).to(DType::i32);
  if (value.size() != 1) return std::nullopt;
  parameters.zero_point = value.values<std::int32_t>()[0];
  return parameters;
}

void recognise(Program& program, int quantize, int dequantize) {
  const int x = program.in(quantize, 0), y = program.step(dequantize).out[0];
  const DType type = program.slot(program.step(quantize).out[0]).operand.dtype;
  constexpr ops::TypeSet kTypes = ops::kQuantized8 | ops::TypeSet{DType::i16, DType::u16};
  if (!kTypes.contains(type) || program.slot(x).operand.dtype != DType::f32 ||
      program.slot(y).operand.dtype != DType::f32)
    return;
  const ops::Op& op = program.op(quantize);
  const std::int64_t precision = op.declares("precision") ? op.attr_int("precision") : 0;
  if (precision != 0 && precision != static_cast<std::int64_t>(DType::f32)) return;
  const std::optional<Parameters> parameters = parameters_of(program, quantize);
  if (!parameters || parameters != parameters_of(program, dequantize)) return;
  const ops::IntRange range = ops::range_of(type);
  Replacement both{.op_type = "FakeQuantize", .domain = "mezzo", .opset = 1};
  both.attributes = {attribute("scale", parameters->scale),
                     attribute("low", static_cast<float>(range.least - parameters->zero_point)),
                     attribute("high", static_cast<float>(range.most - parameters->zero_point))};
  both.of_any_type = true;
  both.in = {x};
  both.out = {y};
  program.fuse({quantize, dequantize}, std::move(both));
}

}  // namespace

void fake_quantize(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "QuantizeLinear")) continue;
    const int user = program.user(program.step(i).out[0], "DequantizeLinear");
    if (user >= 0) recognise(program, i, user);
  }
}

}  // namespace mezzo::passes
