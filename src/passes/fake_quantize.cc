// A QuantizeLinear that a DequantizeLinear undoes, as behind every operator of a network in QDQ
// form: one step, which leaves float32 as it is in memory, so that a region of the blocked layout
// goes on through it. Of one scale and zero point for the whole tensor.
#include "ops/quantization.h"
#include "passes/passes.h"
#include "passes/quantization.h"

namespace mezzo::passes {
namespace {

void recognise(Program& program, int quantize, int dequantize) {
  const int x = program.in(quantize, 0), y = program.step(dequantize).out[0];
  const DType type = program.slot(program.step(quantize).out[0]).operand.dtype;
  constexpr ops::TypeSet kTypes = ops::kQuantized8 | ops::TypeSet{DType::i16, DType::u16};
  if (!kTypes.contains(type) || !quantizes_f32(program, quantize) ||
      program.slot(y).operand.dtype != DType::f32)
    return;
  const std::optional<QuantizationOf> parameters = quantization_of(program, quantize);
  if (!parameters || parameters != quantization_of(program, dequantize)) return;
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
