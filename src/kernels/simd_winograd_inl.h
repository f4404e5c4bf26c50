// The transforms of Winograd's F(4x4, 3x3), after A. Lavin and S. Gray, "Fast Algorithms for
// Convolutional Neural Networks" (2016): y = A' [(G g G') .* (B' d B)] A for a tile of 4 x 4
// outputs and its 6 x 6 inputs d. Included per target, like simd.h.
//
// The matrices are those of the points 0, +-3/4, +-3/2 and infinity, not of the paper's 0, +-1,
// +-2: the powers stay closer to 1, which takes the largest error to a quarter at the same cost.
// What G would scale the points' rows by is in A' instead: weights are transformed in each run.

#if defined(MEZZO_KERNELS_SIMD_WINOGRAD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_WINOGRAD_INL
#undef MEZZO_KERNELS_SIMD_WINOGRAD_INL
#else
#define MEZZO_KERNELS_SIMD_WINOGRAD_INL
#endif

#include <cstdint>

#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_pack_inl.h"
#include "kernels/winograd_f32.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

inline constexpr int kTile = kWinogradRows, kInput = kTile + 2, kProducts = kInput * kInput;
inline constexpr float kP = 0.75f, kQ = 1.5f;  // the points

// Whether a transform of so many points, three to six, has point i. Each point fewer takes one
// input fewer, and gives one output fewer: five are without infinity, four without +-Q, three
// without both. The transforms of the weights are the same for all.
constexpr bool has_point(std::int64_t points, int i) {
  return i < 3 || (i < 5 ? points > 4 : points % 2 == 0);
}

// B' d for one column or row of as many inputs as there are points.
template <int Points = kInput, class V>
HWY_INLINE void transform_input(const V (&x)[kInput], V (&out)[kInput]) {
  const hn::DFromV<V> d;
  constexpr float kP2 = kP * kP, kQ2 = kQ * kQ;
  const V p2 = hn::Set(d, kP2), q2 = hn::Set(d, kQ2), sum = hn::Set(d, kP2 + kQ2),
          product = hn::Set(d, kP2 * kQ2), p = hn::Set(d, kP), q = hn::Set(d, kQ);
  if constexpr (Points <= 4) {
    out[0] = hn::MulSub(product, x[0], hn::Mul(q2, x[2]));
    out[1] = hn::MulAdd(p, x[1], x[2]);
    out[2] = hn::NegMulAdd(p, x[1], x[2]);
    if constexpr (has_point(Points, 5)) out[5] = hn::NegMulAdd(p2, x[1], x[3]);
    return;
  }
  const V even_p = hn::NegMulAdd(q2, x[2], x[4]), odd_p = hn::NegMulAdd(q2, x[1], x[3]);
  const V even_q = hn::NegMulAdd(p2, x[2], x[4]), odd_q = hn::NegMulAdd(p2, x[1], x[3]);
  out[0] = hn::MulAdd(product, x[0], hn::NegMulAdd(sum, x[2], x[4]));
  out[1] = hn::MulAdd(p, odd_p, even_p);
  out[2] = hn::NegMulAdd(p, odd_p, even_p);
  out[3] = hn::MulAdd(q, odd_q, even_q);
  out[4] = hn::NegMulAdd(q, odd_q, even_q);
  if constexpr (has_point(Points, 5))
    out[5] = hn::MulAdd(product, x[1], hn::NegMulAdd(sum, x[3], x[5]));
}

// A' m, for N outputs in a row: with weights of three there are two points more, with weights of
// four three.
template <int Points = kInput, class V, int N>
HWY_INLINE void transform_output(const V (&m)[kInput], V (&out)[N]) {
  static_assert(N + 2 == Points || N + 3 == Points);
  const hn::DFromV<V> d;
  constexpr bool kHasQ = has_point(Points, 3);
  constexpr float kP2 = kP * kP, kQ2 = kQ * kQ;
  const V sum_p = hn::Add(m[1], m[2]), difference_p = hn::Sub(m[1], m[2]);
  V sum_q = sum_p, difference_q = difference_p;
  if constexpr (kHasQ) {
    sum_q = hn::Add(m[3], m[4]);
    difference_q = hn::Sub(m[3], m[4]);
  }
  float scale_p = kHasQ ? 1 / (2 * kP2 * (kP2 - kQ2)) : 1 / (2 * kP2);
  float scale_q = 1 / (2 * kQ2 * (kQ2 - kP2));
  MEZZO_UNROLL
  for (int i = 0; i < N; ++i, scale_p *= kP, scale_q *= kQ) {
    const V p = hn::Set(d, scale_p), at_p = i % 2 == 0 ? sum_p : difference_p;
    if (i == 0) {
      out[i] = hn::MulAdd(p, at_p, m[0]);
    } else if (i + 1 == N && has_point(Points, 5)) {
      out[i] = hn::MulAdd(p, at_p, m[5]);
    } else {
      out[i] = hn::Mul(p, at_p);
    }
    if constexpr (kHasQ)
      out[i] = hn::MulAdd(hn::Set(d, scale_q), i % 2 == 0 ? sum_q : difference_q, out[i]);
  }
}

