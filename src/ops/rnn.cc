// RNN, GRU, LSTM (ai.onnx 1, [GRU 3,] 7, 14, 22). output_sequence ended with 7, layout came with
// 14; GRU-1 had no linear_before_reset, and misspelt its default direction.

#include <string>

#include "base/memory.h"
#include "base/shape.h"
#include "kernels/target.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/recurrent_node.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

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
      .infer(infer_recurrent)
      .simd_kernel("GEMM", gemm)
      .kernel("reference", reference)
      .multiply_adds(recurrent_multiply_adds);
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
