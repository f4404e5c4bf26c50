// Pictures made here, and the codes of errors: what the tests of images share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "mezzo/error.h"
#include "mezzo/image.h"

namespace mezzo::image {

using Buffer = std::vector<std::uint8_t>;

inline Image picture_of(int width, int height, int channels, Buffer pixels) {
  return {width, height, channels, std::move(pixels)};
}

/// Every pixel differs from every other: red counts columns, green rows, blue both.
inline Image numbered(int width, int height) {
  Image image = picture_of(width, height, 3, {});
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.insert(image.pixels.end(),
                          {std::uint8_t(x * 5), std::uint8_t(y * 7), std::uint8_t(x + y)});
    }
  }
  return image;
}

inline ErrorCode code_of(const std::function<void()>& body, std::string* message = nullptr) {
  try {
    body();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
  ADD_FAILURE() << "no Error was thrown";
  return ErrorCode::internal;
}

}  // namespace mezzo::image
