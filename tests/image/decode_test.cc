// Files of pictures made here: their pixels, their orientation, and what damaged ones come to.
// Agreement with Pillow and OpenCV is tested by peers_test.py.
#include <gtest/gtest.h>
#include <webp/encode.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

// After stdio, which jpeglib.h needs.
#include <jpeglib.h>
#include <png.h>

#include "image/decode.h"
#include "mezzo/image.h"
#include "pictures.h"

namespace mezzo::image {
namespace {

Buffer jpeg_of(const Image& image, bool progressive = false) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = image.width;
  jpeg.image_height = image.height;
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 100, TRUE);
  jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = 1;  // colour in full detail
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<JSAMPLE*>(image.pixels.data() + jpeg.next_scanline * image.width * 3);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  Buffer out(bytes, bytes + size);
  jpeg_destroy_compress(&jpeg);
  std::free(bytes);
  return out;
}

struct PngSpec {
  int width = 0, height = 0, bits = 8, color_type = PNG_COLOR_TYPE_RGB;
  Buffer data;  ///< packed rows
  std::vector<png_color> palette;
  Buffer exif;
};

Buffer png_of(PngSpec spec) {
  Buffer out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &out,
      [](png_structp p, png_bytep bytes, std::size_t count) {
        auto* buffer = static_cast<Buffer*>(png_get_io_ptr(p));
        buffer->insert(buffer->end(), bytes, bytes + count);
      },
      nullptr);
  png_set_IHDR(png, info, spec.width, spec.height, spec.bits, spec.color_type, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!spec.palette.empty()) {
    png_set_PLTE(png, info, spec.palette.data(), static_cast<int>(spec.palette.size()));
  }
  if (!spec.exif.empty()) {
    png_set_eXIf_1(png, info, static_cast<png_uint_32>(spec.exif.size()), spec.exif.data());
  }
  png_write_info(png, info);
  const std::size_t row_bytes = spec.data.size() / spec.height;
  for (int y = 0; y < spec.height; ++y) png_write_row(png, spec.data.data() + y * row_bytes);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

Buffer png_of(const Image& image, Buffer exif = {}) {
  return png_of({image.width, image.height, 8, PNG_COLOR_TYPE_RGB, image.pixels, {}, exif});
}

Buffer webp_of(const Image& image) {
  std::uint8_t* bytes = nullptr;
  const std::size_t size = WebPEncodeLosslessRGB(image.pixels.data(), image.width, image.height,
                                                 image.width * 3, &bytes);
  Buffer out(bytes, bytes + size);
  WebPFree(bytes);
  return out;
}

/// A TIFF header and a directory with that one entry, little-endian.
Buffer exif_with(std::uint8_t orientation) {
  return {'I', 'I', 42, 0, 8, 0,           0, 0, 1, 0, 0x12, 0x01, 3,
          0,   1,   0,  0, 0, orientation, 0, 0, 0, 0, 0,    0,    0};
}

/// Puts EXIF data behind the first marker of a JPEG.
Buffer with_app1(Buffer jpeg, const Buffer& exif) {
  const std::size_t length = 2 + 6 + exif.size();
  Buffer segment = {0xff, 0xe1, std::uint8_t(length >> 8), std::uint8_t(length), 'E', 'x', 'i', 'f',
                    0,    0};
  segment.insert(segment.end(), exif.begin(), exif.end());
  jpeg.insert(jpeg.begin() + 2, segment.begin(), segment.end());
  return jpeg;
}

Image decode_buffer(const Buffer& file, const DecodeOptions& options = {}) {
  return decode_memory(file.data(), file.size(), options);
}

void expect_near(const Image& actual, const Image& expected, int tolerance) {
  ASSERT_EQ(actual.width, expected.width);
  ASSERT_EQ(actual.height, expected.height);
  ASSERT_EQ(actual.pixels.size(), expected.pixels.size());
  for (std::size_t i = 0; i < expected.pixels.size(); ++i) {
    ASSERT_NEAR(actual.pixels[i], expected.pixels[i], tolerance) << "at byte " << i;
  }
}

