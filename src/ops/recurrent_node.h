// The nodes RNN, GRU and LSTM, and what quantisation makes of an LSTM: attributes, shapes, and the
// way from tensors to directions.
#pragma once

#include <type_traits>

#include "ops/op.h"
#include "ops/recurrent.h"

namespace mezzo::ops {

/// What a node does. Throws Error(invalid_model) where attributes and shapes do not fit.
Recurrence recurrence_of(const Op& op);
void infer_recurrent(Op& op);
std::int64_t recurrent_multiply_adds(const Op& op);

/// Throws unless each of the lengths (null: none are given) is 0 to steps.
void check_lengths(const Recurrence& r, const std::int32_t* lengths);

/// The tensors of direction `d`.
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
  if (r.cell == Recurrence::Cell::lstm) {
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

/// Runs the directions, at the same time where there are threads; `math_of(d)` gives their
/// matrices.
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

}  // namespace mezzo::ops
