#include "kernels/tap_sums_i8.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tap_sums_i8.cc"
#include "kernels/simd.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint8_t;

constexpr auto kLaneCount = static_cast<int64_t>(kLanes);

// Bytes of a row that are fewer than kBytes: a pointer to so many, from there or, where they end
// before `end`, from a copy in `rest`.
template <std::size_t kBytes, class Byte>
HWY_INLINE const Byte* at_least(const Byte* x, int64_t count, const Byte* end, Byte* rest) {
  if (x + kBytes <= end) return x;
  for (int64_t i = 0; i < count; ++i) rest[i] = x[i];
  return rest;
}

// A row whose columns follow each other. What lies between it and `end` may be read.
template <class Byte>
void spread_one_phase(const Byte* x, int64_t columns, const Byte* end, VecI32 zero_point,
                      float* y) {
  const F32 d;
  const hn::Rebind<Byte, F32> bytes;
  int64_t c = 0;
  for (; c + kLaneCount <= columns; c += kLaneCount)
    hn::StoreU(widened(hn::LoadU(bytes, x + c), zero_point), d, y + c);
  if (c == columns) return;
  HWY_ALIGN Byte rest[kLanes] = {};
  const Byte* last = at_least<kLanes>(x + c, columns - c, end, rest);
  store_n(widened(hn::LoadU(bytes, last), zero_point), d, y + c,
          static_cast<std::size_t>(columns - c));
}

// A row whose even columns are apart from the odd ones.
template <class Byte>
void spread_two_phases(const Byte* x, int64_t columns, const Byte* end, VecI32 zero_point,
                       float* even, float* odd) {
  const F32 d;
  const hn::Rebind<Byte, F32> bytes;
  hn::Vec<hn::Rebind<Byte, F32>> at_even, at_odd;
  int64_t c = 0;
  for (; c + 2 * kLaneCount <= columns; c += 2 * kLaneCount) {
    hn::LoadInterleaved2(bytes, x + c, at_even, at_odd);
    hn::StoreU(widened(at_even, zero_point), d, even + c / 2);
    hn::StoreU(widened(at_odd, zero_point), d, odd + c / 2);
  }
  if (c == columns) return;
  HWY_ALIGN Byte rest[2 * kLanes] = {};
  hn::LoadInterleaved2(bytes, at_least<2 * kLanes>(x + c, columns - c, end, rest), at_even, at_odd);
  const auto count = static_cast<std::size_t>(columns - c);
  store_n(widened(at_even, zero_point), d, even + c / 2, (count + 1) / 2);
  store_n(widened(at_odd, zero_point), d, odd + c / 2, count / 2);
}

template <class Byte>
void spread(const SpreadRows& s, const Byte* x, float* y) {
  if (s.rows <= 0 || s.columns <= 0) return;
  const VecI32 zero_point = hn::Set(I32(), s.zero_point);
  const Byte* end = x + (s.rows - 1) * s.x_step + s.columns;
  const int64_t first_phase = s.first % s.phases, first = s.first / s.phases;
  for (int64_t row = 0; row < s.rows; ++row, x += s.x_step, y += s.phases * s.phase_size) {
    float *even = y + first, *odd = even + s.phase_size;
    if (s.phases == 1) {
      spread_one_phase(x, s.columns, end, zero_point, even);
    } else if (s.phases == 2 && first_phase == 0) {
      spread_two_phases(x, s.columns, end, zero_point, even, odd);
    } else if (s.phases == 2) {
      // It begins with an odd column; the next even one lies one further on.
      spread_two_phases(x, s.columns, end, zero_point, odd, even + 1);
    } else {
      int64_t phase = first_phase, at = first;
      for (int64_t c = 0; c < s.columns; ++c) {
        y[phase * s.phase_size + at] = static_cast<float>(x[c] - s.zero_point);
        if (++phase < s.phases) continue;
        phase = 0;
        ++at;
      }
    }
  }
}

// sum_taps; where `kTaps`, their number, is known here, the weights stay in registers. 0: any
// number.
template <int kTaps>
void sum_rows(const TapSums& shape, const float* x, int32_t* sums) {
  const F32 d;
  const I32 di;
  const int64_t taps = kTaps > 0 ? kTaps : shape.taps, columns = shape.columns;
  // Copies, which the stores of sums cannot seem to change.
  VecF32 weights[std::max(kTaps, 1)];
  int64_t offsets[std::max(kTaps, 1)];
  for (int t = 0; t < kTaps; ++t) {
    weights[t] = hn::Set(d, shape.weights[t]);
    offsets[t] = shape.offsets[t];
  }
  const auto rest = static_cast<std::size_t>(columns % kLaneCount);
  for (int64_t row = 0; row < shape.rows; ++row, x += shape.row_step, sums += columns) {
    const auto sums_at = [&](int64_t c, const auto& load) HWY_ATTR {
      VecF32 sum = hn::Zero(d);
      MEZZO_UNROLL
      for (int64_t t = 0; t < taps; ++t) {
        if constexpr (kTaps > 0) {
          sum = hn::MulAdd(weights[t], load(x + offsets[t] + c), sum);
        } else {
          sum = hn::MulAdd(hn::Set(d, shape.weights[t]), load(x + shape.offsets[t] + c), sum);
        }
      }
      return hn::ConvertTo(di, sum);
    };
    int64_t c = 0;
    for (; c + kLaneCount <= columns; c += kLaneCount)
      hn::StoreU(sums_at(c, [](const float* from) HWY_ATTR { return hn::LoadU(F32(), from); }), di,
                 sums + c);
    if (rest == 0) continue;
    const VecI32 last =
        sums_at(c, [&](const float* from) HWY_ATTR { return load_n(F32(), from, rest); });
    if ((shape.rows - row) * columns - c >= kLaneCount) {
      hn::StoreU(last, di, sums + c);  // what follows is written by the next rows
    } else {
      int32_t lanes[kLanes];
      hn::StoreU(last, di, lanes);
      std::copy_n(lanes, rest, sums + c);
    }
  }
}

}  // namespace

void run_spread_rows(const SpreadRows& s, const uint8_t* x, float* y) {
  if (s.is_signed) {
    spread(s, reinterpret_cast<const std::int8_t*>(x), y);
  } else {
    spread(s, x, y);
  }
}

void run_sum_taps(const TapSums& shape, const float* x, int32_t* sums) {
  if (shape.taps == 9) return sum_rows<9>(shape, x, sums);
  if (shape.taps == 25) return sum_rows<25>(shape, x, sums);
  sum_rows<0>(shape, x, sums);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_spread_rows);
HWY_EXPORT(run_sum_taps);
}  // namespace

void spread_rows(const SpreadRows& shape, const std::uint8_t* x, float* y) {
  MEZZO_DISPATCH(run_spread_rows)(shape, x, y);
}

void sum_taps(const TapSums& shape, const float* x, std::int32_t* sums) {
  MEZZO_DISPATCH(run_sum_taps)(shape, x, sums);
}

}  // namespace mezzo::kernels
#endif
