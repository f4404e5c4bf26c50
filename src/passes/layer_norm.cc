// LayerNormalization over the last axis, written out as exporters do before opset 17:
//   d = x - ReduceMean(x);  y = d / Sqrt(ReduceMean(d^2) + epsilon) * scale + bias
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// Whether step `i` takes the mean along the last axis, which stays with an extent of 1.
bool is_row_mean(const Program& program, int i) {
  if (!program.is(i, "ReduceMean")) return false;
  Shape rows = program.op(i).in_shape(0);
  if (rows.empty()) return false;
  rows.back() = 1;
  // Axes of one element may be in the mean or not.
  return program.op(i).out_shape(0) == rows;
}

// Whether step `i` is the square of `slot`.
bool is_square(const Program& program, int i, int slot) {
  if (program.is(i, "Mul")) return program.in(i, 0) == slot && program.in(i, 1) == slot;
  return program.is(i, "Pow") && program.in(i, 0) == slot && program.is_number(program.in(i, 1), 2);
}

// Whether a slot is a constant row as long as the last axis of `x`.
bool is_row(const Program& program, int slot, const Shape& x) {
  if (!program.is_constant(slot)) return false;
  const Shape& shape = program.slot(slot).operand.shape;
  return !shape.empty() && shape.size() <= x.size() && shape.back() == x.back() &&
         element_count(shape) == x.back();
}

int producer(const Program& program, int slot) {
  return slot < 0 ? -1 : program.slot(slot).producer;
}

void recognise(Program& program, int div) {
  const int sqrt = program.maker(div, 1, "Sqrt");
  const int add = sqrt < 0 ? -1 : program.maker(sqrt, 0, "Add");
  if (add < 0) return;
  const int epsilon_input = program.number(program.in(add, 1)) ? 1 : 0;
  const std::optional<float> epsilon = program.number(program.in(add, epsilon_input));
  const int variance = producer(program, program.in(add, 1 - epsilon_input));
  const int difference = program.in(div, 0);
  const int sub = program.maker_of(difference, "Sub");
  if (!epsilon || sub < 0 || !is_row_mean(program, variance)) return;
  const int square = producer(program, program.in(variance, 0));
  const int mean = producer(program, program.in(sub, 1));
  if (!is_square(program, square, difference) || !is_row_mean(program, mean) ||
      program.in(mean, 0) != program.in(sub, 0)) {
    return;
  }
  const Shape x = program.op(sub).in_shape(0);
  const int normal = program.step(div).out[0];
  const int mul = program.user(normal, "Mul");
  const int scale = program.other(mul, normal);
  if (!is_row(program, scale, x)) return;
  std::vector<int> members = {mean, sub, square, variance, add, sqrt, div, mul};
  Replacement norm{.op_type = "LayerNormalization", .domain = "", .opset = 17};
  norm.attributes = {attribute("axis", std::int64_t{-1}), attribute("epsilon", *epsilon)};
  norm.in = {program.in(sub, 0), scale};
  norm.out = {program.step(mul).out[0]};
  const int shift = program.user(norm.out[0], "Add");
  const int bias = program.other(shift, norm.out[0]);
  if (is_row(program, bias, x)) {
    Replacement biased = norm;
    biased.in.push_back(bias);
    biased.out = {program.step(shift).out[0]};
    std::vector<int> all = members;
    all.push_back(shift);
    if (program.fuse(std::move(all), std::move(biased))) return;
  }
  program.fuse(std::move(members), std::move(norm));
}

}  // namespace

void layer_norm(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (program.is(i, "Div")) recognise(program, i);
  }
}

}  // namespace mezzo::passes
