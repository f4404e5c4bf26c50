#include "cli/feeds.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <random>

#include "cli/picture_options.h"
#include "onnx/reader.h"
#include "store/npy.h"
#include "store/npz.h"

namespace mezzo::cli {
namespace {

std::string quoted_names(const std::vector<ValueInfo>& inputs) {
  std::string names;
  for (const ValueInfo& input : inputs) {
    names += (names.empty() ? "'" : ", '") + input.name + "' " + input.type_text;
  }
  return names.empty() ? "no input" : names;
}

class FeedReader {
 public:
  FeedReader(const Model& model, const image::Preprocess& pictures)
      : inputs_(model.inputs()), model_(model), pictures_(pictures) {
    for (const ValueInfo& value : model.values()) types_.emplace(value.name, value.dtype);
  }

  void read(const std::string& text, Feeds& feeds) const {
    const auto [name, path] = split(text);
    if (name.empty() && extension_of(path) == ".npz") {
      read_archive(path, feeds);
      return;
    }
    const std::string value = name.empty() ? only_input(path) : name;
    feeds.emplace_back(value, read_file(value, path));
  }

 private:
  // The keys name the values; a single tensor under no value's name is for the only input.
  void read_archive(const std::string& path, Feeds& feeds) const {
    const store::NpzReader file(path);
    const auto& keys = file.names();
    const bool anonymous = keys.size() == 1 && inputs_.size() == 1 && !types_.contains(keys[0]);
    for (const std::string& key : keys) {
      const std::string& value = anonymous ? inputs_.front().name : key;
      feeds.emplace_back(value, file.read(key, type_of(value)));
    }
  }

  // Names and paths may both hold '=': the first part that is a value's name ends there.
  std::pair<std::string, std::string> split(const std::string& text) const {
    for (std::size_t i = text.find('='); i != std::string::npos; i = text.find('=', i + 1)) {
      if (types_.contains(text.substr(0, i))) return {text.substr(0, i), text.substr(i + 1)};
    }
    std::error_code ignored;
    const std::size_t sign = text.find('=');
    if (sign == std::string::npos || std::filesystem::exists(text, ignored)) return {"", text};
    const std::vector<std::string> named = select(text, text.substr(0, sign));
    if (named.size() != 1) {
      throw Error(ErrorCode::invalid_argument, "an input must name one value")
          .at("--input '" + text + "'")
          .got(std::to_string(named.size()) + " values");
    }
    return {named.front(), text.substr(sign + 1)};
  }

  std::vector<std::string> select(const std::string& text, const std::string& selector) const {
    try {
      return model_.select(selector);
    } catch (const Error& error) {
      throw Error(error.code(), error.problem())
          .at("--input '" + text + "': '" + selector + "'")
          .expected("NAME=FILE, where the model needs " + quoted_names(inputs_))
          .got(error.got_text())
          .hint(error.hint_text());
    }
  }

  std::string only_input(const std::string& path) const {
    if (inputs_.size() == 1) return inputs_.front().name;
    throw Error(ErrorCode::invalid_argument, "which input is this file for?")
        .at("--input '" + path + "'")
        .expected("NAME=FILE, where the model needs " + quoted_names(inputs_));
  }

  DType type_of(const std::string& value) const {
    const auto found = types_.find(value);
    return found != types_.end() ? found->second : DType::undefined;
  }

  static std::string extension_of(const std::string& path) {
    return std::filesystem::path(path).extension().string();
  }

  Tensor read_file(const std::string& value, const std::string& path) const {
    const std::string extension = extension_of(path);
    if (is_picture(path)) return read_picture(value, path);
    if (extension == ".npy") return store::read_npy(path, type_of(value));
    if (extension == ".pb") return onnx::read_tensor_file(path).tensor;
    if (extension == ".npz") {
      const store::NpzReader file(path);
      const auto& names = file.names();
      const bool named = std::find(names.begin(), names.end(), value) != names.end();
      return file.read(named || names.size() != 1 ? value : names.front(), type_of(value));
    }
    throw Error(ErrorCode::unsupported, "an input file of an unknown kind")
        .at("'" + path + "'")
        .expected(".npy, .npz, .pb, .jpg, .png or .webp");
  }

  Tensor read_picture(const std::string& value, const std::string& path) const {
    image::Preprocess settings = pictures_;
    const DType wanted = type_of(value);
    if (wanted == DType::f16 || wanted == DType::u8) settings.dtype = wanted;
    return image::load(path, settings);
  }

