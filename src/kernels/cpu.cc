#include "kernels/cpu.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

namespace mezzo::kernels {

#ifdef __x86_64__
namespace {

// "AuthenticAMD", of which EDX has "enti".
constexpr unsigned kAmd = 0x69746e65;
// Families, as in AMD's Revision Guides: Zen to Zen 2, and Zen 3 with the Zen 4 that followed.
constexpr unsigned kZen = 0x17, kZen3 = 0x19;

// Both are asked for once: a virtual machine takes its time.
bool find_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

bool find_far_lines_wait() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0, &a, &b, &c, &d) == 0 || d != kAmd || __get_cpuid(1, &a, &b, &c, &d) == 0)
    return false;
  const unsigned family = (a >> 8 & 0xf) + (a >> 20 & 0xff),
                 model = (a >> 4 & 0xf) | (a >> 12 & 0xf0);
  const bool is_zen4 = (model >= 0x10 && model < 0x20) || model >= 0x60;
  return family == kZen || (family == kZen3 && !is_zen4);
}

}  // namespace

bool has_avx_vnni() {
  static const bool has = find_avx_vnni();
  return has;
}

bool far_lines_wait() {
  static const bool wait = find_far_lines_wait();
  return wait;
}
#else
bool has_avx_vnni() { return false; }
bool far_lines_wait() { return false; }
#endif

}  // namespace mezzo::kernels
