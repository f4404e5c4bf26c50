// Which taps of a window lie inside the image, along one axis.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/rounding.h"
#include "kernels/conv_f32.h"

namespace mezzo::kernels {

/// The taps [begin, end) of a window that begins at position `first` that lie inside an image.
struct Taps {
  std::int64_t begin = 0, end = 0;

  std::int64_t count() const { return end - begin; }
  bool operator==(const Taps&) const = default;
};
inline Taps taps_inside(std::int64_t first, std::int64_t in, std::int64_t k,
                        std::int64_t dilation) {
  const std::int64_t begin = first >= 0 ? 0 : std::min(k, ceil_div(-first, dilation));
  return {begin, first >= in ? begin : std::clamp(ceil_div(in - first, dilation), begin, k)};
}

/// Results [begin, end) of a row whose windows have the same taps inside.
struct TapPart {
  std::int64_t begin, end;
  Taps taps;
};
inline std::vector<TapPart> tap_parts(std::int64_t out, std::int64_t stride, std::int64_t pad,
                                      std::int64_t in, std::int64_t k, std::int64_t dilation) {
  std::vector<TapPart> parts;
  for (std::int64_t i = 0; i < out; ++i) {
    const Taps taps = taps_inside(i * stride - pad, in, k, dilation);
    if (parts.empty() || parts.back().taps != taps) parts.push_back({i, i, taps});
    ++parts.back().end;
  }
  return parts;
}

/// Whether the taps of an image in blocks lie so far apart (wide dilations) that they have no
/// pixels in common for a tile, and many fall into the padding of images as networks have them
/// there: such convolutions take the taps that lie inside, one after the other.
inline bool taps_lie_apart(const ConvShape& s) {
  constexpr std::int64_t kApart = 6;
  return (s.k_h > 1 && s.dilation_h >= kApart) || (s.k_w > 1 && s.dilation_w >= kApart);
}

/// The share of the taps that a convolution in blocks takes.
inline double taken_taps(const ConvShape& s) {
  if (!taps_lie_apart(s)) return 1;
  const auto along = [](std::int64_t out, std::int64_t stride, std::int64_t pad, std::int64_t in,
                        std::int64_t k, std::int64_t dilation) {
    std::int64_t inside = 0;
    for (const TapPart& part : tap_parts(out, stride, pad, in, k, dilation))
      inside += (part.end - part.begin) * part.taps.count();
    return static_cast<double>(inside) / static_cast<double>(std::max<std::int64_t>(1, out * k));
  };
  return along(s.out_h, s.stride_h, s.pad_top, s.in_h, s.k_h, s.dilation_h) *
         along(s.out_w, s.stride_w, s.pad_left, s.in_w, s.k_w, s.dilation_w);
}

}  // namespace mezzo::kernels
