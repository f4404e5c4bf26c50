// What Highway keeps in its shared library and mezzo calls: which instruction sets this CPU has.
// For builds that depend on no C++ runtime of the system (MEZZO_STATIC_RUNTIME): Debian has Highway
// as a shared library only. The declarations are in hwy/targets.h.
#include <atomic>

#include "kernels/simd_targets.h"
#if HWY_ARCH_X86
#include <cpuid.h>
#endif

namespace hwy {
namespace {

#if HWY_ARCH_X86

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf) {
  Registers r;
  __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx,
                    &r.edx);  // all zero where the CPU has no such leaf
  return r;
}

// Which registers the operating system saves: bits 1 and 2 for SSE and AVX, 5 to 7 for AVX-512.
unsigned saved_registers() {
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has(unsigned bits, unsigned wanted) { return (bits & wanted) == wanted; }

// Intel SDM volume 2A, CPUID; what each target of Highway needs is what hwy/ops/set_macros-inl.h
// lets its compiler use.
std::int64_t detect() {
  constexpr unsigned kOsxsave = 1u << 27, kLzcnt = 1u << 5;
  const Registers basic = cpuid(1), more = cpuid(7), extended = cpuid(0x80000001);
  std::int64_t targets = 0;
  if (!has(basic.ecx, bit_SSSE3)) return targets;
  targets |= HWY_SSSE3;
  if (!has(basic.ecx, bit_SSE4_1 | bit_SSE4_2 | bit_PCLMUL | bit_AES)) return targets;
  targets |= HWY_SSE4;
  const unsigned saved = has(basic.ecx, kOsxsave) ? saved_registers() : 0;
  if (!has(saved, 0x6) || !has(basic.ecx, bit_AVX | bit_FMA | bit_F16C) ||
      !has(extended.ecx, kLzcnt) || !has(more.ebx, bit_AVX2 | bit_BMI | bit_BMI2))
    return targets;
  targets |= HWY_AVX2;
  if (!has(saved, 0xE6) ||
      !has(more.ebx, bit_AVX512F | bit_AVX512VL | bit_AVX512DQ | bit_AVX512BW | bit_AVX512CD))
    return targets;
  return targets | HWY_AVX3;  // AVX3_DL is not built
}

#else

std::int64_t detect() { return HWY_STATIC_TARGET; }

#endif

std::atomic<std::int64_t> forced{0};

}  // namespace

std::int64_t SupportedTargets() {
  static const std::int64_t detected = detect();
  const std::int64_t only = forced.load();
  const std::int64_t targets = only == 0 ? detected : only;
  return targets == 0 ? HWY_STATIC_TARGET : targets;
}

void SetSupportedTargetsForTest(std::int64_t targets) {
  forced = targets;
  GetChosenTarget().DeInit();
}

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

}  // namespace hwy
