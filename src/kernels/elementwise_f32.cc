#include "kernels/elementwise_f32.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_pow_inl.h"
#include "kernels/simd_stream_inl.h"
#include "kernels/simd_tail_inl.h"
// Behind the choice of targets.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// Vectors that go through a function side by side: each alone is a long chain of steps that wait
// for each other. The compiler must mix them, see CMakeLists.txt.
constexpr int kAtOnce = 4;

// y[i] = f(x[i]). The tail runs through f as a vector filled up with zeros.
template <class F>
void map(const float* x, float* y, int64_t n, const F& f) {
  const F32 d;
  int64_t i = 0;
  for (; i + kAtOnce * static_cast<int64_t>(kLanes) <= n; i += kAtOnce * kLanes) {
    VecF32 v[kAtOnce];
    MEZZO_UNROLL
    for (int k = 0; k < kAtOnce; ++k) v[k] = hn::LoadU(d, x + i + k * kLanes);
    MEZZO_UNROLL
    for (int k = 0; k < kAtOnce; ++k) v[k] = f(v[k]);
    MEZZO_UNROLL
    for (int k = 0; k < kAtOnce; ++k) hn::StoreU(v[k], d, y + i + k * kLanes);
  }
  for (; i + static_cast<int64_t>(kLanes) <= n; i += kLanes)
    hn::StoreU(f(hn::LoadU(d, x + i)), d, y + i);
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    store_n(f(load_n(d, x + i, rest)), d, y + i, rest);
  }
}

// `slow` for each element.
HWY_NOINLINE VecF32 by_element(VecF32 v, float (*slow)(float)) {
  const F32 d;
  HWY_ALIGN float elements[kLanes];
  hn::Store(v, d, elements);
  for (float& element : elements) element = slow(element);
  return hn::Load(d, elements);
}

// Highway's sine and cosine reduce x by multiples of pi, which works for so many of them; `slow`
// takes vectors with larger ones.
template <class Fast>
VecF32 periodic(VecF32 v, const Fast& fast, float (*slow)(float)) {
  const F32 d;
  if (!hn::AllTrue(d, hn::Lt(hn::Abs(v), hn::Set(d, 10000.0f)))) return by_element(v, slow);
  return fast(v);
}

}  // namespace

