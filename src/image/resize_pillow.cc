// Pillow's antialiased resize: the convolution of Image.resize for 8-bit pictures, bit for bit.
//
// A result pixel is a weighted mean of the source pixels around its centre. When the picture
// shrinks, the filter is stretched by the factor, so that every source pixel counts. The two
// directions are done one after the other, across first, each rounded to 8 bits. Weights are
// computed in double, normalised to sum 1, and rounded to 22 fraction bits: a 32-bit sum of
// products of 8-bit pixels has that many to spare, with 2 bits for weights beyond 1 and their sign.
// Definition: Pillow's documentation, "Concepts: Filters", and the arithmetic of its Resample.c.
#include <algorithm>
#include <cmath>
#include <vector>

#include "image/resize.h"

namespace mezzo::image {
namespace {

constexpr int kFractionBits = 32 - 8 - 2;
constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);

double triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

/// Keys' cubic convolution with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

/// One direction of the resize: for each result position, which source positions count and how
/// much.
struct Axis {
  struct Taps {
    int first = 0;  ///< counted from `begin`
    int count = 0;
  };
  bool kept = false;  ///< the extent stays: pixels are copied, and there are no taps
  int begin = 0;      ///< source positions [begin, end) are read
  int end = 0;
  std::vector<Taps> taps;
  std::vector<std::int32_t> weights;  ///< `stride` a position, the first `count` used
  std::size_t stride = 0;

  const std::int32_t* weights_of(std::size_t position) const {
    return weights.data() + position * stride;
  }
};

/// The result positions [begin, begin + count) when `source` positions become `result`.
Axis axis_for(int source, int result, int begin, int count, Filter filter) {
  Axis axis;
  if (source == result) {
    axis.kept = true;
    axis.begin = begin;
    axis.end = begin + count;
    return axis;
  }
  const bool is_cubic = filter == Filter::pillow_bicubic;
  double (*const kernel)(double) = is_cubic ? cubic : triangle;
  const double scale = static_cast<double>(source) / result;
  const double stretch = std::max(scale, 1.0);
  const double support = (is_cubic ? 2.0 : 1.0) * stretch;
  const double shrink = 1.0 / stretch;

  axis.taps.resize(count);
  // Never more than the filter spans, nor than there are.
  axis.stride = std::min(static_cast<std::size_t>(std::ceil(support)) * 2 + 1,
                         static_cast<std::size_t>(source));
  axis.weights.resize(axis.stride * count);
  std::vector<double> exact(axis.stride);
  for (int i = 0; i < count; ++i) {
    const double center = (begin + i + 0.5) * scale;
    // Conversion to int rounds towards zero, and what it makes of a negative number is clamped.
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), source);
    double sum = 0.0;
    for (int k = 0; k < last - first; ++k) {
      exact[k] = kernel((k + first - center + 0.5) * shrink);
      sum += exact[k];
    }
    for (int k = 0; k < last - first; ++k) {
      const double weight = sum != 0.0 ? exact[k] / sum : exact[k];
      axis.weights[i * axis.stride + k] =
          static_cast<std::int32_t>(std::copysign(0.5, weight) + weight * (1 << kFractionBits));
    }
    axis.taps[i] = {first, last - first};
  }
  // Both ends of the taps only grow with the position.
  axis.begin = axis.taps.front().first;
  axis.end = axis.taps.back().first + axis.taps.back().count;
  for (Axis::Taps& taps : axis.taps) taps.first -= axis.begin;
  return axis;
}

/// A rectangle of pixels that belongs to somebody else.
struct View {
  const std::uint8_t* pixels;
  std::size_t row_bytes;
  int width;
  int height;
};

