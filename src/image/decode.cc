// From a file's bytes to pixels: which format, within which limits.
#include "image/decode.h"

#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "base/mapped_file.h"

namespace mezzo::image {
namespace {

bool has(Bytes file, std::size_t offset, std::string_view signature) {
  return file.size() >= offset + signature.size() &&
         std::equal(signature.begin(), signature.end(), file.begin() + offset,
                    [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

std::string first_bytes(Bytes file) {
  if (file.empty()) return "no bytes at all";
  std::string text = "bytes";
  for (std::uint8_t byte : file.first(std::min<std::size_t>(file.size(), 8))) {
    char hex[4];
    std::snprintf(hex, sizeof hex, " %02x", byte);
    text += hex;
  }
  return text;
}

Decoded decode_any(Bytes file, std::int64_t max_pixels) {
  if (has(file, 0, "\xff\xd8\xff")) return decode_jpeg(file, max_pixels);
  if (has(file, 0, "\x89PNG\r\n\x1a\n")) return decode_png(file, max_pixels);
  if (has(file, 0, "RIFF") && has(file, 8, "WEBP")) return decode_webp(file, max_pixels);
  throw Error(ErrorCode::unsupported, "not a picture in a known format")
      .expected("JPEG, PNG or WebP")
      .got(first_bytes(file));
}

}  // namespace

void check_size(std::int64_t width, std::int64_t height, std::int64_t max_pixels) {
  if (width <= 0 || height <= 0) throw Error(ErrorCode::file_error, "the picture has no pixels");
  if (width > max_pixels / height) {
    throw Error(ErrorCode::limit, "the picture is too large")
        .expected("at most " + std::to_string(max_pixels) + " pixels")
        .got(std::to_string(width) + " x " + std::to_string(height))
        .hint("Raise DecodeOptions::max_pixels to decode it");
  }
}

Image make_image(std::int64_t width, std::int64_t height) {
  Image image{static_cast<int>(width), static_cast<int>(height), 3, {}};
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

Image decode_memory(const void* data, std::size_t size, const DecodeOptions& options) {
  if (data == nullptr && size != 0) {
    throw Error(ErrorCode::invalid_argument, "the picture's memory is a null pointer");
  }
  try {
    Decoded decoded =
        decode_any(Bytes(static_cast<const std::uint8_t*>(data), size), options.max_pixels);
    if (!options.apply_orientation) return std::move(decoded.image);
    return oriented(std::move(decoded.image), decoded.orientation);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::limit, "not enough memory to decode the picture");
  }
}

Image decode(const std::string& path, const DecodeOptions& options) {
  const auto file = MappedFile::open(path);
  try {
    return decode_memory(file->data(), file->size(), options);
  } catch (Error& error) {
    error.add_place(path);
    throw;
  }
}

}  // namespace mezzo::image
