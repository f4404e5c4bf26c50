#include "kernels/table_i8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/table_i8.cc"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using std::int64_t;
using std::uint8_t;

void run_look_up(const ByteTable& by_reference, const uint8_t* x, uint8_t* y, int64_t n) {
  const ByteTable table = by_reference;  // which stores through y cannot seem to change
  int64_t i = 0;
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
  // Not all CPUs of this target have AVX512_VBMI, whose vpermi2b looks up in 128 bytes.
  static const bool has_permutation = __builtin_cpu_supports("avx512vbmi") != 0;
  if (has_permutation) {
    const hn::ScalableTag<uint8_t> d;
    constexpr int64_t kBytes = HWY_LANES(uint8_t);
    const auto at = [&](int64_t part)
                        HWY_ATTR { return hn::LoadU(d, table.data() + part * kBytes); };
    const auto low = at(0), low_end = at(1), high = at(2), high_end = at(3);
    for (; i + kBytes <= n; i += kBytes) {
      const auto index = hn::LoadU(d, x + i);
      auto first = index, second = index;  // by its seven lower bits; the highest one chooses
      asm("vpermi2b %2, %1, %0" : "+v"(first.raw) : "v"(low.raw), "v"(low_end.raw));
      asm("vpermi2b %2, %1, %0" : "+v"(second.raw) : "v"(high.raw), "v"(high_end.raw));
      hn::StoreU(hn::IfThenElse(hn::MaskFromVec(index), second, first), d, y + i);
    }
  }
#endif
  for (; i < n; ++i) y[i] = table[x[i]];
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_look_up);
}  // namespace

void look_up(const ByteTable& table, const std::uint8_t* x, std::uint8_t* y, std::int64_t n) {
  MEZZO_DISPATCH(run_look_up)(table, x, y, n);
}

}  // namespace mezzo::kernels
#endif
