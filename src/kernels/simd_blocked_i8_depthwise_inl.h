// Depthwise convolutions of bytes in the blocked layout. Included per target, like simd.h.
//
// Neighbouring pixels of a block lie together, eight bytes each. Of four taps of the window such
// vectors are interleaved twice: then each lane of 32 bits holds four taps of a channel, which one
// instruction multiplies and sums. Weights come as [block][four taps][8 channels][4].

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_I8_DEPTHWISE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_I8_DEPTHWISE_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_I8_DEPTHWISE_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_I8_DEPTHWISE_INL
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/rounding.h"
#include "kernels/simd_quads_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Pixels of a vector of bytes.
inline constexpr std::int64_t kBytePixels = 4 * kQuadLanes / kBlockChannels;

// Copies pixels of eight bytes: whole vectors, the last of which may overlap the one before.
HWY_INLINE void copy_pixels(const std::uint8_t* x, std::int64_t pixels, std::uint8_t* y) {
  const QuadU8 d;
  const hn::Half<QuadU8> half;
  if (pixels >= kBytePixels) {
    const std::int64_t last = (pixels - kBytePixels) * kBlockChannels;
    for (std::int64_t i = 0; i < last; i += 4 * kQuadLanes)
      hn::StoreU(hn::LoadU(d, x + i), d, y + i);
    hn::StoreU(hn::LoadU(d, x + last), d, y + last);
  } else if (2 * pixels >= kBytePixels) {
    const std::int64_t last = (pixels - kBytePixels / 2) * kBlockChannels;
    const auto first = hn::LoadU(half, x), second = hn::LoadU(half, x + last);
    hn::StoreU(first, half, y);
    hn::StoreU(second, half, y + last);
  } else {
    for (std::int64_t i = 0; i < pixels; ++i)
      std::memcpy(y + i * kBlockChannels, x + i * kBlockChannels, kBlockChannels);
  }
}

// The part of an image's block that lies inside of what windows see, which is `height` x `width`
// pixels; what surrounds it stays as it is in `to`.
HWY_INLINE void copy_inside(const ConvShape& s, std::int64_t height, std::int64_t width,
                            const std::uint8_t* x, std::uint8_t* to) {
  const auto range = [](std::int64_t pad, std::int64_t in, std::int64_t extent) {
    const std::int64_t first = std::clamp<std::int64_t>(pad, 0, extent);
    return std::pair(first, std::clamp(in + pad, first, extent));
  };
  const auto [top, bottom] = range(s.pad_top, s.in_h, height);
  const auto [left, right] = range(s.pad_left, s.in_w, width);
  if (left == right) return;
  for (std::int64_t row = top; row < bottom; ++row)
    copy_pixels(x + ((row - s.pad_top) * s.in_w + left - s.pad_left) * kBlockChannels, right - left,
                to + (row * width + left) * kBlockChannels);
}

inline std::int64_t depthwise_i8_quads(const ConvShape& s) {
  return ceil_div(s.k_h * s.k_w, std::int64_t{4});
}

inline std::int64_t depthwise_i8_weights_bytes(const ConvShape& s) {
  return checked_mul(checked_mul(s.out_c, 4), depthwise_i8_quads(s));
}

inline void pack_depthwise_i8(const ConvShape& s, const std::int8_t* weights,
                              std::uint8_t* packed) {
  const std::int64_t taps = s.k_h * s.k_w;
  for (std::int64_t block = 0; block < s.out_c; block += kBlockChannels) {
    for (std::int64_t quad = 0; quad < taps; quad += 4) {
      for (std::int64_t c = block; c < block + kBlockChannels; ++c) {
        for (std::int64_t tap = quad; tap < quad + 4; ++tap)
          *packed++ =
              tap < taps ? static_cast<std::uint8_t>(weights[c * taps + tap]) : std::uint8_t{0};
      }
    }
  }
}

// kBytePixels pixels, Stride apart; signed bytes plus 128.
template <int Stride, bool kSigned>
HWY_INLINE hn::Vec<QuadU8> load_block_pixels(const std::uint8_t* x) {
  const auto all = load_pixels<std::uint64_t, Stride>(x);
  return kSigned ? hn::Xor(all, hn::Set(QuadU8(), 0x80)) : all;
}

// What becomes of a block's sums: of channels 0 to 3 and 4 to 7 in every part of a vector.
struct ByteTaps {
  ByteTaps(const ChannelScales& scales, std::int64_t channel)
      : offsets{at(QuadI32(), scales.offsets, channel), at(QuadI32(), scales.offsets, channel + 4)},
        multipliers{at(QuadF32(), scales.multipliers, channel),
                    at(QuadF32(), scales.multipliers, channel + 4)},
        addends{at(QuadF32(), scales.addends, channel),
                at(QuadF32(), scales.addends, channel + 4)} {}

  VecQuads offsets[2];
  hn::Vec<QuadF32> multipliers[2], addends[2];

 private:
  template <class D, class T>
  static hn::Vec<D> at(D d, const std::vector<T>& numbers, std::int64_t channel) {
    return hn::LoadDup128(d, numbers.data() + channel);
  }
};

