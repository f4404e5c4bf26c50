// Stores that go past the caches. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_STREAM_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_STREAM_INL
#undef MEZZO_KERNELS_SIMD_STREAM_INL
#else
#define MEZZO_KERNELS_SIMD_STREAM_INL
#endif

#include <algorithm>
#include <cstdint>

#include "base/memory.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// to[i] = from[i] for i < count. Whole lines of the cache go past it, which does not read them
// first: for what nobody reads soon. hwy::FlushStream() must follow.
inline void stream(const float* from, std::int64_t count, float* to) {
  const F32 d;
  constexpr auto kLine = static_cast<std::int64_t>(kAlignment / sizeof(float));
  const auto past =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) / sizeof(float)) % kLine;
  std::int64_t i = past == 0 ? 0 : std::min(count, kLine - past);
  std::copy(from, from + i, to);
  for (; i + kLine <= count; i += kLine) {
    MEZZO_UNROLL
    for (int part = 0; part < int{kLine}; part += int{kLanes})
      hn::Stream(hn::LoadU(d, from + i + part), d, to + i + part);
  }
  std::copy(from + i, from + count, to + i);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
