#include "kernels/winograd_f32.h"

#include <algorithm>

#include "base/shape.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/winograd_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_gemm_inl.h"

// Winograd's F(4x4, 3x3), after A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural
// Networks" (2016): y = A' [(G g G') .* (B' d B)] A for each tile of 4 x 4 outputs, whose 6 x 6
// inputs d overlap with those of the next tiles. Summed over channels, the product .* becomes 36
// matrix products [tiles, in_c] x [in_c, out_c].
//
// The matrices are those of the points 0, +-3/4, +-3/2 and infinity, not of the paper's 0, +-1,
// +-2: the powers stay closer to 1, which takes the largest error to a quarter at the same cost,
// and all constants but those of G are exact.
//
// The tiles, counted through all images, are taken in blocks that fit L2 with their transforms:
//   V [36][panel of tiles][in_c][tiles of the panel]      transformed inputs
//   U [36][panel of channels][in_c][kTileCols]            transformed weights, packed ahead
//   M [panel of channels][36][tile][kTileCols]            products

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int kTile = 4, kInput = 6, kProducts = kInput * kInput;
constexpr float kP = 0.75f, kQ = 1.5f;  // the points

constexpr int64_t kLaneCount = kLanes;
// Floats of V and M of one block.
constexpr int64_t kBlockFloats = 224 << 10;
// Multiply-adds worth handing to another thread: some ten microseconds.
constexpr int64_t kTaskWork = int64_t{1} << 19;

struct ScratchV {};
struct ScratchM {};
struct ScratchRows {};
struct ScratchColumns {};
struct ScratchOutput {};

struct Layout {
  explicit Layout(const ConvShape& s) : shape(s) {
    tiles_w = ceil_div(s.out_w, kTile);
    tiles_per_image = checked_mul(ceil_div(s.out_h, kTile), tiles_w);
    tiles = checked_mul(s.batch, tiles_per_image);
    channel_panels = ceil_div(s.out_c, kTileCols);
    const int64_t tile_floats =
        checked_mul(kProducts, checked_add(s.in_c, channel_panels * kTileCols));
    blocks = ceil_div(tiles, std::max(kMaxRows, kBlockFloats / tile_floats));
    depth = depth_block(s.in_c);
  }
  int64_t block_begin(int64_t block) const { return tiles * block / blocks; }

  const ConvShape& shape;
  int64_t tiles_w, tiles_per_image, tiles, blocks;
  int64_t channel_panels;
  int64_t depth;  // block of in_c
};

// Tiles beside each other in one image.
struct Segment {
  int64_t image, row, column, count;  // row and column of the first tile
};

Segment segment_at(const Layout& l, int64_t tile, int64_t end) {
  const int64_t in_image = tile % l.tiles_per_image, column = in_image % l.tiles_w;
  return {tile / l.tiles_per_image, in_image / l.tiles_w, column,
          std::min(l.tiles_w - column, end - tile)};
}

// A block of tiles and where its transforms lie.
struct Block {
  Block(const Layout& l, int64_t index) {
    begin = l.block_begin(index);
    count = l.block_begin(index + 1) - begin;
    panels = ceil_div(count, kMaxRows);
    // Room for a vector that is stored whole; and no power of two, which would put the 36 streams
    // into the same sets of the caches.
    v_stride = checked_add(checked_mul(round_up(count, 16), l.shape.in_c), 80);
    m_stride = count * kTileCols + 16;
  }
  int64_t panel_begin(int64_t panel) const { return count * panel / panels; }

  int64_t begin, count, panels;
  int64_t v_stride, m_stride;  // from one of the 36 products to the next
  float* v = nullptr;
  float* m = nullptr;
};

// B' d for one column or row of six.
HWY_INLINE void transform_input(const VecF32 (&x)[kInput], VecF32 (&out)[kInput]) {
  const F32 d;
  constexpr float kP2 = kP * kP, kQ2 = kQ * kQ;
  const VecF32 p2 = hn::Set(d, kP2), q2 = hn::Set(d, kQ2), sum = hn::Set(d, kP2 + kQ2),
               product = hn::Set(d, kP2 * kQ2), p = hn::Set(d, kP), q = hn::Set(d, kQ);
  const VecF32 even_p = hn::NegMulAdd(q2, x[2], x[4]), odd_p = hn::NegMulAdd(q2, x[1], x[3]);
  const VecF32 even_q = hn::NegMulAdd(p2, x[2], x[4]), odd_q = hn::NegMulAdd(p2, x[1], x[3]);
  out[0] = hn::MulAdd(product, x[0], hn::NegMulAdd(sum, x[2], x[4]));
  out[1] = hn::MulAdd(p, odd_p, even_p);
  out[2] = hn::NegMulAdd(p, odd_p, even_p);
  out[3] = hn::MulAdd(q, odd_q, even_q);
  out[4] = hn::NegMulAdd(q, odd_q, even_q);
  out[5] = hn::MulAdd(product, x[1], hn::NegMulAdd(sum, x[3], x[5]));
}

