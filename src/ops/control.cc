// If, Loop and Scan. Spec: ai.onnx If-1 to -25, Loop-1 to -25 (M and cond may be omitted), Scan-8
// (batched, a sequence along axis 1), Scan-9 to -25 (any axes).
#include <algorithm>

#include "base/shape.h"
#include "ops/shapes.h"
#include "ops/stacking.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

void infer_unknown(Op& op) {
  for (int i = 0; i < op.outputs(); ++i) op.set_out_unknown(i, DType::undefined);
}

// Gives `tensor` as output `i`, where the node has it. What the tensor looks at may belong to an
// input of the step, which lives shorter than the output.
void give(Run& run, int i, const Tensor& tensor) {
  if (run.op().has_out(i)) run.give(i, tensor.owned());
}

// Throws unless the body gave `before` results, then one for each output of the node.
void check_count(const Op& op, std::size_t results, int before, int states) {
  const int wanted = before + std::max(op.outputs(), states);
  if (static_cast<int>(results) < wanted) {
    throw invalid("the body has too few outputs")
        .expected(std::to_string(wanted))
        .got(std::to_string(results));
  }
}

// An optional may get or lose its contents.
void check_type(const Tensor& state, DType wanted, int i) {
  if (state.dtype() != wanted && state.dtype() != DType::none && wanted != DType::none) {
    throw Error(ErrorCode::runtime, "a loop-carried value changed its type")
        .at("loop-carried value " + std::to_string(i))
        .expected(std::string(name_of(wanted)))
        .got(std::string(name_of(state.dtype())));
  }
}

// A scan output of no iterations: of its declared type and extents (0 for those not declared), with
// an axis of extent 0 at `axis`.
Tensor no_iterations(Run& run, graph::BodyId body, int output, std::int64_t axis) {
  const onnx::Type type = run.bodies().declared_output(body, output);
  if (type.kind != onnx::Type::Kind::tensor || type.dtype == DType::undefined) {
    throw Error(ErrorCode::runtime,
                "no iteration was run, and the body does not declare the type of a scan output")
        .at("output " + std::to_string(output) + " of the body");
  }
  Shape shape;
  if (type.shape) {
    for (const onnx::Dim& dim : *type.shape) {
      shape.push_back(std::max<std::int64_t>(0, dim.value.value_or(0)));
    }
  }
  // Of an undeclared shape, only the new axis is known.
  const int at = type.shape ? normalize_axis(axis, static_cast<int>(shape.size()) + 1) : 0;
  shape.insert(shape.begin() + at, 0);
  return Tensor(type.dtype, std::move(shape));
}

void infer_loop(Op& op) {
  for (int i = 0; i < 2; ++i) {
    if (op.has_in(i) && element_count(op.in_shape(i)) != 1) {
      throw invalid(i == 0 ? "the trip count must be one number" : "the condition must be one bool")
          .at("input " + std::to_string(i))
          .got(to_string(op.in_shape(i)));
    }
  }
  infer_unknown(op);
}

bool truth(const Tensor& condition) {
  if (condition.dtype() != DType::boolean || condition.size() != 1) {
    throw Error(ErrorCode::runtime, "the body's condition must be one bool")
        .got(std::string(name_of(condition.dtype())) + to_string(condition.shape()));
  }
  return condition.values<bool>()[0];
}

