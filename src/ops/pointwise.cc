// Pointwise (mezzo 1): see pointwise.h. Function i of the chain is functions[i]; its operands are
// operands[2 i] and, where it has two, operands[2 i + 1]: inputs by their number, and behind them
// the results of earlier functions. parameters[2 i] and the next are what kernels::UnaryArgs holds.
// Output j is the result of function results[j], and streamed[j] says whether nobody reads it soon.
// All results have the shape of input 0; other inputs are broadcast to it.

#include "ops/pointwise.h"

#include "kernels/pointwise_f32.h"
#include "ops/broadcast_f32.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using kernels::Binary;
using kernels::PointwiseStep;
using kernels::Unary;

constexpr std::int64_t kUnaries = static_cast<std::int64_t>(Unary::mish) + 1,
                       kBinaries = static_cast<std::int64_t>(Binary::prelu) + 1;

[[noreturn]] void bad_attribute(const char* name, const std::string& expected, std::int64_t got) {
  throw invalid("a bad chain of functions")
      .at("attribute '" + std::string(name) + "'")
      .expected(expected)
      .got(std::to_string(got));
}

void check_number(const char* name, std::int64_t number, std::int64_t end) {
  if (number < 0 || number >= end)
    bad_attribute(name, "numbers from 0 to " + std::to_string(end - 1), number);
}

void check_length(const char* name, std::size_t length, std::size_t expected) {
  if (length != expected)
    bad_attribute(name, std::to_string(expected) + " entries", static_cast<std::int64_t>(length));
}

// How the operands with these numbers make a tensor of the chain's shape.
kernels::Broadcast broadcast_of_operands(const Op& op, std::int64_t a, std::int64_t b) {
  const Shape& shape = op.in_shape(0);
  const auto shape_of = [&](std::int64_t operand) -> const Shape& {
    return operand < op.inputs() ? op.in_shape(static_cast<int>(operand)) : shape;
  };
  if (broadcasts_to(shape_of(a), shape) && broadcasts_to(shape_of(b), shape)) {
    if (const auto found = broadcast_of(shape_of(a), shape_of(b), shape)) return *found;
  }
  throw invalid("the operands of a function do not fit the chain")
      .expected("a scalar, a row or a column, and " + to_string(shape))
      .got(to_string(shape_of(a)) + " and " + to_string(shape_of(b)));
}

// The chain that the attributes describe. Throws Error(invalid_model) where they describe none.
std::vector<PointwiseStep> steps_of(const Op& op) {
  const std::vector<std::int64_t> functions = op.attr_ints("functions"),
                                  operands = op.attr_ints("operands"),
                                  results = op.attr_ints("results"),
                                  streamed = op.attr_ints("streamed");
  const std::vector<float> parameters = op.attr_floats("parameters");
  const std::size_t count = functions.size(), outputs = static_cast<std::size_t>(op.outputs());
  check_length("operands", operands.size(), 2 * count);
  check_length("parameters", parameters.size(), 2 * count);
  check_length("results", results.size(), outputs);
  check_length("streamed", streamed.size(), outputs);
  std::vector<PointwiseStep> steps;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t number = functions[i], known = op.inputs() + static_cast<std::int64_t>(i);
    check_number("functions", number, kUnaries + kBinaries);
    PointwiseStep& step = steps.emplace_back();
    const std::int64_t a = operands[2 * i], b = operands[2 * i + 1];
    check_number("operands", a, known);
    step.a = static_cast<int>(a);
    if (number < kUnaries) {
      if (a < op.inputs() && op.in_shape(step.a) != op.in_shape(0))
        bad_attribute("operands", "an input of the shape " + to_string(op.in_shape(0)), a);
      step.function = PointwiseStep::OfOne{static_cast<Unary>(number),
                                           {parameters[2 * i], parameters[2 * i + 1]}};
      continue;
    }
    check_number("operands", b, known);
    step.b = static_cast<int>(b);
    step.function = PointwiseStep::OfTwo{static_cast<Binary>(number - kUnaries),
                                         broadcast_of_operands(op, a, b)};
  }
  for (std::size_t j = 0; j < outputs; ++j) {
    check_number("results", results[j], static_cast<std::int64_t>(count));
    PointwiseStep& step = steps[static_cast<std::size_t>(results[j])];
    if (!op.has_out(static_cast<int>(j))) continue;
    if (step.output >= 0) bad_attribute("results", "each function once", results[j]);
    step.output = static_cast<int>(j);
    step.streamed = streamed[j] != 0;
  }
  // Output 0 may lie where input 0 lies.
  if (count == 0 || steps.back().output != 0)
    bad_attribute("results", "the last function first", results.empty() ? -1 : results[0]);
  return steps;
}

void infer(Op& op) {
  steps_of(op);
  for (int i = 0; i < op.outputs(); ++i) op.set_out(i, DType::f32, op.in_shape(0));
}

Choice in_blocks(Op& op) {
  return Kernel(
      [chain = kernels::Pointwise(op.inputs(), steps_of(op), element_count(op.in_shape(0))),
       inputs = op.inputs(), outputs = op.outputs()](Run& run) {
        std::vector<const float*> in;
        std::vector<float*> out;
        for (int i = 0; i < inputs; ++i) in.push_back(run.in<float>(i));
        for (int i = 0; i < outputs; ++i) out.push_back(run.out<float>(i));
        chain.run(in.data(), out.data(), run.pool());
      });
}

}  // namespace

PointwiseFunction PointwiseFunction::of(Unary function, kernels::UnaryArgs args) {
  return {static_cast<std::int64_t>(function), args};
}

PointwiseFunction PointwiseFunction::of(Binary function) {
  return {kUnaries + static_cast<std::int64_t>(function), {}};
}

std::optional<PointwiseFunction> pointwise_function(const Op& op) {
  if (!op.has_in(0) || op.in(0).dtype != DType::f32) return std::nullopt;
  for (const Row::NamedChooser& kernel : op.row().kernels()) {
    if (const auto* unary = kernel.choose.target<UnaryF32>())
      return PointwiseFunction::of(unary->function, unary->args_of(op));
    if (const auto* binary = kernel.choose.target<BinaryF32>()) {
      if (op.opset() < 7 || !broadcast_of(op.in_shape(0), op.in_shape(1), op.out_shape(0)))
        return std::nullopt;
      return PointwiseFunction::of(binary->function);
    }
  }
  return std::nullopt;
}

}  // namespace mezzo::ops

MEZZO_FAMILY(pointwise) {
  using Kind = FormalAttribute::Kind;
  op("Pointwise", "mezzo")
      .since(1)
      .attr("functions", Kind::ints)
      .attr("operands", Kind::ints)
      .attr("parameters", Kind::floats)
      .attr("results", Kind::ints)
      .attr("streamed", Kind::ints)
      .in("X", DType::f32, Arity::variadic)
      .out("Y", like(0), Arity::variadic)
      .infer(infer)
      .in_place(0)
      .batched_by_shape()
      .simd_kernel("in blocks", in_blocks);
}