void run_unary(Unary op, UnaryArgs args, const float* x, float* y, int64_t n) {
  const F32 d;
  const VecF32 zero = hn::Zero(d), one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f);
  const VecF32 alpha = hn::Set(d, args.alpha), beta = hn::Set(d, args.beta);
  const auto run = [&](const auto& f) HWY_ATTR { map(x, y, n, f); };
  switch (op) {
    case Unary::abs:
      return run([](VecF32 v) HWY_ATTR { return hn::Abs(v); });
    case Unary::neg:
      return run([](VecF32 v) HWY_ATTR { return hn::Neg(v); });
    case Unary::sqrt:
      return run([](VecF32 v) HWY_ATTR { return hn::Sqrt(v); });
    case Unary::reciprocal:
      return run([&](VecF32 v) HWY_ATTR { return hn::Div(one, v); });
    case Unary::square:
      return run([](VecF32 v) HWY_ATTR { return hn::Mul(v, v); });
    case Unary::floor:
      return run([](VecF32 v) HWY_ATTR { return hn::Floor(v); });
    case Unary::ceil:
      return run([](VecF32 v) HWY_ATTR { return hn::Ceil(v); });
    case Unary::round:
      return run([](VecF32 v) HWY_ATTR { return hn::Round(v); });
    case Unary::exp:
      return run([](VecF32 v) HWY_ATTR {
        const bool is_ordinary = hn::AllTrue(F32(), hn::Le(hn::Abs(v), hn::Set(F32(), 87.0f)));
        return is_ordinary ? exp_ordinary(v) : exp_f32(v);
      });
    case Unary::log:
      return run([](VecF32 v) HWY_ATTR { return log_f32(v); });
    case Unary::tanh:
      return run([](VecF32 v) HWY_ATTR { return tanh_f32(v); });
    case Unary::sigmoid:
      return run([](VecF32 v) HWY_ATTR { return sigmoid_f32(v); });
    case Unary::erf:
      return run([](VecF32 v) HWY_ATTR { return erf_f32(v); });
    case Unary::sin:
      return run([](VecF32 v) HWY_ATTR {
        return periodic(
            v, [](VecF32 u) HWY_ATTR { return hn::Sin(F32(), u); },
            [](float u) { return std::sin(u); });
      });
    case Unary::cos:
      return run([](VecF32 v) HWY_ATTR {
        return periodic(
            v, [](VecF32 u) HWY_ATTR { return hn::Cos(F32(), u); },
            [](float u) { return std::cos(u); });
      });
    case Unary::atan:
      return run([](VecF32 v) HWY_ATTR { return hn::Atan(F32(), v); });
    case Unary::gelu_erf:
      return run([](VecF32 v) HWY_ATTR { return gelu_f32(v); });
    case Unary::gelu_tanh:
      return run([&](VecF32 v) HWY_ATTR {
        // (1 + tanh(u)) / 2 = sigmoid(2 u), with u = sqrt(2 / pi) (x + 0.044715 x^3).
        const VecF32 b = polynomial(hn::Mul(v, v), -1.59576912f, -7.13548163e-2f);
        return swish_f32(v, b);
      });
    case Unary::relu:
      return run([&](VecF32 v) HWY_ATTR { return hn::Max(zero, v); });
    case Unary::leaky_relu:
      return run([&](VecF32 v)
                     HWY_ATTR { return hn::IfThenElse(hn::Lt(v, zero), hn::Mul(v, alpha), v); });
    case Unary::thresholded_relu:
      return run([&](VecF32 v) HWY_ATTR { return hn::IfThenElse(hn::Le(v, alpha), zero, v); });
    case Unary::clip:
      return run([&](VecF32 v) HWY_ATTR { return clamp(v, alpha, beta); });
    case Unary::hard_sigmoid:
      return run([&](VecF32 v) HWY_ATTR { return clamp(hn::MulAdd(v, alpha, beta), zero, one); });
    case Unary::hard_swish:
      return run([&](VecF32 v) HWY_ATTR {
        return hn::Mul(v, clamp(hn::MulAdd(v, hn::Set(d, 1.0f / 6.0f), half), zero, one));
      });
    case Unary::swish:
      return run([&, b = hn::Neg(alpha)](VecF32 v) HWY_ATTR { return swish_f32(v, b); });
    case Unary::softplus:
      return run([&](VecF32 v) HWY_ATTR {
        return hn::Add(hn::Max(zero, v), log1p_unit(exp_f32(hn::Neg(hn::Abs(v)))));
      });
    case Unary::softsign:
      return run([&](VecF32 v) HWY_ATTR { return hn::Div(v, hn::Add(one, hn::Abs(v))); });
    case Unary::elu:
      return run([&](VecF32 v) HWY_ATTR {
        return hn::IfThenElse(hn::Lt(v, zero), hn::Mul(alpha, expm1_small(v)), v);
      });
    case Unary::selu:
      return run([&](VecF32 v) HWY_ATTR {
        return hn::Mul(beta, hn::IfThenElse(hn::Le(v, zero), hn::Mul(alpha, expm1_small(v)), v));
      });
    case Unary::celu:
      return run([&](VecF32 v) HWY_ATTR {
        // With a negative alpha the exponential counts where x / alpha is positive, and may be
        // large.
        const VecF32 scaled = hn::Div(v, alpha);
        const VecF32 grown =
            hn::IfThenElse(hn::Gt(scaled, one), hn::Sub(exp_f32(scaled), one), expm1_small(scaled));
        return hn::Add(hn::Max(zero, v), hn::Min(zero, hn::Mul(alpha, grown)));
      });
    case Unary::mish:
      return run([&](VecF32 v) HWY_ATTR {
        // tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2); from 20 on it is 1, and e would overflow.
        const VecF32 e = exp_f32(hn::Min(hn::Set(d, 20.0f), v));
        const VecF32 t = hn::Mul(e, hn::Add(e, hn::Set(d, 2.0f)));
        return hn::Mul(v, hn::Div(t, hn::Add(t, hn::Set(d, 2.0f))));
      });
  }
}

namespace {

// y[i] = f(a[i], b[i]), an operand being one scalar where its flag says so.
template <bool kScalarA, bool kScalarB, class F>
void combine(const float* a, const float* b, float* y, int64_t n, const F& f) {
  const F32 d;
  const VecF32 first_a = hn::Set(d, *a), first_b = hn::Set(d, *b);
  int64_t i = 0;
  for (; i + static_cast<int64_t>(kLanes) <= n; i += kLanes) {
    hn::StoreU(
        f(kScalarA ? first_a : hn::LoadU(d, a + i), kScalarB ? first_b : hn::LoadU(d, b + i)), d,
        y + i);
  }
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    const VecF32 va = kScalarA ? first_a : load_n(d, a + i, rest),
                 vb = kScalarB ? first_b : load_n(d, b + i, rest);
    store_n(f(va, vb), d, y + i, rest);
  }
}

