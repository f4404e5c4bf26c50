#include "kernels/convert.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convert.cc"
#include "kernels/simd.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// Applies `step` to whole vectors, and once more to copies of the rest.
template <class From, class To, class Step>
void convert_range(const From* x, To* y, int64_t n, const Step& step) {
  int64_t i = 0;
  for (; i + static_cast<int64_t>(kLanes) <= n; i += kLanes) step(x + i, y + i);
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    From from[kLanes] = {};
    To to[kLanes];
    std::memcpy(from, x + i, rest * sizeof(From));
    step(from, to);
    std::memcpy(y + i, to, rest * sizeof(To));
  }
}

}  // namespace

// 16-bit floats are handled as the integers that hold them, since that is what is stored.
using U16 = hn::Rebind<std::uint16_t, F32>;
using U32 = hn::Rebind<std::uint32_t, F32>;

void f16_to_f32_range(const Half* x, float* y, int64_t n) {
  convert_range(x, y, n, [](const Half* from, float* to) HWY_ATTR {
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2
    // Before AVX2 there is no instruction for it.
    for (std::size_t i = 0; i < kLanes; ++i) to[i] = to_float(from[i]);
#else
    const F32 d;
    const hn::Rebind<hwy::float16_t, F32> d16;
    const auto bits = hn::LoadU(U16(), reinterpret_cast<const std::uint16_t*>(from));
    hn::StoreU(hn::PromoteTo(d, hn::BitCast(d16, bits)), d, to);
#endif
  });
}

void f32_to_f16_range(const float* x, Half* y, int64_t n) {
  convert_range(x, y, n, [](const float* from, Half* to) HWY_ATTR {
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2
    for (std::size_t i = 0; i < kLanes; ++i) to[i] = to_half(from[i]);
#else
    const F32 d;
    const hn::Rebind<hwy::float16_t, F32> d16;
    hn::StoreU(hn::BitCast(U16(), hn::DemoteTo(d16, hn::LoadU(d, from))), U16(), reinterpret_cast<std::uint16_t*>(to));
#endif
  });
}

void bf16_to_f32_range(const BFloat16* x, float* y, int64_t n) {
  convert_range(x, y, n, [](const BFloat16* from, float* to) HWY_ATTR {
    const F32 d;
    const auto bits = hn::LoadU(U16(), reinterpret_cast<const std::uint16_t*>(from));
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(U32(), bits))), d, to);
  });
}

void f32_to_bf16_range(const float* x, BFloat16* y, int64_t n) {
  convert_range(x, y, n, [](const float* from, BFloat16* to) HWY_ATTR {
    const F32 d;
    const U32 du;
    const auto v = hn::LoadU(d, from);
    const auto bits = hn::BitCast(du, v), upper = hn::ShiftRight<16>(bits);
    // Half of the last place that stays, less one where that place is even: carries exactly when
    // rounding up.
    const auto odd = hn::And(upper, hn::Set(du, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff))));
    // A NaN keeps its sign and upper bits, and gets one that keeps it a NaN.
    const auto quiet = hn::Or(upper, hn::Set(du, 0x0040));
    const auto result = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
    const hn::RebindToSigned<U32> di;
    hn::StoreU(hn::DemoteTo(U16(), hn::BitCast(di, result)), U16(),
               reinterpret_cast<std::uint16_t*>(to));
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {

HWY_EXPORT(f16_to_f32_range);
HWY_EXPORT(f32_to_f16_range);
HWY_EXPORT(bf16_to_f32_range);
HWY_EXPORT(f32_to_bf16_range);

// Elements worth handing to another thread.
constexpr std::int64_t kGrain = 32 << 10;

template <class From, class To>
void in_parallel(void (*range)(const From*, To*, std::int64_t), const From* x, To* y,
                 std::int64_t n, ThreadPool& pool) {
  pool.parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    range(x + begin, y + begin, end - begin);
  });
}

}  // namespace

void f16_to_f32(const Half* x, float* y, std::int64_t n, ThreadPool& pool) {
  in_parallel(MEZZO_DISPATCH(f16_to_f32_range), x, y, n, pool);
}
void f32_to_f16(const float* x, Half* y, std::int64_t n, ThreadPool& pool) {
  in_parallel(MEZZO_DISPATCH(f32_to_f16_range), x, y, n, pool);
}
void bf16_to_f32(const BFloat16* x, float* y, std::int64_t n, ThreadPool& pool) {
  in_parallel(MEZZO_DISPATCH(bf16_to_f32_range), x, y, n, pool);
}
void f32_to_bf16(const float* x, BFloat16* y, std::int64_t n, ThreadPool& pool) {
  in_parallel(MEZZO_DISPATCH(f32_to_bf16_range), x, y, n, pool);
}

}  // namespace mezzo::kernels
#endif
