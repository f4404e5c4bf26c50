// WebP, with libwebp. The container is walked here: it holds the EXIF data and the frames of an
// animation. WebP container specification (RFC 9649, section 2): chunks of a four-letter name, a
// 32-bit little-endian size and data, padded to an even size.
#include <webp/decode.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "image/decode.h"

namespace mezzo::image {
namespace {

constexpr std::size_t kRiffHeader = 12;  // "RIFF", size, "WEBP"
constexpr std::size_t kChunkHeader = 8;
constexpr std::size_t kFrameHeader = 16;  // of an ANMF chunk: place, size, duration and flags

std::uint32_t little_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value |= std::uint32_t{bytes[at + i]} << (8 * i);
  return value;
}

/// The data of the first chunk of that name; nothing where there is none or where it does not end
/// within `chunks`.
std::optional<Bytes> find_chunk(Bytes chunks, std::string_view name) {
  while (chunks.size() >= kChunkHeader) {
    const std::size_t size = little_endian(chunks, 4, 4);
    if (size > chunks.size() - kChunkHeader) return std::nullopt;
    if (std::memcmp(chunks.data(), name.data(), 4) == 0) return chunks.subspan(kChunkHeader, size);
    chunks = chunks.subspan(std::min(chunks.size(), kChunkHeader + size + size % 2));
  }
  return std::nullopt;
}

[[noreturn]] void throw_damaged(const std::string& what) {
  throw Error(ErrorCode::file_error, "damaged WebP: " + what);
}

void check(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OK:
      return;
    case VP8_STATUS_OUT_OF_MEMORY:
      throw Error(ErrorCode::limit, "not enough memory to decode the WebP");
    case VP8_STATUS_NOT_ENOUGH_DATA:
      throw_damaged("the file ends too early");
    default:
      throw_damaged("the contents are invalid");
  }
}

/// Decodes a still picture (with or without its container) to RGB into `image`, its corner at (x,
/// y). It must fit there.
void decode_still(Bytes still, Image& image, std::size_t x, std::size_t y) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) {
    throw Error(ErrorCode::internal, "libwebp's version is not that of its header");
  }
  const std::size_t stride = std::size_t{3} * image.width;
  const std::size_t offset = y * stride + 3 * x;
  config.output.colorspace = MODE_RGB;  // drops alpha
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.pixels.data() + offset;
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = image.pixels.size() - offset;
  check(WebPDecode(still.data(), still.size(), &config));
}

/// The first frame of an animation on its canvas, which is black where the frame does not reach.
void decode_first_frame(Bytes chunks, Image& image) {
  const std::optional<Bytes> frame = find_chunk(chunks, "ANMF");
  if (!frame || frame->size() < kFrameHeader) throw_damaged("an animation without a frame");
  const std::size_t x = std::size_t{2} * little_endian(*frame, 0, 3);
  const std::size_t y = std::size_t{2} * little_endian(*frame, 3, 3);
  // Inside stand ALPH, which is dropped anyway, and "VP8 " or VP8L, which libwebp takes with their
  // headers.
  const Bytes inner = frame->subspan(kFrameHeader);
  std::optional<Bytes> data = find_chunk(inner, "VP8 ");
  if (!data) data = find_chunk(inner, "VP8L");
  if (!data) throw_damaged("a frame without a picture");
  const Bytes still(data->data() - kChunkHeader, data->size() + kChunkHeader);

  WebPBitstreamFeatures features;
  check(WebPGetFeatures(still.data(), still.size(), &features));
  const std::size_t width = features.width, height = features.height;
  if (x + width > static_cast<std::size_t>(image.width) ||
      y + height > static_cast<std::size_t>(image.height)) {
    throw_damaged("a frame reaches over the canvas");
  }
  decode_still(still, image, x, y);
}

}  // namespace

Decoded decode_webp(Bytes file, std::int64_t max_pixels) {
  WebPBitstreamFeatures features;
  check(WebPGetFeatures(file.data(), file.size(), &features));
  check_size(features.width, features.height, max_pixels);

  Decoded decoded;
  decoded.image = make_image(features.width, features.height);
  const Bytes chunks = file.subspan(kRiffHeader);
  if (features.has_animation) {
    decode_first_frame(chunks, decoded.image);
  } else {
    decode_still(file, decoded.image, 0, 0);
  }
  if (const auto exif = find_chunk(chunks, "EXIF")) decoded.orientation = exif_orientation(*exif);
  return decoded;
}

}  // namespace mezzo::image