template <bool kScalarA, bool kScalarB>
void combine_with(Binary op, const float* a, const float* b, float* y, int64_t n) {
  switch (op) {
    case Binary::add:
      return combine<kScalarA, kScalarB>(a, b, y, n,
                                         [](VecF32 u, VecF32 v) HWY_ATTR { return hn::Add(u, v); });
    case Binary::sub:
      return combine<kScalarA, kScalarB>(a, b, y, n,
                                         [](VecF32 u, VecF32 v) HWY_ATTR { return hn::Sub(u, v); });
    case Binary::mul:
      return combine<kScalarA, kScalarB>(a, b, y, n,
                                         [](VecF32 u, VecF32 v) HWY_ATTR { return hn::Mul(u, v); });
    case Binary::div:
      return combine<kScalarA, kScalarB>(a, b, y, n,
                                         [](VecF32 u, VecF32 v) HWY_ATTR { return hn::Div(u, v); });
    case Binary::min:
      return combine<kScalarA, kScalarB>(
          a, b, y, n, [](VecF32 u, VecF32 v) HWY_ATTR { return min_or_nan(u, v); });
    case Binary::max:
      return combine<kScalarA, kScalarB>(
          a, b, y, n, [](VecF32 u, VecF32 v) HWY_ATTR { return max_or_nan(u, v); });
    case Binary::pow:
      return combine<kScalarA, kScalarB>(a, b, y, n,
                                         [](VecF32 u, VecF32 v) HWY_ATTR { return pow_f32(u, v); });
    case Binary::prelu:
      return combine<kScalarA, kScalarB>(a, b, y, n, [](VecF32 u, VecF32 v) HWY_ATTR {
        return hn::IfThenElse(hn::Lt(u, hn::Zero(F32())), hn::Mul(u, v), u);
      });
  }
}

// In place of kAtOnce where all parts of a GELU are stored: whole lines, and no more than registers
// hold.
constexpr int kPartsAtOnce = kLanes >= 8 ? 2 : 4;

// Turns vectors of x into one part after the other, and calls `put` for each that is wanted.
template <int kCount, class Put>
HWY_INLINE void gelu_parts(const GeluParts& parts, VecF32 (&v)[kCount], const Put& put) {
  const F32 d;
  const VecF32 scale = hn::Set(d, parts.scale), shift = hn::Set(d, parts.shift),
               factor = hn::Set(d, parts.factor);
  VecF32 x[kCount];
  std::copy_n(v, kCount, x);
  const auto next = [&](int part, const auto& f) HWY_ATTR {
    MEZZO_UNROLL
    for (int k = 0; k < kCount; ++k) v[k] = f(v[k], x[k]);
    if (parts.to[part] != nullptr) put(part);
  };
  if (parts.divided) {
    next(0, [&](VecF32 u, VecF32) HWY_ATTR { return hn::Div(u, scale); });
  } else {
    next(0, [&](VecF32 u, VecF32) HWY_ATTR { return hn::Mul(u, scale); });
  }
  next(1, [](VecF32 u, VecF32) HWY_ATTR { return erf_f32(u); });
  next(2, [&](VecF32 u, VecF32) HWY_ATTR { return hn::Add(u, shift); });
  next(3, [](VecF32 u, VecF32 of_x) HWY_ATTR { return hn::Mul(u, of_x); });
  next(4, [&](VecF32 u, VecF32) HWY_ATTR { return hn::Mul(u, factor); });
}

}  // namespace

void run_binary(Binary op, const float* a, bool scalar_a, const float* b, bool scalar_b, float* y,
                int64_t n) {
  if (n <= 0) return;
  if (scalar_a) return combine_with<true, false>(op, a, b, y, n);
  if (scalar_b) return combine_with<false, true>(op, a, b, y, n);
  combine_with<false, false>(op, a, b, y, n);
}

void run_stream(const float* from, float* to, int64_t n) { stream(from, n, to); }

