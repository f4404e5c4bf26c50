#include "kernels/blocked_i8.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/rounding.h"
#include "base/shape.h"
#include "kernels/task_grid.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blocked_i8.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_blocked_i8_depthwise_inl.h"
#include "kernels/simd_blocked_i8_layout_inl.h"
#include "kernels/simd_for_tiles_inl.h"

// Output channels come in units: as many blocks as a vector has parts of 128 bits, in two vectors.
// A tile of pixels and one unit is held in registers while all taps of all input channels run, four
// of them a step. Weights come as panels [unit][step][two vectors]. An image whose windows reach
// beyond it is copied first with its padding, and a plain one to pixels of four bytes. Signed bytes
// are copied as unsigned ones, of 128 more.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint8_t;

// Bytes of x that a task reads for each unit of weights: a part of the second-level cache.
constexpr int64_t kTaskBytes = 256 << 10;

// What packed weights begin with: whether rests follow the panels, and how many rounds these have.
constexpr int64_t kHeaderBytes = 64;
struct Header {
  int64_t any_rests, rounds;
};
const Header& header_of(const BlockedConvI8& args) {
  return *static_cast<const Header*>(args.packed_weights);
}

// Where a unit's pixels go: to sums, where these are wanted.
struct ByteTile {
  int32_t* sums;
  uint8_t* y;
  int64_t block_step;  // elements of either from one block to the next
  int blocks;          // of the unit that there are
  const int32_t* offsets;
  const float *multipliers, *addends;
  Rests rests;
  int64_t tiles = 1;  // beside each other
};

// The sums of a pixel of so many blocks.
HWY_INLINE void store_sums(const VecQuads (&sums)[2], int32_t* y, int64_t block, int blocks) {
  HWY_ALIGN int32_t lanes[2][kQuadLanes];
  for (int v = 0; v < 2; ++v) hn::Store(sums[v], QuadI32(), lanes[v]);
  for (int b = 0; b < blocks; ++b, y += block) {
    for (int v = 0; v < 2; ++v) std::copy_n(lanes[v] + 4 * b, 4, y + 4 * v);
  }
}

// Tiles of P pixels, `Step` bytes apart, of a unit; each segment of x has Length steps.
template <QuadSums kSums, int P, int Step, int Length>
HWY_NOINLINE void compute_tile(const uint8_t* HWY_RESTRICT x, const int64_t* offsets,
                               int64_t segments, const uint8_t* HWY_RESTRICT weights,
                               const ByteTile& out, const QuadFinish& finish) {
  const QuadI32 d;
  const QuadF32 df;
  for (int64_t tile = 0; tile < out.tiles; ++tile, x += P * Step) {
    VecQuads sums[P][2];
    {
      const VecQuads first = hn::LoadU(d, out.offsets),
                     second = hn::LoadU(d, out.offsets + kQuadLanes);
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p) {
        sums[p][0] = first;
        sums[p][1] = second;
      }
    }
    const auto pixels = [](const uint8_t* from) {
      return [from](int p) HWY_ATTR { return from + p * Step; };
    };
    add_rests<kSums>(out.rests, sums, [&](int64_t at) { return pixels(x + at); });
    const uint8_t* step = weights;
    for (int64_t s = 0; s < segments; ++s) {
      const uint8_t* xs = x + offsets[s];
      if constexpr (Length == 2) {
        add_steps<kSums>(step, sums, pixels(xs), pixels(xs + 4));
        step += 2 * kQuadStepBytes;
      } else if (s + 1 < segments) {
        add_steps<kSums>(step, sums, pixels(xs), pixels(x + offsets[++s]));
        step += 2 * kQuadStepBytes;
      } else {
        add_step<kSums>(step, sums, pixels(xs));
      }
    }
    if (out.sums != nullptr) {
      int32_t* y = out.sums + tile * P * kBlockChannels;
      MEZZO_UNROLL
      for (int p = 0; p < P; ++p, y += kBlockChannels)
        store_sums(sums[p], y, out.block_step, out.blocks);
      continue;
    }
    const hn::Vec<QuadF32> multipliers[] = {hn::LoadU(df, out.multipliers),
                                            hn::LoadU(df, out.multipliers + kQuadLanes)},
                           addends[] = {hn::LoadU(df, out.addends),
                                        hn::LoadU(df, out.addends + kQuadLanes)};
    MEZZO_UNROLL
    for (int p = 0; p < P; p += 2) {
      const auto first = finish.narrowed(sums[p][0], sums[p][1], multipliers, addends);
      uint8_t* y = out.y + (tile * P + p) * kBlockChannels;
      if (p + 1 < P) {
        const int q = std::min(p + 1, P - 1);
        const auto second = finish.narrowed(sums[q][0], sums[q][1], multipliers, addends);
        store_parts<false>(finish.bytes(first, second), y, out.block_step, out.blocks);
      } else {
        store_parts<true>(finish.bytes(first, first), y, out.block_step, out.blocks);
      }
    }
  }
}

