// RNN, GRU, LSTM (ai.onnx 1, [GRU 3,] 7, 14, 22). output_sequence ended with 7, layout came with
// 14; GRU-1 had no linear_before_reset, and misspelt its default direction.

#include <string>

#include "base/memory.h"
#include "base/shape.h"
#include "kernels/target.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/recurrent.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
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

void expect_shape(const Op& op, int i, const Shape& shape) {
  if (op.has_in(i) && op.in_shape(i) != shape) {
    throw invalid("an input does not fit the others")
        .at("input '" + op.row().inputs()[static_cast<std::size_t>(i)].name + "'")
        .expected(to_string(shape))
        .got(to_string(op.in_shape(i)));
  }
}

// The shape of the initial and last states.
Shape state_shape(const Recurrence& r) {
  return r.batch_first ? Shape{r.batch, r.directions, r.hidden}
                       : Shape{r.directions, r.batch, r.hidden};
}

Recurrence recurrence_of(const Op& op) {
  Recurrence r;
  const std::string& name = op.row().name();
  r.cell = name == "LSTM" ? Cell::lstm : name == "GRU" ? Cell::gru : Cell::rnn;
  read_direction(op, r);
  r.batch_first = version(op) >= 14 && op.attr_int("layout") != 0;
  require_rank(op, 0, 3, 3);
  require_rank(op, 2, 3, 3);
  const Shape& x = op.in_shape(0);
  r.steps = x[r.batch_first ? 1 : 0];
  r.batch = x[r.batch_first ? 0 : 1];
  r.inputs = x[2];
  r.hidden = op.in_shape(2)[2];
  if (op.has_attr("hidden_size") && op.attr_int("hidden_size") != r.hidden) {
    throw invalid("hidden_size is not that of the weights")
        .expected(std::to_string(r.hidden))
        .got(std::to_string(op.attr_int("hidden_size")));
  }
  const std::int64_t columns = checked_mul(r.gates(), r.hidden);
  expect_shape(op, 1, {r.directions, columns, r.inputs});
  expect_shape(op, 2, {r.directions, columns, r.hidden});
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

void infer(Op& op) {
  const Recurrence r = recurrence_of(op);
  const DType dtype = op.in(0).dtype;
  op.set_out(0, dtype,
             r.batch_first ? Shape{r.batch, r.steps, r.directions, r.hidden}
                           : Shape{r.steps, r.directions, r.batch, r.hidden});
  op.set_out(1, dtype, state_shape(r));
  op.set_out(2, dtype, state_shape(r));
}

std::int64_t multiply_adds(const Op& op) {
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

template <class T>
DirectionData<T> data_of(const Recurrence& r, const Run& run, std::int64_t d) {
  DirectionData<T> data;
  const auto part = [&](const T* tensor, std::int64_t offset) {
    return tensor != nullptr ? tensor + offset : nullptr;
  };
  // States and outputs of a direction are slices of the tensors.
  const std::int64_t state = r.batch_first ? d * r.hidden : d * r.batch * r.hidden;
  const auto out = [&](int i, std::int64_t offset) {
    T* tensor = run.out<T>(i);
    return tensor != nullptr ? tensor + offset : nullptr;
  };
  data.x = run.in<T>(0);
  data.bias = part(run.in<T>(3), d * 2 * r.gate_columns());
  data.lengths = run.in<std::int32_t>(4);
  data.initial_h = part(run.in<T>(5), state);
  data.last_h = out(1, state);
  if (r.cell == Cell::lstm) {
    data.initial_c = part(run.in<T>(6), state);
    data.peephole = part(run.in<T>(7), d * 3 * r.hidden);
    data.last_c = out(2, state);
  }
  data.state_stride = r.batch_first ? r.directions * r.hidden : r.hidden;
  data.y = out(0, state);
  data.y_step = r.directions * r.hidden * (r.batch_first ? 1 : r.batch);
  data.y_row = r.batch_first ? r.steps * r.directions * r.hidden : r.hidden;
  return data;
}

// Runs the directions, at the same time where there are threads; `math_of(d)` gives their matrices.
template <class T, class MathOf>
void run_directions(const Recurrence& r, Run& run, MathOf math_of) {
  check_lengths(r, run.in<std::int32_t>(4));
  const auto each = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t d = begin; d < end; ++d) {
      const DirectionData<T> data = data_of<T>(r, run, d);
      const auto math = math_of(d);
      Direction<T, std::decay_t<decltype(math)>>(r, static_cast<int>(d), data, math, run.pool())
          .run();
    }
  };
  if (r.directions == 1) {
    each(0, 1);
  } else {
    run.pool().parallel_for(r.directions, 1, each);
  }
}

// Rows [first, first + rows) of each direction's matrix [rows_in_all, k], packed as a transposed
// factor; `stride` floats from one direction to the next.
struct PackedRows {
  Tensor data;
  std::int64_t stride = 0;
  const float* direction(std::int64_t d) const {
    return static_cast<const float*>(data.data()) + d * stride;
  }
};

