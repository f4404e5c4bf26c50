// What every SIMD source includes, after defining HWY_TARGET_INCLUDE as its own path: the source is
// compiled once per target. It has no include guard, since each of those passes needs Highway's
// operations anew. It comes before the simd_*_inl.h headers. Not for other folders.

// The order matters.
// clang-format off
#include "kernels/simd_targets.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on
#include "kernels/target.h"

#ifndef MEZZO_DISPATCH
// The function of that name compiled for the active target.
#define MEZZO_DISPATCH(function) (::mezzo::kernels::active_target(), HWY_DYNAMIC_DISPATCH(function))

// Loops over registers must be unrolled whole, or GCC keeps the arrays in memory.
#if defined(__clang__)
#define MEZZO_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MEZZO_UNROLL _Pragma("GCC unroll 32")
#endif
#endif
