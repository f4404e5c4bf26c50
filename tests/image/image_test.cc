// Pictures made here, with results from arithmetic. Agreement with Pillow and OpenCV is tested by
// peers_test.py.
#include "mezzo/image.h"

#include <gtest/gtest.h>
#include <webp/encode.h>

#include <cmath>
#include <csetjmp>
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

namespace mezzo::image {
namespace {

using Buffer = std::vector<std::uint8_t>;

Image picture_of(int width, int height, int channels, Buffer pixels) {
  return {width, height, channels, std::move(pixels)};
}

/// Every pixel differs from every other: red counts columns, green rows, blue both.
Image numbered(int width, int height) {
  Image image = picture_of(width, height, 3, {});
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.insert(image.pixels.end(),
                          {std::uint8_t(x * 5), std::uint8_t(y * 7), std::uint8_t(x + y)});
    }
  }
  return image;
}

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

ErrorCode code_of(const std::function<void()>& body, std::string* message = nullptr) {
  try {
    body();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
  ADD_FAILURE() << "no Error was thrown";
  return ErrorCode::internal;
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

TEST(ResizePillow, HalvingWeighsFourPixels) {
  // Halved, the triangle reaches two pixels to each side of the centre: distances .25, .75 of it
  // weigh 3 and 1. At the edge the outermost has no pixel: 3, 3, 1 of 7.
  const Image row = picture_of(6, 1, 1, {10, 200, 30, 90, 250, 0});
  const Image half = resize(row, 3, 1, Filter::pillow_bilinear);
  const auto rounded = [](double value) { return static_cast<std::uint8_t>(std::lround(value)); };
  EXPECT_EQ(half.pixels, (Buffer{rounded((3 * 10 + 3 * 200 + 30) / 7.0),
                                 rounded((200 + 3 * 30 + 3 * 90 + 250) / 8.0),
                                 rounded((90 + 3 * 250 + 3 * 0) / 7.0)}));
  const Image column = picture_of(1, 6, 1, row.pixels);
  EXPECT_EQ(resize(column, 1, 3, Filter::pillow_bilinear).pixels, half.pixels);
}

TEST(ResizePillow, DoublingInterpolates) {
  const Image row = picture_of(2, 1, 1, {100, 200});
  EXPECT_EQ(resize(row, 4, 1, Filter::pillow_bilinear).pixels, (Buffer{100, 125, 175, 200}));
  // Keys' kernel at distances .25, .75, 1.25 and 1.75: 0.8671875, 0.2265625, -0.0703125,
  // -0.0234375.
  const double w0 = 0.8671875, w1 = 0.2265625, w2 = -0.0703125;
  const Image cubic = resize(picture_of(3, 1, 1, {100, 200, 100}), 6, 1, Filter::pillow_bicubic);
  EXPECT_EQ(cubic.pixels[0], std::lround((100 * w0 + 200 * w2) / (w0 + w2)));
  EXPECT_EQ(cubic.pixels[1],
            std::lround((100 * w0 + 200 * w1 + 100 * -0.0234375) / (w0 + w1 - 0.0234375)));
  EXPECT_EQ(cubic.pixels[2], std::lround((100 * w1 + 200 * w0 + 100 * w2) / (w0 + w1 + w2)));
}

TEST(ResizePillow, BicubicSaturates) {
  const Image step = picture_of(4, 1, 1, {0, 0, 255, 255});
  const Buffer result = resize(step, 8, 1, Filter::pillow_bicubic).pixels;
  EXPECT_EQ(result[2], 0);    // -0.0234375 * 255 - 0.0703125 * 255 and less
  EXPECT_EQ(result[5], 255);  // the same above
}

TEST(ResizePillow, TheOrderOfThePasses) {
  // Each pass rounds to 8 bits, so the order shows. Down comes first where the height loses more
  // than twice what the width loses.
  const Filter filter = Filter::pillow_bicubic;
  Image image = picture_of(30, 50, 3, {});
  std::uint32_t state = 1;
  for (int i = 0; i < 30 * 50 * 3; ++i) {
    state = state * 1664525 + 1013904223;
    image.pixels.push_back(static_cast<std::uint8_t>(state >> 24));
  }
  const auto across_first = [&](int width, int height) {
    return resize(resize(image, width, 50, filter), width, height, filter).pixels;
  };
  const auto down_first = [&](int width, int height) {
    return resize(resize(image, 30, height, filter), width, height, filter).pixels;
  };
  for (const auto& [width, height] : {std::pair{20, 30}, {20, 40}, {40, 60}, {40, 55}}) {
    EXPECT_EQ(resize(image, width, height, filter).pixels, across_first(width, height));
    EXPECT_NE(across_first(width, height), down_first(width, height));
  }
  for (const auto& [width, height] : {std::pair{20, 29}, {29, 10}, {60, 49}}) {
    EXPECT_EQ(resize(image, width, height, filter).pixels, down_first(width, height));
    EXPECT_NE(across_first(width, height), down_first(width, height));
  }
}

TEST(ResizeOpenCv, TakesTheNearestFour) {
  // Down to a third, the centre of each triple alone counts: no antialiasing.
  const Image row = picture_of(6, 1, 1, {10, 200, 30, 90, 250, 0});
  EXPECT_EQ(resize(row, 2, 1, Filter::opencv_linear).pixels, (Buffer{200, 250}));
  // Halved in both directions: the mean of four.
  const Image square = picture_of(2, 2, 1, {10, 20, 30, 41});
  EXPECT_EQ(resize(square, 1, 1, Filter::opencv_linear).pixels, (Buffer{25}));
  // Doubled: quarters, and the edge repeats.
  const Image pair = picture_of(2, 1, 1, {100, 200});
  EXPECT_EQ(resize(pair, 4, 1, Filter::opencv_linear).pixels, (Buffer{100, 125, 175, 200}));
}

TEST(Resize, AFlatPictureStaysFlat) {
  for (Filter filter : {Filter::pillow_bilinear, Filter::pillow_bicubic, Filter::opencv_linear}) {
    for (std::uint8_t level : {0, 1, 127, 254, 255}) {
      const Image flat = picture_of(19, 23, 3, Buffer(19 * 23 * 3, level));
      for (const auto& [width, height] : {std::pair{1, 1}, {7, 40}, {50, 3}, {19, 8}, {64, 64}}) {
        EXPECT_EQ(resize(flat, width, height, filter).pixels, Buffer(width * height * 3, level));
      }
    }
  }
}

TEST(Resize, TheSameSizeIsACopy) {
  const Image image = numbered(12, 7);
  for (Filter filter : {Filter::pillow_bilinear, Filter::pillow_bicubic, Filter::opencv_linear}) {
    EXPECT_EQ(resize(image, 12, 7, filter).pixels, image.pixels);
  }
}

TEST(Resize, RefusesWhatMakesNoSense) {
  const Image image = numbered(4, 4);
  const Filter filter = Filter::pillow_bilinear;
  EXPECT_EQ(code_of([&] { resize(image, 0, 4, filter); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { resize(image, 4, -1, filter); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { resize(image, 1 << 20, 1 << 20, filter); }), ErrorCode::limit);
  EXPECT_EQ(code_of([&] { resize(image, (1 << 20) + 1, 1, filter); }), ErrorCode::limit);
  for (const Image& bad : {picture_of(4, 4, 2, Buffer(32)), picture_of(4, 4, 3, Buffer(47)),
                           picture_of(4, 4, 3, Buffer(49)), picture_of(0, 4, 3, {}),
                           picture_of(-4, -4, 3, Buffer(48))}) {
    EXPECT_EQ(code_of([&] { resize(bad, 2, 2, filter); }), ErrorCode::invalid_argument);
    EXPECT_EQ(code_of([&] { preprocess(bad, {}); }), ErrorCode::invalid_argument);
  }
}

std::vector<float> floats(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

TEST(Preprocess, DefaultsChangeNothing) {
  const Image image = numbered(5, 3);
  Preprocess settings;
  settings.layout = Layout::nhwc;
  const Tensor tensor = preprocess(image, settings);
  EXPECT_EQ(tensor.shape(), (Shape{1, 3, 5, 3}));
  EXPECT_EQ(floats(tensor), std::vector<float>(image.pixels.begin(), image.pixels.end()));
}

TEST(Preprocess, LayoutAndColor) {
  const Image image = picture_of(2, 1, 3, {1, 2, 3, 4, 5, 6});
  Preprocess settings;
  EXPECT_EQ(preprocess(image, settings).shape(), (Shape{1, 3, 1, 2}));
  EXPECT_EQ(floats(preprocess(image, settings)), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  settings.color = Color::bgr;
  EXPECT_EQ(floats(preprocess(image, settings)), (std::vector<float>{3, 6, 2, 5, 1, 4}));
  settings.layout = Layout::nhwc;
  EXPECT_EQ(floats(preprocess(image, settings)), (std::vector<float>{3, 2, 1, 6, 5, 4}));
  const Image gray = picture_of(2, 1, 1, {7, 8});
  EXPECT_EQ(floats(preprocess(gray, settings)), (std::vector<float>{7, 7, 7, 8, 8, 8}));
}

TEST(Preprocess, Gray) {
  // 0.299 R + 0.587 G + 0.114 B: 76.2, 149.7, 29.1, and 255 for white.
  const Image image = picture_of(4, 1, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255});
  Preprocess settings;
  settings.color = Color::gray;
  const Tensor tensor = preprocess(image, settings);
  EXPECT_EQ(tensor.shape(), (Shape{1, 1, 1, 4}));
  EXPECT_EQ(floats(tensor), (std::vector<float>{76, 150, 29, 255}));
}

TEST(Preprocess, NormalisesStepByStepInFloat) {
  Preprocess settings = imagenet();
  settings.resize = Resize::none;
  settings.crop_width = settings.crop_height = 0;
  const Image image = picture_of(1, 1, 3, {255, 100, 3});
  const auto expected = [](float pixel, float mean, float std) {
    volatile float scaled = pixel / 255.0F;  // rounded here, whatever the compiler would keep
    volatile float centered = scaled - mean;
    return centered / std;
  };
  EXPECT_EQ(floats(preprocess(image, settings)),
            (std::vector<float>{expected(255, 0.485F, 0.229F), expected(100, 0.456F, 0.224F),
                                expected(3, 0.406F, 0.225F)}));
  // The channels are those of the tensor.
  settings.color = Color::bgr;
  EXPECT_EQ(floats(preprocess(image, settings))[0], expected(3, 0.485F, 0.229F));
}

TEST(Preprocess, ElementTypes) {
  const Image image = picture_of(4, 1, 1, {0, 5, 7, 255});
  Preprocess settings;
  settings.color = Color::gray;
  settings.scale = 2;
  settings.mean[0] = 1;
  settings.dtype = DType::u8;  // -1, 1.5, 2.5, 126.5: saturated, and halves to even
  const Tensor rounded = preprocess(image, settings);
  const auto bytes = rounded.values<std::uint8_t>();
  EXPECT_EQ(Buffer(bytes.begin(), bytes.end()), (Buffer{0, 2, 2, 126}));
  settings.dtype = DType::f16;
  const Tensor half = preprocess(image, settings);
  EXPECT_EQ(half.dtype(), DType::f16);
  EXPECT_EQ(floats(half.to(DType::f32)), (std::vector<float>{-1, 1.5, 2.5, 126.5}));
  settings.dtype = DType::i64;
  EXPECT_EQ(code_of([&] { preprocess(image, settings); }), ErrorCode::invalid_argument);
}

TEST(Preprocess, CropsTheCentreHalvesToEven) {
  Preprocess settings;
  settings.color = Color::gray;
  settings.crop_width = 2;
  // The first column of the crop: round((width - 2) / 2) with .5 to the even number.
  for (const auto& [width, first] :
       {std::pair{2, 0}, {3, 0}, {4, 1}, {5, 2}, {6, 2}, {7, 2}, {9, 4}}) {
    Image image = picture_of(width, 1, 1, {});
    for (int x = 0; x < width; ++x) image.pixels.push_back(static_cast<std::uint8_t>(x));
    EXPECT_EQ(floats(preprocess(image, settings)),
              (std::vector<float>{float(first), float(first + 1)}))
        << width;
  }
}

TEST(Preprocess, BlackSurroundsASmallerPicture) {
  const Image image = picture_of(1, 2, 1, {8, 9});
  Preprocess settings;
  settings.color = Color::gray;
  settings.crop_width = 4;  // (4 - 1) / 2 = 1 column before, 2 behind
  settings.crop_height = 3;
  settings.mean[0] = 1;  // black is normalised too
  EXPECT_EQ(floats(preprocess(image, settings)),
            (std::vector<float>{-1, 7, -1, -1, -1, 8, -1, -1, -1, -1, -1, -1}));
}

TEST(Preprocess, ShortSide) {
  Preprocess settings;
  settings.resize = Resize::short_side;
  settings.short_side = 256;
  // The long side is rounded down: 256 * 500 / 375 = 341.33, 256 * 451 / 300 = 384.85.
  EXPECT_EQ(preprocess(numbered(500, 375), settings).shape(), (Shape{1, 3, 256, 341}));
  EXPECT_EQ(preprocess(numbered(300, 451), settings).shape(), (Shape{1, 3, 384, 256}));
  EXPECT_EQ(preprocess(numbered(60, 60), settings).shape(), (Shape{1, 3, 256, 256}));
  const Image line = picture_of(1, 1 << 20, 1, Buffer(1 << 20));
  EXPECT_EQ(code_of([&] { preprocess(line, settings); }), ErrorCode::limit);
}

TEST(Preprocess, Presets) {
  const Image image = picture_of(300, 280, 3, Buffer(300 * 280 * 3, 128));
  const Tensor net = preprocess(image, imagenet());
  EXPECT_EQ(net.shape(), (Shape{1, 3, 224, 224}));
  EXPECT_NEAR(net.values<float>()[0], (128 / 255.0 - 0.485) / 0.229, 1e-6);
  EXPECT_NEAR(net.values<float>()[2 * 224 * 224], (128 / 255.0 - 0.406) / 0.225, 1e-6);
  Image red = image;
  for (std::size_t i = 0; i < red.pixels.size(); i += 3) red.pixels[i] = 255;
  const Tensor bgr = preprocess(red, plain());
  EXPECT_EQ(bgr.shape(), (Shape{1, 3, 224, 224}));
  EXPECT_EQ(bgr.values<float>()[0], 0.5F);
  EXPECT_EQ(bgr.values<float>()[2 * 224 * 224], 255 / 256.0F);
}

TEST(Preprocess, RefusesUnusableSettings) {
  const Image image = numbered(4, 4);
  const auto code = [&](const std::function<void(Preprocess&)>& change) {
    Preprocess settings;
    change(settings);
    return code_of([&] { preprocess(image, settings); });
  };
  const auto invalid = ErrorCode::invalid_argument;
  EXPECT_EQ(code([](Preprocess& p) { p.scale = 0; }), invalid);
  EXPECT_EQ(code([](Preprocess& p) { p.scale = NAN; }), invalid);
  EXPECT_EQ(code([](Preprocess& p) { p.std[1] = 0; }), invalid);
  EXPECT_EQ(code([](Preprocess& p) { p.mean[2] = INFINITY; }), invalid);
  EXPECT_EQ(code([](Preprocess& p) { p.crop_width = -1; }), invalid);
  EXPECT_EQ(code([](Preprocess& p) { p.resize = Resize::short_side, p.short_side = 0; }), invalid);
  EXPECT_EQ(code([](Preprocess& p) { p.resize = Resize::exact, p.height = 0; }), invalid);
  EXPECT_EQ(code([](Preprocess& p) { p.crop_width = p.crop_height = 1 << 20; }), ErrorCode::limit);
}

TEST(Preprocess, OnlyTheCropIsComputed) {
  // All of it would be a terabyte. The crop holds the middle of a picture whose pixels are all the
  // same.
  const Image image = picture_of(4, 4, 1, Buffer(16, 200));
  Preprocess settings;
  settings.color = Color::gray;
  settings.resize = Resize::exact;
  settings.width = settings.height = 1 << 20;
  settings.crop_width = 2;
  settings.crop_height = 1;
  for (Filter filter : {Filter::pillow_bilinear, Filter::pillow_bicubic, Filter::opencv_linear}) {
    settings.filter = filter;
    EXPECT_EQ(floats(preprocess(image, settings)), (std::vector<float>{200, 200}));
  }
  settings.width = (1 << 20) + 1;
  EXPECT_EQ(code_of([&] { preprocess(image, settings); }), ErrorCode::limit);
}

}  // namespace
}  // namespace mezzo::image
