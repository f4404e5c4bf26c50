// What the decoders of the three formats share.
#pragma once

#include <cstdint>
#include <span>

#include "mezzo/image.h"

namespace mezzo::image {

using Bytes = std::span<const std::uint8_t>;

/// A picture as it stands in the file, with the turn that its EXIF data asks for.
struct Decoded {
  Image image;
  int orientation = 1;
};

Decoded decode_jpeg(Bytes file, std::int64_t max_pixels);
Decoded decode_png(Bytes file, std::int64_t max_pixels);
Decoded decode_webp(Bytes file, std::int64_t max_pixels);

/// Throws Error(limit) where a picture of that size has more than `max_pixels`. To be called before
/// memory is taken for it.
void check_size(std::int64_t width, std::int64_t height, std::int64_t max_pixels);
/// A black RGB image. The extents, checked before, fit int.
Image make_image(std::int64_t width, std::int64_t height);

/// The orientation (tag 0x0112, 1 to 8) in EXIF data: a TIFF header with its directories, with or
/// without "Exif\0\0" before it. 1 (upright) where there is none or where the data is damaged: a
/// picture is not refused for its metadata.
int exif_orientation(Bytes exif) noexcept;
/// `image` turned and mirrored so that it stands upright.
Image oriented(Image image, int orientation);

}  // namespace mezzo::image