using TileKernel = void (*)(const uint8_t*, const int64_t*, int64_t, const uint8_t*,
                            const ByteTile&, const QuadFinish&);
using TileKernels = std::array<TileKernel, kMostPixels>;

template <QuadSums kSums, int Step, int Length, int... P>
constexpr TileKernels tile_kernels(std::integer_sequence<int, P...>) {
  return {compute_tile<kSums, P + 1, Step, Length>...};
}

template <QuadSums kSums>
const TileKernels& kernels_of(const ByteLayout& l) {
  constexpr std::make_integer_sequence<int, kMostPixels> kPixels;
  static constexpr TileKernels kKernels[] = {
      tile_kernels<kSums, 8, 2>(kPixels), tile_kernels<kSums, 16, 2>(kPixels),
      tile_kernels<kSums, 4, 1>(kPixels), tile_kernels<kSums, 8, 1>(kPixels)};
  return kKernels[(l.pixel == 4 ? 2 : 0) + l.shape.stride_w - 1];
}

// One image or its copy: the stretches [begin, end) of it by the units of a range.
struct ByteRange {
  int64_t stretch_begin, stretch_end, unit_begin, unit_end;
};

void run_range(const ByteLayout& l, const BlockedConvI8& args, const TileKernels& kernels,
               const uint8_t* image, const int64_t* offsets, int64_t n, const ByteRange& r) {
  const QuadFinish finish(args);
  const int64_t out_blocks = l.shape.out_c / kBlockChannels;
  const int64_t row_bytes = l.shape.stride_h * l.image_w * l.pixel,
                most_pixels = most_tile_rows(kMostPixels);
  const auto* weights = static_cast<const uint8_t*>(args.packed_weights) + kHeaderBytes;
  const uint8_t* rests = weights + l.units * l.unit_bytes();
  for (int64_t unit = r.unit_begin; unit < r.unit_end; ++unit) {
    const int64_t channel = unit * kUnitChannels, block = unit * kQuadParts;
    ByteTile tile{nullptr,
                  nullptr,
                  l.shape.y_plane() * kBlockChannels,
                  static_cast<int>(std::min<int64_t>(kQuadParts, out_blocks - block)),
                  args.scales->offsets.data() + channel,
                  args.scales->multipliers.data() + channel,
                  args.scales->addends.data() + channel,
                  {}};
    if (header_of(args).any_rests != 0)
      tile.rests = rests_of(unit, rests, [&](int64_t segment) { return offsets[segment]; });
    for (int64_t stretch = r.stretch_begin; stretch < r.stretch_end; ++stretch) {
      const int64_t part = stretch % l.row_stretches, row = stretch / l.row_stretches,
                    begin = part * l.stretch,
                    count = part + 1 == l.row_stretches ? l.row_pixels - begin : l.stretch;
      const uint8_t* x = image + row * row_bytes + begin * l.shape.stride_w * l.pixel;
      const int64_t at =
          ((n * out_blocks + block) * l.shape.y_plane() + row * l.row_pixels + begin) *
          kBlockChannels;
      // Pixels are stored by twos.
      for_tiles(count, most_pixels, 2, [&](int64_t first, int64_t pixels, int64_t tiles) HWY_ATTR {
        const int64_t to = at + first * kBlockChannels;
        if (args.sums != nullptr) {
          tile.sums = args.sums + to;
        } else {
          tile.y = args.y + to;
        }
        tile.tiles = tiles;
        kernels[static_cast<std::size_t>(pixels - 1)](
            x + first * l.shape.stride_w * l.pixel, offsets, l.segments,
            weights + unit * l.unit_bytes(), tile, finish);
      });
    }
  }
}

