// LayerNormalization over the last axis, written out as exporters do before opset 17,
//   d = x - ReduceMean(x);  y = d / Sqrt(ReduceMean(d^2) + epsilon) * scale + bias
// and RMSNormalization, as before opset 23:
//   y = x / Sqrt(ReduceMean(x^2) + epsilon) * scale
// which also multiplies by the reciprocal.
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

// Sqrt(ReduceMean(rows^2) + epsilon).
struct Deviation {
  int rows = -1;  // the slot
  float epsilon = 0;
  std::vector<int> members = {};
};

std::optional<Deviation> deviation_of(const Program& program, int sqrt) {
  const int add = sqrt < 0 ? -1 : program.maker(sqrt, 0, "Add");
  if (add < 0) return std::nullopt;
  const int epsilon_input = program.number(program.in(add, 1)) ? 1 : 0;
  const std::optional<float> epsilon = program.number(program.in(add, epsilon_input));
  const int mean = producer(program, program.in(add, 1 - epsilon_input));
  if (!epsilon || !is_row_mean(program, mean)) return std::nullopt;
  const int square = producer(program, program.in(mean, 0));
  const int rows = square < 0 ? -1 : program.in(square, 0);
  if (!is_square(program, square, rows)) return std::nullopt;
  return Deviation{rows, *epsilon, {square, mean, add, sqrt}};
}

// The step that divides `rows` by the deviation, and those on the way to it; none: empty.
std::vector<int> division_of(const Program& program, const Deviation& deviation) {
  const int result = program.step(deviation.members.back()).out[0];
  for (const int user : program.slot(result).users) {
    if (program.is(user, "Div") && program.in(user, 0) == deviation.rows) return {user};
    const bool inverts = program.is(user, "Reciprocal") ||
                         (program.is(user, "Div") && program.is_number(program.in(user, 0), 1));
    const int inverse = inverts ? program.step(user).out[0] : -1;
    const int mul = inverts ? program.user(inverse, "Mul") : -1;
    if (mul >= 0 && program.other(mul, inverse) == deviation.rows) return {user, mul};
  }
  return {};
}

void recognise_rms(Program& program, int sqrt) {
  const std::optional<Deviation> deviation = deviation_of(program, sqrt);
  if (!deviation) return;
  const std::vector<int> division = division_of(program, *deviation);
  if (division.empty()) return;
  const int normal = program.step(division.back()).out[0];
  const int mul = program.user(normal, "Mul");
  const int scale = program.other(mul, normal);
  if (!is_row(program, scale, program.slot(deviation->rows).operand.shape)) return;
  std::vector<int> members = deviation->members;
  members.insert(members.end(), division.begin(), division.end());
  members.push_back(mul);
  Replacement norm{.op_type = "RMSNormalization", .domain = "", .opset = 23};
  norm.attributes = {attribute("axis", std::int64_t{-1}), attribute("epsilon", deviation->epsilon)};
  norm.in = {deviation->rows, scale};
  norm.out = {program.step(mul).out[0]};
  program.fuse(std::move(members), std::move(norm));
}

void recognise(Program& program, int div) {
  const std::optional<Deviation> deviation = deviation_of(program, program.maker(div, 1, "Sqrt"));
  const int difference = program.in(div, 0);
  const int sub = program.maker_of(difference, "Sub");
  if (!deviation || deviation->rows != difference || sub < 0) return;
  const int mean = producer(program, program.in(sub, 1));
  if (!is_row_mean(program, mean) || program.in(mean, 0) != program.in(sub, 0)) return;
  const Shape x = program.op(sub).in_shape(0);
  const int normal = program.step(div).out[0];
  const int mul = program.user(normal, "Mul");
  const int scale = program.other(mul, normal);
  if (!is_row(program, scale, x)) return;
  std::vector<int> members = {mean, sub};
  members.insert(members.end(), deviation->members.begin(), deviation->members.end());
  members.insert(members.end(), {div, mul});
  Replacement norm{.op_type = "LayerNormalization", .domain = "", .opset = 17};
  norm.attributes = {attribute("axis", std::int64_t{-1}), attribute("epsilon", deviation->epsilon)};
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
  for (int i = 0; i < program.size(); ++i) {
    if (program.is(i, "Sqrt")) recognise_rms(program, i);
  }
}

}  // namespace mezzo::passes