void run_loop(Run& run) {
  const Op& op = run.op();
  const graph::BodyId body = op.attr_body("body");
  const int states = std::max(0, op.inputs() - 2);
  const int scans = std::max(0, op.outputs() - states);
  std::vector<std::vector<Tensor>> scanned(static_cast<std::size_t>(scans));
  std::vector<Tensor> values;  // iteration, condition, states
  values.emplace_back();
  values.push_back(op.has_in(1) ? run.in_tensor(1) : Tensor::scalar(true));
  for (int i = 0; i < states; ++i) values.push_back(run.in_tensor(i + 2));

  const bool counted = op.has_in(0);
  const std::int64_t trips = counted ? run.in_ints(0)[0] : 0;
  for (std::int64_t iteration = 0; (!counted || iteration < trips) && truth(values[1]);
       ++iteration) {
    if (iteration >= run.bodies().iteration_limit()) {
      throw Error(ErrorCode::limit, "the loop runs too long")
          .expected("at most " + std::to_string(run.bodies().iteration_limit()) + " iterations");
    }
    values[0] = Tensor::scalar(iteration);
    std::vector<Tensor> results = run.bodies().call(body, values);
    check_count(op, results.size(), 1, states);
    // Without a condition input the body's condition is ignored.
    if (op.has_in(1)) values[1] = std::move(results[0]);
    for (int i = 0; i < states; ++i) {
      Tensor& state = results[static_cast<std::size_t>(i) + 1];
      check_type(state, op.in(i + 2).dtype, i);
      values[static_cast<std::size_t>(i) + 2] = std::move(state);
    }
    for (int i = 0; i < scans; ++i) {
      if (!op.has_out(states + i)) continue;
      scanned[static_cast<std::size_t>(i)].push_back(
          std::move(results[static_cast<std::size_t>(1 + states + i)]));
    }
  }
  for (int i = 0; i < states; ++i) give(run, i, values[static_cast<std::size_t>(i) + 2]);
  for (int i = 0; i < scans; ++i) {
    if (!op.has_out(states + i)) continue;
    const auto& slices = scanned[static_cast<std::size_t>(i)];
    give(run, states + i,
         slices.empty() ? no_iterations(run, body, 1 + states + i, 0) : stack(slices, 0));
  }
}

// How a Scan node reads its inputs and writes its outputs. Inputs are numbered from `first`.
struct ScanLayout {
  int first = 0, states = 0, inputs = 0, outputs = 0;
  std::vector<std::int64_t> input_axes, input_reversed, output_axes, output_reversed;
  std::int64_t length = 0;
};

std::vector<std::int64_t> list_of(const Op& op, const char* attribute, int count, bool is_flags) {
  std::vector<std::int64_t> list = op.attr_ints(attribute);
  if (list.empty()) list.assign(static_cast<std::size_t>(count), 0);
  const bool bad_flags =
      is_flags && std::any_of(list.begin(), list.end(), [](auto x) { return x != 0 && x != 1; });
  if (static_cast<int>(list.size()) < count || bad_flags) {
    throw invalid("a list that does not fit the scan")
        .at(std::string("attribute '") + attribute + "'")
        .expected(std::to_string(count) + (is_flags ? " numbers 0 or 1" : " numbers"))
        .got(to_string(list));
  }
  return list;
}

ScanLayout scan_layout(const Op& op) {
  const bool batched = op.row().versions().front() == 8;
  ScanLayout layout;
  layout.first = batched ? 1 : 0;
  const std::int64_t scanned = op.attr_int("num_scan_inputs");
  const int given = op.inputs() - layout.first;
  if (scanned < 1 || scanned > given) {
    throw invalid("the number of scan inputs does not fit the node")
        .at("attribute 'num_scan_inputs'")
        .expected("1 to " + std::to_string(given))
        .got(std::to_string(scanned));
  }
  layout.inputs = static_cast<int>(scanned);
  layout.states = given - layout.inputs;
  layout.outputs = std::max(0, op.outputs() - layout.states);
  if (batched) {
    layout.input_axes.assign(static_cast<std::size_t>(layout.inputs), 1);
    layout.input_reversed = list_of(op, "directions", layout.inputs, true);
    layout.output_axes = layout.output_reversed =
        std::vector<std::int64_t>(static_cast<std::size_t>(layout.outputs), 0);
  } else {
    layout.input_axes = list_of(op, "scan_input_axes", layout.inputs, false);
    layout.input_reversed = list_of(op, "scan_input_directions", layout.inputs, true);
    layout.output_axes = list_of(op, "scan_output_axes", layout.outputs, false);
    layout.output_reversed = list_of(op, "scan_output_directions", layout.outputs, true);
  }
  for (int i = layout.first; i < op.inputs(); ++i) {
    if (!op.has_in(i)) throw invalid("an input is missing").at("input " + std::to_string(i));
    const bool is_state = i < layout.first + layout.states;
    require_rank(op, i, (batched ? 1 : 0) + (is_state ? 0 : 1));
    if (batched && op.in_shape(i)[0] != op.in_shape(layout.first)[0]) {
      throw invalid("the inputs have different batch sizes").at("input " + std::to_string(i));
    }
    if (is_state) continue;
    const int scan = i - layout.first - layout.states;
    std::int64_t& axis = layout.input_axes[static_cast<std::size_t>(scan)];
    axis = normalize_axis(axis, op.in_rank(i));
    const std::int64_t length = op.in_shape(i)[static_cast<std::size_t>(axis)];
    if (scan > 0 && length != layout.length) {
      throw invalid("the scan inputs have different lengths")
          .at("input " + std::to_string(i))
          .expected(std::to_string(layout.length))
          .got(std::to_string(length));
    }
    layout.length = length;
  }
  return layout;
}

