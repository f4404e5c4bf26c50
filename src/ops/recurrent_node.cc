#include "ops/recurrent_node.h"

#include <string>

#include "base/shape.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Cell = Recurrence::Cell;

int version(const Op& op) { return op.row().versions().front(); }

// Names of the functions, and their parameters: lists that hold values only for those functions
// that take them.
std::vector<Activation> activations_of(const Op& op, const Recurrence& r) {
  const auto per_direction = static_cast<std::size_t>(r.activations_per_direction());
  const std::size_t wanted = per_direction * static_cast<std::size_t>(r.directions);
  std::vector<std::string> names = op.attr_strings("activations");
  if (names.empty()) {
    const std::vector<std::string> one =
        r.cell == Cell::lstm  ? std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"}
        : r.cell == Cell::gru ? std::vector<std::string>{"Sigmoid", "Tanh"}
                              : std::vector<std::string>{"Tanh"};
    for (int d = 0; d < r.directions; ++d) names.insert(names.end(), one.begin(), one.end());
  }
  // The default of RNN names two, whatever the direction.
  if (r.cell == Cell::rnn && names.size() == 2 && wanted == 1) names.pop_back();
  if (names.size() != wanted) {
    throw invalid("the wrong number of activation functions")
        .at("attribute 'activations'")
        .expected(std::to_string(wanted))
        .got(std::to_string(names.size()));
  }
  const std::vector<float> alphas = op.attr_floats("activation_alpha");
  const std::vector<float> betas = op.attr_floats("activation_beta");
  std::size_t alpha = 0, beta = 0;
  std::vector<Activation> activations;
  for (const std::string& name : names) {
    Activation activation = Activation::named(name);
    if (activation.has_alpha() && alpha < alphas.size()) activation.alpha = alphas[alpha++];
    if (activation.has_beta() && beta < betas.size()) activation.beta = betas[beta++];
    activations.push_back(activation);
  }
  return activations;
}

void read_direction(const Op& op, Recurrence& r) {
  const std::string direction = op.attr_string("direction");
  if (direction == "bidirectional") {
    r.directions = 2;
  } else if (direction == "reverse") {
    r.reverse = true;
  } else if (direction != "forward" && !(r.cell == Cell::gru && direction == "foward")) {
    throw invalid("an unknown direction")
        .at("attribute 'direction'")
        .expected("forward, reverse or bidirectional")
        .got(direction);
  }
}

// The shape of the initial and last states.
Shape state_shape(const Recurrence& r) {
  return r.batch_first ? Shape{r.batch, r.directions, r.hidden}
                       : Shape{r.directions, r.batch, r.hidden};
}

}  // namespace

Recurrence recurrence_of(const Op& op) {
  Recurrence r;
  const std::string& name = op.row().name();
  // DynamicQuantizeLSTM has its matrices transposed.
  const bool transposed = name == "DynamicQuantizeLSTM";
  r.cell = name == "LSTM" || transposed ? Cell::lstm : name == "GRU" ? Cell::gru : Cell::rnn;
  read_direction(op, r);
  r.batch_first = version(op) >= 14 && op.attr_int("layout") != 0;
  require_rank(op, 0, 3, 3);
  require_rank(op, 2, 3, 3);
  const Shape& x = op.in_shape(0);
  r.steps = x[r.batch_first ? 1 : 0];
  r.batch = x[r.batch_first ? 0 : 1];
  r.inputs = x[2];
  r.hidden = op.in_shape(2)[transposed ? 1 : 2];
  if (op.has_attr("hidden_size") && op.attr_int("hidden_size") != r.hidden) {
    throw invalid("hidden_size is not that of the weights")
        .expected(std::to_string(r.hidden))
        .got(std::to_string(op.attr_int("hidden_size")));
  }
  const std::int64_t columns = checked_mul(r.gates(), r.hidden);
  const auto matrix = [&](std::int64_t k) {
    return transposed ? Shape{r.directions, k, columns} : Shape{r.directions, columns, k};
  };
  expect_shape(op, 1, matrix(r.inputs));
  expect_shape(op, 2, matrix(r.hidden));
  expect_shape(op, 3, {r.directions, checked_mul(2, columns)});
  expect_shape(op, 4, {r.batch});
  expect_shape(op, 5, state_shape(r));
  if (r.cell == Cell::lstm) {
    expect_shape(op, 6, state_shape(r));
    expect_shape(op, 7, {r.directions, 3 * r.hidden});
    r.input_forget = op.attr_int("input_forget") != 0;
  }
  if (r.cell == Cell::gru && version(op) >= 3) {
    r.linear_before_reset = op.attr_int("linear_before_reset") != 0;
  }
  r.clip = op.attr_float("clip");
  r.activations = activations_of(op, r);
  // The largest intermediate result.
  checked_mul(checked_mul(r.steps, r.batch), columns);
  return r;
}

void infer_recurrent(Op& op) {
  const Recurrence r = recurrence_of(op);
  const DType dtype = op.in(0).dtype;
  op.set_out(0, dtype,
             r.batch_first ? Shape{r.batch, r.steps, r.directions, r.hidden}
                           : Shape{r.steps, r.directions, r.batch, r.hidden});
  op.set_out(1, dtype, state_shape(r));
  op.set_out(2, dtype, state_shape(r));
}

std::int64_t recurrent_multiply_adds(const Op& op) {
  const Recurrence r = recurrence_of(op);
  return checked_mul(checked_mul(r.steps * r.batch, r.directions * r.gate_columns()),
                     r.inputs + r.hidden);
}

void check_lengths(const Recurrence& r, const std::int32_t* lengths) {
  for (std::int64_t b = 0; lengths != nullptr && b < r.batch; ++b) {
    if (lengths[b] < 0 || lengths[b] > r.steps) {
      throw Error(ErrorCode::runtime, "a sequence length is out of range")
          .at("sequence_lens[" + std::to_string(b) + "]")
          .expected("0 to " + std::to_string(r.steps))
          .got(std::to_string(lengths[b]));
    }
  }
}

}  // namespace mezzo::ops
