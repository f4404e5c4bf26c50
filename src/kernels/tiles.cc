#include "kernels/tiles.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mezzo::kernels {

#if defined(__x86_64__) && defined(__linux__)
namespace {

bool ask_for_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kBf16) == 0 || (d & kTile) == 0)
    return false;
  // The state of tiles is large: Linux keeps it for those processes alone that ask (Documentation,
  // arch/x86/xstate). Where the kernel is too old to know the question, there is no answer but no.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool has_amx() {
  static const bool has = ask_for_amx();
  return has;
}
#else
bool has_amx() { return false; }
#endif

}  // namespace mezzo::kernels
