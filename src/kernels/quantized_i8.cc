#include "kernels/quantized_i8.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantized_i8.cc"
#include "kernels/simd.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint8_t;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;

constexpr auto kLaneCount = static_cast<int64_t>(kLanes);

// One vector of sums to as many bytes.
HWY_INLINE void requantize_vector(const Requantize& args, const int32_t* sums, uint8_t* y) {
  const F32 d;
  const I32 di;
  const hn::Rebind<uint8_t, F32> d8;
  const auto sum = hn::Add(hn::LoadU(di, sums), hn::Set(di, args.offset));
  const auto low = hn::Set(d, args.low), high = hn::Set(d, args.high);
  auto value = hn::Mul(hn::ConvertTo(d, sum), hn::Set(d, args.multiplier));
  value = hn::IfThenElse(hn::Gt(value, low), value, low);
  const auto rounded = hn::NearestInt(hn::Min(value, high));
  const auto result = hn::Add(rounded, hn::Set(di, args.zero_point));
  hn::StoreU(hn::TruncateTo(d8, hn::BitCast(U32(), result)), d8, y);
}

}  // namespace

void run_requantize(const Requantize& by_reference, const int32_t* sums, uint8_t* y, int64_t n) {
  const Requantize args =
      by_reference;  // which stores through y, being bytes, might seem to change
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount) requantize_vector(args, sums + i, y + i);
  if (i == n) return;
  int32_t rest[kLanes] = {};
  uint8_t bytes[kLanes];
  std::copy(sums + i, sums + n, rest);
  requantize_vector(args, rest, bytes);
  std::copy_n(bytes, n - i, y + i);
}

void run_sum_taps(const TapSums& shape, const float* x, int32_t* sums) {
  const F32 d;
  const I32 di;
  for (int64_t row = 0; row < shape.rows; ++row) {
    const float* in = x + row * shape.row_step;
    int32_t* out = sums + row * shape.columns;
    int64_t c = 0;
    for (; c + kLaneCount <= shape.columns; c += kLaneCount) {
      auto sum = hn::Zero(d);
      for (int64_t t = 0; t < shape.taps; ++t) {
        sum =
            hn::MulAdd(hn::Set(d, shape.weights[t]), hn::LoadU(d, in + shape.offsets[t] + c), sum);
      }
      hn::StoreU(hn::ConvertTo(di, sum), di, out + c);
    }
    const auto rest = static_cast<std::size_t>(shape.columns - c);
    if (rest == 0) continue;
    auto sum = hn::Zero(d);
    for (int64_t t = 0; t < shape.taps; ++t) {
      sum =
          hn::MulAdd(hn::Set(d, shape.weights[t]), load_n(d, in + shape.offsets[t] + c, rest), sum);
    }
    int32_t lanes[kLanes];
    hn::StoreU(hn::ConvertTo(di, sum), di, lanes);
    std::copy_n(lanes, rest, out + c);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_requantize);
HWY_EXPORT(run_sum_taps);
}  // namespace

void requantize(const Requantize& args, const std::int32_t* sums, std::uint8_t* y, std::int64_t n) {
  MEZZO_DISPATCH(run_requantize)(args, sums, y, n);
}

void sum_taps(const TapSums& shape, const float* x, std::int32_t* sums) {
  MEZZO_DISPATCH(run_sum_taps)(shape, x, sums);
}

}  // namespace mezzo::kernels
#endif