std::uint8_t to_pixel(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

/// One row: `out` gets as many pixels as `axis` has result positions.
template <int kChannels>
void resize_row(const std::uint8_t* row, const Axis& axis, std::uint8_t* out) {
  for (std::size_t x = 0; x < axis.taps.size(); ++x) {
    const Axis::Taps taps = axis.taps[x];
    const std::int32_t* weight = axis.weights_of(x);
    const std::uint8_t* pixel = row + std::size_t(taps.first) * kChannels;
    std::int32_t sums[kChannels];
    for (int c = 0; c < kChannels; ++c) sums[c] = kHalf;
    for (int k = 0; k < taps.count; ++k, pixel += kChannels) {
      for (int c = 0; c < kChannels; ++c) sums[c] += pixel[c] * weight[k];
    }
    for (int c = 0; c < kChannels; ++c) out[x * kChannels + c] = to_pixel(sums[c]);
  }
}

/// One row that is the weighted sum of the `count` rows from `rows` on.
void mix_rows(const std::uint8_t* rows, std::size_t row_bytes, int count,
              const std::int32_t* weights, std::size_t size, std::uint8_t* out) {
  constexpr std::size_t kBlock = 512;  // sums that stay in the first-level cache
  std::int32_t sums[kBlock];
  for (std::size_t begin = 0; begin < size; begin += kBlock) {
    const std::size_t block = std::min(kBlock, size - begin);
    std::fill_n(sums, block, kHalf);
    for (int k = 0; k < count; ++k) {
      const std::uint8_t* row = rows + k * row_bytes + begin;
      const std::int32_t weight = weights[k];
      for (std::size_t i = 0; i < block; ++i) sums[i] += row[i] * weight;
    }
    for (std::size_t i = 0; i < block; ++i) out[begin + i] = to_pixel(sums[i]);
  }
}

Image blank(std::int64_t width, std::int64_t height, int channels) {
  check_result_size(width, height);
  Image image{static_cast<int>(width), static_cast<int>(height), channels, {}};
  image.pixels.resize(static_cast<std::size_t>(width * height * channels));
  return image;
}

Image pass_across(const View& in, const Axis& axis, int channels) {
  Image out = blank(axis.taps.size(), in.height, channels);
  const std::size_t row_bytes = std::size_t(out.width) * channels;
  for (int y = 0; y < in.height; ++y) {
    const std::uint8_t* from = in.pixels + y * in.row_bytes;
    std::uint8_t* to = out.pixels.data() + y * row_bytes;
    channels == 3 ? resize_row<3>(from, axis, to) : resize_row<1>(from, axis, to);
  }
  return out;
}

Image pass_down(const View& in, const Axis& axis, int channels) {
  Image out = blank(in.width, axis.taps.size(), channels);
  const std::size_t row_bytes = std::size_t(out.width) * channels;
  for (int y = 0; y < out.height; ++y) {
    const Axis::Taps taps = axis.taps[y];
    mix_rows(in.pixels + taps.first * in.row_bytes, in.row_bytes, taps.count, axis.weights_of(y),
             row_bytes, out.pixels.data() + y * row_bytes);
  }
  return out;
}

}  // namespace

Image resize_pillow(const Image& image, int width, int height, Filter filter,
                    const Window& window) {
  const int channels = image.channels;
  const Axis across = axis_for(image.width, width, window.x, window.width, filter);
  const Axis down = axis_for(image.height, height, window.y, window.height, filter);

  // The order shows in the rounding. Across comes first, except (since Pillow 13) where the height
  // shrinks by more than twice as many pixels as the width. Resizes that keep the proportions of a
  // picture that is not very tall are the same in all versions.
  const std::int64_t fewer_rows = std::int64_t{image.height} - height;
  const std::int64_t fewer_columns = std::int64_t{image.width} - width;
  const bool down_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;

  const std::size_t row_bytes = std::size_t(image.width) * channels;
  View view{image.pixels.data() + down.begin * row_bytes + std::size_t(across.begin) * channels,
            row_bytes, across.end - across.begin, down.end - down.begin};
  Image result;
  const auto pass = [&](const Axis& axis, auto function) {
    if (axis.kept) return;
    result = function(view, axis, channels);
    view = {result.pixels.data(), std::size_t(result.width) * channels, result.width,
            result.height};
  };
  if (down_first) pass(down, pass_down);
  pass(across, pass_across);
  if (!down_first) pass(down, pass_down);

  if (across.kept && down.kept) {
    result = blank(view.width, view.height, channels);
    for (int y = 0; y < view.height; ++y) {
      std::copy_n(view.pixels + y * row_bytes, std::size_t(view.width) * channels,
                  result.pixels.data() + y * std::size_t(view.width) * channels);
    }
  }
  return result;
}

}  // namespace mezzo::image
