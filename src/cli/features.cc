// mezzo features: one row for each picture, of any value of the model.
#include <algorithm>
#include <cstring>
#include <future>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/picture_options.h"
#include "cli/progress.h"
#include "mezzo/session.h"
#include "store/new_file.h"
#include "store/npy.h"
#include "store/npy_header.h"

namespace mezzo::cli {
namespace {

struct FeatureArguments {
  std::string model, tap, out, pool = "flatten";
  std::vector<std::string> pictures;
  std::int64_t batch = 8;
  int threads = 0;
  PictureOptions options;
};

// [N, C, ...] -> [N, C]: the mean over all that stands behind axis 1.
Tensor mean_pooled(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  if (shape.size() <= 2) return tensor;
  const Tensor input = tensor.to(DType::f32);
  Tensor pooled = Tensor::uninitialized(DType::f32, {shape[0], shape[1]});
  const std::int64_t count = pooled.size() > 0 ? input.size() / pooled.size() : 0;
  const auto* in = static_cast<const float*>(input.data());
  for (float& mean : pooled.mutable_values<float>()) {
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += *in++;
    mean = static_cast<float>(sum / static_cast<double>(count));
  }
  return pooled;
}

Tensor pooled(const Tensor& tensor, const std::string& how) {
  if (how == "mean") return mean_pooled(tensor);
  if (how == "none") return tensor;
  const std::int64_t rows = tensor.shape()[0];
  return tensor.reshaped({rows, rows > 0 ? tensor.size() / rows : 0});
}

// Rows of one shape and type, written to a .npy file as they come.
class RowFile {
 public:
  RowFile(const std::string& path, std::size_t rows) : file_(path), rows_(rows) {}

  // The first `count` rows of `tensor`, which belong to pictures the first of which is `picture`.
  void add(const Tensor& tensor, std::size_t count, const std::string& picture) {
    Shape row(tensor.shape().begin() + 1, tensor.shape().end());
    if (!begun_) {
      begin(tensor.dtype(), std::move(row));
    } else if (row != row_) {
      throw Error(ErrorCode::invalid_argument, "the tapped value has another shape here")
          .at("'" + picture + "'")
          .expected(to_string(row_))
          .got(to_string(row))
          .hint("Make all pictures one size, or use --pool mean");
    }
    const store::NpyEncoding encoding = store::encode_npy(tensor);
    const auto rows = static_cast<std::size_t>(tensor.shape()[0]);
    file_.write(encoding.data.substr(0, encoding.data.size() / rows * count));
  }

  void commit() { file_.commit(); }

 private:
  void begin(DType dtype, Shape row) {
    if (dtype == DType::string) {
      throw Error(ErrorCode::unsupported, "a value of strings cannot be stored row by row");
    }
    // How the type is stored is read from the header of an empty tensor.
    const store::NpyHeader header =
        store::parse_npy_header(store::encode_npy(Tensor(dtype, {0})).header);
    const std::string descr = std::string(header.item_size == 1 ? "|" : "<") + header.kind +
                              std::to_string(header.item_size);
    Shape shape = row;
    shape.insert(shape.begin(), static_cast<std::int64_t>(rows_));
    file_.write(store::make_npy_header(descr, shape));
    row_ = std::move(row);
    begun_ = true;
  }

  store::NewFile file_;
  std::size_t rows_;
  bool begun_ = false;
  Shape row_;
};

// The pictures as batches of the model's input.
class Batches {
 public:
  Batches(const ValueInfo& input, const FeatureArguments& arguments)
      : pictures_(arguments.pictures), settings_(arguments.options.settings()) {
    if (input.dtype == DType::f16 || input.dtype == DType::u8) settings_.dtype = input.dtype;
    size_ = static_cast<std::size_t>(arguments.batch);
    if (!input.shape || input.shape->empty()) return;
    // A fixed first extent leaves no choice; 0 and negative numbers are exporters' signs for open.
    const std::optional<std::int64_t> extent = input.shape->front().value;
    if (extent && *extent > 0) {
      size_ = static_cast<std::size_t>(*extent);
      is_fixed_ = true;
    }
  }

  std::size_t size() const { return size_; }
  std::size_t count_at(std::size_t first) const {
    return std::min(size_, pictures_.size() - first);
  }

