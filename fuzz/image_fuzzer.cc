// Any bytes as a picture, decoded and made a tensor.
#include <cstddef>
#include <cstdint>

#include "base/memory.h"
#include "mezzo/error.h"
#include "mezzo/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mezzo::set_allocation_limit(std::size_t{256} << 20);
  mezzo::image::DecodeOptions options;
  options.max_pixels = 1 << 20;
  mezzo::image::Preprocess settings = mezzo::image::imagenet();
  settings.resize = mezzo::image::Resize::exact;
  settings.width = settings.height = 32;
  settings.crop_width = settings.crop_height = 24;
  try {
    mezzo::image::load_memory(data, size, settings, options);
  } catch (const mezzo::Error&) {
  }
  return 0;
}
