// Activation functions that are named by an attribute: in RNN, LSTM, GRU and FusedConv.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/thread_pool.h"

namespace mezzo::ops {

/// One function with its parameters. Formulas: the documentation of the operators LSTM (all but
/// clip) and Clip.
struct Activation {
  enum class Kind {
    identity,
    relu,
    tanh,
    sigmoid,
    affine,
    leaky_relu,
    thresholded_relu,
    scaled_tanh,
    hard_sigmoid,
    elu,
    softsign,
    softplus,
    clip,  ///< alpha is the minimum, beta the maximum
  };
  Kind kind = Kind::identity;
  float alpha = 0;
  float beta = 0;

  bool has_alpha() const;
  bool has_beta() const;
  /// The function with that name (case does not matter, as in exported models) and the default
  /// parameters of the ONNX operator of that name. Throws Error(invalid_model) where there is none.
  static Activation named(std::string_view name);
};

template <class T>
T evaluate(const Activation& activation, T x) {
  const T alpha = static_cast<T>(activation.alpha), beta = static_cast<T>(activation.beta);
  switch (activation.kind) {
    case Activation::Kind::identity:
      return x;
    case Activation::Kind::relu:
      return x < 0 ? T{0} : x;
    case Activation::Kind::tanh:
      return std::tanh(x);
    case Activation::Kind::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::Kind::affine:
      return alpha * x + beta;
    case Activation::Kind::leaky_relu:
      return x < 0 ? alpha * x : x;
    case Activation::Kind::thresholded_relu:
      return x < alpha ? T{0} : x;
    case Activation::Kind::scaled_tanh:
      return alpha * std::tanh(beta * x);
    case Activation::Kind::hard_sigmoid:
      return std::max(T{0}, std::min(T{1}, alpha * x + beta));
    case Activation::Kind::elu:
      return x < 0 ? alpha * (std::exp(x) - 1) : x;
    case Activation::Kind::softsign:
      return x / (1 + std::abs(x));
    case Activation::Kind::softplus:
      // log(1 + e^x) without overflow.
      return std::max(x, T{0}) + std::log1p(std::exp(-std::abs(x)));
    case Activation::Kind::clip:
      return std::min(std::max(x, alpha), beta);
  }
  return x;
}

/// Applies the function to `n` elements in place, one at a time.
template <class T>
void apply_plain(const Activation& activation, T* data, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) data[i] = evaluate(activation, data[i]);
}

/// The same with the SIMD kernels, where there is one for the function.
void apply_simd(const Activation& activation, float* data, std::int64_t n, ThreadPool& pool);

}  // namespace mezzo::ops