// A' m.
HWY_INLINE void transform_output(const VecF32 (&m)[kInput], VecF32 (&out)[kTile]) {
  const F32 d;
  const VecF32 sum_p = hn::Add(m[1], m[2]), difference_p = hn::Sub(m[1], m[2]);
  const VecF32 sum_q = hn::Add(m[3], m[4]), difference_q = hn::Sub(m[3], m[4]);
  out[0] = hn::Add(hn::Add(m[0], sum_p), sum_q);
  out[1] = hn::MulAdd(hn::Set(d, kQ), difference_q, hn::Mul(hn::Set(d, kP), difference_p));
  out[2] = hn::MulAdd(hn::Set(d, kQ * kQ), sum_q, hn::Mul(hn::Set(d, kP * kP), sum_p));
  out[3] = hn::MulAdd(hn::Set(d, kQ * kQ * kQ), difference_q,
                      hn::MulAdd(hn::Set(d, kP * kP * kP), difference_p, m[5]));
}

// G g.
HWY_INLINE void transform_weights(const VecF32 (&g)[3], VecF32 (&out)[kInput]) {
  const F32 d;
  constexpr float kP2 = kP * kP, kQ2 = kQ * kQ;
  out[0] = hn::Mul(hn::Set(d, 1 / (kP2 * kQ2)), g[0]);
  const auto pair = [&](float point, float scale, VecF32& plus, VecF32& minus) HWY_ATTR {
    const VecF32 even = hn::MulAdd(hn::Set(d, point * point), g[2], g[0]);
    const VecF32 odd = hn::Mul(hn::Set(d, point), g[1]), factor = hn::Set(d, scale);
    plus = hn::Mul(factor, hn::Add(even, odd));
    minus = hn::Mul(factor, hn::Sub(even, odd));
  };
  pair(kP, 1 / (2 * kP2 * (kP2 - kQ2)), out[1], out[2]);
  pair(kQ, 1 / (2 * kQ2 * (kQ2 - kP2)), out[3], out[4]);
  out[5] = g[2];
}

// First half of the input transform of one channel's segment: B' d along the columns, as six rows
// of `pitch` floats with zeros for the padding.
void transform_columns(const ConvShape& s, const Segment& segment, const float* plane, float* zeros,
                       int64_t pitch, float* rows) {
  const F32 d;
  const int64_t left = segment.column * kTile - s.pad_left, top = segment.row * kTile - s.pad_top;
  const int64_t width = segment.count * kTile + 2;
  const int64_t first = std::clamp<int64_t>(-left, 0, width);
  const int64_t end = std::clamp<int64_t>(s.in_w - left, first, width);
  const float* src[kInput];
  for (int r = 0; r < kInput; ++r) {
    const int64_t ih = top + r;
    const bool inside = ih >= 0 && ih < s.in_h && first < end;
    src[r] = inside ? plane + ih * s.in_w + left + first : zeros;
  }
  const auto fill = [&](int64_t from, int64_t to) HWY_ATTR {
    for (int r = 0; r < kInput; ++r) {
      for (int64_t j = from; j < to; j += kLaneCount)
        hn::StoreU(hn::Zero(d), d, rows + r * pitch + j);
    }
  };
  fill(0, first);
  const int64_t length = end - first;
  VecF32 x[kInput], out[kInput];
  int64_t j = 0;
  for (; j < length; j += kLaneCount) {
    const bool whole = j + kLaneCount <= length;
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) {
      x[r] = whole ? hn::LoadU(d, src[r] + j)
                   : load_n(d, src[r] + j, static_cast<std::size_t>(length - j));
    }
    transform_input(x, out);
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) hn::StoreU(out[r], d, rows + r * pitch + first + j);
  }
  fill(first + j, pitch - kLaneCount);
}