void run_gelu(const GeluParts& parts, int64_t n) {
  const F32 d;
  bool streamed[GeluParts::kCount];
  for (int part = 0; part < GeluParts::kCount; ++part)
    streamed[part] = parts.streamed[part] && to_line(parts.to[part]) == 0;
  int64_t i = 0;
  for (; i + kPartsAtOnce * static_cast<int64_t>(kLanes) <= n; i += kPartsAtOnce * kLanes) {
    VecF32 v[kPartsAtOnce];
    MEZZO_UNROLL
    for (int k = 0; k < kPartsAtOnce; ++k) v[k] = hn::LoadU(d, parts.x + i + k * kLanes);
    gelu_parts(parts, v, [&](int part) HWY_ATTR {
      float* to = parts.to[part] + i;
      MEZZO_UNROLL
      for (int k = 0; k < kPartsAtOnce; ++k) {
        streamed[part] ? hn::Stream(v[k], d, to + k * kLanes)
                       : hn::StoreU(v[k], d, to + k * kLanes);
      }
    });
  }
  for (; i < n; i += kLanes) {
    const auto rest = static_cast<std::size_t>(std::min<int64_t>(kLanes, n - i));
    VecF32 v[1] = {load_n(d, parts.x + i, rest)};
    gelu_parts(parts, v, [&](int part) HWY_ATTR { store_n(v[0], d, parts.to[part] + i, rest); });
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {

HWY_EXPORT(run_unary);
HWY_EXPORT(run_binary);
HWY_EXPORT(run_stream);
HWY_EXPORT(run_gelu);

}  // namespace

std::int64_t cost_of(Unary op) {
  const bool has_exp =
      (op >= Unary::exp && op <= Unary::gelu_tanh) || (op >= Unary::swish && op != Unary::softsign);
  return has_exp ? 4 : 1;
}

RangeKernels RangeKernels::find() {
  RangeKernels kernels;
  kernels.unary_ = MEZZO_DISPATCH(run_unary);
  kernels.binary_ = MEZZO_DISPATCH(run_binary);
  kernels.stream_ = MEZZO_DISPATCH(run_stream);
  kernels.gelu_ = MEZZO_DISPATCH(run_gelu);
  return kernels;
}

void RangeKernels::binary(Binary op, const Broadcast& broadcast, const float* a, const float* b,
                          float* y, std::int64_t begin, std::int64_t n) const {
  using Form = Broadcast::Form;
  const bool swapped = broadcast.swapped;
  const float *full = swapped ? b : a, *repeated = swapped ? a : b;
  const auto piece = [&](std::int64_t i, const float* other, bool is_scalar, std::int64_t count) {
    if (swapped) return binary_(op, other, is_scalar, full + i, false, y + i, count);
    binary_(op, full + i, false, other, is_scalar, y + i, count);
  };
  if (broadcast.form == Form::none || broadcast.form == Form::scalar)
    return piece(0, repeated, broadcast.form == Form::scalar, n);
  for (std::int64_t i = 0; i < n;) {
    const std::int64_t row = (begin + i) / broadcast.n, column = (begin + i) % broadcast.n;
    const std::int64_t count = std::min(n - i, broadcast.n - column);
    const bool is_column = broadcast.form == Form::column;
    piece(i, repeated + (is_column ? row % broadcast.period : column), is_column, count);
    i += count;
  }
}

void unary(Unary op, UnaryArgs args, const float* x, float* y, std::int64_t n, ThreadPool& pool) {
  const RangeKernels kernels = RangeKernels::find();
  pool.parallel_for(n, kCheapGrain / cost_of(op), [&](std::int64_t begin, std::int64_t end) {
    kernels.unary(op, args, x + begin, y + begin, end - begin);
  });
}

void copy_past_caches(const float* from, float* to, std::int64_t n, ThreadPool& pool) {
  const RangeKernels kernels = RangeKernels::find();
  pool.parallel_for(n, 2 * kCheapGrain, [&](std::int64_t begin, std::int64_t end) {
    kernels.stream(from + begin, to + begin, end - begin);
    hwy::FlushStream();
  });
}

void binary(Binary op, const Broadcast& broadcast, const float* a, const float* b, float* y,
            std::int64_t n, ThreadPool& pool) {
  const RangeKernels kernels = RangeKernels::find();
  const std::int64_t grain = op == Binary::pow ? kCheapGrain / 8 : kCheapGrain;
  pool.parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    kernels.binary(op, broadcast, broadcast.repeats_a() ? a : a + begin,
                   broadcast.repeats_b() ? b : b + begin, y + begin, begin, end - begin);
  });
}

}  // namespace mezzo::kernels
#endif
