// Pictures to tensors: decode, resize, crop, normalise, as the training pipelines do it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mezzo/tensor.h"

namespace mezzo::image {

/// A picture of 8 bits a channel: rows from the top, pixels from the left, channels interleaved,
/// nothing between the rows.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 3;                  ///< 3: red, green, blue; 1: grey
  std::vector<std::uint8_t> pixels;  ///< width * height * channels bytes
};

/// What decoding may do.
struct DecodeOptions {
  /// Turn the picture as its EXIF orientation says, as OpenCV's imread and Pillow's exif_transpose
  /// do.
  bool apply_orientation = true;
  /// Larger pictures are refused with Error(limit) before memory is taken for them.
  std::int64_t max_pixels = std::int64_t{1} << 28;
};

/// Decodes a JPEG, PNG or WebP file to RGB; the format is told by the contents, never by the name.
/// Greyscale and palettes become RGB; of 16 bits the upper 8 stay; alpha is dropped (Pillow's
/// convert("RGB")); of an animation the first frame is taken. CMYK is read as Pillow does it.
/// Colour profiles and gamma are not applied. Throws Error(file_error) where the file is missing,
/// damaged or truncated, Error(unsupported) where it is no such picture. All functions here are
/// safe to call from several threads.
Image decode(const std::string& path, const DecodeOptions& options = {});
/// The same for a file that is already in memory.
Image decode_memory(const void* data, std::size_t size, const DecodeOptions& options = {});

/// How the size changes before the crop.
enum class Resize {
  none,
  short_side,  ///< the shorter side becomes Preprocess::short_side, the longer one follows, rounded
               ///< down (torchvision's Resize(int))
  exact,       ///< to Preprocess::width x Preprocess::height, whatever the proportions
};

/// How pixels are interpolated. The results are those of the named library, which differ visibly
/// when a picture shrinks.
enum class Filter {
  pillow_bilinear,  ///< Pillow's BILINEAR, antialiased: every source pixel counts. What torchvision
                    ///< does to a PIL image.
  pillow_bicubic,   ///< Pillow's BICUBIC (a = -0.5), antialiased.
  opencv_linear,    ///< OpenCV's INTER_LINEAR: the four nearest pixels, not antialiased.
};

/// The channels of the tensor.
enum class Color {
  rgb,
  bgr,
  gray,  ///< one channel: ITU-R 601 luma, Pillow's convert("L"), taken before the resize
};

enum class Layout { nchw, nhwc };

/// Everything between a picture and a model's input, done in this order: colour, resize, centre
/// crop, normalise, lay out. The defaults change nothing: the picture's own size, RGB, 0 to 255 as
/// float. Presets are starting points:
///
///     auto settings = mezzo::image::imagenet();
///     settings.filter = mezzo::image::Filter::pillow_bicubic;
struct Preprocess {
  Resize resize = Resize::none;
  int short_side = 256;  ///< for Resize::short_side
  int width = 224;       ///< for Resize::exact
  int height = 224;      ///< for Resize::exact
  Filter filter = Filter::pillow_bilinear;

  /// The centre of that size is cut out; 0 keeps the whole extent. The place is torchvision's
  /// CenterCrop: from round((extent - crop) / 2), halves to the even number. Where the picture is
  /// smaller, black surrounds it.
  int crop_width = 0;
  int crop_height = 0;

  Color color = Color::rgb;
  Layout layout = Layout::nchw;

  /// A pixel p of channel c becomes (p / scale - mean[c]) / std[c], in float arithmetic step by
  /// step as NumPy and torchvision do it. The channels are counted as the tensor has them: with
  /// Color::bgr, mean[0] is that of blue; with Color::gray only the first counts.
  float scale = 1;
  std::array<float, 3> mean = {0, 0, 0};
  std::array<float, 3> std = {1, 1, 1};

  /// f32, f16 or u8; u8 rounds to the nearest (halves to even) and saturates.
  DType dtype = DType::f32;
};

/// What torchvision's classification models were trained with: short side 256 (Pillow bilinear),
/// centre 224 x 224, / 255, mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225), RGB, NCHW.
Preprocess imagenet();
/// The OpenCV habit: resize to exactly 224 x 224, / 256, BGR, NCHW.
Preprocess plain();

/// `image` as a tensor [1,C,H,W] or [1,H,W,C]. Throws Error(invalid_argument) where a setting makes
/// no sense or the image's fields do not fit each other, Error(limit) where the resized picture
/// would have more than 2^20 pixels a side, or the result or what is computed on the way to it more
/// than 2^28 pixels.
Tensor preprocess(const Image& image, const Preprocess& settings);

/// decode and preprocess.
Tensor load(const std::string& path, const Preprocess& settings, const DecodeOptions& options = {});
Tensor load_memory(const void* data, std::size_t size, const Preprocess& settings,
                   const DecodeOptions& options = {});

/// `image` resized to width x height. Errors as for `preprocess`.
Image resize(const Image& image, int width, int height, Filter filter);

}  // namespace mezzo::image
