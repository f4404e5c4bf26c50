// PNG, with libpng.
//
// libpng's errors leave by longjmp, as libjpeg's do: see decode_jpeg.cc for the rule that this file
// follows.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "image/decode.h"

namespace mezzo::image {
namespace {

/// Deflate's largest expansion (RFC 1951: 258 bytes from two bits), rounded up.
constexpr std::uint64_t kMaxDeflateRatio = 1040;

struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  Bytes unread;
  char message[200] = "";
  /// Start of every row, for interlaced pictures are written in seven passes.
  std::vector<png_bytep> rows;

  explicit PngReader(Bytes file);
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool read_header() noexcept;
  bool read_pixels() noexcept;
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}  // never prints

void read_bytes(png_structp png, png_bytep out, std::size_t count) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (count > reader->unread.size()) png_error(png, "the file ends too early");
  std::memcpy(out, reader->unread.data(), count);
  reader->unread = reader->unread.subspan(count);
}

PngReader::PngReader(Bytes file) : unread(file) {
  png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
  if (png != nullptr) info = png_create_info_struct(png);
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    throw Error(ErrorCode::limit, "not enough memory to decode the PNG");
  }
}

bool PngReader::read_header() noexcept {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_read_fn(png, this, read_bytes);
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // decode.cc has the limit
  png_read_info(png, info);
  return true;
}

bool PngReader::read_pixels() noexcept {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_expand(png);  // palettes to RGB, 1, 2 and 4 bits to 8, tRNS to alpha
  png_set_strip_16(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != 3 * static_cast<std::size_t>(png_get_image_width(png, info))) {
    png_error(png, "unexpected row size");
  }
  png_read_image(png, rows.data());
  png_read_end(png, info);
  return true;
}

[[noreturn]] void throw_error(const PngReader& reader) {
  throw Error(ErrorCode::file_error, std::string("damaged PNG: ") + reader.message);
}

}  // namespace

Decoded decode_png(Bytes file, std::int64_t max_pixels) {
  PngReader reader(file);
  if (!reader.read_header()) throw_error(reader);

  const png_uint_32 width = png_get_image_width(reader.png, reader.info);
  const png_uint_32 height = png_get_image_height(reader.png, reader.info);
  const std::uint64_t bits = std::uint64_t{png_get_bit_depth(reader.png, reader.info)} *
                             png_get_channels(reader.png, reader.info);
  check_size(width, height, max_pixels);
  // A header that promises more than the file can hold is caught before memory is taken for it.
  // Extents have 31 bits.
  if ((width * bits + 7) / 8 > kMaxDeflateRatio * file.size() / height) {
    throw Error(ErrorCode::file_error, "damaged PNG: the file is too short for its size")
        .got(std::to_string(file.size()) + " bytes for " + std::to_string(width) + " x " +
             std::to_string(height) + " pixels");
  }

  Decoded decoded;
  decoded.image = make_image(width, height);
  reader.rows.resize(height);
  for (png_uint_32 y = 0; y < height; ++y) {
    reader.rows[y] = decoded.image.pixels.data() + std::size_t{y} * width * 3;
  }
  if (!reader.read_pixels()) throw_error(reader);

  png_uint_32 exif_bytes = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &exif_bytes, &exif) == PNG_INFO_eXIf) {
    decoded.orientation = exif_orientation(Bytes(exif, exif_bytes));
  }
  return decoded;
}

}  // namespace mezzo::image
