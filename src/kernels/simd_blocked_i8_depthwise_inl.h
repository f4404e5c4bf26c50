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
#include <vector>

#include "base/rounding.h"
#include "kernels/simd_blocked_i8_layout_inl.h"
#include "kernels/simd_quads_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Taps of a quad. In sums of two products one of the two is nothing: so they fit.
inline std::int64_t quad_taps() { return quad_sums() == QuadSums::kPairs ? 2 : 4; }

inline std::int64_t depthwise_quads(std::int64_t taps) { return ceil_div(taps, quad_taps()); }

// Weights begin with [how many taps, which...]: one whose weights are no int8 is there again, with
// what is left of them.
inline std::int64_t depthwise_header(std::int64_t taps) {
  return round_up(4 * (taps + 1), std::int64_t{64});
}

inline void pack_depthwise_i8(const ConvShape& s, const std::int16_t* weights,
                              const AllocatePacked& allocate) {
  const std::int64_t window = s.k_h * s.k_w, apart = 4 / quad_taps();
  std::vector<std::int16_t> left(weights, weights + s.out_c * window);
  std::vector<std::int32_t> taps;
  std::vector<std::int8_t> parts;  // [tap][channel]
  for (bool is_first = true, more = true; more; is_first = false) {
    more = false;
    for (std::int64_t tap = 0; tap < window; ++tap) {
      const auto weight = [&](std::int64_t c) -> std::int16_t& {
        return left[static_cast<std::size_t>(c * window + tap)];
      };
      bool any = is_first;
      for (std::int64_t c = 0; c < s.out_c && !any; ++c) any = weight(c) != 0;
      if (!any) continue;
      more = true;
      taps.push_back(static_cast<std::int32_t>(tap));
      for (std::int64_t c = 0; c < s.out_c; ++c) {
        const auto part = static_cast<std::int8_t>(std::clamp<int>(weight(c), -128, 127));
        parts.push_back(part);
        weight(c) = static_cast<std::int16_t>(weight(c) - part);
      }
    }
  }
  const auto count = static_cast<std::int64_t>(taps.size());
  auto* packed = static_cast<std::uint8_t*>(allocate(static_cast<std::size_t>(checked_add(
      depthwise_header(count), checked_mul(checked_mul(s.out_c, 4), depthwise_quads(count))))));
  auto* head = reinterpret_cast<std::int32_t*>(packed);
  head[0] = static_cast<std::int32_t>(count);
  std::copy(taps.begin(), taps.end(), head + 1);
  packed += depthwise_header(count);
  for (std::int64_t block = 0; block < s.out_c; block += kBlockChannels) {
    for (std::int64_t first = 0; first < count; first += quad_taps()) {
      for (std::int64_t c = block; c < block + kBlockChannels; ++c) {
        for (std::int64_t i = 0; i < 4; ++i) {
          const std::int64_t tap = first + i / apart;
          const bool there = i % apart == 0 && tap < count;
          *packed++ =
              there ? static_cast<std::uint8_t>(parts[static_cast<std::size_t>(tap * s.out_c + c)])
                    : std::uint8_t{0};
        }
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
// the taps of each quad, in bytes from x; there is memory behind x's row for whole vectors.
template <QuadSums kSums, int Stride, bool kSigned>
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
      // Tap by tap; of two, each is there twice.
      constexpr int kTaps = kSums == QuadSums::kPairs ? 2 : 4;
      const std::int64_t* at = offsets + kTaps * q;
      const auto tap = [&](int i)
                           HWY_ATTR { return load_block_pixels<Stride, kSigned>(from + at[i]); };
      const auto a = tap(0), b = kTaps == 2 ? a : tap(1), e = tap(kTaps / 2),
                 f = kTaps == 2 ? e : tap(kTaps - 1);
      const auto w0 = hn::BitCast(d, hn::LoadDup128(d8, weights + 32 * q)),
                 w1 = hn::BitCast(d, hn::LoadDup128(d8, weights + 32 * q + 16));
      const auto even_ab = hn::BitCast(d16, hn::InterleaveLower(d8, a, b)),
                 odd_ab = hn::BitCast(d16, hn::InterleaveUpper(d8, a, b)),
                 even_ef = hn::BitCast(d16, hn::InterleaveLower(d8, e, f)),
                 odd_ef = hn::BitCast(d16, hn::InterleaveUpper(d8, e, f));
      add_quads<kSums>(sums[0][0], as32(hn::InterleaveLower(d16, even_ab, even_ef)), w0);
      add_quads<kSums>(sums[0][1], as32(hn::InterleaveUpper(d16, even_ab, even_ef)), w1);
      add_quads<kSums>(sums[1][0], as32(hn::InterleaveLower(d16, odd_ab, odd_ef)), w0);
      add_quads<kSums>(sums[1][1], as32(hn::InterleaveUpper(d16, odd_ab, odd_ef)), w1);
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

template <QuadSums kSums, int Stride, bool kSigned>
void depthwise_i8_planes(const ConvShape& s, const BlockedConvI8& args, ThreadPool& pool) {
  const std::int64_t image_h = (s.out_h - 1) * s.stride_h + (s.k_h - 1) * s.dilation_h + 1,
                     image_w = (s.out_w - 1) * s.stride_w + (s.k_w - 1) * s.dilation_w + 1,
                     blocks = s.out_c / kBlockChannels, row_bytes = image_w * kBlockChannels;
  const auto* head = static_cast<const std::int32_t*>(args.packed_weights);
  const std::int64_t count = head[0], quads = depthwise_quads(count);
  const std::uint8_t* packed =
      static_cast<const std::uint8_t*>(args.packed_weights) + depthwise_header(count);
  // Taps beyond the last have weights of 0.
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(quad_taps() * quads));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t tap = head[1 + i];
    offsets[static_cast<std::size_t>(i)] =
        tap / s.k_w * s.dilation_h * row_bytes + tap % s.k_w * s.dilation_w * kBlockChannels;
  }
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
          copy_inside(s, image_h, image_w, args.x + i * s.x_plane() * kBlockChannels, 0, plane);
          const std::int64_t block = i % blocks;
          const ByteTaps taps(*args.scales, block * kBlockChannels);
          const std::uint8_t* weights = packed + block * quads * 32;
          for (std::int64_t row = 0; row < s.out_h; ++row) {
            const std::int64_t pixel = row * s.out_w;
            depthwise_i8_row<kSums, Stride, kSigned>(
                plane + row * s.stride_h * row_bytes, offsets.data(), quads, weights, taps, finish,
                s.out_w, s.out_h * s.out_w - pixel,
                args.y + (i * s.y_plane() + pixel) * kBlockChannels);
          }
        }
      });
}

inline void run_depthwise_i8(const ConvShape& s, const BlockedConvI8& args, ThreadPool& pool) {
  with_quad_sums([&](auto sums) {
    const auto run = s.stride_w == 1 ? args.x_signed ? depthwise_i8_planes<sums(), 1, true>
                                                     : depthwise_i8_planes<sums(), 1, false>
                     : args.x_signed ? depthwise_i8_planes<sums(), 2, true>
                                     : depthwise_i8_planes<sums(), 2, false>;
    run(s, args, pool);
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
