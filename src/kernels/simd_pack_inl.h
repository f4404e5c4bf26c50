// Panels of matrices, as tiles read them: [k][width]. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_PACK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_PACK_INL
#undef MEZZO_KERNELS_SIMD_PACK_INL
#else
#define MEZZO_KERNELS_SIMD_PACK_INL
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/simd_gemm_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Transposes the 4 x 4 floats that the vectors hold in each of their 128-bit blocks.
template <class D>
HWY_INLINE void transpose_blocks(D d, hn::Vec<D>& r0, hn::Vec<D>& r1, hn::Vec<D>& r2,
                                 hn::Vec<D>& r3) {
  const hn::Repartition<double, D> dd;
  const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, r0, r1)),
             high01 = hn::BitCast(dd, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, r2, r3)),
             high23 = hn::BitCast(dd, hn::InterleaveUpper(d, r2, r3));
  r0 = hn::BitCast(d, hn::InterleaveLower(dd, low01, low23));
  r1 = hn::BitCast(d, hn::InterleaveUpper(dd, low01, low23));
  r2 = hn::BitCast(d, hn::InterleaveLower(dd, high01, high23));
  r3 = hn::BitCast(d, hn::InterleaveUpper(dd, high01, high23));
}

// Transposes 4 x 4 floats: row r of the source at src + r * src_stride.
HWY_INLINE void transpose_4x4(const float* src, std::int64_t src_stride, float* dst,
                              std::int64_t dst_stride) {
  const hn::FixedTag<float, 4> d;
  auto r0 = hn::LoadU(d, src), r1 = hn::LoadU(d, src + src_stride);
  auto r2 = hn::LoadU(d, src + 2 * src_stride), r3 = hn::LoadU(d, src + 3 * src_stride);
  transpose_blocks(d, r0, r1, r2, r3);
  hn::StoreU(r0, d, dst);
  hn::StoreU(r1, d, dst + dst_stride);
  hn::StoreU(r2, d, dst + 2 * dst_stride);
  hn::StoreU(r3, d, dst + 3 * dst_stride);
}

// Transposes 4 rows of n floats: dst[j * dst_stride + i] = src[i * src_stride + j].
inline void transpose_4_rows(const float* src, std::int64_t src_stride, std::int64_t n, float* dst,
                             std::int64_t dst_stride) {
  std::int64_t j = 0;
  if constexpr (kLanes >= 8) {
    const hn::CappedTag<float, 8> d;
    const hn::Half<decltype(d)> half;
    for (; j + 8 <= n; j += 8) {
      hn::Vec<decltype(d)> v[4];
      MEZZO_UNROLL
      for (int i = 0; i < 4; ++i) v[i] = hn::LoadU(d, src + i * src_stride + j);
      transpose_blocks(d, v[0], v[1], v[2], v[3]);
      float* to = dst + j * dst_stride;
      if (dst_stride == 4) {
        hn::StoreU(hn::ConcatLowerLower(d, v[1], v[0]), d, to);
        hn::StoreU(hn::ConcatLowerLower(d, v[3], v[2]), d, to + 8);
        hn::StoreU(hn::ConcatUpperUpper(d, v[1], v[0]), d, to + 16);
        hn::StoreU(hn::ConcatUpperUpper(d, v[3], v[2]), d, to + 24);
        continue;
      }
      MEZZO_UNROLL
      for (int i = 0; i < 4; ++i) {
        hn::StoreU(hn::LowerHalf(half, v[i]), half, to + i * dst_stride);
        hn::StoreU(hn::UpperHalf(half, v[i]), half, to + (4 + i) * dst_stride);
      }
    }
  }
  for (; j + 4 <= n; j += 4) transpose_4x4(src + j, src_stride, dst + j * dst_stride, dst_stride);
  for (; j < n; ++j) {
    for (int i = 0; i < 4; ++i) dst[j * dst_stride + i] = src[i * src_stride + j];
  }
}

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
// Packs steps of k of kRows rows, `stride` floats apart, as columns of a panel [k][width] from
// `column` on, and returns how many: all whose vectors don't reach beyond the panel, only over
// steps that are yet to come.
template <int kRows>
std::int64_t pack_rows(const float* src, std::int64_t stride, std::int64_t width,
                       std::int64_t column, std::int64_t k, float* dst) {
  const F32 d;
  const hn::Half<F32> half;
  const hn::Half<decltype(half)> quarter;
  const auto row = [&](int i, std::int64_t p) HWY_ATTR {
    return i < kRows ? hn::LoadU(quarter, src + i * stride + p) : hn::Zero(quarter);
  };
  dst += column;
  std::int64_t p = 0;
  for (; (k - p - 3) * width >= column + std::int64_t{kLanes}; p += 4, dst += 4 * width) {
    VecF32 v[4];
    MEZZO_UNROLL
    for (int i = 0; i < 4; ++i) {
      v[i] = hn::Combine(d, hn::Combine(half, row(12 + i, p), row(8 + i, p)),
                         hn::Combine(half, row(4 + i, p), row(i, p)));
    }
    transpose_blocks(d, v[0], v[1], v[2], v[3]);
    MEZZO_UNROLL
    for (int i = 0; i < 4; ++i) hn::StoreU(v[i], d, dst + i * width);
  }
  return p;
}

