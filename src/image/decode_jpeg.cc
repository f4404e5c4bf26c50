// JPEG, with libjpeg-turbo.
//
// libjpeg reports errors through callbacks that must not return. Ours leave by longjmp, which may
// not pass over C++ objects that have destructors: so the functions that call setjmp hold none, and
// everything lives in JpegReader, which outlives them.
#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

// jpeglib.h needs size_t and FILE to be declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include "image/decode.h"

namespace mezzo::image {
namespace {

constexpr int kExif = JPEG_APP0 + 1;
/// Every scan of a progressive file costs a pass over all pixels, however few bytes it has;
/// encoders write about ten.
constexpr int kMaxScans = 200;

struct JpegReader {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf on_error;
  int error_code = 0;
  bool too_many_scans = false;
  char message[JMSG_LENGTH_MAX] = "";

  JpegReader();
  ~JpegReader() { jpeg_destroy_decompress(&jpeg); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool read_header(Bytes file) noexcept;
  /// Rows of `pixel_bytes` a pixel; `out` holds all of them.
  bool read_pixels(std::uint8_t* out, std::size_t pixel_bytes) noexcept;
};

JpegReader& reader_of(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }

[[noreturn]] void fail(j_common_ptr jpeg) {
  JpegReader& reader = reader_of(jpeg);
  reader.error_code = jpeg->err->msg_code;
  (*jpeg->err->format_message)(jpeg, reader.message);
  std::longjmp(reader.on_error, 1);
}

/// libjpeg fills what is missing with grey and only warns. A picture with a hole is not what the
/// caller asked for, so warnings are errors here, but for those that leave the pixels whole: odd
/// headers, bytes between markers.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;  // traces
  switch (jpeg->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
      return;
    default:
      fail(jpeg);
  }
}

void on_progress(j_common_ptr jpeg) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (decompress->input_scan_number <= kMaxScans) return;
  JpegReader& reader = reader_of(jpeg);
  reader.too_many_scans = true;
  std::longjmp(reader.on_error, 1);
}

JpegReader::JpegReader() {
  jpeg.err = jpeg_std_error(&errors);
  errors.error_exit = fail;
  errors.emit_message = on_message;
  errors.output_message = [](j_common_ptr) {};  // never prints
  jpeg.client_data = this;
  progress.progress_monitor = on_progress;
}

bool JpegReader::read_header(Bytes file) noexcept {
  if (setjmp(on_error) != 0) return false;
  jpeg_create_decompress(&jpeg);  // keeps err and client_data
  jpeg.progress = &progress;
  jpeg_mem_src(&jpeg, file.data(), static_cast<unsigned long>(file.size()));
  jpeg_save_markers(&jpeg, kExif, 0xffff);
  jpeg_read_header(&jpeg, TRUE);
  return true;
}

bool JpegReader::read_pixels(std::uint8_t* out, std::size_t pixel_bytes) noexcept {
  if (setjmp(on_error) != 0) return false;
  jpeg_start_decompress(&jpeg);
  const std::size_t stride = pixel_bytes * jpeg.output_width;
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = out + stride * jpeg.output_scanline;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

[[noreturn]] void throw_error(const JpegReader& reader) {
  if (reader.too_many_scans) {
    throw Error(ErrorCode::limit, "the JPEG has more than " + std::to_string(kMaxScans) + " scans");
  }
  switch (reader.error_code) {
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_ARITH_NOTIMPL:
      throw Error(ErrorCode::unsupported, std::string("unsupported JPEG: ") + reader.message);
    case JERR_OUT_OF_MEMORY:
      throw Error(ErrorCode::limit, "not enough memory to decode the JPEG");
    default:
      throw Error(ErrorCode::file_error, std::string("damaged JPEG: ") + reader.message);
  }
}

/// Inverted CMYK, as Adobe writes it and everybody since, to RGB as Pillow does it: 255 - c is the
/// ink, so a channel is k - (255 - c) * k / 255, the division rounded.
void cmyk_to_rgb(const std::vector<std::uint8_t>& cmyk, std::vector<std::uint8_t>& rgb) {
  for (std::size_t i = 0, pixels = rgb.size() / 3; i < pixels; ++i) {
    const int k = cmyk[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int ink = 255 - cmyk[4 * i + c];
      rgb[3 * i + c] = static_cast<std::uint8_t>(k - (ink * k + 127) / 255);
    }
  }
}

}  // namespace

Decoded decode_jpeg(Bytes file, std::int64_t max_pixels) {
  JpegReader reader;
  if (!reader.read_header(file)) throw_error(reader);
  jpeg_decompress_struct& jpeg = reader.jpeg;

  Decoded decoded;
  check_size(jpeg.image_width, jpeg.image_height, max_pixels);
  decoded.image = make_image(jpeg.image_width, jpeg.image_height);
  for (auto marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
    const Bytes data(marker->data, marker->data_length);
    if (marker->marker == kExif && data.size() >= 6 &&
        std::equal(data.begin(), data.begin() + 6, "Exif\0")) {
      decoded.orientation = exif_orientation(data);
      break;
    }
  }

  std::vector<std::uint8_t>& pixels = decoded.image.pixels;
  if (jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK) {
    jpeg.out_color_space = JCS_CMYK;
    std::vector<std::uint8_t> cmyk(pixels.size() / 3 * 4);
    if (!reader.read_pixels(cmyk.data(), 4)) throw_error(reader);
    cmyk_to_rgb(cmyk, pixels);
  } else {
    jpeg.out_color_space = JCS_RGB;
    if (!reader.read_pixels(pixels.data(), 3)) throw_error(reader);
  }
  return decoded;
}

}  // namespace mezzo::image
