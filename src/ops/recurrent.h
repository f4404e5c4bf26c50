// One direction of RNN, GRU or LSTM, step by step. Equations and names: the documentation of the
// operators (version 14). The matrix products and activations are left to a `Math`, of which there
// is a plain and a SIMD one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/gemm_f32.h"
#include "ops/named_activation.h"

namespace mezzo::ops {

/// What a recurrent node does, as its attributes and shapes say.
struct Recurrence {
  enum class Cell { rnn, gru, lstm };
  Cell cell = Cell::rnn;
  std::int64_t steps = 0, batch = 0, inputs = 0, hidden = 0;
  int directions = 1;
  bool reverse = false;                 ///< the first direction runs from the end
  bool batch_first = false;             ///< layout = 1
  bool linear_before_reset = false;     ///< GRU
  bool input_forget = false;            ///< LSTM: the forget gate is 1 - the input gate
  float clip = 0;                       ///< 0: none
  std::vector<Activation> activations;  ///< those of the first direction, then of the second

  int gates() const { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }
  std::int64_t gate_columns() const { return gates() * hidden; }
  int activations_per_direction() const {
    return cell == Cell::lstm ? 3 : cell == Cell::gru ? 2 : 1;
  }
};

/// The tensors of one direction, of type T. Null where omitted.
template <class T>
struct DirectionData {
  const T* x = nullptr;         ///< [steps, batch, inputs], or [batch, steps, inputs]
  const T* bias = nullptr;      ///< [2 * gates * hidden]: of the input, then of the recurrence
  const T* peephole = nullptr;  ///< [3 * hidden]: input, output, forget
  const std::int32_t* lengths = nullptr;  ///< [batch], each 0 to steps
  const T* initial_h = nullptr;           ///< state of batch row b at b * state_stride
  const T* initial_c = nullptr;
  std::int64_t state_stride = 0;
  T* y = nullptr;  ///< the hidden state of (step, batch row) at step * y_step + row * y_row
  std::int64_t y_step = 0, y_row = 0;
  T* last_h = nullptr;  ///< as initial_h
  T* last_c = nullptr;
};

/// Plain loops, for any float type. `W` and `R` are as in the model.
template <class T>
struct PlainMath {
  const T *weights, *recurrence;  ///< [gates * hidden, inputs], [gates * hidden, hidden]

  static void product(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b_rows,
                      T* c, std::int64_t ldc) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::int64_t p = 0; p < k; ++p) {
          sum += static_cast<double>(a[i * k + p]) * static_cast<double>(b_rows[j * k + p]);
        }
        c[i * ldc + j] = static_cast<T>(sum);
      }
    }
  }
  void project_inputs(const Recurrence& r, std::int64_t rows, const T* x, T* out,
                      ThreadPool& pool) const {
    pool.parallel_for(rows, 1 + 16384 / (r.inputs * r.gate_columns() + 1),
                      [&](std::int64_t begin, std::int64_t end) {
                        product(end - begin, r.gate_columns(), r.inputs, x + begin * r.inputs,
                                weights, out + begin * r.gate_columns(), r.gate_columns());
                      });
  }
  /// out [batch, columns] (row stride `stride`) = h * R^T of a step, for the gates from `gate` on.
  void recur(const Recurrence& r, std::int64_t, int gate, int gates, const T* h, T* out,
             std::int64_t stride, ThreadPool&) const {
    product(r.batch, gates * r.hidden, r.hidden, h, recurrence + gate * r.hidden * r.hidden, out,
            stride);
  }
  static void activate(const Activation& activation, T* data, std::int64_t n, ThreadPool&) {
    apply_plain(activation, data, n);
  }
};

/// The SIMD kernels. The matrices are packed ahead or, where `packed` is false, as in the model.
/// A GRU whose reset gate comes before the product needs the rows of R in two parts.
struct SimdMath {
  bool packed;
  const float* weights;
  const float* recurrence;  ///< packed: the first `split` gates
  const float* rest;        ///< packed: the others

  static kernels::GemmOperand transposed(const float* rows, std::int64_t k, bool packed) {
    return {rows, 1, k, packed};
  }
  void project_inputs(const Recurrence& r, std::int64_t rows, const float* x, float* out,
                      ThreadPool& pool) const {
    kernels::gemm(rows, r.gate_columns(), r.inputs, {x, r.inputs, 1, false},
                  transposed(weights, r.inputs, packed), out, r.gate_columns(), {}, pool);
  }
  void recur(const Recurrence& r, std::int64_t, int gate, int gates, const float* h, float* out,
             std::int64_t stride, ThreadPool& pool) const {
    const float* rows = !packed     ? recurrence + gate * r.hidden * r.hidden
                        : gate == 0 ? recurrence
                                    : rest;
    kernels::gemm(r.batch, gates * r.hidden, r.hidden, {h, r.hidden, 1, false},
                  transposed(rows, r.hidden, packed), out, stride, {}, pool);
  }
  static void activate(const Activation& activation, float* data, std::int64_t n,
                       ThreadPool& pool) {
    apply_simd(activation, data, n, pool);
  }
};

