// Operators by tables: every tests/cases/*.json has cases of one operator, with expected values
// from the spec or from arithmetic.
//
//     {"op": "CDist", "domain": "com.microsoft", "opset": 1, "cases": [
//       {"name": "...", "attributes": {"metric": "euclidean"},
//        "inputs": [{"dtype": "float32", "shape": [1, 2], "values": [0, 0]}, null],
//        "outputs": [{...}]},
//       {"name": "...", "inputs": [...], "error": "what the message must contain"}]}
//
// Each case runs on every instruction set of the machine. An attribute is an integer, a float, a
// string or a list of one of these.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/target.h"
#include "mezzo/mezzo.h"
#include "onnx/writer.h"

namespace mezzo::tests {
namespace {

using nlohmann::json;

Tensor tensor_of(const json& text) {
  const DType dtype = dtype_from_name(text.at("dtype").get<std::string>());
  const Shape shape = text.at("shape").get<Shape>();
  if (dtype == DType::string)
    return Tensor::of(shape, text.at("values").get<std::vector<std::string>>());
  std::vector<double> numbers;
  // JSON has no NaN or infinity: they are written as strings.
  for (const json& value : text.at("values")) {
    numbers.push_back(value.is_string() ? std::stod(value.get<std::string>())
                                        : value.get<double>());
  }
  return Tensor::of(shape, numbers).to(dtype);
}

onnx::Attribute attribute_of(const std::string& name, const json& value) {
  using Kind = onnx::Attribute::Kind;
  onnx::Attribute attribute;
  attribute.name = name;
  const json& sample = value.is_array() && !value.empty() ? value[0] : value;
  if (value.is_array() && sample.is_number_float()) {
    attribute.kind = Kind::floats;
    attribute.floats = value.get<std::vector<float>>();
  } else if (value.is_array() && sample.is_string()) {
    attribute.kind = Kind::strings;
    attribute.strings = value.get<std::vector<std::string>>();
  } else if (value.is_array()) {
    attribute.kind = Kind::ints;
    attribute.ints = value.get<std::vector<std::int64_t>>();
  } else if (value.is_number_float()) {
    attribute.kind = Kind::float_;
    attribute.f = value.get<float>();
  } else if (value.is_string()) {
    attribute.kind = Kind::string;
    attribute.s = value.get<std::string>();
  } else {
    attribute.kind = Kind::int_;
    attribute.i = value.get<std::int64_t>();
  }
  return attribute;
}

// A model of the one node; its inputs are fed.
Model model_of(const json& table, const json& one, Feeds& feeds) {
  onnx::Model model;
  model.ir_version = 10;
  const std::string domain = table.value("domain", "");
  model.opset_imports.push_back({domain, table.at("opset").get<std::int64_t>()});
  onnx::Node node;
  node.op_type = table.at("op").get<std::string>();
  node.domain = domain;
  for (const json& input : one.at("inputs")) {
    const std::string name = "input" + std::to_string(node.inputs.size());
    node.inputs.push_back(input.is_null() ? "" : name);
    if (input.is_null()) continue;
    feeds.emplace_back(name, tensor_of(input));
    onnx::ValueInfo info;
    info.name = name;
    model.graph.inputs.push_back(info);
  }
  const std::size_t outputs = one.contains("outputs") ? one["outputs"].size() : 1;
  for (std::size_t i = 0; i < outputs; ++i) {
    onnx::ValueInfo info;
    info.name = "output" + std::to_string(i);
    node.outputs.push_back(info.name);
    model.graph.outputs.push_back(info);
  }
  const json attributes = one.value("attributes", json::object());
  for (const auto& [name, value] : attributes.items()) {
    node.attributes.push_back(attribute_of(name, value));
  }
  model.graph.nodes.push_back(std::move(node));
  const std::string bytes = onnx::write_memory(model);
  return Model::from_memory(bytes.data(), bytes.size());
}

void expect_equal(const Tensor& got, const Tensor& expected, double tolerance) {
  ASSERT_EQ(got.dtype(), expected.dtype());
  ASSERT_EQ(got.shape(), expected.shape());
  if (got.dtype() == DType::string) {
    EXPECT_TRUE(std::ranges::equal(got.values<std::string>(), expected.values<std::string>()));
    return;
  }
  const Tensor a = got.to(DType::f64), b = expected.to(DType::f64);
  for (std::size_t i = 0; i < a.values<double>().size(); ++i) {
    const double x = a.values<double>()[i], y = b.values<double>()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    EXPECT_LE(std::abs(x - y), tolerance * (1 + std::abs(y)))
        << "element " << i << ": " << x << ", expected " << y;
  }
}

void run_case(const json& table, const json& one) {
  Feeds feeds;
  const Model model = model_of(table, one, feeds);
  if (one.contains("error")) {
    try {
      Session(model, {.threads = 1}).run(feeds);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(one["error"].get<std::string>()), std::string::npos)
          << error.what();
    }
    return;
  }
  const Outputs outputs = Session(model, {.threads = 2}).run(feeds);
  for (std::size_t i = 0; i < one.at("outputs").size(); ++i) {
    expect_equal(outputs[i], tensor_of(one["outputs"][i]), one.value("tolerance", 1e-6));
  }
}

TEST(Cases, EveryTable) {
  const kernels::Target best = kernels::active_target();
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(MEZZO_SOURCE_DIR) / "tests/cases")) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const json table = json::parse(file);
    for (const kernels::Target target : kernels::available_targets()) {
      kernels::set_active_target(target);
      for (const json& one : table.at("cases")) {
        SCOPED_TRACE(entry.path().filename().string() + ": " + one.at("name").get<std::string>() +
                     ", " + std::string(kernels::name_of(target)));
        try {
          run_case(table, one);
        } catch (const Error& error) {
          ADD_FAILURE() << error.what();
        }
        ++count;
      }
    }
  }
  kernels::set_active_target(best);
  EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace mezzo::tests