void run_image(const ByteLayout& l, const BlockedConvI8& args, const int64_t* offsets, int64_t n,
               uint8_t* scratch, ThreadPool& pool) {
  const ConvShape& s = l.shape;
  const uint8_t* image = args.x + n * s.in_c * s.x_plane();
  if (l.copies()) {
    copy_image(l, image, static_cast<uint8_t>(args.x_zero_point), scratch, pool);
    image = scratch;
  }
  const TileKernels& kernels =
      with_quad_sums([&](auto sums) -> const TileKernels& { return kernels_of<sums()>(l); });
  // A thread takes its share in a few parts, each of which reads either all weights or all of x.
  const int64_t stretches = l.stretches(), weights_bytes = l.units * l.unit_bytes();
  const bool by_unit = weights_bytes > l.image_bytes();
  const int64_t most_major = by_unit ? l.units : stretches,
                most_minor = by_unit ? stretches : l.units;
  const int64_t work = l.pixels * l.units * l.steps * kUnitChannels;  // in quads
  int64_t major = 1, minor = 1;
  if (pool.available() > 1)
    divide(16 * pool.available(), work, kTaskWork, major, most_major, minor, most_minor);
  const int64_t tasks = major * minor;
  const int64_t grain = std::max<int64_t>(1, kTaskWork * tasks / std::max<int64_t>(work, 1));
  const int64_t stretch_bytes = ceil_div(l.image_bytes(), stretches);
  pool.parallel_for(tasks, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for_rectangles(begin, end, minor, [&](const Rectangle& r) HWY_ATTR {
      const int64_t major_begin = most_major * r.major_begin / major,
                    major_end = most_major * r.major_end / major,
                    minor_begin = most_minor * r.minor_begin / minor,
                    minor_end = most_minor * r.minor_end / minor;
      const int64_t unit_begin = by_unit ? major_begin : minor_begin,
                    unit_end = by_unit ? major_end : minor_end,
                    first = by_unit ? minor_begin : major_begin,
                    range = (by_unit ? minor_end : major_end) - first;
      const int64_t turns = ceil_div(range, std::max<int64_t>(1, kTaskBytes / stretch_bytes));
      for (int64_t i = 0; i < turns; ++i) {
        run_range(
            l, args, kernels, image, offsets, n,
            {first + range * i / turns, first + range * (i + 1) / turns, unit_begin, unit_end});
      }
    });
  });
}

}  // namespace

void run_pack_i8(const ConvShape& s, const std::int16_t* weights, const AllocatePacked& allocate,
                 ThreadPool& pool) {
  if (s.groups > 1) return pack_depthwise_i8(s, weights, allocate);
  const ByteLayout l(s);
  const int64_t taps = s.k_h * s.k_w, length = l.pixel / 4;  // steps of a segment
  const auto is_int8 = [](std::int16_t weight) { return weight >= -128 && weight <= 127; };
  const bool may_have_rests = quad_sums() == QuadSums::kPairs ||
                              !std::all_of(weights, weights + s.out_c * s.in_c * taps, is_int8);
  const PackedPanels packed = pack_panels(
      kHeaderBytes, l.units, l.unit_bytes(), 1, may_have_rests, allocate, pool,
      [&](int64_t unit, uint8_t* to, PanelRests* rests, int64_t rounds) {
        pack_steps(l.steps, rounds, length, to, rests, [&](int64_t step, std::int16_t* quads) {
          const int64_t segment = step / length, tap = segment % taps,
                        first = segment / taps * kBlockChannels + step % length * 4;
          for (int64_t i = 0; i < 2 * kQuadLanes; ++i) {
            const int64_t channel = channel_of(unit, i / kQuadLanes, i % kQuadLanes);
            const int64_t there = channel < s.out_c ? std::min<int64_t>(4, s.in_c - first) : 0;
            const std::int16_t* from = weights + (channel * s.in_c + first) * taps + tap;
            if (taps == 1 && there == 4) {
              quads = std::copy_n(from, 4, quads);
              continue;
            }
            for (int64_t c = 0; c < 4; ++c) *quads++ = c < there ? from[c * taps] : std::int16_t{0};
          }
        });
      });
  *reinterpret_cast<Header*>(packed.memory) = {packed.rests, packed.rounds};
}

