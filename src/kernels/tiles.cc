#include "kernels/tiles.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mezzo::kernels {

#if defined(__x86_64__) && defined(__linux__)
namespace {

// Linux, Documentation/arch/x86/xstate: what is asked, and the number of the tiles' state.
constexpr long kSupported = 0x1021, kRequestPermission = 0x1023, kTileData = 18;

bool find_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kBf16) == 0 || (d & kTile) == 0)
    return false;
  unsigned long states = 0;
  return syscall(SYS_arch_prctl, kSupported, &states) == 0 && (states >> kTileData & 1) != 0;
}

}  // namespace

bool has_amx() {
  static const bool has = find_amx();
  return has;
}

bool enable_amx() {
  static const bool enabled =
      has_amx() && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return enabled;
}
#else
bool has_amx() { return false; }
bool enable_amx() { return false; }
#endif

}  // namespace mezzo::kernels