// By the rows, from 1 on.
template <std::size_t... I>
constexpr auto pack_rows_of(std::index_sequence<I...>) {
  return std::array{pack_rows<static_cast<int>(I) + 1>...};
}
constexpr auto kPackRows = pack_rows_of(std::make_index_sequence<kLanes>());
#endif

// Writes a panel [k][width]: element (p, i) from src[i * stride_i + p * stride_k] for i < valid,
// zero beyond.
inline void pack_panel(const float* src, std::int64_t stride_i, std::int64_t stride_k,
                       std::int64_t valid, std::int64_t width, std::int64_t k, float* dst) {
  const F32 d;
  // Zeros come with the last vector where that is the panel's too.
  const bool whole_vectors = stride_i == 1 && round_up(valid, kLanes) == width;
  if (valid < width && !whole_vectors) {
    for (std::int64_t p = 0; p < k; ++p)
      std::fill(dst + p * width + valid, dst + (p + 1) * width, 0.0f);
  }
  if (stride_i == 1 && valid == 4 && width == 4) {
    const hn::CappedTag<float, 4> d4;
    for (std::int64_t p = 0; p < k; ++p)
      hn::StoreU(hn::LoadU(d4, src + p * stride_k), d4, dst + p * 4);
    return;
  }
  if (stride_i == 1) {
    for (std::int64_t p = 0; p < k; ++p, src += stride_k, dst += width) {
      std::int64_t i = 0;
      for (; i + static_cast<std::int64_t>(kLanes) <= valid; i += kLanes)
        hn::StoreU(hn::LoadU(d, src + i), d, dst + i);
      if (i == valid) continue;
      const auto rest = static_cast<std::size_t>(valid - i);
      const VecF32 last = load_n(d, src + i, rest);
      if (whole_vectors) {
        hn::StoreU(last, d, dst + i);
      } else {
        store_n(last, d, dst + i, rest);
      }
    }
    return;
  }
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  constexpr std::int64_t kMost{kLanes};
  if (stride_k == 1 && valid == width && (width < kMost || width % kMost == 0)) {
    std::int64_t done = 0;  // as many in each block of columns
    for (std::int64_t column = 0; column < width; column += kMost) {
      const auto rows = static_cast<std::size_t>(std::min(kMost, width - column));
      done = kPackRows[rows - 1](src + column * stride_i, stride_i, width, column, k, dst);
    }
    src += done;
    dst += done * width;
    k -= done;
  }
#endif
  std::int64_t i = 0;
  if (stride_k == 1) {
    for (; i + 4 <= valid; i += 4)
      transpose_4_rows(src + i * stride_i, stride_i, k, dst + i, width);
  }
  for (; i < valid; ++i) {
    for (std::int64_t p = 0; p < k; ++p) dst[p * width + i] = src[i * stride_i + p * stride_k];
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
