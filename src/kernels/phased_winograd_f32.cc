#include "kernels/phased_winograd_f32.h"

#include <algorithm>

#include "base/shape.h"
#include "kernels/blocked_f32.h"
#include "kernels/task_grid.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/phased_winograd_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_blocked_stages_inl.h"
#include "kernels/simd_winograd_inl.h"

// Where windows go in steps of 2, the pixels of even and of odd rows and columns are images of
// their own, four phases of x, and y is the sum of four convolutions with steps of 1: for 7x7 (a
// row and a column of zeros make it 8x8) of 4x4 each. F(3x3, 4x4) has the points of F(4x4, 3x3)
// (simd_winograd_inl.h), so that x is transformed alike: 36 products for each channel's phase give
// nine outputs, 144 for 441 multiplications.
//
// The sums of products are short, of a dozen phases of channels, and to write each and read it
// again would take as long: those of six points and some tiles stay in registers until the
// transform of y has halved them.
//   V [four tiles][column][depth][row][tile]          transformed inputs, of a row of tiles
//   U [group][column][depth][row][channel of a group] transformed weights, packed once
// with six rows and columns, and a depth of [phase of rows][phase of columns][channel of x].

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr int kOut = kPhasedWinogradRows, kTaps = 4, kPhases = 2;
static_assert(kOut + kTaps - 1 == kInput);
// Pixels of x from one tile to the next.
constexpr int kStep = kOut * kPhases;
// Tiles that lie together, and those whose products are in registers.
constexpr int kTogether = 4, kAtOnce = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM ? 4 : 2;
// The most tiles of a row that are taken at a time, and room for them and the one behind.
constexpr int64_t kMostTiles = 44;
constexpr int64_t kRoom = round_up(kMostTiles + 1, int64_t{kLanes});
static_assert(kMostTiles % kTogether == 0 && kLanes % kTogether == 0);
// From one plane of sorted pixels to the next.
constexpr int64_t kPlane = kRoom + int64_t{kLanes};

struct ScratchPhases {};

int64_t depth_of(const ConvShape& s) { return kPhases * kPhases * s.in_c; }

// Tiles of a row, beside each other, and their inputs.
struct TileRow {
  int64_t row, column, count;  // of the first tile's first output
  float* v;
  int64_t v_stride;  // from four tiles to the next
};

// Room for a row's last vector.
int64_t row_floats(int64_t width) { return width + int64_t{kLanes}; }

// B' d along the columns of one channel, for the rows of a phase, of which `top` is the first: six
// rows of the `width` pixels from `left` on, row_floats(width) apart. Nothing is outside the image.
void transform_columns(const ConvShape& s, const float* x, int64_t top, int64_t left, int64_t width,
                       const float* zeros, float* rows) {
  const F32 d;
  const int64_t stride = row_floats(width);
  const int64_t begin = std::clamp<int64_t>(-left, 0, width),
                end = std::clamp<int64_t>(s.in_w - left, begin, width);
  const float* from[kInput];
  for (int r = 0; r < kInput; ++r) {
    const int64_t row = top + kPhases * r;
    from[r] = row >= 0 && row < s.in_h ? x + row * s.in_w + left + begin : zeros;
  }
  float* to = rows + begin;
  for (int64_t i = 0; i < end - begin; i += int64_t{kLanes}, to += kLanes) {
    const auto count = static_cast<std::size_t>(std::min(end - begin - i, int64_t{kLanes}));
    VecF32 in[kInput], out[kInput];
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) in[r] = load_n(d, from[r] + i, count);
    transform_input(in, out);
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) hn::StoreU(out[r], d, to + r * stride);
  }
  for (int r = 0; r < kInput; ++r, rows += stride) {
    std::fill(rows, rows + begin, 0.0f);
    std::fill(rows + end, rows + width, 0.0f);
  }
}

// Sorts a row by column of a tile: planes[c * kPlane + t] is pixel c of those from tile t's first
// to the next one's.
void split_row(const float* row, int64_t width, float* planes) {
  const F32 d;
  for (int64_t i = 0; i < width; i += kStep * int64_t{kLanes}, planes += kLanes) {
    VecF32 a[kOut], b[kOut];
    hn::LoadInterleaved3(d, row + i, a[0], a[1], a[2]);
    hn::LoadInterleaved3(d, row + i + kOut * int64_t{kLanes}, b[0], b[1], b[2]);
    MEZZO_UNROLL
    for (int c = 0; c < kOut; ++c) {
      hn::StoreU(hn::ConcatEven(d, b[c], a[c]), d, planes + c * kPlane);
      hn::StoreU(hn::ConcatOdd(d, b[c], a[c]), d, planes + (c + kOut) * kPlane);
    }
  }
  for (int c = 0; c < kStep; ++c) planes[c * kPlane] = 0;
}