// Sorts rows of overlapping tiles by column: out[c * stride + t] is column c of tile t. Up to three
// elements more than `count` of each are written.
void split_tiles(const float* row, int64_t count, int64_t stride, float* out) {
  const hn::FixedTag<float, 4> d;
  for (int64_t t = 0; t < count; t += 4, row += 4 * kTile) {
    auto c0 = hn::LoadU(d, row), c1 = hn::LoadU(d, row + 4), c2 = hn::LoadU(d, row + 8),
         c3 = hn::LoadU(d, row + 12);
    auto c4 = c1, c5 = c2, c6 = c3, c7 = hn::LoadU(d, row + 16);
    transpose_blocks(d, c0, c1, c2, c3);
    transpose_blocks(d, c4, c5, c6, c7);
    hn::StoreU(c0, d, out + t);
    hn::StoreU(c1, d, out + stride + t);
    hn::StoreU(c2, d, out + 2 * stride + t);
    hn::StoreU(c3, d, out + 3 * stride + t);
    hn::StoreU(c4, d, out + 4 * stride + t);
    hn::StoreU(c5, d, out + 5 * stride + t);
  }
}

// V of channels [begin, end).
void transform_inputs(const Layout& l, const Block& b, const float* x, int64_t begin, int64_t end) {
  const F32 d;
  const ConvShape& s = l.shape;
  const int64_t longest = std::min(l.tiles_w, b.count);
  const int64_t pitch = round_up(longest, 4) * kTile + 4 + 2 * kLaneCount;
  const int64_t columns_stride = round_up(b.count, kLaneCount) + kLaneCount;
  float* rows = thread_scratch<ScratchRows>((kInput + 1) * pitch);
  float* zeros = rows + kInput * pitch;
  std::fill(zeros, zeros + pitch, 0.0f);
  float* columns = thread_scratch<ScratchColumns>(kProducts * columns_stride);
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t t = 0; t < b.count;) {
      const Segment segment = segment_at(l, b.begin + t, b.begin + b.count);
      transform_columns(s, segment, x + (segment.image * s.in_c + c) * s.in_h * s.in_w, zeros,
                        pitch, rows);
      for (int r = 0; r < kInput; ++r) {
        split_tiles(rows + r * pitch, segment.count, columns_stride,
                    columns + r * kInput * columns_stride + t);
      }
      t += segment.count;
    }
    const int64_t k0 = c / l.depth * l.depth, depth = std::min(l.depth, s.in_c - k0);
    // Whole vectors may overwrite rows of the panel that are written later.
    const int64_t rows_left = std::min(end, k0 + depth) - c;
    for (int64_t p = 0; p < b.panels; ++p) {
      const int64_t first = b.panel_begin(p), width = b.panel_begin(p + 1) - first;
      for (int64_t j = 0; j < width; j += kLaneCount) {
        const bool whole = j + kLaneCount <= rows_left * width;
        const float* from = columns + first + j;
        float* to = b.v + b.count * k0 + first * depth + (c - k0) * width + j;
        for (int r = 0; r < kInput; ++r) {
          VecF32 in[kInput], out[kInput];
          MEZZO_UNROLL
          for (int i = 0; i < kInput; ++i) in[i] = hn::LoadU(d, from + i * columns_stride);
          transform_input(in, out);
          if (whole) {
            MEZZO_UNROLL
            for (int i = 0; i < kInput; ++i) hn::StoreU(out[i], d, to + i * b.v_stride);
          } else {
            MEZZO_UNROLL
            for (int i = 0; i < kInput; ++i)
              store_n(out[i], d, to + i * b.v_stride, static_cast<std::size_t>(width - j));
          }
          from += kInput * columns_stride;
          to += kInput * b.v_stride;
        }
      }
    }
  }
}

// M of the products and channel panels [begin, end), counted through all products.
void multiply(const Layout& l, const Block& b, const float* weights, int64_t begin, int64_t end) {
  const int64_t in_c = l.shape.in_c, panel_floats = in_c * kTileCols;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t product = i / l.channel_panels, w = i % l.channel_panels;
    const int64_t channels = std::min(kTileCols, l.shape.out_c - w * kTileCols);
    float* m = b.m + w * kProducts * b.m_stride + product * b.m_stride;
    for (int64_t k0 = 0; k0 < in_c; k0 += l.depth) {
      const int64_t depth = std::min(l.depth, in_c - k0);
      const float* u = weights + i * panel_floats + k0 * kTileCols;
      const float* v = b.v + product * b.v_stride + b.count * k0;
      // What follows in the weights is read next, be it of this panel or not.
      const bool last = i + 1 == end && k0 + depth == in_c;
      const float* next = last ? nullptr : u + depth * kTileCols;
      for (int64_t p = 0; p < b.panels; ++p) {
        const int64_t first = b.panel_begin(p), height = b.panel_begin(p + 1) - first;
        const Fetch fetch = fetch_part(next, kTileCols, depth, p);
        tile_kernel(height, channels, fetch)(v + first * depth, u, kTileCols, depth,
                                             sums_into(m + first * kTileCols, k0 != 0, fetch));
      }
    }
  }
}

