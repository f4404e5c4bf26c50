// The operators whose inputs or outputs are maps, which the tables of cases cannot hold. Expected
// values are those of ONNX Runtime 1.32, and of the spec's own example.
#include <gtest/gtest.h>

#include <algorithm>

#include "mezzo/mezzo.h"
#include "onnx/model.h"
#include "onnx/writer.h"

namespace mezzo::tests {
namespace {

using Attributes = std::vector<onnx::Attribute>;
using Kind = onnx::Attribute::Kind;

onnx::Attribute text(const std::string& name, const std::string& value) {
  onnx::Attribute attribute;
  attribute.name = name;
  attribute.kind = Kind::string;
  attribute.s = value;
  return attribute;
}

onnx::Attribute number(const std::string& name, std::int64_t value) {
  onnx::Attribute attribute;
  attribute.name = name;
  attribute.kind = Kind::int_;
  attribute.i = value;
  return attribute;
}

onnx::Attribute list(const std::string& name, std::vector<std::int64_t> values) {
  onnx::Attribute attribute;
  attribute.name = name;
  attribute.kind = Kind::ints;
  attribute.ints = std::move(values);
  return attribute;
}

onnx::Attribute list(const std::string& name, std::vector<std::string> values) {
  onnx::Attribute attribute;
  attribute.name = name;
  attribute.kind = Kind::strings;
  attribute.strings = std::move(values);
  return attribute;
}

Tensor run(const std::string& op, const Attributes& attributes, const Tensor& input) {
  onnx::Model model;
  model.ir_version = 8;
  model.opset_imports.push_back({"ai.onnx.ml", 1});
  onnx::ValueInfo x, y;
  x.name = "x";
  y.name = "y";
  model.graph.inputs.push_back(x);
  model.graph.outputs.push_back(y);
  onnx::Node node;
  node.op_type = op;
  node.domain = "ai.onnx.ml";
  node.inputs = {"x"};
  node.outputs = {"y"};
  node.attributes = attributes;
  model.graph.nodes.push_back(std::move(node));
  const std::string bytes = onnx::write_memory(model);
  const Session session(Model::from_memory(bytes.data(), bytes.size()), {.threads = 1});
  return session.run({{"x", input}})[0];
}

template <class Key, class Value>
Tensor map_of(const std::vector<Key>& keys, const std::vector<Value>& values) {
  const auto count = static_cast<std::int64_t>(keys.size());
  return Tensor::map(Tensor::of({count}, keys), Tensor::of({count}, values));
}

// A row [1, n] of these.
template <class T>
void expect_row(const Tensor& got, const std::vector<T>& expected) {
  ASSERT_EQ(got.dtype(), DTypeOf<T>::value);
  ASSERT_EQ(got.shape(), (Shape{1, static_cast<std::int64_t>(expected.size())}));
  EXPECT_TRUE(std::ranges::equal(got.values<T>(), expected));
}

void expect_error(const std::string& op, const Attributes& attributes, const Tensor& input,
                  const std::string& words) {
  try {
    run(op, attributes, input);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

const Tensor kNumbers = map_of<std::int64_t, float>({3, 1}, {1.5F, -2.7F});
const Tensor kTexts = map_of<std::int64_t, std::string>({3, 1}, {"15", "-2"});

TEST(CastMap, OrdersByKey) {
  expect_row<float>(run("CastMap", {}, kNumbers), {-2.7F, 1.5F});
  expect_row<std::int64_t>(run("CastMap", {text("cast_to", "TO_INT64")}, kNumbers), {-2, 1});
  expect_row<std::string>(run("CastMap", {text("cast_to", "TO_STRING")}, kNumbers),
                          {"-2.700000", "1.500000"});
  expect_row<float>(run("CastMap", {}, kTexts), {-2, 15});
  expect_row<std::int64_t>(run("CastMap", {text("cast_to", "TO_INT64")}, kTexts), {-2, 15});
  expect_row<std::string>(run("CastMap", {text("cast_to", "TO_STRING")}, kTexts), {"-2", "15"});
  expect_row<float>(run("CastMap", {}, map_of<std::int64_t, float>({}, {})), {});
}

TEST(CastMap, LargeNumbers) {
  const Tensor large = map_of<std::int64_t, float>({0, 1}, {-3.4e38F, 1e30F});
  expect_row<std::string>(run("CastMap", {text("cast_to", "TO_STRING")}, large),
                          {"-339999995214436424907732413799364296704.000000",
                           "1000000015047466219876688855040.000000"});
  expect_row<std::int64_t>(run("CastMap", {text("cast_to", "TO_INT64")}, large),
                           {INT64_MIN, INT64_MAX});
}

TEST(CastMap, SparsePutsValuesAtTheirKeys) {
  const auto sparse = [](std::int64_t length) {
    return Attributes{text("map_form", "SPARSE"), number("max_map", length)};
  };
  expect_row<float>(run("CastMap", sparse(5), kNumbers), {0, -2.7F, 0, 1.5F, 0});
  expect_row<float>(run("CastMap", sparse(3), kNumbers), {0, -2.7F, 0});
  expect_error("CastMap", sparse(5), map_of<std::int64_t, float>({-3}, {1}), "negative");
  expect_error("CastMap", sparse(0), kNumbers, "max_map");
}

TEST(CastMap, RefusesWhatDoesNotFit) {
  expect_error("CastMap", {}, map_of<std::int64_t, std::string>({1}, {"x"}), "no number");
  expect_error("CastMap", {}, map_of<std::string, float>({"1"}, {1}), "does not fit");
  expect_error("CastMap", {}, map_of<std::int64_t, double>({1}, {1}), "cannot be cast");
  expect_error("CastMap", {text("cast_to", "TO_BOOL")}, kNumbers, "unknown cast_to");
  expect_error("CastMap", {text("map_form", "FLAT")}, kNumbers, "unknown map_form");
  expect_error("CastMap", {}, Tensor::scalar(1.0F), "type");
}

TEST(DictVectorizer, FollowsTheVocabulary) {
  const Attributes words = {
      list("string_vocabulary", std::vector<std::string>{"a", "c", "b", "z"})};
  expect_row<float>(run("DictVectorizer", words, map_of<std::string, float>({"c", "a"}, {8, 4})),
                    {4, 8, 0, 0});
  expect_row<std::int64_t>(
      run("DictVectorizer", words, map_of<std::string, std::int64_t>({"z", "unknown"}, {8, 4})),
      {0, 0, 0, 8});
  const Attributes ints = {list("int64_vocabulary", std::vector<std::int64_t>{3, 1})};
  expect_row<std::string>(
      run("DictVectorizer", ints, map_of<std::int64_t, std::string>({1}, {"x"})), {"", "x"});
  expect_row<double>(run("DictVectorizer", ints, map_of<std::int64_t, double>({3}, {0.1})),
                     {0.1, 0});
  expect_error("DictVectorizer", ints, map_of<std::string, double>({"3"}, {0.1}), "does not fit");
  expect_error("DictVectorizer", {}, kNumbers, "one vocabulary");
}

TEST(ZipMap, MakesAMapOfEachRow) {
  const Tensor x = Tensor::of<float>({2, 2}, {1, 2, -1, 0.5F});
  const Tensor maps =
      run("ZipMap", {list("classlabels_strings", std::vector<std::string>{"a", "b"})}, x);
  ASSERT_EQ(maps.dtype(), DType::sequence);
  ASSERT_EQ(maps.shape(), (Shape{2}));
  const auto rows = maps.values<Tensor>();
  for (std::size_t row = 0; row < 2; ++row) {
    ASSERT_EQ(rows[row].dtype(), DType::map);
    const auto* parts = static_cast<const Tensor*>(rows[row].data());
    EXPECT_TRUE(
        std::ranges::equal(parts[0].values<std::string>(), std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(std::ranges::equal(parts[1].values<float>(), row == 0
                                                                 ? std::vector<float>{1, 2}
                                                                 : std::vector<float>{-1, 0.5F}));
  }
  const Attributes ints = {list("classlabels_int64s", std::vector<std::int64_t>{5, 6})};
  EXPECT_EQ(run("ZipMap", ints, Tensor::of<float>({2}, {1, 2})).shape(), (Shape{1}));
  EXPECT_EQ(run("ZipMap", ints, Tensor::of<float>({0, 2}, {})).shape(), (Shape{0}));
  expect_error("ZipMap", ints, Tensor::of<float>({1, 3}, {1, 2, 3}), "a label for each column");
  expect_error("ZipMap", {list("classlabels_int64s", std::vector<std::int64_t>{5, 5})}, x,
               "occurs twice");
  expect_error("ZipMap", {}, x, "needs labels");
}

}  // namespace
}  // namespace mezzo::tests