// V of a row of tiles of the image x.
void transform_inputs(const ConvShape& s, const float* x, const TileRow& tiles, float* scratch) {
  const F32 d;
  // A tile's windows end in what is the next one's.
  const int64_t width = kStep * round_up(tiles.count + 1, int64_t{kLanes});
  float *zeros = scratch, *rows = zeros + width, *planes = rows + kInput * row_floats(width);
  std::fill(zeros, zeros + width, 0.0f);
  const int64_t top = kPhases * tiles.row - s.pad_top, left = kPhases * tiles.column - s.pad_left;
  const int64_t column_floats = depth_of(s) * kInput * kTogether;
  const int64_t count = tiles.count, v_stride = tiles.v_stride;
  for (int64_t i = 0; i < kPhases * s.in_c; ++i) {
    const int64_t channel = i % s.in_c, row_phase = i / s.in_c;
    transform_columns(s, x + channel * s.x_plane(), top + row_phase, left, width, zeros, rows);
    for (int r = 0; r < kInput; ++r)
      split_row(rows + r * row_floats(width), width, planes + r * kStep * kPlane);
    for (int column_phase = 0; column_phase < kPhases; ++column_phase) {
      const int64_t k = (row_phase * kPhases + column_phase) * s.in_c + channel;
      for (int r = 0; r < kInput; ++r) {
        float* to = tiles.v + (k * kInput + r) * kTogether;
        for (int64_t t = 0; t < count; t += int64_t{kLanes}) {
          const float* from = planes + r * kStep * kPlane + t;
          VecF32 in[kInput], out[kInput];
          MEZZO_UNROLL
          for (int c = 0; c < kInput; ++c) {
            const int pixel = kPhases * c + column_phase;
            in[c] = hn::LoadU(d, from + pixel % kStep * kPlane + pixel / kStep);
          }
          transform_input(in, out);
          MEZZO_UNROLL
          for (int c = 0; c < kInput; ++c)
            store_blocks(d, out[c], to + c * column_floats, v_stride);
          to += int64_t{kLanes} / kTogether * v_stride;
        }
      }
    }
  }
}

// m += the products of the first `Rows` rows of a column, in a vector of channels.
template <int Rows>
HWY_INLINE void add_points(const float* HWY_RESTRICT v, const float* HWY_RESTRICT u, int64_t depth,
                           VecPair (&m)[kInput][kAtOnce][1]) {
  const PairF32 d;
  for (; depth > 0; --depth, v += kInput * kTogether, u += kInput * kGroupChannels) {
    MEZZO_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const VecPair weights[1] = {hn::LoadU(d, u + r * kGroupChannels)};
      MEZZO_UNROLL
      for (int t = 0; t < kAtOnce; ++t) add_products(d, m[r][t], v + r * kTogether + t, weights, t);
    }
  }
}

// sums [column 6][row of outputs][tile][lane]: A' M along the columns, for kAtOnce tiles and a
// vector of channels. A window of 7 rows has no more than three of odd phase, and the last point,
// infinity, knows the fourth alone; of the columns likewise.
template <int OddRows>
HWY_NOINLINE void multiply(const float* HWY_RESTRICT v, const float* HWY_RESTRICT u,
                           int64_t channels, bool odd_columns, float* HWY_RESTRICT sums) {
  const PairF32 d;
  const int64_t of_phase = kPhases * channels;
  for (int column = 0; column < kInput; ++column) {
    const int64_t depth = column + 1 < kInput || odd_columns ? of_phase : channels;
    VecPair m[kInput][kAtOnce][1];
    MEZZO_UNROLL
    for (int r = 0; r < kInput; ++r) {
      MEZZO_UNROLL
      for (int t = 0; t < kAtOnce; ++t) m[r][t][0] = hn::Zero(d);
    }
    add_points<kInput>(v, u, depth, m);
    v += of_phase * kInput * kTogether;
    u += of_phase * kInput * kGroupChannels;
    add_points<OddRows>(v, u, depth, m);
    v += of_phase * kInput * kTogether;
    u += of_phase * kInput * kGroupChannels;
    MEZZO_UNROLL
    for (int t = 0; t < kAtOnce; ++t) {
      VecPair in[kInput], out[kOut];
      MEZZO_UNROLL
      for (int r = 0; r < kInput; ++r) in[r] = m[r][t][0];
      transform_output(in, out);
      MEZZO_UNROLL
      for (int r = 0; r < kOut; ++r) hn::StoreU(out[r], d, sums + (r * kAtOnce + t) * kPairLanes);
    }
    sums += kOut * kAtOnce * kPairLanes;
  }
}