// Stores the 128-bit blocks of a vector `stride` apart.
template <class D>
HWY_INLINE void store_blocks(D d, hn::Vec<D> v, float* to, int64_t stride) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    hn::StoreU(v, d, to);
  } else {
    const hn::Half<D> half;
    constexpr int64_t kBlocks = hn::MaxLanes(half) / 4;
    store_blocks(half, hn::LowerHalf(half, v), to, stride);
    store_blocks(half, hn::UpperHalf(half, v), to + kBlocks * stride, stride);
  }
}

// The outputs of one tile for a vector of channels, m + i * m_stride being product i: channel c's
// row r goes to out[(c * kTile + r) * pitch].
HWY_INLINE void transform_tile(const float* m, int64_t m_stride, float* out, int64_t pitch) {
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
    // Block b of y[i] becomes pixels 0 to 3 of channel 4 b + i.
    transpose_blocks(d, y[0], y[1], y[2], y[3]);
    MEZZO_UNROLL
    for (int i = 0; i < kTile; ++i)
      store_blocks(d, y[i], out + (i * kTile + r) * pitch, kTile * kTile * pitch);
  }
}

// y of the vectors of channels [begin, end).
void transform_outputs(const Layout& l, const Block& b, const ConvArgs& args, int64_t begin,
                       int64_t end) {
  const F32 d;
  const ConvShape& s = l.shape;
  const int64_t pixels = s.out_h * s.out_w;
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * pixels;
  const int64_t pitch = std::min(l.tiles_w, b.count) * kTile;
  const VecF32 lo = hn::Set(d, args.min), hi = hn::Set(d, args.max);
  float* rows = thread_scratch<ScratchOutput>(kLaneCount * kTile * pitch + kLaneCount);
  for (int64_t v = begin; v < end; ++v) {
    const int64_t channel = v * kLaneCount, channels = std::min(kLaneCount, s.out_c - channel);
    const float* m = b.m + channel / kTileCols * kProducts * b.m_stride + channel % kTileCols;
    for (int64_t t = 0; t < b.count;) {
      const Segment segment = segment_at(l, b.begin + t, b.begin + b.count);
      for (int64_t i = 0; i < segment.count; ++i)
        transform_tile(m + (t + i) * kTileCols, b.m_stride, rows + i * kTile, pitch);
      t += segment.count;
      const int64_t oh = segment.row * kTile, ow = segment.column * kTile;
      const int64_t height = std::min<int64_t>(kTile, s.out_h - oh),
                    width = std::min(segment.count * kTile, s.out_w - ow);
      for (int64_t c = 0; c < channels; ++c) {
        const float bias = args.bias == nullptr ? 0.0f : args.bias[channel + c];
        const int64_t at = (channel + c) * pixels + oh * s.out_w + ow;
        float* y = args.y + segment.image * y_stride + at;
        const float* add =
            args.add == nullptr ? nullptr : args.add + segment.image * s.out_c * pixels + at;
        for (int64_t r = 0; r < height; ++r) {
          finish_row(rows + (c * kTile + r) * pitch, bias,
                     add == nullptr ? nullptr : add + r * s.out_w, y + r * s.out_w, width, lo, hi);
        }
      }
    }
  }
}

void run_block(const Layout& l, int64_t index, const ConvArgs& args, ThreadPool& pool) {
  const ConvShape& s = l.shape;
  Block b(l, index);
  b.v = thread_scratch<ScratchV>(checked_mul(kProducts, b.v_stride));
  b.m = thread_scratch<ScratchM>(checked_mul(l.channel_panels * kProducts, b.m_stride));
  // A transform costs about as much as ten multiply-adds of the products for each of the 36.
  const auto grain = [&](int64_t work) { return std::max<int64_t>(1, kTaskWork / work); };
  pool.parallel_for(s.in_c, grain(b.count * kProducts * 10),
                    [&](int64_t begin, int64_t end)
                        HWY_ATTR { transform_inputs(l, b, args.x, begin, end); });
  pool.parallel_for(kProducts * l.channel_panels, grain(b.count * s.in_c * kTileCols),
                    [&](int64_t begin, int64_t end)
                        HWY_ATTR { multiply(l, b, args.packed_weights, begin, end); });
  pool.parallel_for(ceil_div(s.out_c, kLaneCount), grain(b.count * kProducts * 10 * kLaneCount),
                    [&](int64_t begin, int64_t end)
                        HWY_ATTR { transform_outputs(l, b, args, begin, end); });
}

}  // namespace