  std::vector<ValueInfo> inputs_;
  const Model& model_;
  const image::Preprocess& pictures_;
  std::map<std::string, DType> types_;
};

DType dtype_of(const ValueInfo& input) {
  if (input.dtype != DType::undefined) return input.dtype;
  throw Error(ErrorCode::invalid_argument, "only a tensor of a known type can be made up")
      .at("input '" + input.name + "' " + input.type_text)
      .hint("A run needs it given: --input");
}

// The shape that was given, or the declared one with every open extent 1. Exporters write 0 and
// negative numbers for what is open.
Shape shape_of(const ValueInfo& input, const Shapes& shapes) {
  if (const auto given = shapes.find(input.name); given != shapes.end()) return given->second;
  if (!input.shape) {
    throw Error(ErrorCode::invalid_argument, "the file does not tell this input's shape")
        .at("input '" + input.name + "' " + input.type_text)
        .hint("Give it: --shape NAME=1x3x224x224");
  }
  Shape shape;
  for (const Dim& dim : *input.shape) shape.push_back(dim.value && *dim.value > 0 ? *dim.value : 1);
  return shape;
}

std::optional<Shape> to_shape(std::string_view text) {
  Shape shape;
  while (!text.empty()) {
    std::int64_t extent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
    if (error != std::errc() || extent < 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    shape.push_back(extent);
    if (text.empty()) break;
    if (text.front() != 'x' || text.size() == 1) return std::nullopt;
    text.remove_prefix(1);
  }
  return shape;
}

Tensor random_tensor(DType dtype, const Shape& shape, std::mt19937_64& generator) {
  if (dtype == DType::string) return Tensor(dtype, shape);
  const bool byte = dtype == DType::u8 || dtype == DType::i8;
  const bool real =
      dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16 || dtype == DType::bf16;
  Tensor tensor = Tensor::uninitialized(DType::f32, shape);
  for (float& value : tensor.mutable_values<float>()) {
    const std::uint64_t bits = generator();
    if (byte) {
      value = static_cast<float>(bits >> 56) - (dtype == DType::i8 ? 128.0F : 0.0F);
    } else if (real) {
      value = static_cast<float>(bits >> 40) * 0x1p-24F;
    } else {
      value = static_cast<float>(bits >> 63);
    }
  }
  return dtype == DType::f32 ? tensor : tensor.to(dtype);
}

}  // namespace

Feeds read_feeds(const Model& model, const std::vector<std::string>& inputs,
                 const image::Preprocess& pictures) {
  const FeedReader reader(model, pictures);
  Feeds feeds;
  for (const std::string& input : inputs) reader.read(input, feeds);
  return feeds;
}

Shapes parse_shapes(const Model& model, const std::vector<std::string>& texts) {
  const std::vector<ValueInfo> inputs = model.inputs();
  Shapes shapes;
  for (const std::string& text : texts) {
    const std::size_t sign = text.rfind('=');
    const std::string name = text.substr(0, sign);
    if (std::none_of(inputs.begin(), inputs.end(),
                     [&](const ValueInfo& input) { return input.name == name; })) {
      throw Error(ErrorCode::invalid_argument, "no such input")
          .at("--shape '" + text + "'")
          .expected(quoted_names(inputs))
          .got("'" + name + "'");
    }
    const auto shape = sign == std::string::npos
                           ? std::nullopt
                           : to_shape(std::string_view(text).substr(sign + 1));
    if (!shape) {
      throw Error(ErrorCode::invalid_argument, "not a shape")
          .at("--shape '" + text + "'")
          .expected("NAME=1x3x224x224");
    }
    shapes[name] = *shape;
  }
  return shapes;
}

Feeds zero_feeds(const Model& model, const Shapes& shapes) {
  Feeds feeds;
  for (const ValueInfo& input : model.inputs()) {
    feeds.emplace_back(input.name, Tensor(dtype_of(input), shape_of(input, shapes)));
  }
  return feeds;
}

void add_random_feeds(const Model& model, std::uint64_t seed, const Shapes& shapes, Feeds& feeds) {
  std::mt19937_64 generator(seed);
  for (const ValueInfo& input : model.inputs()) {
    if (std::any_of(feeds.begin(), feeds.end(),
                    [&](const auto& feed) { return feed.first == input.name; })) {
      continue;
    }
    feeds.emplace_back(input.name,
                       random_tensor(dtype_of(input), shape_of(input, shapes), generator));
  }
}

}  // namespace mezzo::cli