// y of one tile: y and add are its first pixel's, of which `height` x `width` are in the image.
HWY_INLINE void transform_tile_outputs(const float* sums, const ChannelVector& channels,
                                       int64_t out_w, int64_t height, int64_t width, float* y,
                                       const float* add) {
  const PairF32 d;
  MEZZO_UNROLL
  for (int r = 0; r < kOut; ++r) {
    if (r >= height) break;
    VecPair in[kInput], out[kOut];
    MEZZO_UNROLL
    for (int c = 0; c < kInput; ++c)
      in[c] = hn::LoadU(d, sums + (c * kOut + r) * kAtOnce * kPairLanes);
    transform_output(in, out);
    const int64_t row = r * out_w * kBlockChannels;
    channels.finish(out, width, kBlockChannels, y + row, add == nullptr ? nullptr : add + row);
  }
}

// y of a row of tiles of image n.
void run_tiles(const ConvShape& s, const ConvArgs& args, int64_t y_stride, int64_t n,
               const TileRow& tiles) {
  HWY_ALIGN float sums[kInput * kOut * kAtOnce * kPairLanes];
  const int64_t out_blocks = s.out_c / kBlockChannels;
  const int64_t u_floats = kProducts * depth_of(s) * kGroupChannels;
  constexpr int64_t kWhole = kPhases * kTaps;
  const auto multiply_tiles = s.k_h == kWhole ? multiply<kInput> : multiply<kInput - 1>;
  const int64_t height = s.out_h - tiles.row;
  for (int64_t i = 0; i < ChannelVector::count(out_blocks); ++i) {
    const ChannelVector channels(s, args, 0, out_blocks, i);
    const int64_t first = (tiles.row * s.out_w + tiles.column) * kBlockChannels + channels.part;
    float* y = args.y + n * y_stride + channels.channel * s.y_plane() + first;
    const float* add = args.add == nullptr
                           ? nullptr
                           : args.add + (n * s.out_c + channels.channel) * s.add_plane() + first;
    for (int64_t t = 0; t < tiles.count; t += kAtOnce) {
      multiply_tiles(tiles.v + t / kTogether * tiles.v_stride + t % kTogether,
                     args.packed_weights + channels.group * u_floats + channels.part, s.in_c,
                     s.k_w == kWhole, sums);
      for (int64_t j = t; j < std::min(t + kAtOnce, tiles.count); ++j) {
        const int64_t at = j * kOut * kBlockChannels;
        transform_tile_outputs(sums + (j - t) * kPairLanes, channels, s.out_w, height,
                               s.out_w - tiles.column - j * kOut, y + at,
                               add == nullptr ? nullptr : add + at);
      }
    }
  }
}

}  // namespace

int64_t phased_winograd_floats(const ConvShape& s) {
  return checked_mul(kProducts * depth_of(s), round_up(s.out_c, kGroupChannels));
}

void run_pack_phased_winograd(const ConvShape& s, const float* weights, float* packed,
                              ThreadPool& pool) {
  constexpr double kP2 = kP * kP, kQ2 = kQ * kQ;
  constexpr double kG[kInput][kTaps] = {{1 / (kP2 * kQ2), 0, 0, 0}, {1, kP, kP2, kP2 * kP},
                                        {1, -kP, kP2, -kP2 * kP},   {1, kQ, kQ2, kQ2 * kQ},
                                        {1, -kQ, kQ2, -kQ2 * kQ},   {0, 0, 0, 1}};
  const int64_t depth = depth_of(s), taps = s.k_h * s.k_w;
  pool.parallel_for(ceil_div(s.out_c, kGroupChannels), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * kGroupChannels; i < end * kGroupChannels; ++i) {
      float* u =
          packed + i / kGroupChannels * kProducts * depth * kGroupChannels + i % kGroupChannels;
      for (int64_t k = 0; k < depth; ++k) {
        const int64_t rows = k / s.in_c / kPhases, columns = k / s.in_c % kPhases;
        // The window's taps of that phase; those behind its ends are 0.
        const float* window = weights + (i * s.in_c + k % s.in_c) * taps;
        double from[kTaps][kTaps] = {};
        for (int64_t r = 0; r < kTaps; ++r) {
          for (int64_t c = 0; c < kTaps; ++c) {
            const int64_t row = kPhases * r + rows, column = kPhases * c + columns;
            if (i < s.out_c && row < s.k_h && column < s.k_w)
              from[r][c] = static_cast<double>(window[row * s.k_w + column]);
          }
        }
        for (int64_t r = 0; r < kInput; ++r) {
          for (int64_t c = 0; c < kInput; ++c) {
            double sum = 0;
            for (int64_t j = 0; j < kTaps * kTaps; ++j)
              sum += kG[r][j / kTaps] * from[j / kTaps][j % kTaps] * kG[c][j % kTaps];
            u[((c * depth + k) * kInput + r) * kGroupChannels] = static_cast<float>(sum);
          }
        }
      }
    }
  });
}