/// Gates of R that are multiplied before the reset gate is known.
inline int first_part(const Recurrence& r) {
  return r.cell == Recurrence::Cell::gru && !r.linear_before_reset ? 2 : r.gates();
}

/// Runs one direction.
template <class T, class Math>
class Direction {
 public:
  Direction(const Recurrence& r, int number, const DirectionData<T>& data, const Math& math,
            ThreadPool& pool)
      : r_(r),
        data_(data),
        math_(math),
        pool_(pool),
        backward_(number == 1 || r.reverse),
        functions_(r.activations.data() + number * r.activations_per_direction()),
        n_(r.hidden),
        columns_(r.gate_columns()),
        inputs_(static_cast<std::size_t>(r.steps * r.batch * columns_)),
        products_(static_cast<std::size_t>(r.batch * columns_)),
        h_(static_cast<std::size_t>(r.batch * n_)),
        c_(r.cell == Recurrence::Cell::lstm ? h_.size() : 0),
        temporary_(h_.size()),
        biases_(static_cast<std::size_t>(columns_)) {
    if (data.bias == nullptr) return;
    for (std::int64_t i = 0; i < columns_; ++i)
      biases_[static_cast<std::size_t>(i)] = data.bias[i] + data.bias[columns_ + i];
  }

  void run() {
    for (std::int64_t b = 0; b < r_.batch; ++b) {
      load(data_.initial_h, b, h_);
      load(data_.initial_c, b, c_);
    }
    const std::int64_t steps = longest();
    math_.project_inputs(r_, projected_rows(steps), data_.x, inputs_.data(), pool_);
    for (std::int64_t step = 0; step < steps; ++step) {
      math_.recur(r_, step, 0, first_part(r_), h_.data(), products_.data(), columns_, pool_);
      switch (r_.cell) {
        case Recurrence::Cell::rnn:
          each_row(step, [&](std::int64_t b, const T* in) { rnn(b, in); });
          break;
        case Recurrence::Cell::gru:
          gru_step(step);
          break;
        case Recurrence::Cell::lstm:
          each_row(step, [&](std::int64_t b, const T* in) { lstm(b, in); });
          break;
      }
      emit(step);
    }
    for (std::int64_t step = steps; step < r_.steps; ++step) emit(step);
    for (std::int64_t b = 0; b < r_.batch; ++b) {
      store(data_.last_h, b, h_);
      store(data_.last_c, b, c_);
    }
  }

 private:
  std::int64_t length(std::int64_t b) const {
    return data_.lengths != nullptr ? data_.lengths[b] : r_.steps;
  }
  // Steps that any batch row takes part in.
  std::int64_t longest() const {
    if (data_.lengths == nullptr || r_.batch == 0) return r_.steps;
    return *std::max_element(data_.lengths, data_.lengths + r_.batch);
  }
  // The rows of X that hold these steps of all sequences.
  std::int64_t projected_rows(std::int64_t steps) const {
    return r_.batch_first && r_.batch > 1 ? r_.steps * r_.batch : steps * r_.batch;
  }
  // The time that batch row `b` is at in a step that it still takes part in.
  std::int64_t time(std::int64_t step, std::int64_t b) const {
    return backward_ ? length(b) - 1 - step : step;
  }
  void load(const T* from, std::int64_t b, std::vector<T>& state) const {
    if (from == nullptr || state.empty()) return;
    std::copy_n(from + b * data_.state_stride, n_, state.data() + b * n_);
  }
  void store(T* to, std::int64_t b, const std::vector<T>& state) const {
    if (to == nullptr) return;
    std::copy_n(state.data() + b * n_, n_, to + b * data_.state_stride);
  }

