// How a convolution of bytes in the blocked layout divides its work, and its images with their
// padding. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_BLOCKED_I8_LAYOUT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BLOCKED_I8_LAYOUT_INL
#undef MEZZO_KERNELS_SIMD_BLOCKED_I8_LAYOUT_INL
#else
#define MEZZO_KERNELS_SIMD_BLOCKED_I8_LAYOUT_INL
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/shape.h"
#include "kernels/simd_quad_steps_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Output channels of a unit, and the pixels of a tile at most.
inline constexpr std::int64_t kUnitChannels = std::int64_t{kQuadParts} * kBlockChannels;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr int kMostPixels = 14;
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
inline constexpr int kMostPixels = 6;
#else
inline constexpr int kMostPixels = 4;
#endif
// Pixels after which a flat image may be cut: whole tiles.
inline constexpr std::int64_t kByteStretch = 4 * std::int64_t{kMostPixels};

// The channel in lane `lane` of vector `vector` of a unit.
inline std::int64_t channel_of(std::int64_t unit, std::int64_t vector, std::int64_t lane) {
  return (unit * kQuadParts + lane / 4) * kBlockChannels + vector * 4 + lane % 4;
}

// What follows from a shape, but for depthwise convolutions, and from how many rounds the packed
// weights have.
struct ByteLayout {
  explicit ByteLayout(const ConvShape& s, bool x_signed = false, std::int64_t rounds = 1)
      : shape(s), flip(x_signed ? 0x80 : 0) {
    const bool blocked = s.in_c % kBlockChannels == 0;
    pixel = blocked ? kBlockChannels : 4;
    planes = blocked ? s.in_c / kBlockChannels : 1;
    image_h = checked_add(checked_mul(s.out_h - 1, s.stride_h),
                          checked_add(checked_mul(s.k_h - 1, s.dilation_h), 1));
    image_w = checked_add(checked_mul(s.out_w - 1, s.stride_w),
                          checked_add(checked_mul(s.k_w - 1, s.dilation_w), 1));
    padded = !blocked || s.pad_top != 0 || s.pad_left != 0 || image_h > s.in_h || image_w > s.in_w;
    if (!padded) {
      image_h = s.in_h;
      image_w = s.in_w;
    }
    plane_bytes = checked_mul(copies() ? checked_mul(image_h, image_w) : s.x_plane(), pixel);
    segments = checked_mul(rounds, checked_mul(planes, checked_mul(s.k_h, s.k_w)));
    steps = segments * (pixel / 4);
    units = ceil_div(s.out_c, kUnitChannels);
    const bool flat = !padded && s.k_h == 1 && s.k_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
                      s.out_h == s.in_h && s.out_w == s.in_w;
    pixels = checked_mul(s.out_h, s.out_w);
    rows = flat ? 1 : s.out_h;
    row_pixels = flat ? pixels : s.out_w;
    // The last stretch takes what is left, so that none is much shorter.
    row_stretches =
        flat ? std::max<std::int64_t>(1, (pixels + kByteStretch / 2) / kByteStretch) : 1;
    stretch = row_stretches == 1 ? row_pixels : kByteStretch;
  }

  // Whether x is copied, with its padding and unsigned.
  bool copies() const { return padded || flip != 0; }
  std::int64_t stretches() const { return rows * row_stretches; }
  std::int64_t unit_bytes() const { return checked_mul(steps, kQuadStepBytes); }
  std::int64_t image_bytes() const { return checked_mul(planes, plane_bytes); }

  std::vector<std::int64_t> offsets() const {
    const std::int64_t taps = shape.k_h * shape.k_w;
    std::vector<std::int64_t> list(static_cast<std::size_t>(segments));
    for (std::int64_t i = 0; i < segments; ++i) {
      const std::int64_t p = i / taps % planes, kh = i % taps / shape.k_w, kw = i % shape.k_w;
      list[static_cast<std::size_t>(i)] =
          p * plane_bytes + (kh * shape.dilation_h * image_w + kw * shape.dilation_w) * pixel;
    }
    return list;
  }

  const ConvShape& shape;
  const std::uint8_t flip;     // what makes bytes unsigned
  std::int64_t pixel, planes;  // bytes of a pixel, and planes of such
  bool padded;                 // windows reach beyond x, or its planes become pixels
  std::int64_t image_h, image_w, plane_bytes;
  std::int64_t segments, steps, units, pixels;
  std::int64_t rows, row_pixels, row_stretches, stretch;
};

// Pixels of a vector of bytes.
inline constexpr std::int64_t kBytePixels = 4 * kQuadLanes / kBlockChannels;