TEST(Decode, EachFormatGivesItsPixels) {
  const Image image = numbered(21, 13);
  expect_near(decode_buffer(png_of(image)), image, 0);
  expect_near(decode_buffer(webp_of(image)), image, 0);
  // At quality 100 the coefficients are rounded to integers: a few levels remain.
  expect_near(decode_buffer(jpeg_of(image)), image, 4);
  expect_near(decode_buffer(jpeg_of(image, true)), image, 4);
}

TEST(Decode, PngColorTypes) {
  const auto pixels = [](PngSpec spec) { return decode_buffer(png_of(std::move(spec))).pixels; };
  // 16 bits: the upper 8.
  EXPECT_EQ(pixels({1, 1, 16, PNG_COLOR_TYPE_RGB, {0x12, 0xff, 0x80, 0x00, 0xfe, 0x80}, {}, {}}),
            (Buffer{0x12, 0x80, 0xfe}));
  EXPECT_EQ(pixels({1, 1, 16, PNG_COLOR_TYPE_GRAY, {0x34, 0xff}, {}, {}}),
            (Buffer{0x34, 0x34, 0x34}));
  // Alpha is dropped, not blended.
  EXPECT_EQ(pixels({1, 1, 8, PNG_COLOR_TYPE_RGB_ALPHA, {10, 20, 30, 0}, {}, {}}),
            (Buffer{10, 20, 30}));
  EXPECT_EQ(pixels({1, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, {77, 1}, {}, {}}), (Buffer{77, 77, 77}));
  // Few bits fill the range: 2 bits of 0, 1, 2, 3 are 0, 85, 170, 255.
  EXPECT_EQ(pixels({4, 1, 2, PNG_COLOR_TYPE_GRAY, {0b00011011}, {}, {}}),
            (Buffer{0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255}));
  EXPECT_EQ(pixels({2, 1, 4, PNG_COLOR_TYPE_PALETTE, {0x10}, {{1, 2, 3}, {4, 5, 6}}, {}}),
            (Buffer{4, 5, 6, 1, 2, 3}));
}

TEST(Decode, FromAFile) {
  const Image image = numbered(9, 4);
  const Buffer file = png_of(image);
  const auto path =
      std::filesystem::temp_directory_path() /
      ("mezzo_image_test_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) +
       std::to_string(reinterpret_cast<std::uintptr_t>(&image)) + ".jpg");
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<long>(file.size()));
  // The name says JPEG; the contents count.
  expect_near(decode(path.string()), image, 0);
  const Tensor from_file = load(path.string(), plain());
  const Tensor from_memory = load_memory(file.data(), file.size(), plain());
  EXPECT_EQ(from_file.shape(), (Shape{1, 3, 224, 224}));
  EXPECT_EQ(std::memcmp(from_file.data(), from_memory.data(), from_file.bytes()), 0);

  std::ofstream(path, std::ios::binary) << "this is no picture";
  std::string message;
  EXPECT_EQ(code_of([&] { decode(path.string()); }, &message), ErrorCode::unsupported);
  EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  std::filesystem::remove(path);
  EXPECT_EQ(code_of([&] { decode(path.string()); }, &message), ErrorCode::file_error);
  EXPECT_NE(message.find(path.string()), std::string::npos) << message;
}

