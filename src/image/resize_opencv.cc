// OpenCV's INTER_LINEAR for 8-bit pictures: the four nearest pixels, in its fixed-point arithmetic.
//
// The centre of result pixel x lies at (x + 0.5) * source / result - 0.5 of the source; beyond the
// edge the last pixel repeats. Weights have 11 fraction bits. Across first, to 19-bit sums; then
// down, the sums shortened to 15 bits so that the products keep to 16 x 16 bits: ((b0 * (s0 >> 4))
// >> 16) + ((b1 * (s1 >> 4)) >> 16), and the last two bits rounded off. Definition: OpenCV's
// documentation of resize, and the arithmetic of its generic implementation.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "image/resize.h"

namespace mezzo::image {
namespace {

constexpr float kOne = 1 << 11;

struct Tap {
  int first = 0;
  int second = 0;
  std::int32_t weight0 = 0;
  std::int32_t weight1 = 0;
};

/// The two source positions of result positions [begin, begin + count). Across, what lies beyond
/// the edge is given weight 1 on the edge; down, both rows are that of the edge and keep their
/// weights, which are shortened separately.
std::vector<Tap> taps_for(int source, int result, int begin, int count, bool whole_at_edge) {
  const double scale = 1.0 / (static_cast<double>(result) / source);
  std::vector<Tap> taps(count);
  for (int i = 0; i < count; ++i) {
    const float center = static_cast<float>((begin + i + 0.5) * scale - 0.5);
    const int floor = static_cast<int>(std::floor(center));
    float fraction = center - static_cast<float>(floor);
    if (whole_at_edge && (floor < 0 || floor >= source - 1)) fraction = 0;
    Tap& tap = taps[i];
    tap.first = std::clamp(floor, 0, source - 1);
    tap.second = std::clamp(floor + 1, 0, source - 1);
    tap.weight0 = static_cast<std::int32_t>(std::nearbyint((1.0F - fraction) * kOne));
    tap.weight1 = static_cast<std::int32_t>(std::nearbyint(fraction * kOne));
  }
  return taps;
}

/// `out` gets the sums shortened by four bits, the only form in which they are used.
template <int kChannels>
void resize_row(const std::uint8_t* row, const std::vector<Tap>& taps, std::int16_t* out) {
  for (const Tap& tap : taps) {
    const std::uint8_t* left = row + std::size_t(tap.first) * kChannels;
    const std::uint8_t* right = row + std::size_t(tap.second) * kChannels;
    for (int c = 0; c < kChannels; ++c) {
      *out++ = static_cast<std::int16_t>((left[c] * tap.weight0 + right[c] * tap.weight1) >> 4);
    }
  }
}

}  // namespace

Image resize_opencv(const Image& image, int width, int height, const Window& window) {
  const std::size_t channels = image.channels;
  const std::vector<Tap> across = taps_for(image.width, width, window.x, window.width, true);
  const std::vector<Tap> down = taps_for(image.height, height, window.y, window.height, false);

  const std::size_t row_size = window.width * channels;
  Image result{window.width, window.height, image.channels, {}};
  result.pixels.resize(row_size * window.height);

  // The two rows in work. They move down together, so what is known of the last pair is used again.
  std::vector<std::int16_t> rows[2] = {std::vector<std::int16_t>(row_size),
                                       std::vector<std::int16_t>(row_size)};
  int known[2] = {-1, -1};
  const auto fill = [&](int slot, int y) {
    if (known[slot] == y) return;
    const std::uint8_t* row = image.pixels.data() + std::size_t(y) * image.width * channels;
    if (channels == 3) {
      resize_row<3>(row, across, rows[slot].data());
    } else {
      resize_row<1>(row, across, rows[slot].data());
    }
    known[slot] = y;
  };

  for (int y = 0; y < window.height; ++y) {
    const Tap& tap = down[y];
    if (known[0] != tap.first && known[1] == tap.first) {
      std::swap(rows[0], rows[1]);
      std::swap(known[0], known[1]);
    }
    fill(0, tap.first);
    fill(1, tap.second);
    const std::int16_t* upper = rows[0].data();
    const std::int16_t* lower = rows[1].data();
    const auto weight0 = static_cast<std::int16_t>(tap.weight0);
    const auto weight1 = static_cast<std::int16_t>(tap.weight1);
    std::uint8_t* out = result.pixels.data() + y * row_size;
    for (std::size_t i = 0; i < row_size; ++i) {
      const int sum = ((upper[i] * weight0) >> 16) + ((lower[i] * weight1) >> 16);
      out[i] = static_cast<std::uint8_t>((sum + 2) >> 2);
    }
  }
  return result;
}

}  // namespace mezzo::image