// Copies pixels of eight bytes, with the bits of `flip` turned: whole vectors, the last of which
// may overlap the one before.
HWY_INLINE void copy_pixels(const std::uint8_t* x, std::int64_t pixels, std::uint8_t flip,
                            std::uint8_t* y) {
  const QuadU8 d;
  const hn::Half<QuadU8> half;
  const auto flips = hn::Set(d, flip);
  if (pixels >= kBytePixels) {
    const std::int64_t last = (pixels - kBytePixels) * kBlockChannels;
    for (std::int64_t i = 0; i < last; i += 4 * kQuadLanes)
      hn::StoreU(hn::Xor(hn::LoadU(d, x + i), flips), d, y + i);
    hn::StoreU(hn::Xor(hn::LoadU(d, x + last), flips), d, y + last);
  } else if (2 * pixels >= kBytePixels) {
    const std::int64_t last = (pixels - kBytePixels / 2) * kBlockChannels;
    const auto of_half = hn::LowerHalf(half, flips), first = hn::LoadU(half, x),
               second = hn::LoadU(half, x + last);
    hn::StoreU(hn::Xor(first, of_half), half, y);
    hn::StoreU(hn::Xor(second, of_half), half, y + last);
  } else {
    for (std::int64_t i = 0; i < pixels * kBlockChannels; ++i) y[i] = x[i] ^ flip;
  }
}

// The part of an image's block that lies inside of what windows see, which is `height` x `width`
// pixels; what surrounds it stays as it is in `to`.
HWY_INLINE void copy_inside(const ConvShape& s, std::int64_t height, std::int64_t width,
                            const std::uint8_t* x, std::uint8_t flip, std::uint8_t* to) {
  const auto range = [](std::int64_t pad, std::int64_t in, std::int64_t extent) {
    const std::int64_t first = std::clamp<std::int64_t>(pad, 0, extent);
    return std::pair(first, std::clamp(in + pad, first, extent));
  };
  const auto [top, bottom] = range(s.pad_top, s.in_h, height);
  const auto [left, right] = range(s.pad_left, s.in_w, width);
  if (left == right) return;
  for (std::int64_t row = top; row < bottom; ++row)
    copy_pixels(x + ((row - s.pad_top) * s.in_w + left - s.pad_left) * kBlockChannels, right - left,
                flip, to + (row * width + left) * kBlockChannels);
}

// Row `row` of an image with its padding, of up to four plain planes, as pixels of four bytes.
inline void copy_plain_row(const ByteLayout& l, const std::uint8_t* x, std::int64_t row,
                           std::uint8_t fill, std::uint8_t* to) {
  const ConvShape& s = l.shape;
  const std::int64_t from = row - s.pad_top;
  const std::int64_t first = std::clamp<std::int64_t>(s.pad_left, 0, l.image_w);
  const std::int64_t end =
      from < 0 || from >= s.in_h ? first : std::clamp(s.in_w + s.pad_left, first, l.image_w);
  std::memset(to, fill, static_cast<std::size_t>(4 * first));
  const QuadI32 d;
  const hn::Rebind<std::uint8_t, QuadI32> bytes;
  const hn::RebindToUnsigned<QuadI32> du;
  const auto flips = hn::Set(du, l.flip * 0x01010101U);
  const std::uint8_t* source = x + from * s.in_w - s.pad_left;
  std::int64_t c = first;
  for (; c + kQuadLanes <= end; c += kQuadLanes) {
    auto all = hn::PromoteTo(du, hn::LoadU(bytes, source + c));
    const auto add = [&](std::int64_t plane, auto shift) HWY_ATTR {
      if (plane >= s.in_c) return;
      const auto one = hn::PromoteTo(du, hn::LoadU(bytes, source + plane * s.x_plane() + c));
      all = hn::Or(all, hn::ShiftLeft<decltype(shift)::value>(one));
    };
    add(1, std::integral_constant<int, 8>());
    add(2, std::integral_constant<int, 16>());
    add(3, std::integral_constant<int, 24>());
    hn::StoreU(hn::BitCast(d, hn::Xor(all, flips)), d, reinterpret_cast<std::int32_t*>(to + 4 * c));
  }
  for (; c < end; ++c) {
    for (std::int64_t plane = 0; plane < 4; ++plane)
      to[4 * c + plane] =
          (plane < s.in_c ? source[plane * s.x_plane() + c] : std::uint8_t{0}) ^ l.flip;
  }
  std::memset(to + 4 * end, fill, static_cast<std::size_t>(4 * (l.image_w - end)));
}

inline void copy_image(const ByteLayout& l, const std::uint8_t* x, std::uint8_t fill,
                       std::uint8_t* copy, ThreadPool& pool) {
  const ConvShape& s = l.shape;
  const std::int64_t row_bytes = l.image_w * l.pixel;
  fill ^= l.flip;
  if (l.pixel == 4) {
    return pool.parallel_for(l.image_h, std::max<std::int64_t>(1, (1 << 15) / row_bytes),
                             [&](std::int64_t begin, std::int64_t end) {
                               for (std::int64_t i = begin; i < end; ++i)
                                 copy_plain_row(l, x, i, fill, copy + i * row_bytes);
                             });
  }
  pool.parallel_for(l.planes, std::max<std::int64_t>(1, (1 << 16) / l.plane_bytes),
                    [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
                      for (std::int64_t i = begin; i < end; ++i) {
                        std::uint8_t* to = copy + i * l.plane_bytes;
                        if (l.padded)
                          std::memset(to, fill, static_cast<std::size_t>(l.plane_bytes));
                        copy_inside(s, l.image_h, l.image_w, x + i * s.x_plane() * kBlockChannels,
                                    l.flip, to);
                      }
                    });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
