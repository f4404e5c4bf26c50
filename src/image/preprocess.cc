// The chain from a picture to a tensor: colour, resize, crop, normalise, lay out.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "image/resize.h"

namespace mezzo::image {
namespace {

std::string size_text(std::int64_t width, std::int64_t height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

void check_positive(int value, const char* name) {
  if (value > 0) return;
  throw Error(ErrorCode::invalid_argument, std::string("Preprocess::") + name + " is not positive")
      .got(std::to_string(value));
}

void check_image(const Image& image) {
  if (image.width <= 0 || image.height <= 0 || (image.channels != 1 && image.channels != 3)) {
    throw Error(ErrorCode::invalid_argument, "not a usable image")
        .expected("positive extents and 1 or 3 channels")
        .got(size_text(image.width, image.height) + " with " + std::to_string(image.channels));
  }
  const std::uint64_t pixels =
      static_cast<std::uint64_t>(image.width) * static_cast<std::uint64_t>(image.height);
  const auto channels = static_cast<std::uint64_t>(image.channels);
  if (image.pixels.size() / channels != pixels || image.pixels.size() % channels != 0) {
    throw Error(ErrorCode::invalid_argument, "an image's pixels do not fit its size")
        .expected(std::to_string(pixels) + " pixels of " + std::to_string(channels) + " bytes")
        .got(std::to_string(image.pixels.size()) + " bytes");
  }
}

void check_settings(const Preprocess& settings) {
  if (settings.resize == Resize::short_side) check_positive(settings.short_side, "short_side");
  if (settings.resize == Resize::exact) {
    check_positive(settings.width, "width");
    check_positive(settings.height, "height");
  }
  if (settings.crop_width != 0) check_positive(settings.crop_width, "crop_width");
  if (settings.crop_height != 0) check_positive(settings.crop_height, "crop_height");
  const auto usable = [](float divisor) { return std::isfinite(divisor) && divisor != 0; };
  bool fine = usable(settings.scale);
  for (float mean : settings.mean) fine = fine && std::isfinite(mean);
  for (float std : settings.std) fine = fine && usable(std);
  if (!fine) {
    throw Error(ErrorCode::invalid_argument, "unusable normalisation")
        .expected("finite scale, mean and std; scale and std not zero");
  }
}

Image to_gray(const Image& image) {
  Image gray{image.width, image.height, 1, {}};
  gray.pixels.resize(image.pixels.size() / 3);
  const std::uint8_t* rgb = image.pixels.data();
  for (std::uint8_t& pixel : gray.pixels) {
    // ITU-R 601-2: 0.299, 0.587 and 0.114 with 16 fraction bits, as Pillow rounds them.
    pixel =
        static_cast<std::uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
    rgb += 3;
  }
  return gray;
}

std::pair<int, int> resized_extents(const Image& image, const Preprocess& settings) {
  if (settings.resize == Resize::none) return {image.width, image.height};
  if (settings.resize == Resize::exact) return {settings.width, settings.height};
  const std::int64_t shorter = std::min(image.width, image.height);
  const std::int64_t longer = std::max(image.width, image.height);
  const std::int64_t result = settings.short_side * longer / shorter;
  check_result_size(settings.short_side, result);
  const int long_side = static_cast<int>(result);
  return image.width <= image.height ? std::pair{settings.short_side, long_side}
                                     : std::pair{long_side, settings.short_side};
}

/// One axis of the centre crop: the result's extent, what part of the resized picture is seen, and
/// where in the result it stands.
struct Crop {
  int extent = 0;
  int first = 0;
  int count = 0;
  int offset = 0;
};

Crop center_crop(int extent, int crop) {
  if (crop == 0) return {extent, 0, extent, 0};
  if (crop > extent) return {crop, 0, extent, (crop - extent) / 2};
  const int rest = extent - crop;
  // Half of an odd rest ends in .5 and goes to the even neighbour.
  const int first = rest / 2 + (rest % 2 != 0 && rest / 2 % 2 != 0 ? 1 : 0);
  return {crop, first, crop, 0};
}

/// A rectangle of an image, seen in place.
struct View {
  const std::uint8_t* pixels;
  std::size_t row_bytes;
  std::size_t channels;
  const std::uint8_t* row(int y) const { return pixels + y * row_bytes; }
};

template <class T>
T element_of(float value) {
  if constexpr (std::is_same_v<T, Half>) return to_half(value);
  if constexpr (std::is_same_v<T, float>) return value;
  if constexpr (std::is_same_v<T, std::uint8_t>) {
    return static_cast<std::uint8_t>(std::nearbyint(std::clamp(value, 0.0F, 255.0F)));
  }
}

/// Writes the tensor. A pixel has 256 values, so normalisation and conversion are a table, exact by
/// construction.
template <class T>
Tensor write(const View& view, const Crop& across, const Crop& down, const Preprocess& settings) {
  const std::size_t channels = settings.color == Color::gray ? 1 : 3;
  const std::int64_t height = down.extent, width = across.extent;
  const auto c64 = static_cast<std::int64_t>(channels);
  const bool planar = settings.layout == Layout::nchw;
  Tensor tensor = Tensor::uninitialized(
      DTypeOf<T>::value, planar ? Shape{1, c64, height, width} : Shape{1, height, width, c64});
  T* const out = tensor.template mutable_values<T>().data();
  const std::size_t x_step = planar ? 1 : channels;
  const std::size_t y_step = x_step * across.extent;

  for (std::size_t c = 0; c < channels; ++c) {
    T table[256];
    for (int p = 0; p < 256; ++p) {
      const float scaled = static_cast<float>(p) / settings.scale;
      table[p] = element_of<T>((scaled - settings.mean[c]) / settings.std[c]);
    }
    const std::size_t source = view.channels == 1 ? 0 : settings.color == Color::bgr ? 2 - c : c;
    T* const plane = out + (planar ? c * y_step * down.extent : c);
    for (int y = 0; y < down.extent; ++y) {
      T* const row = plane + y * y_step;
      const int from_y = y - down.offset;
      const bool seen = from_y >= 0 && from_y < down.count;
      const int begin = seen ? across.offset : across.extent;
      const int end = seen ? across.offset + across.count : across.extent;
      for (int x = 0; x < begin; ++x) row[x * x_step] = table[0];
      const std::uint8_t* pixel = seen ? view.row(from_y) + source : nullptr;
      for (int x = begin; x < end; ++x, pixel += view.channels) row[x * x_step] = table[*pixel];
      for (int x = end; x < across.extent; ++x) row[x * x_step] = table[0];
    }
  }
  return tensor;
}

}  // namespace

void check_result_size(std::int64_t width, std::int64_t height) {
  if (width <= kMaxResultPixels / height) return;
  throw Error(ErrorCode::limit, "the resized picture would be too large")
      .expected("at most " + std::to_string(kMaxResultPixels) + " pixels")
      .got(size_text(width, height));
}

Image resize(const Image& image, int width, int height, Filter filter, const Window& window) {
  if (width > kMaxResizedExtent || height > kMaxResizedExtent) {
    throw Error(ErrorCode::limit, "the resized picture would be too large")
        .expected("at most " + std::to_string(kMaxResizedExtent) + " pixels a side")
        .got(size_text(width, height));
  }
  return filter == Filter::opencv_linear ? resize_opencv(image, width, height, window)
                                         : resize_pillow(image, width, height, filter, window);
}

Image resize(const Image& image, int width, int height, Filter filter) {
  check_image(image);
  check_positive(width, "width");
  check_positive(height, "height");
  check_result_size(width, height);
  return resize(image, width, height, filter, {0, 0, width, height});
}

Preprocess imagenet() {
  Preprocess settings;
  settings.resize = Resize::short_side;
  settings.short_side = 256;
  settings.filter = Filter::pillow_bilinear;
  settings.crop_width = 224;
  settings.crop_height = 224;
  settings.scale = 255;
  settings.mean = {0.485F, 0.456F, 0.406F};
  settings.std = {0.229F, 0.224F, 0.225F};
  return settings;
}

Preprocess plain() {
  Preprocess settings;
  settings.resize = Resize::exact;
  settings.width = 224;
  settings.height = 224;
  settings.filter = Filter::opencv_linear;
  settings.color = Color::bgr;
  settings.scale = 256;
  return settings;
}

Tensor preprocess(const Image& picture, const Preprocess& settings) {
  check_image(picture);
  check_settings(settings);

  Image changed;
  const Image* image = &picture;
  if (settings.color == Color::gray && picture.channels == 3) {
    changed = to_gray(picture);
    image = &changed;
  }

  const auto [width, height] = resized_extents(*image, settings);
  const Crop across = center_crop(width, settings.crop_width);
  const Crop down = center_crop(height, settings.crop_height);
  check_result_size(across.extent, down.extent);

  Window window{across.first, down.first, across.count, down.count};
  if (width != image->width || height != image->height) {
    changed = resize(*image, width, height, settings.filter, window);
    image = &changed;
    window = {0, 0, changed.width, changed.height};
  }
  const std::size_t channels = image->channels;
  const std::size_t row_bytes = image->width * channels;
  const View view{image->pixels.data() + window.y * row_bytes + window.x * channels, row_bytes,
                  channels};

  switch (settings.dtype) {
    case DType::f32:
      return write<float>(view, across, down, settings);
    case DType::f16:
      return write<Half>(view, across, down, settings);
    case DType::u8:
      return write<std::uint8_t>(view, across, down, settings);
    default:
      throw Error(ErrorCode::invalid_argument, "unusable Preprocess::dtype")
          .expected("float32, float16 or uint8")
          .got(std::string(name_of(settings.dtype)));
  }
}

Tensor load(const std::string& path, const Preprocess& settings, const DecodeOptions& options) {
  return preprocess(decode(path, options), settings);
}

Tensor load_memory(const void* data, std::size_t size, const Preprocess& settings,
                   const DecodeOptions& options) {
  return preprocess(decode_memory(data, size, options), settings);
}

}  // namespace mezzo::image