void infer_scan(Op& op) {
  const ScanLayout layout = scan_layout(op);
  if (layout.first == 1 && op.has_in(0) && op.in_shape(0) != Shape{op.in_shape(1)[0]}) {
    throw invalid("there must be one sequence length for each of the batch")
        .at("input 0")
        .expected(to_string({op.in_shape(1)[0]}))
        .got(to_string(op.in_shape(0)));
  }
  infer_unknown(op);
}

// Scans `sequences` over [0, length). `states` are replaced by their last values; the result is
// the scan outputs' slices, by output.
std::vector<std::vector<Tensor>> scan(Run& run, const ScanLayout& layout,
                                      std::vector<Tensor>& states,
                                      const std::vector<Tensor>& sequences,
                                      const std::vector<std::int64_t>& axes, std::int64_t length) {
  const Op& op = run.op();
  std::vector<std::vector<Tensor>> scanned(static_cast<std::size_t>(layout.outputs));
  for (std::int64_t at = 0; at < length; ++at) {
    std::vector<Tensor> values = states;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::int64_t index = layout.input_reversed[i] != 0 ? length - 1 - at : at;
      values.push_back(slice_at(sequences[i], static_cast<int>(axes[i]), index));
    }
    std::vector<Tensor> results = run.bodies().call(op.attr_body("body"), std::move(values));
    check_count(op, results.size(), 0, layout.states);
    for (std::size_t i = 0; i < states.size(); ++i) {
      check_type(results[i], states[i].dtype(), static_cast<int>(i));
      states[i] = std::move(results[i]);
    }
    for (int i = 0; i < layout.outputs; ++i) {
      scanned[static_cast<std::size_t>(i)].push_back(
          std::move(results[static_cast<std::size_t>(layout.states + i)]));
    }
  }
  for (std::size_t i = 0; i < scanned.size(); ++i) {
    if (layout.output_reversed[i] != 0) std::reverse(scanned[i].begin(), scanned[i].end());
  }
  return scanned;
}

std::vector<Tensor> inputs_of(const Run& run, int begin, int end) {
  std::vector<Tensor> tensors;
  for (int i = begin; i < end; ++i) tensors.push_back(run.in_tensor(i));
  return tensors;
}

void run_scan(Run& run) {
  const Op& op = run.op();
  const ScanLayout layout = scan_layout(op);
  std::vector<Tensor> states = inputs_of(run, 0, layout.states);
  const std::vector<Tensor> sequences = inputs_of(run, layout.states, op.inputs());
  const auto scanned = scan(run, layout, states, sequences, layout.input_axes, layout.length);
  for (int i = 0; i < layout.states; ++i) give(run, i, states[static_cast<std::size_t>(i)]);
  for (int i = 0; i < layout.outputs; ++i) {
    if (!op.has_out(layout.states + i)) continue;
    const auto& slices = scanned[static_cast<std::size_t>(i)];
    const std::int64_t axis = layout.output_axes[static_cast<std::size_t>(i)];
    give(run, layout.states + i,
         slices.empty() ? no_iterations(run, op.attr_body("body"), layout.states + i, axis)
                        : stack(slices, axis));
  }
}

