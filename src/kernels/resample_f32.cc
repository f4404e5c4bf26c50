#include "kernels/resample_f32.h"

#include <algorithm>
#include <iterator>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resample_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_row_sums_inl.h"

#ifndef MEZZO_KERNELS_RESAMPLE_F32_CC
#define MEZZO_KERNELS_RESAMPLE_F32_CC
namespace mezzo::kernels {
namespace {

// The parts of a Resample.
struct Taps {
  std::int64_t in, out, taps;
  const std::int32_t* index;
  const float* weight;

  // Where the arrays hold tap t of output j.
  std::int64_t at(std::int64_t j, std::int64_t t) const {
    constexpr std::int64_t kGroup = Resample::kGroup;
    return (j / kGroup * taps + t) * kGroup + j % kGroup;
  }
};

}  // namespace
}  // namespace mezzo::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;
using I32 = hn::RebindToSigned<F32>;
using VecI32 = hn::Vec<I32>;

constexpr auto kWidth = static_cast<int64_t>(kLanes);
static_assert(Resample::kGroup % kWidth == 0);

// Lane k is element index[k] < 2 kWidth of the vectors a and b.
HWY_INLINE VecF32 of_two(VecF32 a, VecF32 b, VecI32 index) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return VecF32{_mm512_permutex2var_ps(a.raw, index.raw, b.raw)};
#else
  const I32 di;
  const auto lanes = hn::IndicesFromVec(F32(), hn::And(index, hn::Set(di, int{kLanes} - 1)));
  return hn::IfThenElse(hn::RebindMask(F32(), hn::Gt(hn::Set(di, int{kLanes}), index)),
                        hn::TableLookupLanes(a, lanes), hn::TableLookupLanes(b, lanes));
#endif
}

// sum[r] += tap t of the outputs from j on, of rows of `in` >= 2 kWidth elements.
template <int kRows>
HWY_INLINE void add_tap(const Taps& s, int64_t j, int64_t t, const float* x, int64_t in,
                        VecF32 (&sum)[kRows]) {
  const F32 d;
  const I32 di;
  const int32_t* index = s.index + s.at(j, t);
  const VecF32 weight = hn::LoadU(d, s.weight + s.at(j, t));
  const auto add = [&](const auto& elements) HWY_ATTR {
    MEZZO_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r] = hn::MulAdd(weight, elements(x + r * in), sum[r]);
  };
  const auto [least, most] = std::minmax<int64_t>({index[0], index[kWidth - 1]});
  const int64_t span = most - least + 1;
  if (span > 2 * kWidth) {
    const VecI32 all = hn::LoadU(di, index);
    return add([&](const float* row) HWY_ATTR { return hn::GatherIndex(d, row, all); });
  }
  // They lie within one vector, or two.
  const bool is_near = span <= kWidth;
  const int64_t begin = std::min(least, in - (is_near ? kWidth : 2 * kWidth));
  const VecI32 within = hn::Sub(hn::LoadU(di, index), hn::Set(di, static_cast<int32_t>(begin)));
  if (is_near) {
    const auto lanes = hn::IndicesFromVec(d, within);
    return add([&](const float* row)
                   HWY_ATTR { return hn::TableLookupLanes(hn::LoadU(d, row + begin), lanes); });
  }
  add([&](const float* row) HWY_ATTR {
    return of_two(hn::LoadU(d, row + begin), hn::LoadU(d, row + begin + kWidth), within);
  });
}

// kRows rows of elements that lie behind each other.
template <int kRows>
void resample_in_rows(const Taps& s, const float* x, float* y) {
  const F32 d;
  constexpr int64_t kLeast = 2 * kWidth;
  HWY_ALIGN float padded[kRows * kLeast];
  int64_t in = s.in;
  if (in < kLeast) {
    std::fill(std::begin(padded), std::end(padded), 0.0f);
    for (int r = 0; r < kRows; ++r) std::copy_n(x + r * in, in, padded + r * kLeast);
    x = padded;
    in = kLeast;
  }
  for (int64_t j = 0; j < s.out; j += kWidth) {
    VecF32 sum[kRows];
    MEZZO_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r] = hn::Zero(d);
    for (int64_t t = 0; t < s.taps; ++t) add_tap(s, j, t, x, in, sum);
    const int64_t rest = s.out - j;
    MEZZO_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float* to = y + r * s.out + j;
      if (rest >= kWidth) {
        hn::StoreU(sum[r], d, to);
      } else {
        store_n(sum[r], d, to, static_cast<std::size_t>(rest));
      }
    }
  }
}

// Output j, a row of `inner` elements, each the sum of those above each other in rows of x.
void resample_a_row(const Taps& s, int64_t j, const float* x, int64_t inner, float* y) {
  const auto part = [&](int64_t t) HWY_ATTR {
    return RowPart{x + s.index[s.at(j, t)] * inner, s.weight[s.at(j, t)]};
  };
  sum_rows_above(s.taps, part, inner, y);
}

}  // namespace

// Rows [begin, end) of x where inner is 1, else of y.
void run_resample(const Taps& s, int64_t inner, const float* x, float* y, int64_t begin,
                  int64_t end) {
  if (inner != 1) {
    for (int64_t row = begin; row < end; ++row)
      resample_a_row(s, row % s.out, x + row / s.out * s.in * inner, inner, y + row * inner);
    return;
  }
  constexpr int kRows = 4;
  int64_t row = begin;
  for (; row + kRows <= end; row += kRows)
    resample_in_rows<kRows>(s, x + row * s.in, y + row * s.out);
  for (; row < end; ++row) resample_in_rows<1>(s, x + row * s.in, y + row * s.out);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_resample);
}

Resample::Resample(std::int64_t in, std::int64_t out, std::int64_t taps, const std::int64_t* index,
                   const float* weight)
    : in_(in), out_(out), taps_(taps) {
  for (std::int64_t group = 0; group < out; group += kGroup) {
    for (std::int64_t t = 0; t < taps; ++t) {
      for (std::int64_t j = group; j < group + kGroup; ++j) {
        const std::int64_t at = std::min(j, out - 1) * taps + t;
        index_.push_back(static_cast<std::int32_t>(index[at]));
        weight_.push_back(weight[at]);
      }
    }
  }
}

void Resample::run(const float* x, float* y, std::int64_t outer, std::int64_t inner,
                   ThreadPool& pool) const {
  const Taps s = {in_, out_, taps_, index_.data(), weight_.data()};
  const auto run = MEZZO_DISPATCH(run_resample);
  const std::int64_t rows = inner == 1 ? outer : outer * out_, length = inner == 1 ? out_ : inner;
  pool.parallel_for(rows, 1 + 32768 / (length * taps_ + 1),
                    [&](std::int64_t begin, std::int64_t end) { run(s, inner, x, y, begin, end); });
}

}  // namespace mezzo::kernels
#endif