TEST(Decode, Orientation) {
  // The picture a b c / d e f as each of the eight turns shows it (EXIF 2.32, 4.6.4).
  const std::string expected[8] = {"abc/def",  "cba/fed",  "fed/cba",  "def/abc",
                                   "ad/be/cf", "da/eb/fc", "fc/eb/da", "cf/be/ad"};
  Image image = picture_of(3, 2, 3, {});
  for (char name : std::string("abcdef")) {
    for (int c = 0; c < 3; ++c) image.pixels.push_back(static_cast<std::uint8_t>(name));
  }
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Buffer file = png_of(image, exif_with(static_cast<std::uint8_t>(orientation)));
    const Image turned = decode_buffer(file);
    std::string seen;
    for (int y = 0; y < turned.height; ++y) {
      if (y > 0) seen += '/';
      for (int x = 0; x < turned.width; ++x) {
        seen += static_cast<char>(turned.pixels[(y * turned.width + x) * 3]);
      }
    }
    EXPECT_EQ(seen, expected[orientation - 1]) << "orientation " << orientation;

    DecodeOptions as_stored;
    as_stored.apply_orientation = false;
    expect_near(decode_buffer(file, as_stored), image, 0);
  }
}

TEST(Decode, OrientationOfAJpeg) {
  const Buffer jpeg = jpeg_of(numbered(24, 16));
  const Image upright = decode_buffer(jpeg);
  const Image turned = decode_buffer(with_app1(jpeg, exif_with(6)));  // a quarter clockwise
  ASSERT_EQ(turned.width, 16);
  ASSERT_EQ(turned.height, 24);
  for (int y = 0; y < 24; ++y) {
    for (int x = 0; x < 16; ++x) {
      ASSERT_EQ(turned.pixels[(y * 16 + x) * 3], upright.pixels[((15 - x) * 24 + y) * 3]);
    }
  }
}

TEST(Exif, DamagedDataMeansUpright) {
  const auto orientation = [](const Buffer& exif) { return exif_orientation(exif); };
  EXPECT_EQ(orientation(exif_with(6)), 6);
  EXPECT_EQ(orientation(exif_with(0)), 1);
  EXPECT_EQ(orientation(exif_with(9)), 1);
  // Cut anywhere before the entry ends, the directory is not there.
  const Buffer whole = exif_with(6);
  for (std::size_t size = 0; size < 8 + 2 + 12; ++size) {
    EXPECT_EQ(orientation(Buffer(whole.begin(), whole.begin() + size)), 1) << size << " bytes";
  }
  Buffer changed = whole;
  for (int i = 4; i < 8; ++i) changed[i] = 0xff;  // a directory far outside
  EXPECT_EQ(orientation(changed), 1);
  changed = whole;
  changed[8] = changed[9] = 0xff;  // 65535 entries announced, one there
  EXPECT_EQ(orientation(changed), 6);
  changed = whole;
  changed[12] = 7;  // not a number
  EXPECT_EQ(orientation(changed), 1);
  changed = whole;
  changed[2] = 43;  // not a TIFF
  EXPECT_EQ(orientation(changed), 1);
  const Buffer big_endian = {'M',  'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01,
                             0x12, 0,   3, 0,  0, 0, 1, 0, 8, 0, 0};
  EXPECT_EQ(orientation(big_endian), 8);
}

TEST(Decode, EveryTruncationIsAnError) {
  const Image image = numbered(40, 24);
  for (const Buffer& file : {jpeg_of(image), jpeg_of(image, true), png_of(image), webp_of(image)}) {
    for (std::size_t size = 0; size < file.size(); ++size) {
      // A copy of its own, so that the address sanitizer sees a read past the end.
      const Buffer part(file.begin(), file.begin() + size);
      const ErrorCode code = code_of([&] { decode_buffer(part); });
      ASSERT_TRUE(code == ErrorCode::file_error || code == ErrorCode::unsupported)
          << size << " of " << file.size() << " bytes";
    }
  }
}

