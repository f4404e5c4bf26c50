#include "kernels/cumulative_f32.h"

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

// kVectors vectors of columns, whose states stay in registers.
template <int64_t kVectors, bool product>
void cumulate_columns(const Cumulative& args, const float* x, float* y) {
  const F64 d;
  const Narrow narrow;
  VecF64 state[kVectors];
  for (VecF64& s : state) s = hn::Set(d, product ? 1 : 0);
  for (int64_t i = 0; i < args.n; ++i, x += args.stride, y += args.stride) {
    MEZZO_UNROLL
    for (int64_t v = 0; v < kVectors; ++v) {
      const VecF64 element = hn::PromoteTo(d, hn::LoadU(narrow, x + v * kDoubles));
      const VecF64 next = product ? hn::Mul(state[v], element) : hn::Add(state[v], element);
      const VecF64 result = args.exclusive ? state[v] : next;
      hn::StoreU(hn::DemoteTo(narrow, result), narrow, y + v * kDoubles);
      state[v] = next;
    }
  }
}

void cumulate_column(const Cumulative& args, const float* x, float* y) {
  double state = args.product ? 1 : 0;
  for (int64_t i = 0; i < args.n; ++i, x += args.stride, y += args.stride) {
    const double next =
        args.product ? state * static_cast<double>(*x) : state + static_cast<double>(*x);
    *y = static_cast<float>(args.exclusive ? state : next);
    state = next;
  }
}

template <bool product>
void cumulate_all(const Cumulative& by_reference, const float* x, float* y) {
  const Cumulative args = by_reference;
  constexpr int64_t kVectors = 8;
  int64_t c = 0;
  for (; c + kVectors * kDoubles <= args.columns; c += kVectors * kDoubles)
    cumulate_columns<kVectors, product>(args, x + c, y + c);
  for (; c + kDoubles <= args.columns; c += kDoubles)
    cumulate_columns<1, product>(args, x + c, y + c);
  for (; c < args.columns; ++c) cumulate_column(args, x + c, y + c);
}

}  // namespace

void run_cumulate(const Cumulative& args, const float* x, float* y) {
  args.product ? cumulate_all<true>(args, x, y) : cumulate_all<false>(args, x, y);
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
