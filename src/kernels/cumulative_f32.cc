#include "kernels/cumulative_f32.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cumulative_f32.cc"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using std::int64_t;

using F64 = hn::ScalableTag<double>;
using Narrow = hn::Rebind<float, F64>;
using VecF64 = hn::Vec<F64>;
constexpr auto kDoubles = static_cast<int64_t>(HWY_LANES(double));

// One vector of elements, with the state before it; returns that after it.
template <bool product, bool exclusive>
HWY_INLINE VecF64 step(VecF64 state, const float* x, float* y) {
  const F64 d;
  const Narrow narrow;
  const VecF64 element = hn::PromoteTo(d, hn::LoadU(narrow, x));
  const VecF64 next = product ? hn::Mul(state, element) : hn::Add(state, element);
  hn::StoreU(hn::DemoteTo(narrow, exclusive ? state : next), narrow, y);
  return next;
}

// Columns whose states lie beside each other in the first-level cache.
constexpr int64_t kBlock = 512;

// Whole vectors of columns, at most kBlock, row by row: memory is read in order.
template <bool product, bool exclusive>
void cumulate_rows(int64_t n, int64_t stride, int64_t columns, const float* x, float* y) {
  const F64 d;
  HWY_ALIGN double state[kBlock];
  std::fill_n(state, columns, product ? 1.0 : 0.0);
  for (int64_t i = 0; i < n; ++i, x += stride, y += stride) {
    for (int64_t c = 0; c < columns; c += kDoubles)
      hn::Store(step<product, exclusive>(hn::Load(d, state + c), x + c, y + c), d, state + c);
  }
}

// kVectors vectors of columns, whose states stay in registers.
template <int kVectors, bool product, bool exclusive>
void cumulate_columns(int64_t n, int64_t stride, const float* x, float* y) {
  const F64 d;
  VecF64 state[kVectors];
  MEZZO_UNROLL
  for (int v = 0; v < kVectors; ++v) state[v] = hn::Set(d, product ? 1 : 0);
  for (int64_t i = 0; i < n; ++i, x += stride, y += stride) {
    MEZZO_UNROLL
    for (int v = 0; v < kVectors; ++v)
      state[v] = step<product, exclusive>(state[v], x + v * kDoubles, y + v * kDoubles);
  }
}

// kColumns columns at a time, whose additions need not wait for each other's.
template <int kColumns, bool product, bool exclusive>
void cumulate_apart(const Cumulative& args, const float* x, float* y) {
  const int64_t n = args.n, stride = args.stride, apart = args.apart;
  double state[kColumns];
  for (double& s : state) s = product ? 1 : 0;
  for (int64_t i = 0; i < n; ++i, x += stride, y += stride) {
    MEZZO_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const auto element = static_cast<double>(x[c * apart]);
      const double next = product ? state[c] * element : state[c] + element;
      y[c * apart] = static_cast<float>(exclusive ? state[c] : next);
      state[c] = next;
    }
  }
}

template <bool product, bool exclusive>
void cumulate_all(const Cumulative& args, const float* x, float* y) {
  constexpr int kVectors = 8;
  constexpr int64_t kWide = kVectors * kDoubles;
  const int64_t n = args.n, stride = args.stride;
  int64_t c = 0;
  if (args.apart != 1) {
    constexpr int kAtOnce = 8;
    for (; c + kAtOnce <= args.columns; c += kAtOnce)
      cumulate_apart<kAtOnce, product, exclusive>(args, x + c * args.apart, y + c * args.apart);
    for (; c < args.columns; ++c)
      cumulate_apart<1, product, exclusive>(args, x + c * args.apart, y + c * args.apart);
    return;
  }
  while (args.columns - c > kWide) {
    const int64_t columns = std::min((args.columns - c) / kDoubles * kDoubles, kBlock);
    cumulate_rows<product, exclusive>(n, stride, columns, x + c, y + c);
    c += columns;
  }
  if (args.columns - c == kWide) {
    cumulate_columns<kVectors, product, exclusive>(n, stride, x + c, y + c);
    return;
  }
  for (; c + kDoubles <= args.columns; c += kDoubles)
    cumulate_columns<1, product, exclusive>(n, stride, x + c, y + c);
  for (; c < args.columns; ++c) cumulate_apart<1, product, exclusive>(args, x + c, y + c);
}

}  // namespace

void run_cumulate(const Cumulative& args, const float* x, float* y) {
  const auto all = args.product
                       ? args.exclusive ? cumulate_all<true, true> : cumulate_all<true, false>
                   : args.exclusive ? cumulate_all<false, true>
                                    : cumulate_all<false, false>;
  all(args, x, y);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_cumulate);
}

void cumulate(const Cumulative& args, const float* x, float* y) {
  MEZZO_DISPATCH(run_cumulate)(args, x, y);
}

}  // namespace mezzo::kernels
#endif
