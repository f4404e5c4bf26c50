// How pixels become tiles. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_FOR_TILES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_FOR_TILES_INL
#undef MEZZO_KERNELS_SIMD_FOR_TILES_INL
#else
#define MEZZO_KERNELS_SIMD_FOR_TILES_INL
#endif

#include <cstdint>

#include "base/rounding.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Calls run(first pixel, pixels of a tile, tiles) for `count` pixels in tiles of at most `most`, so
// that no tile is much smaller than the others. All but the last are multiples of `unit`, as `most`
// is.
template <class Run>
HWY_INLINE void for_tiles(std::int64_t count, std::int64_t most, std::int64_t unit,
                          const Run& run) {
  const std::int64_t whole = count / most, rest = count % most;
  if (rest == 0) return run(0, most, whole);
  if (whole == 0) return run(0, rest, 1);
  if (whole > 1) run(0, most, whole - 1);
  const std::int64_t first = (whole - 1) * most, two = most + rest,
                     larger = round_up(ceil_div(two, 2), unit);
  run(first, larger, 1);
  run(first + larger, two - larger, 1);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
