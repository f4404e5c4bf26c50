// Loads and stores of fewer elements than a vector has. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_TAIL_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_TAIL_INL
#undef MEZZO_KERNELS_SIMD_TAIL_INL
#else
#define MEZZO_KERNELS_SIMD_TAIL_INL
#endif

#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using VecF32 = hn::Vec<F32>;
inline constexpr std::size_t kLanes = HWY_LANES(float);

inline constexpr std::int64_t kCacheLine = 64 / sizeof(float);

// The first n < kLanes elements at p, zeros after them. Nothing past them is read.
HWY_INLINE VecF32 load_n(F32 d, const float* p, std::size_t n) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(d, n), d, p);
#else
  // Highway's MaskedLoad reads whole vectors here.
  HWY_ALIGN float buffer[kLanes] = {};
  for (std::size_t i = 0; i < n; ++i) buffer[i] = p[i];
  return hn::Load(d, buffer);
#endif
}

// Lanes [begin, end) of a vector, for loads of them alone. Bounds beyond the vector count as its
// ends.
class LaneRange {
 public:
  LaneRange() = default;
  HWY_INLINE LaneRange(std::int64_t begin, std::int64_t end) {
    constexpr auto kCount = static_cast<std::int64_t>(kLanes);
    const auto first = static_cast<std::size_t>(begin < 0 ? 0 : begin > kCount ? kCount : begin);
    const auto last = static_cast<std::size_t>(end < 0 ? 0 : end > kCount ? kCount : end);
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
    mask_ = hn::AndNot(hn::FirstN(F32(), first), hn::FirstN(F32(), last));
#else
    begin_ = first;
    end_ = last;
#endif
  }

  // Element i of p where i is in the range, zero elsewhere. Nothing else is read; p itself need not
  // be readable.
  HWY_INLINE VecF32 load(F32 d, const float* p) const {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
    return hn::MaskedLoad(mask_, d, p);
#else
    HWY_ALIGN float buffer[kLanes] = {};
    for (std::size_t i = begin_; i < end_; ++i) buffer[i] = p[i];
    return hn::Load(d, buffer);
#endif
  }

 private:
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  hn::Mask<F32> mask_;
#else
  std::size_t begin_ = 0, end_ = 0;
#endif
};

// Stores the first n <= kLanes elements of v; nothing past them is touched.
HWY_INLINE void store_n(VecF32 v, F32 d, float* p, std::size_t n) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  hn::BlendedStore(v, hn::FirstN(d, n), d, p);
#elif HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  // AVX2's masked store takes AMD's processors 18 cycles.
  if (n >= kLanes) return hn::StoreU(v, d, p);
  const hn::Half<F32> half;
  auto rest = hn::LowerHalf(half, v);
  if ((n & 4) != 0) {
    hn::StoreU(rest, half, p);
    rest = hn::UpperHalf(half, v);
    p += 4;
  }
  const hn::Half<decltype(half)> quarter;
  auto last = hn::LowerHalf(quarter, rest);
  if ((n & 2) != 0) {
    hn::StoreU(last, quarter, p);
    last = hn::UpperHalf(quarter, rest);
    p += 2;
  }
  if ((n & 1) != 0) *p = hn::GetLane(last);
#else
  HWY_ALIGN float buffer[kLanes];
  hn::Store(v, d, buffer);
  for (std::size_t i = 0; i < n; ++i) p[i] = buffer[i];
#endif
}

// min(max(v, lo), hi) that lets NaN through: x86 returns the second operand where either is NaN.
template <class V>
HWY_INLINE V clamp(V v, V lo, V hi) {
  return hn::Min(hi, hn::Max(lo, v));
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