// G g.
HWY_INLINE void transform_weights(const VecF32 (&g)[3], VecF32 (&out)[kInput]) {
  const F32 d;
  constexpr float kP2 = kP * kP, kQ2 = kQ * kQ;
  const VecF32 even_p = hn::MulAdd(hn::Set(d, kP2), g[2], g[0]);
  const VecF32 even_q = hn::MulAdd(hn::Set(d, kQ2), g[2], g[0]);
  out[0] = hn::Mul(hn::Set(d, 1 / (kP2 * kQ2)), g[0]);
  out[1] = hn::MulAdd(hn::Set(d, kP), g[1], even_p);
  out[2] = hn::NegMulAdd(hn::Set(d, kP), g[1], even_p);
  out[3] = hn::MulAdd(hn::Set(d, kQ), g[1], even_q);
  out[4] = hn::NegMulAdd(hn::Set(d, kQ), g[1], even_q);
  out[5] = g[2];
}

// Row R of the transforms of a vector of weights, taps [3][3][kTileCols].
template <int R>
HWY_INLINE void transform_vector(const float* g, VecF32 (&out)[kInput]) {
  const F32 d;
  constexpr float kPoint = R == 1 ? kP : R == 2 ? -kP : R == 3 ? kQ : -kQ;
  VecF32 in[3];
  MEZZO_UNROLL
  for (int c = 0; c < 3; ++c) {
    const float* from = g + c * kTileCols;
    if constexpr (R == 0) {
      in[c] = hn::Mul(hn::Set(d, 1 / (kP * kP * kQ * kQ)), hn::LoadU(d, from));
    } else if constexpr (R == 5) {
      in[c] = hn::LoadU(d, from + 6 * kTileCols);
    } else {
      in[c] = hn::MulAdd(hn::Set(d, kPoint), hn::LoadU(d, from + 3 * kTileCols),
                         hn::MulAdd(hn::Set(d, kPoint * kPoint), hn::LoadU(d, from + 6 * kTileCols),
                                    hn::LoadU(d, from)));
    }
  }
  transform_weights(in, out);
}

// Row R of the transformed weights of `depth` channels of x: element c of it goes to
// u + c * stride, [depth][kTileCols], from g [depth][3][3][kTileCols].
template <int R>
HWY_NOINLINE void transform_taps(const float* g, std::int64_t depth, std::int64_t stride,
                                 float* u) {
  const F32 d;
  for (std::int64_t k = 0; k < depth; ++k, g += 9 * kTileCols, u += kTileCols) {
    MEZZO_UNROLL
    for (int v = 0; v < kTileVectors; ++v) {
      VecF32 out[kInput];
      transform_vector<R>(g + v * kLanes, out);
      MEZZO_UNROLL
      for (int c = 0; c < kInput; ++c) hn::StoreU(out[c], d, u + c * stride + v * kLanes);
    }
  }
}

inline void transform_taps(int row, const float* g, std::int64_t depth, std::int64_t stride,
                           float* u) {
  static constexpr decltype(&transform_taps<0>) kRows[kInput] = {
      transform_taps<0>, transform_taps<1>, transform_taps<2>,
      transform_taps<3>, transform_taps<4>, transform_taps<5>};
  kRows[row](g, depth, stride, u);
}

