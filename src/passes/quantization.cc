#include "passes/quantization.h"

#include "ops/quantization.h"

namespace mezzo::passes {

std::optional<QuantizationOf> quantization_of(const Program& program, int i) {
  const std::optional<float> scale = program.number(program.in(i, 1));
  if (!scale) return std::nullopt;
  QuantizationOf parameters{*scale, 0};
  const int zero_point = program.in(i, 2);
  if (zero_point < 0) return parameters;
  if (!program.is_constant(zero_point)) return std::nullopt;
  const Tensor value = program.constant(i, 2).to(DType::i32);
  if (value.size() != 1) return std::nullopt;
  parameters.zero_point = value.values<std::int32_t>()[0];
  return parameters;
}

bool quantizes_f32(const Program& program, int i) {
  if (!program.is(i, "QuantizeLinear")) return false;
  const ops::Op& op = program.op(i);
  const std::int64_t precision = op.declares("precision") ? op.attr_int("precision") : 0;
  return op.in(0).dtype == DType::f32 &&
         (precision == 0 || precision == static_cast<std::int64_t>(DType::f32));
}

std::optional<Quantized> quantized(const Program& program, int slot) {
  const std::optional<Quantized> result = dequantized(program, slot);
  return result && result->block == 0 ? result : std::nullopt;
}

std::optional<Quantized> dequantized(const Program& program, int slot) {
  if (slot < 0 || program.slot(slot).operand.dtype != DType::f32) return std::nullopt;
  Quantized result{};
  const graph::Node* node = nullptr;
  const auto take = [&](const std::vector<int>& in) {
    result.q = in[0];
    result.scale = in[1];
    result.zero_point = in.size() > 2 ? in[2] : -1;
  };
  result.step = program.maker_of(slot, "DequantizeLinear");
  if (result.step >= 0) {
    take(program.step(result.step).in);
    node = &program.op(result.step).node();
  } else if (program.is_constant(slot)) {
    const std::optional<Origin> origin = program.origin(slot);
    if (!origin || origin->node->op_type != "DequantizeLinear" || !origin->node->domain.empty())
      return std::nullopt;
    take(origin->in);
    node = origin->node;
  }
  if (node == nullptr || result.q < 0 || result.scale < 0) return std::nullopt;
  if (const onnx::Attribute* block = node->attribute("block_size")) result.block = block->i;
  if (const onnx::Attribute* axis = node->attribute("axis")) result.axis = axis->i;
  const DType scale = program.slot(result.scale).operand.dtype;
  return scale == DType::f32 ? std::optional(result) : std::nullopt;
}

}  // namespace mezzo::passes