void run_phased_winograd(const ConvShape& s, const ConvArgs& all, ThreadPool& pool) {
  const ConvArgs args = ahead_of_stages(all);
  const int64_t pixels = s.out_h * s.out_w, blocks = s.out_c / kBlockChannels;
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.y_plane();
  const int64_t rows = ceil_div(s.out_h, kOut), tiles_w = ceil_div(s.out_w, kOut);
  const int64_t tiles_together =
      round_up(ceil_div(tiles_w, ceil_div(tiles_w, kMostTiles)), kTogether);
  const int64_t v_stride = kProducts * depth_of(s) * kTogether;
  const int64_t v_floats = v_stride * kRoom / kTogether;
  constexpr int64_t kWidth = kStep * kRoom;
  const int64_t scratch_floats = v_floats + kWidth + kInput * (row_floats(kWidth) + kStep * kPlane);
  // Stages are of whole lines of the cache, or of whole images.
  const int64_t lines = parts_of_whole_lines(kOut * s.out_w, rows, pixels);
  const bool by_rows = all.stages.wanted() && lines > 0;
  const int64_t together = by_rows ? lines : 1, parts = ceil_div(rows, together);
  const int64_t work = together * tiles_w * kProducts * depth_of(s) * s.out_c;
  pool.parallel_for(
      s.batch * parts, std::max<int64_t>(1, kTaskWork / work),
      [&](int64_t begin, int64_t end) HWY_ATTR {
        float* scratch = thread_scratch<ScratchPhases>(scratch_floats);
        StagePlanes planes;
        for (int64_t i = begin; i < end; ++i) {
          const int64_t n = i / parts, first = i % parts * together;
          const int64_t last = std::min(first + together, rows);
          for (int64_t row = first; row < last; ++row) {
            for (int64_t column = 0; column < tiles_w; column += tiles_together) {
              const TileRow tiles{row * kOut, column * kOut,
                                  std::min(tiles_together, tiles_w - column), scratch, v_stride};
              transform_inputs(s, args.x + n * s.in_c * s.x_plane(), tiles, scratch + v_floats);
              run_tiles(s, args, y_stride, n, tiles);
            }
          }
          if (!by_rows) continue;
          const int64_t at = first * kOut * s.out_w;
          const int64_t count = std::min(last * kOut * s.out_w, pixels) - at;
          for (int64_t block = 0; block < blocks; ++block)
            run_stages(s, all, y_stride, n, block, at, count, planes);
        }
        if (by_rows) planes.finish();
      });
  if (all.stages.wanted() && !by_rows) run_all_stages(s, all, pool);
}

// Vectors of fewer lanes have fewer registers than tiles want.
bool run_phased_winograd_pays() { return kLanes >= kBlockChannels; }

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(phased_winograd_floats);
HWY_EXPORT(run_pack_phased_winograd);
HWY_EXPORT(run_phased_winograd);
HWY_EXPORT(run_phased_winograd_pays);
}  // namespace

bool phased_winograd_applies(const ConvShape& s) {
  const auto fits = [](std::int64_t k) { return k == 7 || k == 8; };
  return fits(s.k_h) && fits(s.k_w) && s.stride_h == 2 && s.stride_w == 2 && s.dilation_h == 1 &&
         s.dilation_w == 1 && s.groups == 1 && s.in_c <= 4 && s.out_c % kBlockChannels == 0;
}

bool phased_winograd_pays(const ConvShape& s) {
  // Multiply-adds that take as long as one of the products does, and a tile's transforms of a
  // channel of x and of y.
  constexpr double kOfProduct = 1.25, kOfInput = 1400, kOfOutput = 250;
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const auto tiles = [&](std::int64_t out) { return real(ceil_div(out, kPhasedWinogradRows)); };
  const double products = 36 * 4 * real(s.in_c) * real(round_up(s.out_c, 16));
  const double of_tile =
      kOfProduct * products + kOfInput * real(s.in_c) + kOfOutput * real(s.out_c);
  return MEZZO_DISPATCH(run_phased_winograd_pays)() &&
         tiles(s.out_h) * tiles(s.out_w) * of_tile <
             real(s.out_h) * real(s.out_w) * real(s.k_h * s.k_w) * real(s.in_c) * real(s.out_c);
}

std::size_t phased_winograd_weights_bytes(const ConvShape& shape) {
  return static_cast<std::size_t>(
      checked_mul(MEZZO_DISPATCH(phased_winograd_floats)(shape), sizeof(float)));
}

void pack_phased_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                                  ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_phased_winograd)(shape, weights, packed, pool);
}

void phased_winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool) {
  MEZZO_DISPATCH(run_phased_winograd)(shape, args, pool);
}

}  // namespace mezzo::kernels
#endif