// Scan-8: each of the batch for itself, over its own length.
void run_batched_scan(Run& run) {
  const Op& op = run.op();
  const ScanLayout layout = scan_layout(op);
  const std::vector<Tensor> initial = inputs_of(run, 1, 1 + layout.states);
  const std::vector<Tensor> sequences = inputs_of(run, 1 + layout.states, op.inputs());
  const std::int64_t batch = op.in_shape(1)[0];
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(batch), layout.length);
  if (op.has_in(0)) lengths = run.in_ints(0);
  const std::vector<std::int64_t> axes(sequences.size(), 0);  // the batch axis is gone

  std::vector<std::vector<Tensor>> last(static_cast<std::size_t>(layout.states));
  std::vector<std::vector<Tensor>> scanned(static_cast<std::size_t>(layout.outputs));
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::int64_t length = lengths[static_cast<std::size_t>(b)];
    if (length < 0 || length > layout.length) {
      throw Error(ErrorCode::runtime, "a sequence length is out of range")
          .at("input 0")
          .expected("0 to " + std::to_string(layout.length))
          .got(std::to_string(length));
    }
    std::vector<Tensor> states, own;
    for (const Tensor& state : initial) states.push_back(slice_at(state, 0, b));
    for (const Tensor& sequence : sequences) own.push_back(slice_at(sequence, 0, b));
    const auto slices = scan(run, layout, states, own, axes, length);
    for (std::size_t i = 0; i < last.size(); ++i) last[i].push_back(std::move(states[i]));
    for (std::size_t i = 0; i < scanned.size(); ++i) {
      const int output = layout.states + static_cast<int>(i);
      scanned[i].push_back(padded(slices[i].empty()
                                      ? no_iterations(run, op.attr_body("body"), output, 0)
                                      : stack(slices[i], 0),
                                  layout.length));
    }
  }
  for (std::size_t i = 0; i < last.size(); ++i) {
    give(run, static_cast<int>(i), batch == 0 ? initial[i] : stack(last[i], 0));
  }
  for (std::size_t i = 0; i < scanned.size(); ++i) {
    const int output = layout.states + static_cast<int>(i);
    if (!op.has_out(output)) continue;
    if (batch > 0) {
      give(run, output, stack(scanned[i], 0));
      continue;
    }
    const Tensor none = no_iterations(run, op.attr_body("body"), output, 0);
    Shape shape = none.shape();
    shape[0] = layout.length;
    shape.insert(shape.begin(), 0);
    give(run, output, Tensor(none.dtype(), std::move(shape)));
  }
}

Choice loop(Op&) { return run_loop; }
Choice iterations(Op&) { return run_scan; }
Choice batched(Op&) { return run_batched_scan; }

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(control) {
  op("If")
      .since(1, 11, 13, 16, 19, 21, 23, 24, 25)
      .required("then_branch", Kind::graph)
      .required("else_branch", Kind::graph)
      .in("cond", DType::boolean)
      .out_any("outputs", kAllIr13 | kOptional)
      .branch("then_branch", "else_branch")
      .infer(infer_unknown);
  op("Loop")
      .since(1, 11, 13, 16, 19, 21, 23, 24, 25)
      .required("body", Kind::graph)
      .in("M", DType::i64, Arity::optional)
      .in("cond", DType::boolean, Arity::optional)
      .in_any("v_initial", kAllIr13 | kOptional)
      .out_any("v_final_and_scan_outputs", kAllIr13 | kOptional)
      .infer(infer_loop)
      .kernel("iterations", loop);
  op("Scan")
      .since(8)
      .required("body", Kind::graph)
      .required("num_scan_inputs", Kind::int_)
      .attr("directions", Kind::ints)
      .in("sequence_lens", DType::i64, Arity::optional)
      .in_any("initial_state_and_scan_inputs", kAllNoBf16)
      .out_any("final_state_and_scan_outputs", kAllNoBf16)
      .infer(infer_scan)
      .kernel("iterations, one of the batch after the other", batched);
  op("Scan")
      .since(9, 11, 16, 19, 21, 23, 24, 25)
      .required("body", Kind::graph)
      .required("num_scan_inputs", Kind::int_)
      .attr("scan_input_axes", Kind::ints)
      .attr("scan_input_directions", Kind::ints)
      .attr("scan_output_axes", Kind::ints)
      .attr("scan_output_directions", Kind::ints)
      .in_any("initial_state_and_scan_inputs", kAllIr13)
      .out_any("final_state_and_scan_outputs", kAllIr13)
      .infer(infer_scan)
      .kernel("iterations", iterations);
}