  // Calls body(row, projected inputs) for each batch row that takes part in the step, in parallel.
  template <class Body>
  void each_row(std::int64_t step, Body body) {
    pool_.parallel_for(
        r_.batch, 1 + 4096 / (columns_ + 1), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t b = begin; b < end; ++b) {
            if (step >= length(b)) continue;
            const std::int64_t t = time(step, b);
            const std::int64_t row = r_.batch_first ? b * r_.steps + t : t * r_.batch + b;
            body(b, inputs_.data() + row * columns_);
          }
        });
  }

  // sums += in + both biases, for `count` columns from `column` on.
  void add_inputs(const T* in, std::int64_t column, std::int64_t count, T* sums) const {
    const T *x = in + column, *bias = biases_.data() + column;
    for (std::int64_t i = 0; i < count; ++i) sums[i] = sums[i] + x[i] + bias[i];
  }

  // The function, after the clip of its argument.
  void activate(int function, T* data, std::int64_t count) const {
    if (r_.clip > 0) {
      const T bound = static_cast<T>(r_.clip);
      for (std::int64_t i = 0; i < count; ++i) data[i] = std::clamp(data[i], -bound, bound);
    }
    math_.activate(functions_[function], data, count, pool_);
  }

  void rnn(std::int64_t b, const T* in) {
    T* sums = products_.data() + b * columns_;
    add_inputs(in, 0, n_, sums);
    activate(0, sums, n_);
    std::copy_n(sums, n_, h_.data() + b * n_);
  }

  // Gates in the order input, output, forget, cell.
  void lstm(std::int64_t b, const T* in) {
    T* i = products_.data() + b * columns_;
    T *o = i + n_, *f = o + n_, *g = f + n_;
    T *h = h_.data() + b * n_, *c = c_.data() + b * n_;
    add_inputs(in, 0, columns_, i);
    if (data_.peephole != nullptr) {
      const T *p_i = data_.peephole, *p_f = data_.peephole + 2 * n_;
      for (std::int64_t k = 0; k < n_; ++k) {
        i[k] += p_i[k] * c[k];
        f[k] += p_f[k] * c[k];
      }
    }
    // Three gates in one call, where none needs what comes of another.
    const bool together = data_.peephole == nullptr && !r_.input_forget;
    activate(0, i, together ? 3 * n_ : n_);
    if (r_.input_forget) {
      for (std::int64_t k = 0; k < n_; ++k) f[k] = 1 - i[k];
    } else if (!together) {
      activate(0, f, n_);
    }
    activate(1, g, n_);
    for (std::int64_t k = 0; k < n_; ++k) c[k] = f[k] * c[k] + i[k] * g[k];
    if (data_.peephole != nullptr) {
      const T* p_o = data_.peephole + n_;
      for (std::int64_t k = 0; k < n_; ++k) o[k] += p_o[k] * c[k];
    }
    if (!together) activate(0, o, n_);
    // The clip is for the gates: implementations leave the argument of h alone.
    std::copy_n(c, n_, h);
    math_.activate(functions_[2], h, n_, pool_);
    for (std::int64_t k = 0; k < n_; ++k) h[k] *= o[k];
  }

  // Gates in the order update (z), reset (r), hidden. Done in two passes over the batch, since the
  // product of the hidden gate may need all reset gates.
  void gru_step(std::int64_t step) {
    each_row(step, [&](std::int64_t b, const T* in) {
      T* z = products_.data() + b * columns_;
      add_inputs(in, 0, 2 * n_, z);
      activate(0, z, 2 * n_);
      if (r_.linear_before_reset) return;
      const T *r = z + n_, *h = h_.data() + b * n_;
      T* reset = temporary_.data() + b * n_;
      for (std::int64_t k = 0; k < n_; ++k) reset[k] = r[k] * h[k];
    });
    if (!r_.linear_before_reset) {
      math_.recur(r_, step, 2, 1, temporary_.data(), products_.data() + 2 * n_, columns_, pool_);
    }
    each_row(step, [&](std::int64_t b, const T* in) {
      const T* z = products_.data() + b * columns_;
      const T* r = z + n_;
      T *g = products_.data() + b * columns_ + 2 * n_, *h = h_.data() + b * n_;
      if (r_.linear_before_reset) {
        const T* rb = data_.bias != nullptr ? data_.bias + columns_ + 2 * n_ : nullptr;
        const T* wb = data_.bias != nullptr ? data_.bias + 2 * n_ : nullptr;
        for (std::int64_t k = 0; k < n_; ++k) {
          g[k] = r[k] * (g[k] + (rb != nullptr ? rb[k] : 0)) + in[2 * n_ + k] +
                 (wb != nullptr ? wb[k] : 0);
        }
      } else {
        add_inputs(in, 2 * n_, n_, g);
      }
      activate(1, g, n_);
      for (std::int64_t k = 0; k < n_; ++k) h[k] = (1 - z[k]) * g[k] + z[k] * h[k];
    });
  }

  // Writes the step's hidden states, and zeros for the rows that have ended.
  void emit(std::int64_t step) const {
    if (data_.y == nullptr) return;
    for (std::int64_t b = 0; b < r_.batch; ++b) {
      if (step < length(b)) {
        std::copy_n(h_.data() + b * n_, n_,
                    data_.y + time(step, b) * data_.y_step + b * data_.y_row);
      } else {
        std::fill_n(data_.y + step * data_.y_step + b * data_.y_row, n_, T{0});
      }
    }
  }

  const Recurrence& r_;
  const DirectionData<T>& data_;
  const Math& math_;
  ThreadPool& pool_;
  bool backward_;
  const Activation* functions_;
  std::int64_t n_, columns_;  // hidden, and gates * hidden
  std::vector<T> inputs_;     // [steps * batch, columns]: X * W^T, rows in the order of X
  std::vector<T> products_;   // [batch, columns]: H * R^T, then the gates
  std::vector<T> h_, c_;      // [batch, hidden]
  std::vector<T> temporary_;
  std::vector<T> biases_;  // [columns]: of the input and of the recurrence
};

}  // namespace mezzo::ops