// A row of `count` outputs of a block, of which `store` pixels may be overwritten. `offsets` has
// four taps for each quad, in bytes from x; there is memory behind x's row for whole vectors.
template <int Stride, bool kSigned>
HWY_NOINLINE void depthwise_i8_row(const std::uint8_t* HWY_RESTRICT x, const std::int64_t* offsets,
                                   std::int64_t quads, const std::uint8_t* HWY_RESTRICT weights,
                                   const ByteTaps& taps, const QuadFinish& finish,
                                   std::int64_t count, std::int64_t store, std::uint8_t* y) {
  const QuadI32 d;
  const QuadU8 d8;
  const hn::Repartition<std::uint16_t, QuadU8> d16;
  const auto as32 = [&](auto v) HWY_ATTR { return hn::BitCast(d, v); };
  for (std::int64_t c = 0; c < count; c += kBytePixels) {
    VecQuads sums[2][2] = {{taps.offsets[0], taps.offsets[1]}, {taps.offsets[0], taps.offsets[1]}};
    for (std::int64_t q = 0; q < quads; ++q) {
      const std::uint8_t* from = x + c * Stride * kBlockChannels;
      const std::int64_t* at = offsets + 4 * q;
      const auto a = load_block_pixels<Stride, kSigned>(from + at[0]),
                 b = load_block_pixels<Stride, kSigned>(from + at[1]),
                 e = load_block_pixels<Stride, kSigned>(from + at[2]),
                 f = load_block_pixels<Stride, kSigned>(from + at[3]);
      const auto w0 = hn::BitCast(d, hn::LoadDup128(d8, weights + 32 * q)),
                 w1 = hn::BitCast(d, hn::LoadDup128(d8, weights + 32 * q + 16));
      const auto even_ab = hn::BitCast(d16, hn::InterleaveLower(d8, a, b)),
                 odd_ab = hn::BitCast(d16, hn::InterleaveUpper(d8, a, b)),
                 even_ef = hn::BitCast(d16, hn::InterleaveLower(d8, e, f)),
                 odd_ef = hn::BitCast(d16, hn::InterleaveUpper(d8, e, f));
      add_quads(sums[0][0], as32(hn::InterleaveLower(d16, even_ab, even_ef)), w0);
      add_quads(sums[0][1], as32(hn::InterleaveUpper(d16, even_ab, even_ef)), w1);
      add_quads(sums[1][0], as32(hn::InterleaveLower(d16, odd_ab, odd_ef)), w0);
      add_quads(sums[1][1], as32(hn::InterleaveUpper(d16, odd_ab, odd_ef)), w1);
    }
    const auto bytes =
        finish.bytes(finish.narrowed(sums[0][0], sums[0][1], taps.multipliers, taps.addends),
                     finish.narrowed(sums[1][0], sums[1][1], taps.multipliers, taps.addends));
    if (c + kBytePixels <= store) {
      hn::StoreU(bytes, d8, y + c * kBlockChannels);
    } else {
      HWY_ALIGN std::uint8_t rest[4 * kQuadLanes];
      hn::Store(bytes, d8, rest);
      std::memcpy(y + c * kBlockChannels, rest,
                  static_cast<std::size_t>((store - c) * kBlockChannels));
    }
  }
}

struct ScratchBytePlane {};

template <int Stride, bool kSigned>
void depthwise_i8_planes(const ConvShape& s, const BlockedConvI8& args, ThreadPool& pool) {
  const std::int64_t image_h = (s.out_h - 1) * s.stride_h + (s.k_h - 1) * s.dilation_h + 1,
                     image_w = (s.out_w - 1) * s.stride_w + (s.k_w - 1) * s.dilation_w + 1,
                     blocks = s.out_c / kBlockChannels, quads = depthwise_i8_quads(s),
                     row_bytes = image_w * kBlockChannels;
  // Taps beyond the last have weights of 0.
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(4 * quads));
  for (std::int64_t tap = 0; tap < s.k_h * s.k_w; ++tap)
    offsets[static_cast<std::size_t>(tap)] =
        tap / s.k_w * s.dilation_h * row_bytes + tap % s.k_w * s.dilation_w * kBlockChannels;
  const std::int64_t work = s.out_h * s.out_w * kBlockChannels * quads;
  pool.parallel_for(
      s.batch * blocks, std::max<std::int64_t>(1, (1 << 16) / work),
      [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
        const QuadFinish finish(args);
        // With room for the vectors of the last row.
        auto* plane = reinterpret_cast<std::uint8_t*>(thread_scratch<ScratchBytePlane>(
            ceil_div(image_h * row_bytes, std::int64_t{4}) + 2 * Stride * kQuadLanes));
        std::memset(plane, args.x_zero_point, static_cast<std::size_t>(image_h * row_bytes));
        for (std::int64_t i = begin; i < end; ++i) {
          copy_inside(s, image_h, image_w, args.x + i * s.x_plane() * kBlockChannels, plane);
          const std::int64_t block = i % blocks;
          const ByteTaps taps(*args.scales, block * kBlockChannels);
          const std::uint8_t* weights =
              static_cast<const std::uint8_t*>(args.packed_weights) + block * quads * 32;
          for (std::int64_t row = 0; row < s.out_h; ++row) {
            const std::int64_t pixel = row * s.out_w;
            depthwise_i8_row<Stride, kSigned>(plane + row * s.stride_h * row_bytes, offsets.data(),
                                              quads, weights, taps, finish, s.out_w,
                                              s.out_h * s.out_w - pixel,
                                              args.y + (i * s.y_plane() + pixel) * kBlockChannels);
          }
        }
      });
}

inline void run_depthwise_i8(const ConvShape& s, const BlockedConvI8& args, ThreadPool& pool) {
  const auto run =
      s.stride_w == 1 ? args.x_signed ? depthwise_i8_planes<1, true> : depthwise_i8_planes<1, false>
      : args.x_signed ? depthwise_i8_planes<2, true>
                      : depthwise_i8_planes<2, false>;
  run(s, args, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
