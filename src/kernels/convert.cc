#include "kernels/convert.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/convert.h"

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

// 16-bit floats are handled as the integers that hold them, since that is what is stored.
using U16 = hn::Rebind<std::uint16_t, F32>;
using U32 = hn::Rebind<std::uint32_t, F32>;
using I32 = hn::Rebind<std::int32_t, F32>;
using VecI32 = hn::Vec<I32>;

// Lanes to elements of the output, which are as wide, wider or bytes (of which the low bits count).
HWY_INLINE void store_whole(VecI32 v, std::int32_t* y) { hn::StoreU(v, I32(), y); }
HWY_INLINE void store_whole(VecI32 v, std::uint8_t* y) {
  const hn::Rebind<std::uint8_t, F32> bytes;
  hn::StoreU(hn::TruncateTo(bytes, hn::BitCast(U32(), v)), bytes, y);
}
HWY_INLINE void store_whole(VecI32 v, int64_t* y) {
  const hn::Half<I32> half;
  const hn::Rebind<int64_t, decltype(half)> wide;
  hn::StoreU(hn::PromoteTo(wide, hn::LowerHalf(half, v)), wide, y);
  hn::StoreU(hn::PromoteTo(wide, hn::UpperHalf(half, v)), wide, y + kLanes / 2);
}

// Truncates. What 32 bits do not hold (NaN, too) is rare and left to base, by runs of so many
// elements.
template <DType kTo, class To>
void f32_to_whole(const float* x, To* y, int64_t n) {
  constexpr int64_t kRun = 512;
  constexpr auto kLimit = std::bit_cast<std::int32_t>(0x1p31F);
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const int64_t count = std::min(kRun, n - begin);
    VecI32 largest = hn::Zero(I32());
    convert_range(x + begin, y + begin, count, [&](const float* from, To* to) HWY_ATTR {
      const VecF32 v = hn::LoadU(F32(), from);
      // The patterns of magnitudes are in their order, and NaN's are above all.
      largest = hn::Max(largest, hn::BitCast(I32(), hn::Abs(v)));
      store_whole(hn::ConvertTo(I32(), v), to);
    });
    if (!hn::AllTrue(I32(), hn::Lt(largest, hn::Set(I32(), kLimit))))
      convert(DType::f32, x + begin, kTo, y + begin, count);
  }
}

// A kernel as those who ask by type call it.
template <class From, class To, void (*kRange)(const From*, To*, int64_t)>
void untyped(const void* x, void* y, int64_t n) {
  kRange(static_cast<const From*>(x), static_cast<To*>(y), n);
}

void f16_to_f32(const Half* x, float* y, int64_t n) {
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

void f32_to_f16(const float* x, Half* y, int64_t n) {
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

void bf16_to_f32(const BFloat16* x, float* y, int64_t n) {
  convert_range(x, y, n, [](const BFloat16* from, float* to) HWY_ATTR {
    const F32 d;
    const auto bits = hn::LoadU(U16(), reinterpret_cast<const std::uint16_t*>(from));
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(U32(), bits))), d, to);
  });
}

void f32_to_bf16(const float* x, BFloat16* y, int64_t n) {
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

// NaN is true.
void f32_to_bool(const float* x, std::uint8_t* y, int64_t n) {
  convert_range(x, y, n, [](const float* from, std::uint8_t* to) HWY_ATTR {
    const VecF32 v = hn::LoadU(F32(), from);
    // (Ne is false of NaN on some machines.)
    const auto is_zero = hn::RebindMask(I32(), hn::Eq(v, hn::Zero(F32())));
    store_whole(hn::IfThenZeroElse(is_zero, hn::Set(I32(), 1)), to);
  });
}

// A plain loop, of which compilers make vectors where the target converts these (AVX-512).
void i64_to_f32(const int64_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]);
}

}  // namespace

ConvertArray find_converter(DType from, DType to) {
  if (from == DType::f16 && to == DType::f32) return untyped<Half, float, f16_to_f32>;
  if (from == DType::bf16 && to == DType::f32) return untyped<BFloat16, float, bf16_to_f32>;
  if (from == DType::i64 && to == DType::f32) return untyped<int64_t, float, i64_to_f32>;
  if (from != DType::f32) return nullptr;
  using std::uint8_t, std::int32_t;
  switch (to) {
    case DType::f16:
      return untyped<float, Half, f32_to_f16>;
    case DType::bf16:
      return untyped<float, BFloat16, f32_to_bf16>;
    case DType::i32:
      return untyped<float, int32_t, f32_to_whole<DType::i32, int32_t>>;
    case DType::i64:
      return untyped<float, int64_t, f32_to_whole<DType::i64, int64_t>>;
    // Bytes are the low ones of the same whole numbers, signed or not.
    case DType::i8:
    case DType::u8:
      return untyped<float, uint8_t, f32_to_whole<DType::u8, uint8_t>>;
    case DType::boolean:
      return untyped<float, uint8_t, f32_to_bool>;
    default:
      return nullptr;
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(find_converter);
}

ConvertArray array_converter(DType from, DType to) {
  return MEZZO_DISPATCH(find_converter)(from, to);
}

}  // namespace mezzo::kernels
#endif