PackedRows pack_rows(const Op& op, int input, std::int64_t first, std::int64_t rows) {
  const Shape& shape = op.in_shape(input);
  const std::int64_t k = shape[2];
  const auto alignment = static_cast<std::int64_t>(kAlignment);
  PackedRows packed;
  packed.stride = (static_cast<std::int64_t>(kernels::packed_b_bytes(k, rows)) + alignment - 1) /
                  alignment * alignment / static_cast<std::int64_t>(sizeof(float));
  const std::string key = "recurrent " + std::string(kernels::name_of(kernels::active_target())) +
                          ' ' + std::to_string(first) + ' ' + std::to_string(rows);
  packed.data = op.packed(input, key, [&](const Tensor& matrix) {
    Tensor result = Tensor::uninitialized(DType::f32, {checked_mul(shape[0], packed.stride)});
    auto* target = static_cast<float*>(result.mutable_data());
    ThreadPool pool(1);
    for (std::int64_t d = 0; d < shape[0]; ++d) {
      const float* from = matrix.values<float>().data() + (d * shape[1] + first) * k;
      kernels::pack_b(k, rows, {from, 1, k, false}, target + d * packed.stride, pool);
    }
    return result;
  });
  return packed;
}

Choice gemm(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Recurrence r = recurrence_of(op);
  if (r.steps == 0 || r.batch == 0 || r.inputs == 0 || r.hidden == 0) {
    return refuse("an empty tensor");
  }
  if (!op.is_constant(1) || !op.is_constant(2)) {
    return [r](Run& run) {
      const float *w = run.in<float>(1), *recurrence = run.in<float>(2);
      run_directions<float>(r, run, [&](std::int64_t d) {
        return SimdMath{false, w + d * r.gate_columns() * r.inputs,
                        recurrence + d * r.gate_columns() * r.hidden, nullptr};
      });
    };
  }
  const std::int64_t split = first_part(r) * r.hidden, rest = r.gate_columns() - split;
  const PackedRows w = pack_rows(op, 1, 0, r.gate_columns());
  const PackedRows first = pack_rows(op, 2, 0, split);
  const PackedRows second = rest > 0 ? pack_rows(op, 2, split, rest) : PackedRows{};
  return [r, w, first, second](Run& run) {
    run_directions<float>(r, run, [&](std::int64_t d) {
      return SimdMath{true, w.direction(d), first.direction(d),
                      second.data.has_value() ? second.direction(d) : nullptr};
    });
  };
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [r = recurrence_of(op)](Run& run) {
      const T *w = run.in<T>(1), *recurrence = run.in<T>(2);
      run_directions<T>(r, run, [&](std::int64_t d) {
        return PlainMath<T>{w + d * r.gate_columns() * r.inputs,
                            recurrence + d * r.gate_columns() * r.hidden};
      });
    };
  });
  return choice;
}

Row& common(Row& row, TypeSet types) {
  return row.attr("activation_alpha", Kind::floats)
      .attr("activation_beta", Kind::floats)
      .attr("clip", Kind::float_)
      .attr("hidden_size", Kind::int_)
      .in("X", types)
      .in("W", like(0))
      .in("R", like(0))
      .in("B", like(0), Arity::optional)
      .in("sequence_lens", DType::i32, Arity::optional)
      .in("initial_h", like(0), Arity::optional)
      .infer(infer)
      .simd_kernel("GEMM", gemm)
      .kernel("reference", reference)
      .multiply_adds(multiply_adds);
}

Row& two_outputs(Row& row) {
  return row.out("Y", like(0), Arity::optional).out("Y_h", like(0), Arity::optional);
}

Row& rnn(Registry& op, TypeSet types) {
  return two_outputs(common(op("RNN"), types))
      .attr("activations", std::vector<std::string>{"Tanh", "Tanh"})
      .attr("direction", "forward");
}

Row& gru(Registry& op, TypeSet types) {
  return two_outputs(common(op("GRU"), types))
      .attr("activations", Kind::strings)
      .attr("direction", "forward")
      .attr("linear_before_reset", 0);
}

Row& lstm(Registry& op, TypeSet types) {
  return two_outputs(common(op("LSTM"), types))
      .attr("activations", Kind::strings)
      .attr("direction", "forward")
      .attr("input_forget", 0)
      .in("initial_c", like(0), Arity::optional)
      .in("P", like(0), Arity::optional)
      .out("Y_c", like(0), Arity::optional);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(rnn) {
  rnn(op, kFloats).since(1).attr("output_sequence", 0);
  rnn(op, kFloats).since(7);
  rnn(op, kFloatsBf16).since(14, 22).attr("layout", 0);

  common(op("GRU"), kFloats)
      .since(1)
      .attr("activations", Kind::strings)
      .attr("direction", "foward")
      .attr("output_sequence", 0)
      .out("Y", like(0), Arity::optional)
      .out("Y_h", like(0));
  gru(op, kFloats).since(3).attr("output_sequence", 0);
  gru(op, kFloats).since(7);
  gru(op, kFloatsBf16).since(14, 22).attr("layout", 0);

  lstm(op, kFloats).since(1).attr("output_sequence", 0);
  lstm(op, kFloats).since(7);
  lstm(op, kFloatsBf16).since(14, 22).attr("layout", 0);
}
