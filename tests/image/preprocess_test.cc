// Resizing pictures and making tensors of them, with results from arithmetic. Agreement with Pillow
// and OpenCV is tested by peers_test.py.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "mezzo/image.h"
#include "pictures.h"

namespace mezzo::image {
namespace {

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
