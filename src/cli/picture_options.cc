#include "cli/picture_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "cli/command.h"

namespace mezzo::cli {
namespace {

template <class T>
using Words = std::map<std::string, T>;

const Words<image::Resize> kResizes = {{"short", image::Resize::short_side},
                                       {"exact", image::Resize::exact},
                                       {"none", image::Resize::none}};
const Words<image::Filter> kFilters = {{"pillow-bilinear", image::Filter::pillow_bilinear},
                                       {"pillow-bicubic", image::Filter::pillow_bicubic},
                                       {"opencv-linear", image::Filter::opencv_linear}};
const Words<image::Color> kColors = {
    {"rgb", image::Color::rgb}, {"bgr", image::Color::bgr}, {"gray", image::Color::gray}};
const Words<image::Layout> kLayouts = {{"nchw", image::Layout::nchw},
                                       {"nhwc", image::Layout::nhwc}};

template <class T>
std::vector<std::string> keys(const Words<T>& words) {
  std::vector<std::string> list;
  for (const auto& [word, meaning] : words) list.push_back(word);
  return list;
}

std::optional<int> positive(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number <= 0) return std::nullopt;
  return number;
}

/// "224" (both equal) or "320x240".
std::pair<int, int> extents(const std::string& option, const std::string& text) {
  const std::size_t cross = text.find('x');
  const auto width = positive(std::string_view(text).substr(0, cross));
  const auto height =
      cross == std::string::npos ? width : positive(std::string_view(text).substr(cross + 1));
  if (!width || !height) {
    fail_usage(option + ": '" + text + "' is no size; give N or WxH, as in 224 or 320x240");
  }
  return {*width, *height};
}

void set_channels(std::array<float, 3>& channels, const std::vector<float>& given) {
  if (given.size() == 1) channels.fill(given[0]);
  if (given.size() == 3) std::copy(given.begin(), given.end(), channels.begin());
}

void check_channels(const std::string& option, const std::vector<float>& given) {
  if (given.size() == 2 || given.size() > 3) {
    fail_usage(option + ": give one number, or three, as in 0.485,0.456,0.406");
  }
}

}  // namespace

void PictureOptions::add_to(CLI::App& command) {
  const std::string group = "Pictures (.jpg, .png, .webp)";
  const auto add = [&](const std::string& name, std::string& text, const std::string& help) {
    return command.add_option(name, text, help)->group(group);
  };
  add("--preset", preset_,
      "What the other options start from. imagenet (the default): short side 256, centre 224, RGB, "
      "/255, torchvision's mean and std. plain: 224x224, BGR, /256")
      ->check(CLI::IsMember({"imagenet", "plain"}))
      ->type_name("NAME");
  add("--resize", resize_, "short (the shorter side becomes --size), exact, or none")
      ->check(CLI::IsMember(keys(kResizes)))
      ->type_name("HOW");
  add("--size", size_, "N, or WxH, which means --resize exact")->type_name("SIZE");
  add("--filter", filter_, "pillow-bilinear, pillow-bicubic or opencv-linear")
      ->check(CLI::IsMember(keys(kFilters)))
      ->type_name("NAME");
  add("--crop", crop_, "The centre that is kept: N, WxH or none")->type_name("SIZE");
  add("--color", color_, "rgb, bgr or gray")
      ->check(CLI::IsMember(keys(kColors)))
      ->type_name("NAME");
  add("--layout", layout_, "nchw or nhwc")->check(CLI::IsMember(keys(kLayouts)))->type_name("NAME");
  const auto add_numbers = [&](const std::string& name, std::vector<float>& numbers,
                               const std::string& help) {
    return command.add_option(name, numbers, help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->group(group);
  };
  add_numbers("--scale", scale_, "A pixel p becomes (p / scale - mean) / std")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->type_name("X");
  add_numbers("--mean", mean_, "One number, or one for each channel: A,B,C")->type_name("A,B,C");
  add_numbers("--std", std_, "One number, or one for each channel: A,B,C")->type_name("A,B,C");
}

image::Preprocess PictureOptions::settings() const {
  image::Preprocess settings = preset_ == "plain" ? image::plain() : image::imagenet();
  set_size(settings);
  set_crop(settings);
  if (!filter_.empty()) settings.filter = kFilters.at(filter_);
  if (!color_.empty()) settings.color = kColors.at(color_);
  if (!layout_.empty()) settings.layout = kLayouts.at(layout_);
  if (!scale_.empty()) settings.scale = scale_.back();
  check_channels("--mean", mean_);
  check_channels("--std", std_);
  set_channels(settings.mean, mean_);
  set_channels(settings.std, std_);
  return settings;
}

void PictureOptions::set_size(image::Preprocess& settings) const {
  if (!resize_.empty()) settings.resize = kResizes.at(resize_);
  if (size_.empty()) return;
  const auto [width, height] = extents("--size", size_);
  if (size_.find('x') != std::string::npos) {
    if (!resize_.empty() && settings.resize != image::Resize::exact) {
      fail_usage("--size WxH goes with --resize exact; give --size N");
    }
    settings.resize = image::Resize::exact;
  }
  if (settings.resize == image::Resize::none) {
    fail_usage("--size says to resize, --resize none not to");
  }
  settings.short_side = width;
  settings.width = width;
  settings.height = height;
}

void PictureOptions::set_crop(image::Preprocess& settings) const {
  if (crop_.empty()) return;
  const auto [width, height] = crop_ == "none" ? std::pair{0, 0} : extents("--crop", crop_);
  settings.crop_width = width;
  settings.crop_height = height;
}

bool is_picture(const std::string& path) {
  static constexpr std::array kExtensions = {".jpg", ".jpeg", ".png", ".webp"};
  std::string extension = std::filesystem::path(path).extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

}  // namespace mezzo::cli
