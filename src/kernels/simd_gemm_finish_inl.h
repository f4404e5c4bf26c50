// The epilogue of a matrix product in full, for tiles of any size. Included per target, like
// simd.h.

#if defined(MEZZO_KERNELS_SIMD_GEMM_FINISH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_GEMM_FINISH_INL
#undef MEZZO_KERNELS_SIMD_GEMM_FINISH_INL
#else
#define MEZZO_KERNELS_SIMD_GEMM_FINISH_INL
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/gemm_f32.h"
#include "kernels/simd_gemm_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Where a tile lies in C, and what is done to it.
struct TilePlace {
  float* c;
  std::int64_t ldc, row, col;
  const GemmEpilogue& epilogue;
};

// Takes sums, rows of which are `stride` apart and whole vectors, to their place: added to what is
// there, unless they are the first, and clamped if they are the last.
inline void finish_tile(const float* sums, std::int64_t stride, const TilePlace& place,
                        std::int64_t rows, std::int64_t cols, bool first, bool last) {
  const F32 d;
  const GemmEpilogue& e = place.epilogue;
  const VecF32 alpha = hn::Set(d, e.alpha), beta = hn::Set(d, e.beta);
  const VecF32 lo = hn::Set(d, e.min), hi = hn::Set(d, e.max);
  for (std::int64_t i = 0; i < rows; ++i, sums += stride) {
    const std::int64_t row = place.row + i;
    float* c = place.c + i * place.ldc;
    const float* add = e.add == nullptr ? nullptr : e.add + row * e.add_row_stride + place.col;
    for (std::int64_t j = 0; j < cols; j += kLanes) {
      const auto n = static_cast<std::size_t>(std::min<std::int64_t>(cols - j, kLanes));
      const bool whole = n == kLanes;
      const auto load = [&](const float* p)
                            HWY_ATTR { return whole ? hn::LoadU(d, p) : load_n(d, p, n); };
      VecF32 v = hn::Mul(hn::LoadU(d, sums + j), alpha);
      if (first) {
        VecF32 start = hn::Zero(d);
        if (e.row_bias != nullptr) start = hn::Set(d, e.row_bias[row]);
        if (e.col_bias != nullptr) start = hn::Add(start, load(e.col_bias + place.col + j));
        if (add != nullptr) start = hn::Add(start, load(add + j));
        v = e.beta == 1 ? hn::Add(v, start) : hn::MulAdd(beta, start, v);
      } else {
        v = hn::Add(v, load(c + j));
      }
      if (last) v = clamp(v, lo, hi);
      if (whole) {
        hn::StoreU(v, d, c + j);
      } else {
        store_n(v, d, c + j, n);
      }
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