// Sorts N rows of overlapping tiles by column: out[c * stride + t] is column c of tile t.
template <int N>
HWY_INLINE void split_tiles(const float* row, std::int64_t stride, float* out) {
  const hn::FixedTag<float, N> d;
  // Block b holds pixels from b * 4 * kTile on.
  const auto load = [&](const float* from) HWY_ATTR {
    if constexpr (N == 8) {
      const hn::Half<decltype(d)> half;
      return hn::Combine(d, hn::LoadU(half, from + 4 * kTile), hn::LoadU(half, from));
    } else {
      return hn::LoadU(d, from);
    }
  };
  auto c0 = load(row), c1 = load(row + 4), c2 = load(row + 8), c3 = load(row + 12);
  auto c4 = c1, c5 = c2, c6 = c3, c7 = load(row + 16);
  transpose_blocks(d, c0, c1, c2, c3);
  transpose_blocks(d, c4, c5, c6, c7);
  hn::StoreU(c0, d, out);
  hn::StoreU(c1, d, out + stride);
  hn::StoreU(c2, d, out + 2 * stride);
  hn::StoreU(c3, d, out + 3 * stride);
  hn::StoreU(c4, d, out + 4 * stride);
  hn::StoreU(c5, d, out + 5 * stride);
}

// The same for `count` tiles. Up to three more are read, and written.
inline void split_tiles(const float* row, std::int64_t count, std::int64_t stride, float* out) {
  std::int64_t t = 0;
  if constexpr (kLanes >= 8) {
    for (; t + 4 < count; t += 8) split_tiles<8>(row + t * kTile, stride, out + t);
  }
  for (; t < count; t += 4) split_tiles<4>(row + t * kTile, stride, out + t);
}

// Stores the 128-bit blocks of a vector `stride` apart.
template <class D>
HWY_INLINE void store_blocks(D d, hn::Vec<D> v, float* to, std::int64_t stride) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    hn::StoreU(v, d, to);
  } else {
    const hn::Half<D> half;
    constexpr std::int64_t kBlocks = hn::MaxLanes(half) / 4;
    store_blocks(half, hn::LowerHalf(half, v), to, stride);
    store_blocks(half, hn::UpperHalf(half, v), to + kBlocks * stride, stride);
  }
}

// clamp(bias + the outputs of one tile) for a vector of channels, m + i * m_stride being product i:
// row r of channel c goes to out[c * channel_stride + r * row_stride].
HWY_INLINE void transform_tile(const float* m, std::int64_t m_stride, VecF32 bias, VecF32 lo,
                               VecF32 hi, float* out, std::int64_t channel_stride,
                               std::int64_t row_stride) {
  const F32 d;
  VecF32 columns[kInput][kTile];
  MEZZO_UNROLL
  for (int c = 0; c < kInput; ++c) {
    VecF32 in[kInput];
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) in[r] = hn::LoadU(d, m + (r * kInput + c) * m_stride);
    transform_output(in, columns[c]);
  }
  MEZZO_UNROLL
  for (int r = 0; r < kTile; ++r) {
    VecF32 in[kInput], y[kTile];
    MEZZO_UNROLL
    for (int c = 0; c < kInput; ++c) in[c] = columns[c][r];
    transform_output(in, y);
    MEZZO_UNROLL
    for (int i = 0; i < kTile; ++i) y[i] = clamp(hn::Add(y[i], bias), lo, hi);
    // Block b of y[i] becomes pixels 0 to 3 of channel 4 b + i.
    transpose_blocks(d, y[0], y[1], y[2], y[3]);
    MEZZO_UNROLL
    for (int i = 0; i < kTile; ++i)
      store_blocks(d, y[i], out + i * channel_stride + r * row_stride, kTile * channel_stride);
  }
}

// What of a tile [kLanes][kTile][kTile] lies in the image, Width pixels of each row, with `add`
// (null: nothing) and clamped: channel c's row r goes to y[c * pixels + r * out_w]. finish_row does
// the same for rows of any length, and would take a convolution of such tiles 3 to 5 % more.
template <int Width>
void finish_tile(const float* tile, std::int64_t channels, std::int64_t height, const float* add,
                 float* y, std::int64_t pixels, std::int64_t out_w, float lo, float hi) {
  const hn::FixedTag<float, kTile> d;
  HWY_ALIGN float row[kTile] = {};
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t r = 0; r < height; ++r) {
      const std::int64_t at = c * pixels + r * out_w;
      auto v = hn::LoadU(d, tile + (c * kTile + r) * kTile);
      if (add != nullptr) {
        for (int i = 0; i < Width; ++i) row[i] = add[at + i];
        v = hn::Add(v, hn::Load(d, row));
      }
      v = clamp(v, hn::Set(d, lo), hn::Set(d, hi));
      if constexpr (Width == kTile) {
        hn::StoreU(v, d, y + at);
      } else {
        hn::Store(v, d, row);
        for (int i = 0; i < Width; ++i) y[at + i] = row[i];
      }
    }
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
