// Which targets Highway compiles the kernels for. Included before anything of Highway; not for
// other folders.
#pragma once

// One copy each for SSE4, AVX2 and AVX-512 on x86, NEON alone on ARM. Highway would add a copy for
// its scalar target on x86, which can do less than the others; ours is never entered on a CPU
// without SSE4 (see simd_enabled), so SSE4 is the baseline.
#if defined(__x86_64__) || defined(__i386__)
#define HWY_BASELINE_TARGETS HWY_SSE4
#define HWY_DISABLED_TARGETS HWY_SSSE3
#elif defined(__aarch64__)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

#include "hwy/targets.h"
