// Element-wise float32: unary functions and binary arithmetic over contiguous memory.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// Names and formulas are ONNX's; `a` and `b` are UnaryArgs::alpha and beta. NaN is carried through
/// by all (clip too); infinities give what the formula gives, which is NaN for swish, mish and the
/// GELUs at -inf. Errors against the exact value, in units of the last place and over all finite x,
/// are at most: exp 2, log 2, tanh 3, sigmoid 4, erf 3, sin and cos 3, atan 3, swish and mish 8,
/// softplus 4, elu and celu 3, selu 4. That of the GELUs is some 2^-22 |x| for negative x, where the
/// formulas cancel. Factors below 2^-126 may be flushed to zero.
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
  sin,
  cos,
  atan,
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

/// Elements worth handing to another thread where a function is cheap: some ten microseconds' work,
/// memory-bound or not.
inline constexpr std::int64_t kCheapGrain = 32 << 10;
/// How many elements of a cheap function take as long as one of `op`, about.
std::int64_t cost_of(Unary op);

/// y[i] = op(x[i]) for i < n. y may be x.
void unary(Unary op, UnaryArgs args, const float* x, float* y, std::int64_t n, ThreadPool& pool);

/// max and min carry NaN through, as numpy.maximum does.
enum class Binary {
  add,
  sub,
  mul,
  div,
  min,
  max,
  pow,    ///< as std::pow, to hardly more than half a unit in the last place
  prelu,  ///< a < 0 ? a b : a
};

/// How one operand of a binary function is repeated over the elements of the other, which are rows
/// of n.
struct Broadcast {
  enum class Form {
    none,    ///< it is not: both have as many elements
    scalar,  ///< one element for all
    row,     ///< one row for all rows (a bias over the last axis)
    column,  ///< a scalar for each of `period` rows, over and over (one for each channel of NCHW)
  };
  Form form = Form::none;
  bool swapped = false;  ///< a is the one that is repeated, not b
  std::int64_t n = 1, period = 1;

  bool repeats_a() const { return form != Form::none && swapped; }
  bool repeats_b() const { return form != Form::none && !swapped; }
};

/// y[i] = a[i] op b[i] for i < n, or as `broadcast` says. y may be the operand that is not
/// repeated.
void binary(Binary op, const Broadcast& broadcast, const float* a, const float* b, float* y,
            std::int64_t n, ThreadPool& pool);

/// to[i] = from[i] for i < n, past the caches: for what nobody reads soon. Any bits are copied.
void copy_past_caches(const float* from, float* to, std::int64_t n, ThreadPool& pool);

/// GELU as frameworks write it, of which others may want any part: x, divided by (or times) a
/// number, erf of that, plus a number, times x, times a number.
struct GeluParts {
  static constexpr int kCount = 5;

  const float* x = nullptr;
  bool divided = true;  ///< by `scale`, or multiplied
  float scale = 1, shift = 1, factor = 1;
  float* to[kCount] = {};      ///< where the parts go; null: nobody wants it
  bool streamed[kCount] = {};  ///< past the caches, as `RangeKernels::stream` does it
};

/// The kernels of the active target, on the calling thread. Finding them takes as long as a hundred
/// elements: who calls them for few at a time asks once.
class RangeKernels {
 public:
  static RangeKernels find();

  void unary(Unary op, UnaryArgs args, const float* x, float* y, std::int64_t n) const {
    unary_(op, args, x, y, n);
  }
  /// Elements [begin, begin + n): y, and operands that are not repeated, point to the first of
  /// them.
  void binary(Binary op, const Broadcast& broadcast, const float* a, const float* b, float* y,
              std::int64_t begin, std::int64_t n) const;
  /// to[i] = from[i] for i < n, past the caches where whole lines of them can be written: for what
  /// nobody reads soon. Another thread may read it after hwy::FlushStream().
  void stream(const float* from, float* to, std::int64_t n) const { stream_(from, to, n); }
  /// All parts for n elements, each as the functions one by one give it.
  void gelu(const GeluParts& parts, std::int64_t n) const { gelu_(parts, n); }

 private:
  void (*unary_)(Unary, UnaryArgs, const float* x, float* y, std::int64_t n);
  // Either operand may be one element.
  void (*binary_)(Binary, const float* a, bool scalar_a, const float* b, bool scalar_b, float* y,
                  std::int64_t n);
  void (*stream_)(const float* from, float* to, std::int64_t n);
  void (*gelu_)(const GeluParts& parts, std::int64_t n);
};

}  // namespace mezzo::kernels
