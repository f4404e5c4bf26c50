// The EXIF orientation: finding it, and turning a picture by it.
// EXIF 2.32, 4.5.2 (the data is a TIFF file) and 4.6.4 (tag 0x0112, Orientation); TIFF 6.0,
// section 2.
#include <algorithm>
#include <cstring>
#include <utility>

#include "image/decode.h"

namespace mezzo::image {
namespace {

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;
constexpr std::uint32_t kLong = 4;
constexpr std::size_t kEntryBytes = 12;

/// Reads numbers of either byte order; the caller has checked the bounds.
class TiffReader {
 public:
  TiffReader(Bytes bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}
  std::uint32_t u16(std::size_t at) const { return number(at, 2); }
  std::uint32_t u32(std::size_t at) const { return number(at, 4); }

 private:
  std::uint32_t number(std::size_t at, int count) const {
    std::uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
      const int shift = 8 * (big_endian_ ? count - 1 - i : i);
      value |= std::uint32_t{bytes_[at + i]} << shift;
    }
    return value;
  }

  Bytes bytes_;
  bool big_endian_;
};

}  // namespace

int exif_orientation(Bytes exif) noexcept {
  constexpr char kPrefix[6] = {'E', 'x', 'i', 'f', 0, 0};
  if (exif.size() >= 6 && std::memcmp(exif.data(), kPrefix, 6) == 0) exif = exif.subspan(6);
  if (exif.size() < 8) return 1;
  const bool big_endian = exif[0] == 'M' && exif[1] == 'M';
  if (!big_endian && !(exif[0] == 'I' && exif[1] == 'I')) return 1;
  const TiffReader reader(exif, big_endian);
  if (reader.u16(2) != 42) return 1;

  const std::size_t directory = reader.u32(4);
  if (directory > exif.size() - 2) return 1;
  const std::size_t fitting = (exif.size() - directory - 2) / kEntryBytes;
  const std::size_t entries = std::min<std::size_t>(reader.u16(directory), fitting);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (reader.u16(entry) != kOrientationTag) continue;
    const std::uint32_t type = reader.u16(entry + 2);
    if ((type != kShort && type != kLong) || reader.u32(entry + 4) != 1) return 1;
    const std::uint32_t value = type == kShort ? reader.u16(entry + 8) : reader.u32(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image oriented(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Where row 0 and column 0 of the stored picture belong, by value: 1 top left, 2 top right, 3
  // bottom right, 4 bottom left, 5 left top, 6 right top, 7 right bottom, 8 left bottom. From 5 on,
  // stored rows are upright columns.
  const bool swapped = orientation >= 5;
  const bool right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;

  Image out{image.width, image.height, image.channels, {}};
  if (swapped) std::swap(out.width, out.height);
  out.pixels.resize(image.pixels.size());
  const std::size_t channels = image.channels;
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const int from_x = right ? out.width - 1 - x : x;
      const int from_y = bottom ? out.height - 1 - y : y;
      const std::size_t column = swapped ? from_y : from_x;
      const std::size_t row = swapped ? from_x : from_y;
      std::memcpy(&out.pixels[(std::size_t(y) * out.width + x) * channels],
                  &image.pixels[(row * image.width + column) * channels], channels);
    }
  }
  return out;
}

}  // namespace mezzo::image
