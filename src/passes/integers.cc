// A network in QDQ form computes in float32 what stands between two quantised tensors: here it
// is computed from the integers themselves. Convolutions of what DequantizeLinear gives, behind
// which comes a QuantizeLinear, sum products of bytes; sums of two tensors and maxima of windows
// read and write bytes.
//
// What is dequantised stays there for whoever else wants it. Where the caller asks for a float32
// tensor between the two, these steps stay as they are.
#include <cmath>
#include <limits>

#include "ops/blocked_integer_conv.h"
#include "ops/quantization.h"
#include "ops/quantized_conv.h"
#include "passes/conv.h"
#include "passes/passes.h"
#include "passes/quantization.h"

namespace mezzo::passes {
namespace {

bool is_bytes(const Program& program, int slot) {
  return slot >= 0 && ops::kQuantized8.contains(program.slot(slot).operand.dtype);
}

// The end of what becomes one step: a QuantizeLinear, and perhaps the Relu or Clip ahead of it,
// whose bounds are then those of the quantised numbers.
struct End {
  int quantize, activation = -1;
  QuantizationOf parameters;
  int y, input;  // slots: what it gives, and what it takes
  std::int64_t low, high;

  std::vector<int> members(int first) const {
    return activation < 0 ? std::vector<int>{first, quantize}
                          : std::vector<int>{first, activation, quantize};
  }
};

std::optional<End> end_of(const Program& program, int i) {
  if (!quantizes_f32(program, i)) return std::nullopt;
  const std::optional<QuantizationOf> parameters = quantization_of(program, i);
  const int y = program.step(i).out[0];
  if (!parameters || !is_bytes(program, y)) return std::nullopt;
  if (program.in(i, 2) < 0 && program.slot(y).operand.dtype != DType::u8) return std::nullopt;
  const ops::IntRange range = ops::range_of(program.slot(y).operand.dtype);
  End end{i, -1, *parameters, y, program.in(i, 0), range.least, range.most};
  const int producer = program.slot(end.input).producer;
  const std::optional<Activation> activation =
      producer < 0 ? std::nullopt : activation_of(program, producer);
  if (!activation) return end;
  float bounds[] = {0, std::numeric_limits<float>::infinity()};
  if (activation->name == "Clip") {
    bounds[0] = activation->parameters[0];
    bounds[1] = activation->parameters[1];
  } else if (activation->name != "Relu") {
    return end;
  }
  // Rounding keeps the order, so the bounds may be rounded instead of what they bound.
  const auto rounded = [&](float bound) {
    const ops::Saturate saturate(program.slot(y).operand.dtype, parameters->zero_point);
    return static_cast<std::int64_t>(saturate(bound / parameters->scale));
  };
  end.activation = producer;
  end.input = program.in(producer, 0);
  end.low = rounded(bounds[0]);
  end.high = rounded(bounds[1]);
  return end;
}

void add_bounds(const End& end, Replacement& replacement) {
  replacement.attributes.push_back(attribute("low", end.low));
  replacement.attributes.push_back(attribute("high", end.high));
}

// Whether it has one scale, which is known.
bool has_one_scale(const Program& program, const Quantized& tensor) {
  return program.number(tensor.scale).has_value();
}

// The inputs of an operator that takes tensors with the scale and zero point of each behind it.
std::vector<int> inputs_of(const std::vector<Quantized>& tensors) {
  std::vector<int> in;
  for (const Quantized& tensor : tensors)
    in.insert(in.end(), {tensor.q, tensor.scale, tensor.zero_point});
  return in;
}

// Puts `fused` in the place of step `first` and the end, and drops what only dequantised `tensors`
// for them.
void replace(Program& program, const End& end, int first, Replacement fused,
             const std::vector<Quantized>& tensors) {
  fused.of_any_type = true;
  fused.out = {end.y};
  if (!program.fuse(end.members(first), std::move(fused))) return;
  for (const Quantized& tensor : tensors) {
    if (tensor.step >= 0) program.drop_unread(tensor.step, end.quantize);
  }
}

void convolution(Program& program, const End& end) {
  const int conv = program.maker_of(end.input, "Conv");
  if (conv < 0) return;
  const std::optional<Quantized> x = quantized(program, program.in(conv, 0)),
                                 w = quantized(program, program.in(conv, 1));
  const int bias = program.in(conv, 2);
  if (!x || !w || !is_bytes(program, x->q) || !is_bytes(program, w->q)) return;
  if (bias >= 0 && !program.is_constant(bias)) return;
  // Scales of the weights are by output channel.
  if (!has_one_scale(program, *w) && w->axis != 0 && w->axis != -program.op(conv).in_rank(1))
    return;
  Replacement fused{.op_type = "QuantizedConv", .domain = "mezzo", .opset = 1};
  fused.attributes = program.op(conv).node().attributes;
  add_bounds(end, fused);
  fused.refuse = ops::quantized_stays_float;
  fused.in = inputs_of({*x, *w});
  fused.in.insert(fused.in.end(), {program.in(end.quantize, 1), program.in(end.quantize, 2), bias});
  replace(program, end, conv, std::move(fused), {*x, *w});
}

void sum(Program& program, const End& end) {
  const int add = program.maker_of(end.input, "Add");
  if (add < 0) return;
  std::optional<Quantized> a = quantized(program, program.in(add, 0)),
                           b = quantized(program, program.in(add, 1));
  if (!a || !b) return;
  const auto shape = [&](const Quantized& tensor) -> const Shape& {
    return program.slot(tensor.q).operand.shape;
  };
  if (shape(*a).size() < shape(*b).size()) std::swap(a, b);
  const DType type = program.slot(end.y).operand.dtype;
  for (const Quantized& tensor : {*a, *b}) {
    if (program.slot(tensor.q).operand.dtype != type) return;
  }
  // Of two alike, or of rows and one row.
  const bool is_row = !shape(*a).empty() && shape(*b) == Shape{shape(*a).back()};
  if (shape(*a) != shape(*b) && !is_row) return;
  Replacement fused{.op_type = "QuantizedAdd", .domain = "mezzo", .opset = 1};
  add_bounds(end, fused);
  fused.in = inputs_of({*a, *b});
  fused.in.insert(fused.in.end(), {program.in(end.quantize, 1), program.in(end.quantize, 2)});
  replace(program, end, add, std::move(fused), {*a, *b});
}

// The factors of a MatMul or Gemm by constant weights, which are packed ahead: one scale for all of
// A, and one for each column of B (its axis `columns`) at most. All zero points are there.
std::optional<std::vector<Quantized>> factors_of(const Program& program, const End& end, int step,
                                                 std::int64_t columns) {
  const std::optional<Quantized> a = quantized(program, program.in(step, 0)),
                                 b = quantized(program, program.in(step, 1));
  if (end.activation >= 0 || program.in(end.quantize, 2) < 0 || !a || !b) return std::nullopt;
  for (const Quantized& factor : {*a, *b}) {
    if (!is_bytes(program, factor.q) || factor.zero_point < 0) return std::nullopt;
  }
  if (!program.is_constant(b->q) || program.op(step).in_rank(1) != 2) return std::nullopt;
  const bool by_column = b->axis == columns || b->axis == columns - 2;
  if (!has_one_scale(program, *a) || (!has_one_scale(program, *b) && !by_column))
    return std::nullopt;
  return std::vector{*a, *b};
}

void product(Program& program, const End& end) {
  const int matmul = program.maker_of(end.input, "MatMul");
  if (matmul < 0) return;
  const auto factors = factors_of(program, end, matmul, 1);
  if (!factors) return;
  Replacement fused{.op_type = "QLinearMatMul", .domain = "", .opset = 10};
  fused.in = inputs_of(*factors);
  fused.in.insert(fused.in.end(), {program.in(end.quantize, 1), program.in(end.quantize, 2)});
  replace(program, end, matmul, std::move(fused), *factors);
}

// Whether a bias counts in the units of the products that it is added to.
bool fits_products(const Program& program, const Quantized& bias, const Quantized& a,
                   const Quantized& b) {
  if (program.slot(bias.q).operand.dtype != DType::i32) return false;
  for (const int slot : {bias.scale, a.scale, b.scale, bias.zero_point}) {
    if (slot >= 0 && !program.is_constant(slot)) return false;
  }
  if (bias.zero_point >= 0) {
    const Tensor zeros = program.contents(bias.zero_point).to(DType::i32);
    for (const std::int32_t zero : zeros.values<std::int32_t>()) {
      if (zero != 0) return false;
    }
  }
  const auto of_bias = program.contents(bias.scale).values<float>(),
             of_b = program.contents(b.scale).values<float>();
  const float of_a = program.contents(a.scale).values<float>()[0];
  if (of_bias.size() != of_b.size() && of_bias.size() != 1 && of_b.size() != 1) return false;
  for (std::size_t i = 0; i < std::max(of_bias.size(), of_b.size()); ++i) {
    const float expected = of_a * of_b[of_b.size() == 1 ? 0 : i];
    if (!(std::abs(of_bias[of_bias.size() == 1 ? 0 : i] - expected) <= 1e-5F * expected))
      return false;
  }
  return true;
}

// The same with a bias.
void gemm(Program& program, const End& end) {
  const int step = program.maker_of(end.input, "Gemm");
  if (step < 0) return;
  const ops::Op& op = program.op(step);
  if (op.attr_float("alpha") != 1 || op.attr_float("beta") != 1) return;
  const auto factors = factors_of(program, end, step, op.attr_int("transB") != 0 ? 0 : 1);
  const int c = program.in(step, 2);
  const std::optional<Quantized> bias = quantized(program, c);
  if (!factors || (c >= 0 && !bias)) return;
  if (bias && !fits_products(program, *bias, (*factors)[0], (*factors)[1])) return;
  Replacement fused{.op_type = "QGemm", .domain = "com.microsoft", .opset = 1};
  fused.attributes = {attribute("transA", op.attr_int("transA")),
                      attribute("transB", op.attr_int("transB"))};
  fused.in = inputs_of(*factors);
  fused.in.insert(fused.in.end(),
                  {bias ? bias->q : -1, program.in(end.quantize, 1), program.in(end.quantize, 2)});
  replace(program, end, step, std::move(fused), *factors);
}

// Maxima are the same of the integers, where these stand for the same numbers on both sides.
void maximum(Program& program, const End& end) {
  const int pool = program.maker_of(end.input, "MaxPool");
  if (pool < 0 || end.activation >= 0 || program.op(pool).opset() < 12) return;
  const std::optional<Quantized> x = quantized(program, program.in(pool, 0));
  if (!x || x->step < 0 || quantization_of(program, x->step) != end.parameters) return;
  if (program.slot(x->q).operand.dtype != program.slot(end.y).operand.dtype) return;
  Replacement fused{.op_type = "MaxPool", .domain = "", .opset = program.op(pool).opset()};
  fused.attributes = program.op(pool).node().attributes;
  fused.in = {x->q};
  replace(program, end, pool, std::move(fused), {*x});
}

// Of parts with scales of their own.
void join(Program& program, const End& end) {
  const int concat = program.maker_of(end.input, "Concat");
  const int y_zero_point = program.in(end.quantize, 2);
  if (concat < 0 || end.activation >= 0 || y_zero_point < 0) return;
  std::vector<Quantized> parts;
  for (const int slot : program.step(concat).in) {
    const std::optional<Quantized> part = quantized(program, slot);
    if (!part || part->zero_point < 0) return;
    if (program.slot(part->q).operand.dtype != program.slot(end.y).operand.dtype) return;
    parts.push_back(*part);
  }
  Replacement fused{.op_type = "QLinearConcat", .domain = "com.microsoft", .opset = 1};
  fused.attributes = {attribute("axis", program.op(concat).attr_int("axis"))};
  fused.in = {program.in(end.quantize, 1), y_zero_point};
  const std::vector<int> triples = inputs_of(parts);
  fused.in.insert(fused.in.end(), triples.begin(), triples.end());
  replace(program, end, concat, std::move(fused), parts);
}

}  // namespace

void integers(Program& program) {
  if (!ops::bytes_pay()) return;
  for (int i = 0; i < program.size(); ++i) {
    const std::optional<End> end = end_of(program, i);
    if (!end) continue;
    // At most one of them is what computes the end's input.
    convolution(program, *end);
    sum(program, *end);
    product(program, *end);
    gemm(program, *end);
    maximum(program, *end);
    join(program, *end);
  }
}

}  // namespace mezzo::passes