TEST(Decode, EveryChangedByteIsAPictureOrAnError) {
  const Image image = numbered(40, 24);
  DecodeOptions options;
  options.max_pixels = 1 << 20;
  int refused = 0;
  for (const Buffer& file : {with_app1(jpeg_of(image), exif_with(3)), jpeg_of(image, true),
                             png_of(image, exif_with(5)), webp_of(image)}) {
    for (std::size_t i = 0; i < file.size(); ++i) {
      for (const std::uint8_t change : {0x01, 0x80, 0xff}) {
        Buffer changed = file;
        changed[i] ^= change;
        try {
          const Image result = decode_buffer(changed, options);
          ASSERT_EQ(result.pixels.size(), std::size_t(result.width) * result.height * 3);
        } catch (const Error&) {
          ++refused;
        }
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Decode, NotAPicture) {
  EXPECT_EQ(code_of([] { decode_memory(nullptr, 0); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { decode_memory(nullptr, 10); }), ErrorCode::invalid_argument);
  std::string message;
  const Buffer gif = {'G', 'I', 'F', '8', '9', 'a', 1, 0, 1, 0};
  EXPECT_EQ(code_of([&] { decode_buffer(gif); }, &message), ErrorCode::unsupported);
  EXPECT_NE(message.find("JPEG, PNG or WebP"), std::string::npos) << message;
  EXPECT_NE(message.find("47 49 46"), std::string::npos) << message;
}

TEST(Decode, LargerThanTheLimit) {
  const Image image = numbered(20, 10);
  DecodeOptions options;
  options.max_pixels = 199;
  for (const Buffer& file : {jpeg_of(image), png_of(image), webp_of(image)}) {
    EXPECT_EQ(code_of([&] { decode_buffer(file, options); }), ErrorCode::limit);
  }
  options.max_pixels = 200;
  for (const Buffer& file : {jpeg_of(image), png_of(image), webp_of(image)}) {
    EXPECT_EQ(decode_buffer(file, options).width, 20);
  }
}

TEST(Decode, PngOfManyPixelsInFewBytes) {
  // A real header of 2^30 or 2^26 pixels, and no data behind it that could hold them.
  for (const auto& [width, expected] :
       {std::pair{1 << 17, ErrorCode::limit}, std::pair{1 << 13, ErrorCode::file_error}}) {
    Buffer row(std::size_t(width) * 3);
    Buffer file = png_of({width, 1, 8, PNG_COLOR_TYPE_RGB, row, {}, {}});
    file[20] = 0, file[21] = 0, file[22] = 0x20, file[23] = 0;  // height 8192
    const Buffer header(file.begin() + 12, file.begin() + 29);
    std::uint32_t crc = 0xffffffff;  // PNG specification, annex D
    for (std::uint8_t byte : header) {
      crc ^= byte;
      for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? 0xedb88320 ^ (crc >> 1) : crc >> 1;
    }
    crc = ~crc;
    for (int i = 0; i < 4; ++i) file[29 + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    EXPECT_EQ(code_of([&] { decode_buffer(file); }), expected);
  }
}

TEST(Decode, JpegOfManyScans) {
  // The first scan (the upper bits of the averages) again and again: a few bytes that cost a pass
  // over all pixels each.
  const Buffer file = jpeg_of(numbered(16, 16), true);
  const auto find_marker = [&](std::size_t from, const std::function<bool(std::uint8_t)>& wanted) {
    while (!(file.at(from) == 0xff && wanted(file.at(from + 1)))) ++from;
    return from;
  };
  const auto begin = find_marker(2, [](std::uint8_t marker) { return marker == 0xda; });
  const auto end = find_marker(begin + 2, [](std::uint8_t marker) { return marker >= 0xc0; });
  const auto with_scans = [&](int copies) {
    Buffer out(file.begin(), file.begin() + end);
    for (int i = 1; i < copies; ++i) {
      out.insert(out.end(), file.begin() + begin, file.begin() + end);
    }
    out.insert(out.end(), file.begin() + end, file.end());
    return out;
  };
  expect_near(decode_buffer(with_scans(20)), decode_buffer(file), 0);
  std::string message;
  EXPECT_EQ(code_of([&] { decode_buffer(with_scans(1000)); }, &message), ErrorCode::limit);
  EXPECT_NE(message.find("scans"), std::string::npos) << message;
}

}  // namespace
}  // namespace mezzo::image