bool pays(const ConvShape& s) {
  // The transforms cost as much as some ten channels.
  if (s.in_c < 8 || s.out_c < 8 || s.in_c + s.out_c < 32) return false;
  // Tiles that are cut off at the edges must not eat half of the gain up.
  const Layout l(s);
  const int64_t pixels = checked_mul(checked_mul(s.batch, s.out_h), s.out_w);
  if (pixels / (kTile * kTile / 2) < l.tiles) return false;
  // Each weight is read as four floats, which takes as long as this many direct multiply-adds: the
  // more, the wider the vectors.
  return pixels >= (kLaneCount >= 16 ? 144 : 64);
}

int64_t winograd_floats(const ConvShape& s) {
  return checked_mul(kProducts, checked_mul(s.in_c, round_up(s.out_c, kTileCols)));
}

void run_pack_winograd(const ConvShape& s, const float* weights, float* packed, ThreadPool& pool) {
  const int64_t panels = ceil_div(s.out_c, kTileCols);
  pool.parallel_for(panels * s.in_c, 256, [&](int64_t begin, int64_t end) HWY_ATTR {
    const F32 d;
    HWY_ALIGN float taps[9][kTileCols] = {};
    for (int64_t t = begin; t < end; ++t) {
      const int64_t w = t / s.in_c, k = t % s.in_c;
      const int64_t channels = std::min(kTileCols, s.out_c - w * kTileCols);
      for (int64_t j = 0; j < kTileCols; ++j) {
        const float* from = weights + ((w * kTileCols + j) * s.in_c + k) * 9;
        for (int i = 0; i < 9; ++i) taps[i][j] = j < channels ? from[i] : 0.0f;
      }
      for (int64_t j = 0; j < kTileCols; j += kLaneCount) {
        VecF32 columns[3][kInput];
        for (int c = 0; c < 3; ++c) {
          const VecF32 in[3] = {hn::Load(d, taps[c] + j), hn::Load(d, taps[3 + c] + j),
                                hn::Load(d, taps[6 + c] + j)};
          transform_weights(in, columns[c]);
        }
        for (int r = 0; r < kInput; ++r) {
          const VecF32 in[3] = {columns[0][r], columns[1][r], columns[2][r]};
          VecF32 out[kInput];
          transform_weights(in, out);
          for (int c = 0; c < kInput; ++c) {
            hn::StoreU(out[c], d,
                       packed + (((r * kInput + c) * panels + w) * s.in_c + k) * kTileCols + j);
          }
        }
      }
    }
  });
}

void run_winograd(const ConvShape& s, const ConvArgs& args, ThreadPool& pool) {
  const Layout l(s);
  // A thread that has a block to itself keeps it in its own caches. Where blocks are few, all
  // threads share each of them.
  if (l.blocks % pool.size() == 0 || l.blocks >= 4 * pool.size()) {
    pool.parallel_for(l.blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_block(l, i, args, pool);
    });
  } else {
    for (int64_t i = 0; i < l.blocks; ++i) run_block(l, i, args, pool);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(pays);
HWY_EXPORT(winograd_floats);
HWY_EXPORT(run_pack_winograd);
HWY_EXPORT(run_winograd);
}  // namespace

bool winograd_applies(const ConvShape& s) {
  return s.k_h == 3 && s.k_w == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
         s.dilation_w == 1 && s.groups == 1;
}

bool winograd_pays(const ConvShape& shape) { return MEZZO_DISPATCH(pays)(shape); }

std::size_t winograd_weights_bytes(const ConvShape& shape) {
  return static_cast<std::size_t>(
      checked_mul(MEZZO_DISPATCH(winograd_floats)(shape), sizeof(float)));
}

void pack_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                           ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_winograd)(shape, weights, packed, pool);
}

void winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool) {
  MEZZO_DISPATCH(run_winograd)(shape, args, pool);
}
}  // namespace mezzo::kernels
#endif
