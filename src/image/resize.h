// Resampling, with the results of the libraries that training pipelines use.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mezzo/image.h"

namespace mezzo::image {

/// The largest number of pixels that a result, or what lies between two passes, may have.
inline constexpr std::int64_t kMaxResultPixels = std::int64_t{1} << 28;
/// The largest extent to which a picture is resized: the weights take memory by it, even where a
/// crop makes the result small.
inline constexpr std::int64_t kMaxResizedExtent = std::int64_t{1} << 20;

/// A rectangle of pixels.
struct Window {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
};

/// What the picture would be at width x height, of which only `window` is computed: the rest would
/// be cut off anyway. All extents are positive, and the window lies within the result.
Image resize_pillow(const Image& image, int width, int height, Filter filter, const Window& window);
Image resize_opencv(const Image& image, int width, int height, const Window& window);

/// Chooses between them. Throws Error(limit) where an extent is more than kMaxResizedExtent.
Image resize(const Image& image, int width, int height, Filter filter, const Window& window);

/// Throws Error(limit) where width * height is more than kMaxResultPixels.
void check_result_size(std::int64_t width, std::int64_t height);

}  // namespace mezzo::image
