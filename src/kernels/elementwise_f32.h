// Element-wise float32: unary functions and binary arithmetic over contiguous memory.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// Names and formulas are ONNX's; `a` and `b` are UnaryArgs::alpha and beta. NaN is carried through
/// by all (clip too); infinities give what the formula gives, which is NaN for swish, mish and the
/// GELUs at -inf. Errors against the exact value, in units of the last place and over all finite x,
/// are at most: exp 2, log 2, tanh 3, sigmoid 4, erf 3, swish and mish 8, softplus 4, elu and celu
/// 3, selu 4. The GELUs cancel for negative x as their formulas do: there the error is some 2^-22
/// |x|. Factors below 2^-126 may be flushed to zero.
enum class Unary {
  abs,
  neg,
  sqrt,
  reciprocal,
  square,
  floor,
  ceil,
  round,  ///< half to even
  exp,
  log,
  tanh,
  sigmoid,
  erf,
  gelu_erf,   ///< x/2 (1 + erf(x / sqrt 2))
  gelu_tanh,  ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  relu,
  leaky_relu,        ///< x < 0 ? a x : x
  thresholded_relu,  ///< x > a ? x : 0
  clip,              ///< min(max(x, a), b)
  hard_sigmoid,      ///< max(0, min(1, a x + b))
  hard_swish,        ///< x max(0, min(1, x/6 + 1/2))
  swish,             ///< x sigmoid(a x): SiLU has a = 1
  softplus,          ///< log(exp(x) + 1)
  softsign,          ///< x / (1 + |x|)
  elu,               ///< x < 0 ? a (exp(x) - 1) : x
  selu,              ///< x <= 0 ? b a (exp(x) - 1) : b x
  celu,              ///< max(0, x) + min(0, a (exp(x / a) - 1))
  mish,              ///< x tanh(softplus(x))
};

struct UnaryArgs {
  float alpha = 0;
  float beta = 0;
};

/// y[i] = op(x[i]) for i < n. y may be x.
void unary(Unary op, UnaryArgs args, const float* x, float* y, std::int64_t n, ThreadPool& pool);

/// max and min carry NaN through, as numpy.maximum does.
enum class Binary { add, sub, mul, div, min, max };

/// y[i] = a[i] op b[i] for i < n. y may be a or b.
void binary(Binary op, const float* a, const float* b, float* y, std::int64_t n, ThreadPool& pool);
/// y[i] = a[i] op b.
void binary_scalar_right(Binary op, const float* a, float b, float* y, std::int64_t n,
                         ThreadPool& pool);
/// y[i] = a op b[i].
void binary_scalar_left(Binary op, float a, const float* b, float* y, std::int64_t n,
                        ThreadPool& pool);
/// y[r, i] = a[r, i] op b[i], or b[i] op a[r, i] where `swapped`: one row for all rows. y may be a.
void binary_row(Binary op, const float* a, const float* b, float* y, std::int64_t rows,
                std::int64_t n, bool swapped, ThreadPool& pool);
/// y[r, i] = a[r, i] op b[r % period], or swapped: a scalar for each row (a channel of NCHW has
/// period = channels). y may be a.
void binary_column(Binary op, const float* a, const float* b, float* y, std::int64_t rows,
                   std::int64_t n, std::int64_t period, bool swapped, ThreadPool& pool);

}  // namespace mezzo::kernels
