// The trained models of the shared folder with their golden vectors: test data that is not part of
// the project.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mezzo/mezzo.h"
#include "onnx/reader.h"
#include "store/npy.h"

namespace mezzo::tests {

inline std::filesystem::path shared_folder() {
  const char* named = std::getenv("MEZZO_SHARED");
  return named != nullptr ? std::filesystem::path(named)
                          : std::filesystem::path(MEZZO_SOURCE_DIR) / ".." / "shared";
}

inline bool have_shared() { return std::filesystem::exists(shared_folder() / "models"); }

/// One model, the inputs of one run, and the outputs that another implementation (or the model's
/// authors) gave for them.
struct GoldenCase {
  std::string model;
  std::string source;
  std::string path;
  Feeds feeds;
  std::vector<std::pair<std::string, Tensor>> expected;
};

namespace detail {

inline void add_ort_case(const std::filesystem::path& folder, GoldenCase golden,
                         std::vector<GoldenCase>& cases) {
  std::ifstream file(folder / "case.json");
  if (!file) return;
  const nlohmann::json facts = nlohmann::json::parse(file);
  for (const auto& [name, npy] : facts["inputs"].items()) {
    golden.feeds.emplace_back(name, store::read_npy((folder / npy.get<std::string>()).string()));
  }
  for (const auto& [name, npy] : facts["outputs"].items()) {
    golden.expected.emplace_back(name, store::read_npy((folder / npy.get<std::string>()).string()));
  }
  golden.source = "ort";
  cases.push_back(std::move(golden));
}

// The model zoo's folders number the inputs and outputs in the model's order.
inline void add_zoo_cases(const std::filesystem::path& folder, const GoldenCase& empty,
                          std::vector<GoldenCase>& cases) {
  if (!std::filesystem::exists(folder)) return;
  const Model model = Model::load(empty.path);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    GoldenCase golden = empty;
    golden.source = "zoo/" + entry.path().filename().string();
    for (std::size_t i = 0; i < model.inputs().size(); ++i) {
      const auto file = entry.path() / ("input_" + std::to_string(i) + ".pb");
      golden.feeds.emplace_back(model.inputs()[i].name,
                                onnx::read_tensor_file(file.string()).tensor);
    }
    for (std::size_t i = 0; i < model.outputs().size(); ++i) {
      const auto file = entry.path() / ("output_" + std::to_string(i) + ".pb");
      golden.expected.emplace_back(model.outputs()[i].name,
                                   onnx::read_tensor_file(file.string()).tensor);
    }
    cases.push_back(std::move(golden));
  }
}

// Probabilities for a picture, as index,value lines; the model takes BGR 0..255 in half precision.
inline void add_fp16_case(const GoldenCase& empty, std::vector<GoldenCase>& cases) {
  const auto csv = shared_folder() / "golden/SqueezeNet_fp16/Squeezenet_fp16_fish_input_CPU.csv";
  std::ifstream file(csv);
  std::string line;
  std::getline(file, line);
  std::vector<float> values;
  while (std::getline(file, line)) values.push_back(std::stof(line.substr(line.find(',') + 1)));
  image::Preprocess settings;
  settings.color = image::Color::bgr;
  settings.dtype = DType::f16;
  GoldenCase golden = empty;
  golden.source = "csv";
  const Model model = Model::load(empty.path);
  golden.feeds.emplace_back(
      model.inputs()[0].name,
      image::load((shared_folder() / "images/winml_fish.png").string(), settings));
  const auto count = static_cast<std::int64_t>(values.size());
  golden.expected.emplace_back(model.outputs()[0].name, Tensor::of({count}, values));
  cases.push_back(std::move(golden));
}

}  // namespace detail

inline std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  if (!have_shared()) return cases;
  std::vector<std::filesystem::path> models;
  for (const auto& entry : std::filesystem::directory_iterator(shared_folder() / "models")) {
    if (entry.path().extension() == ".onnx") models.push_back(entry.path());
  }
  std::sort(models.begin(), models.end());
  for (const auto& path : models) {
    const GoldenCase empty{path.stem().string(), "", path.string(), {}, {}};
    const auto golden = shared_folder() / "golden" / path.stem();
    detail::add_ort_case(golden / "ort", empty, cases);
    detail::add_zoo_cases(golden / "zoo", empty, cases);
    if (empty.model == "SqueezeNet_fp16") detail::add_fp16_case(empty, cases);
  }
  return cases;
}

}  // namespace mezzo::tests