int64_t i8_scratch_bytes(const ConvShape& s, bool x_signed) {
  if (s.groups > 1) return 0;
  const ByteLayout l(s, x_signed);
  // Pixels of four bytes are read as windows of eight.
  return l.copies() ? checked_add(l.image_bytes(), 8) : 0;
}

// Where channel c's numbers are in the order of the kernels: index[c], of `count` numbers.
int64_t run_channel_order(const ConvShape& s, int64_t* index) {
  if (s.groups > 1) {
    for (int64_t c = 0; c < s.out_c; ++c) index[c] = c;
    return s.out_c;
  }
  const int64_t count = round_up(s.out_c, kUnitChannels);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t within = i % kUnitChannels;
    const int64_t c = channel_of(i / kUnitChannels, within / kQuadLanes, within % kQuadLanes);
    if (c < s.out_c) index[c] = i;
  }
  return count;
}

void run_conv_i8(const ConvShape& s, const BlockedConvI8& args, uint8_t* scratch,
                 ThreadPool& pool) {
  if (s.groups > 1) return run_depthwise_i8(s, args, pool);
  const ByteLayout l(s, args.x_signed, header_of(args).rounds);
  const std::vector<int64_t> offsets = l.offsets();
  for (int64_t n = 0; n < s.batch; ++n) run_image(l, args, offsets.data(), n, scratch, pool);
}

bool run_pays() { return quad_sums() != QuadSums::kSlow; }
bool run_has_quads() { return quad_sums() == QuadSums::kInstruction; }

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_pack_i8);
HWY_EXPORT(i8_scratch_bytes);
HWY_EXPORT(run_channel_order);
HWY_EXPORT(run_conv_i8);
HWY_EXPORT(run_pays);
HWY_EXPORT(run_has_quads);
}  // namespace

bool blocked_i8_pays() { return simd_enabled() && MEZZO_DISPATCH(run_pays)(); }
bool multiplies_quads() { return simd_enabled() && MEZZO_DISPATCH(run_has_quads)(); }

bool blocked_conv_i8_applies(const ConvShape& s) {
  if (s.out_c % kBlockChannels != 0 || s.stride_w > 2) return false;
  if (s.groups > 1) return s.groups == s.in_c && s.out_c == s.in_c;
  return s.in_c % kBlockChannels == 0 || s.in_c <= 4;
}

void pack_blocked_i8_weights(const ConvShape& shape, const std::int16_t* weights,
                             const AllocatePacked& allocate, ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_i8)(shape, weights, allocate, pool);
}

std::size_t blocked_i8_scratch_bytes(const ConvShape& shape, bool x_signed) {
  return static_cast<std::size_t>(MEZZO_DISPATCH(i8_scratch_bytes)(shape, x_signed));
}

ChannelScales ordered_scales(const ConvShape& shape, const std::vector<ChannelScale>& channels) {
  std::vector<std::int64_t> index(channels.size());
  const auto count =
      static_cast<std::size_t>(MEZZO_DISPATCH(run_channel_order)(shape, index.data()));
  ChannelScales scales{std::vector<std::int32_t>(count), std::vector<float>(count),
                       std::vector<float>(count)};
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const auto i = static_cast<std::size_t>(index[c]);
    scales.offsets[i] = channels[c].offset;
    scales.multipliers[i] = channels[c].multiplier;
    scales.addends[i] = channels[c].addend;
  }
  return scales;
}

void blocked_conv_i8(const ConvShape& shape, const BlockedConvI8& args, void* scratch,
                     ThreadPool& pool) {
  MEZZO_DISPATCH(run_conv_i8)(shape, args, static_cast<std::uint8_t*>(scratch), pool);
}

}  // namespace mezzo::kernels
#endif