  // The batch that begins with picture `first`. Where the extent is fixed and the pictures run
  // out, the last one is repeated.
  Tensor load(std::size_t first) const {
    const std::size_t count = count_at(first);
    const Tensor head = load_picture(first);
    Shape shape = head.shape();
    shape[0] = static_cast<std::int64_t>(is_fixed_ ? size_ : count);
    Tensor batch = Tensor::uninitialized(head.dtype(), shape);
    auto* out = static_cast<char*>(batch.mutable_data());
    Tensor picture = head;
    for (std::int64_t i = 0; i < shape[0]; ++i, out += picture.bytes()) {
      const std::size_t index = first + static_cast<std::size_t>(i);
      if (i > 0 && index < pictures_.size()) picture = load_picture(index);
      if (picture.shape() != head.shape()) {
        throw Error(ErrorCode::invalid_argument, "pictures of one batch must have one size")
            .at("'" + pictures_[index] + "'")
            .expected(to_string(head.shape()))
            .got(to_string(picture.shape()))
            .hint("Set --crop or --resize exact, or use --batch 1");
      }
      std::memcpy(out, picture.data(), picture.bytes());
    }
    return batch;
  }

 private:
  Tensor load_picture(std::size_t index) const {
    try {
      return image::load(pictures_[index], settings_);
    } catch (Error& error) {
      if (error.place().find(pictures_[index]) == std::string::npos) {
        error.add_place("'" + pictures_[index] + "'");
      }
      throw;
    }
  }

  const std::vector<std::string>& pictures_;
  image::Preprocess settings_;
  std::size_t size_ = 1;
  bool is_fixed_ = false;
};

ValueInfo only_input(const Model& model) {
  const std::vector<ValueInfo> inputs = model.inputs();
  if (inputs.size() == 1) return inputs.front();
  throw Error(ErrorCode::invalid_argument, "the model must need one input, the picture")
      .expected("1 input")
      .got(std::to_string(inputs.size()));
}

std::string only_value(const Model& model, const std::string& selector) {
  const std::vector<std::string> names = model.select(selector);
  if (names.size() == 1) return names.front();
  throw Error(ErrorCode::invalid_argument, "--tap must name one value here")
      .at("selector '" + selector + "'")
      .got(std::to_string(names.size()) + ", the first two '" + names[0] + "' and '" + names[1] +
           "'");
}

void features(const FeatureArguments& arguments) {
  SessionOptions options;
  options.threads = arguments.threads;
  const Session session(arguments.model, options);
  const ValueInfo input = only_input(session.model());
  const std::string value = only_value(session.model(), arguments.tap);
  const Batches batches(input, arguments);
  const std::size_t total = arguments.pictures.size();
  RowFile file(arguments.out, total);
  Progress progress(total);
  // While a batch is computed, the next one is read.
  const auto load = [&](std::size_t first) {
    return std::async(std::launch::async, [&batches, first] { return batches.load(first); });
  };
  std::future<Tensor> next = load(0);
  for (std::size_t first = 0; first < total; first += batches.size()) {
    const Tensor batch = next.get();
    if (first + batches.size() < total) next = load(first + batches.size());
    const Outputs outputs = session.run({{input.name, batch}}, {value});
    const Tensor& tensor = outputs[0];
    if (tensor.rank() == 0 || tensor.shape()[0] != batch.shape()[0]) {
      throw Error(ErrorCode::invalid_argument, "the tapped value has no row for each picture")
          .at("'" + value + "'")
          .expected("a first axis of " + std::to_string(batch.shape()[0]))
          .got(tensor.has_value() ? to_string(tensor.shape()) : "no value");
    }
    const std::size_t count = batches.count_at(first);
    file.add(pooled(tensor, arguments.pool), count, arguments.pictures[first]);
    progress.show(first + count);
  }
  file.commit();
}

}  // namespace

void add_features(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "features", "Compute any value of a model for many pictures: a .npy file, one row for each");
  const auto arguments = std::make_shared<FeatureArguments>();
  command.add_option("MODEL", arguments->model, "The ONNX file; it must need one input")
      ->required();
  command.add_option("IMAGE", arguments->pictures, "JPEG, PNG or WebP files; one or more")
      ->required();
  command.add_option("-t,--tap", arguments->tap, "The value to get, as for `mezzo run`; one")
      ->required()
      ->type_name("SELECTOR");
  command.add_option("-o,--out", arguments->out, "The file to write; it appears when it is whole")
      ->required()
      ->type_name("FILE.npy");
  command
      .add_option("--pool", arguments->pool,
                  "flatten (the default): all axes after the first become one. mean: the mean over "
                  "all axes after the second (float32). none: as they are")
      ->check(CLI::IsMember({"flatten", "mean", "none"}))
      ->type_name("HOW");
  command
      .add_option("--batch", arguments->batch,
                  "Pictures computed at a time (8); where the model fixes its first extent, that "
                  "counts instead")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{65536}))
      ->type_name("N");
  command.add_option("--threads", arguments->threads, "Threads to use; 0: one for each core")
      ->type_name("N");
  arguments->options.add_to(command);
  command.callback([arguments] { features(*arguments); });
}

}  // namespace mezzo::cli
