// Runs the picture chain with settings from the command line, for tests that compare its results
// with other programs.
//
//     image_main PICTURE OUTPUT [KEY=VALUE ...]
//
// Keys, applied in order: preset=imagenet|plain, resize=none|exact:WxH|short_side:N,
// filter=pillow_bilinear|pillow_bicubic|opencv_linear, crop=WxH, color=rgb|bgr|gray,
// layout=nchw|nhwc, scale=S, mean=A,B,C, std=A,B,C, dtype=NAME, orientation=0|1, memory=0|1 (decode
// from memory), repeat=N (print the milliseconds of one run). Writes the tensor's bytes to OUTPUT
// and prints its type and shape. Exit status 1 and the message on an Error.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "mezzo/image.h"

namespace {

using namespace mezzo;

[[noreturn]] void usage(const std::string& what) {
  std::cerr << "image_main: " << what << '\n';
  std::exit(2);
}

struct Settings {
  image::Preprocess preprocess;
  image::DecodeOptions decode;
  bool memory = false;
  int repeat = 0;
};

void parse_size(const std::string& text, int& width, int& height) {
  if (std::sscanf(text.c_str(), "%dx%d", &width, &height) != 2) usage("not WxH: " + text);
}

std::array<float, 3> parse_three(const std::string& text) {
  std::array<float, 3> out = {};
  if (std::sscanf(text.c_str(), "%f,%f,%f", &out[0], &out[1], &out[2]) != 3) {
    usage("not three numbers: " + text);
  }
  return out;
}

void apply(Settings& settings, const std::string& key, const std::string& value) {
  image::Preprocess& p = settings.preprocess;
  const auto after = [&](const char* prefix) { return value.substr(std::string(prefix).size()); };
  if (key == "preset") {
    p = value == "imagenet" ? image::imagenet() : image::plain();
  } else if (key == "resize" && value == "none") {
    p.resize = image::Resize::none;
  } else if (key == "resize" && value.starts_with("exact:")) {
    p.resize = image::Resize::exact;
    parse_size(after("exact:"), p.width, p.height);
  } else if (key == "resize" && value.starts_with("short_side:")) {
    p.resize = image::Resize::short_side;
    p.short_side = std::stoi(after("short_side:"));
  } else if (key == "filter") {
    p.filter = value == "pillow_bilinear"  ? image::Filter::pillow_bilinear
               : value == "pillow_bicubic" ? image::Filter::pillow_bicubic
                                           : image::Filter::opencv_linear;
  } else if (key == "crop") {
    parse_size(value, p.crop_width, p.crop_height);
  } else if (key == "color") {
    p.color = value == "rgb"   ? image::Color::rgb
              : value == "bgr" ? image::Color::bgr
                               : image::Color::gray;
  } else if (key == "layout") {
    p.layout = value == "nhwc" ? image::Layout::nhwc : image::Layout::nchw;
  } else if (key == "scale") {
    p.scale = std::stof(value);
  } else if (key == "mean") {
    p.mean = parse_three(value);
  } else if (key == "std") {
    p.std = parse_three(value);
  } else if (key == "dtype") {
    p.dtype = dtype_from_name(value);
  } else if (key == "orientation") {
    settings.decode.apply_orientation = value == "1";
  } else if (key == "memory") {
    settings.memory = value == "1";
  } else if (key == "repeat") {
    settings.repeat = std::stoi(value);
  } else {
    usage("unknown setting " + key + "=" + value);
  }
}

Tensor load(const std::string& path, const Settings& settings) {
  if (!settings.memory) return image::load(path, settings.preprocess, settings.decode);
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  return image::load_memory(bytes.data(), bytes.size(), settings.preprocess, settings.decode);
}

void print_times(const std::string& path, const Settings& settings) {
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [&](auto&& body) {
    double best = 1e9;
    for (int i = 0; i < settings.repeat; ++i) {
      const auto start = Clock::now();
      body();
      best =
          std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
    return best;
  };
  const image::Image picture = image::decode(path, settings.decode);
  std::cout << "decode " << milliseconds([&] { image::decode(path, settings.decode); })
            << " ms, preprocess "
            << milliseconds([&] { image::preprocess(picture, settings.preprocess); }) << " ms\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) usage("PICTURE OUTPUT [KEY=VALUE ...]");
  Settings settings;
  for (int i = 3; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::size_t equals = argument.find('=');
    if (equals == std::string::npos) usage("not KEY=VALUE: " + argument);
    apply(settings, argument.substr(0, equals), argument.substr(equals + 1));
  }
  try {
    const Tensor tensor = load(argv[1], settings);
    std::ofstream out(argv[2], std::ios::binary);
    out.write(static_cast<const char*>(tensor.data()), static_cast<long>(tensor.bytes()));
    if (!out.flush()) usage(std::string("cannot write ") + argv[2]);
    std::cout << name_of(tensor.dtype());
    for (const auto extent : tensor.shape()) std::cout << ' ' << extent;
    std::cout << '\n';
    if (settings.repeat > 0) print_times(argv[1], settings);
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
