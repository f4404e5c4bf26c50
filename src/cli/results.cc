#include "cli/results.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "cli/text.h"
#include "store/new_file.h"
#include "store/npy.h"
#include "store/npz.h"

namespace mezzo::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kShownElements = 6;
constexpr std::size_t kShownCharacters = 40;  // of a string element
constexpr std::size_t kMaxFileName = 120;     // without what is appended; file systems allow 255

// Each value once, whatever the selectors' overlap, and only those that have a value.
std::vector<Outputs::Item> to_write(const Outputs& outputs) {
  std::vector<Outputs::Item> items;
  std::set<std::string_view> seen;
  for (const Outputs::Item item : outputs) {
    if (!seen.insert(item.name).second) continue;
    if (item.tensor.has_value()) {
      items.push_back(item);
    } else {
      std::cerr << "mezzo: '" << printable(item.name)
                << "' has no value (it lies in a branch that was not taken) and is left out\n";
    }
  }
  return items;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// A file name that every system takes, made from a value's; `taken` holds those in use, in lower
// case since some file systems do not tell cases apart.
std::string file_name(const std::string& value, std::set<std::string>& taken) {
  std::string safe;
  for (const char c : value.substr(0, kMaxFileName)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-' || c == '.';
    safe += plain ? c : '_';
  }
  if (safe.empty() || safe.front() == '.') safe.insert(0, "_");
  std::string name = safe;
  for (int i = 2; !taken.insert(lower_case(name)).second; ++i) {
    name = safe + "-" + std::to_string(i);
  }
  return name + ".npy";
}

void write_folder(const std::string& path, const std::vector<Outputs::Item>& items) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path, error)) {
    throw Error(ErrorCode::file_error, "cannot make the folder")
        .at("'" + path + "'")
        .got(error ? error.message() : "something else of that name")
        .hint("--out takes a folder, or a file that ends in .npz or .npy");
  }
  std::set<std::string> taken;
  nlohmann::ordered_json index = nlohmann::ordered_json::object();
  for (const Outputs::Item& item : items) {
    const std::string file = file_name(item.name, taken);
    store::write_npy((fs::path(path) / file).string(), item.tensor);
    index[item.name] = file;
  }
  store::NewFile file((fs::path(path) / "index.json").string());
  file.write(index.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  file.commit();
}

std::string number_text(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return text.data();
}

bool is_integer(DType dtype) {
  switch (dtype) {
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::u16:
    case DType::u32:
    case DType::u64:
    case DType::i4:
    case DType::u4:
    case DType::i2:
    case DType::u2:
      return true;
    default:
      return false;
  }
}

std::string string_text(const std::string& text) {
  return '"' + printable(text.substr(0, kShownCharacters)) +
         (text.size() > kShownCharacters ? "...\"" : "\"");
}

template <class T, class Show>
std::string first_of(const Tensor& tensor, const Show& show) {
  const auto values = tensor.values<T>();
  std::string text;
  for (std::int64_t i = 0; i < std::min(tensor.size(), kShownElements); ++i) {
    text += (i > 0 ? " " : "") + show(values[static_cast<std::size_t>(i)]);
  }
  return tensor.size() > kShownElements ? text + " ..." : text;
}

std::string first_elements(const Tensor& tensor) {
  const auto complex = [](const auto& value) {
    return number_text(value.re) + (value.im < 0 ? "-" : "+") + number_text(std::fabs(value.im)) +
           "i";
  };
  const auto decimal = [](auto value) { return std::to_string(value); };
  switch (tensor.dtype()) {
    case DType::string:
      return first_of<std::string>(tensor, string_text);
    case DType::c64:
      return first_of<Complex64>(tensor, complex);
    case DType::c128:
      return first_of<Complex128>(tensor, complex);
    case DType::boolean:
      return first_of<bool>(tensor,
                            [](bool value) { return std::string(value ? "true" : "false"); });
    case DType::u64:
      return first_of<std::uint64_t>(tensor, decimal);
    default:
      break;
  }
  if (is_integer(tensor.dtype())) return first_of<std::int64_t>(tensor.to(DType::i64), decimal);
  return first_of<double>(tensor.to(DType::f64), number_text);
}

// The range of what is finite, and how much is not.
std::string range_text(const Tensor& tensor) {
  const DType dtype = tensor.dtype();
  if (dtype == DType::string || dtype == DType::c64 || dtype == DType::c128) return "";
  const Tensor numbers = tensor.to(DType::f64);
  double low = INFINITY, high = -INFINITY, sum = 0;
  std::int64_t nan = 0, infinite = 0;
  for (const double value : numbers.values<double>()) {
    if (std::isnan(value)) {
      ++nan;
    } else if (std::isinf(value)) {
      ++infinite;
    } else {
      low = std::min(low, value);
      high = std::max(high, value);
      sum += value;
    }
  }
  const std::int64_t finite = tensor.size() - nan - infinite;
  std::string text;
  if (finite > 0) {
    text = "min " + number_text(low) + "  mean " + number_text(sum / static_cast<double>(finite)) +
           "  max " + number_text(high);
  }
  if (nan > 0) text += "  " + grouped(nan) + " not a number";
  if (infinite > 0) text += "  " + grouped(infinite) + " infinite";
  return text;
}

}  // namespace

void write_outputs(const std::string& path, const Outputs& outputs) {
  const auto items = to_write(outputs);
  if (path.ends_with(".npz")) {
    store::NpzWriter file(path);
    for (const Outputs::Item& item : items) file.add(item.name, item.tensor);
    file.finish();
  } else if (path.ends_with(".npy")) {
    if (items.size() != 1) {
      throw Error(ErrorCode::invalid_argument, "a .npy file holds one value")
          .at("--out '" + path + "'")
          .got(std::to_string(items.size()) + " values")
          .hint("Write to a .npz file or a folder");
    }
    store::write_npy(path, items.front().tensor);
  } else {
    write_folder(path, items);
  }
}

std::string summary(const Outputs& outputs) {
  std::string text;
  for (const Outputs::Item item : outputs) {
    text += printable(item.name);
    if (!item.tensor.has_value()) {
      text += "  no value: it lies in a branch that was not taken\n";
      continue;
    }
    text +=
        "  " + std::string(name_of(item.tensor.dtype())) + to_string(item.tensor.shape()) + "\n";
    if (item.tensor.size() == 0) continue;
    const std::string range = range_text(item.tensor);
    if (!range.empty()) text += "  " + range + "\n";
    text += "  " + first_elements(item.tensor) + "\n";
  }
  return text;
}

}  // namespace mezzo::cli
