// Model::extract, expose and save. The edits themselves: onnx/edit_test.cc.
#include <gtest/gtest.h>

#include "graph/build_model.h"
#include "mezzo/session.h"
#include "onnx/bytes.h"
#include "onnx/writer.h"

namespace mezzo {
namespace {

using Strings = std::vector<std::string>;
using onnx::attribute;
using onnx::expect_error;
using onnx::node;
using onnx::value;

Model load(const onnx::Model& model) {
  const std::string bytes = onnx::write_memory(model);
  return Model::from_memory(bytes.data(), bytes.size());
}

// y = relu(x * w + x); of the values between nothing is declared.
Model affine(std::initializer_list<std::int64_t> dims, DType dtype = DType::f32) {
  const Tensor w = Tensor::of<float>({2}, {10, -10}).to(dtype);
  onnx::Model model = onnx::model(onnx::graph(
      {node("Mul", {"x", "w"}, {"product"}, {}, "mul"),
       node("Add", {"product", "x"}, {"sum"}, {}, "add"), node("Relu", {"sum"}, {"y"}),
       node("Shape", {"sum"}, {"shape"})},
      {value("x", dtype, dims)}, {value("y", dtype, dims)}, {onnx::initializer("w", w)}));
  model.graph.doc_string = "of the graph";
  model.doc_string = "of the model";
  model.domain = "org.example";
  model.model_version = 7;
  return load(model);
}

Strings names(const std::vector<ValueInfo>& infos) {
  Strings result;
  for (const ValueInfo& info : infos) result.push_back(info.name);
  return result;
}

Strings types(const std::vector<ValueInfo>& infos) {
  Strings result;
  for (const ValueInfo& info : infos) result.push_back(info.type_text);
  return result;
}

std::vector<float> numbers(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

const Tensor kX = Tensor::of<float>({1, 2}, {1, 2});

TEST(EditModel, ExposeTakesSelectors) {
  const Model model = affine({1, 2});
  const Model exposed = model.expose({"add", "op:Shape", "sum", "w"});
  EXPECT_EQ(names(exposed.outputs()), (Strings{"y", "sum", "shape", "w"}));
  EXPECT_EQ(names(model.outputs()), (Strings{"y"}));
  const Outputs out = Session(exposed).run({{"x", kX}});
  EXPECT_EQ(numbers(out["sum"]), (std::vector<float>{11, -18}));
  EXPECT_EQ(numbers(out["y"]), (std::vector<float>{11, 0}));
}

TEST(EditModel, ExtractTakesSelectors) {
  const Model model = affine({1, 2});
  const Model tail = model.extract({"[0]", "x"}, {"y"});
  EXPECT_EQ(names(tail.inputs()), (Strings{"product", "x"}));
  EXPECT_EQ(numbers(Session(tail).run({{"x", kX}, {"product", kX}})["y"]),
            (std::vector<float>{2, 4}));
  EXPECT_EQ(names(model.extract({}, {"s*"}).outputs()), (Strings{"sum", "shape"}));
  expect_error(ErrorCode::invalid_argument, "the graph's input 'x'",
               [&] { model.extract({"product"}, {"y"}); });
  expect_error(ErrorCode::invalid_argument, "no value matches", [&] { model.expose({"nothing"}); });
}

TEST(EditModel, TypesThatTheFileDoesNotDeclareAreFound) {
  const Strings fixed = {"float32[1, 2]", "int64[2]"};
  EXPECT_EQ(types(affine({1, 2}).extract({}, {"sum", "shape"}).outputs()), fixed);
  // Where an extent of an input is open, those of other values are.
  const Strings open = {"float32[?, ?]", "int64[?]"};
  EXPECT_EQ(types(affine({-1, 2}).extract({"sum"}, {"sum", "shape"}).outputs()), open);
  EXPECT_EQ(types(affine({-1, 2}).extract({"sum"}, {"shape"}).inputs()), (Strings{open[0]}));
  // Also where mezzo computes in a wider type.
  EXPECT_EQ(types(affine({1, 2}, DType::f16).expose({"sum"}).outputs()),
            (Strings{"float16[1, 2]", "float16[1, 2]"}));
}

TEST(EditModel, TypesAreFoundAlsoWhereSmallPicturesAreTooSmall) {
  const onnx::Attribute kernel = attribute("kernel_shape", std::vector<std::int64_t>{9, 9});
  const Model model = load(
      onnx::model(onnx::graph({node("MaxPool", {"x"}, {"p"}, {kernel}), node("Neg", {"p"}, {"y"})},
                              {value("x", DType::f32, {-1, 3, -1, -1})}, {value("y")})));
  EXPECT_EQ(types(model.extract({"p"}, {"y"}).inputs()), (Strings{"float32[?, ?, ?, ?]"}));
}

TEST(EditModel, AnUnknownOperatorsValueHasNoType) {
  const Model model = load(onnx::model(onnx::graph(
      {node("Neg", {"x"}, {"n"}), node("Unheard", {"n"}, {"u"}), node("Neg", {"u"}, {"y"})},
      {value("x", DType::f32, {2})}, {value("y", DType::f32, {2})})));
  EXPECT_EQ(types(model.expose({"u", "n"}).outputs()), (Strings{"float32[2]", "?", "float32[?]"}));
}

TEST(EditModel, ValuesOfBodiesAndFunctionsAreRefused) {
  onnx::Graph branch = onnx::graph({node("Neg", {"x"}, {"inner"})}, {}, {value("inner")});
  onnx::Model file = onnx::model(onnx::graph(
      {node("If", {"c"}, {"a"},
            {attribute("then_branch", branch), attribute("else_branch", branch)}, "choice"),
       node("F", {"a"}, {"y"}, {}, "call")},
      {value("c", DType::boolean), value("x")}, {value("y")}));
  file.graph.nodes[1].domain = "f";
  file.opset_imports.push_back({"f", 1});
  onnx::Function& function = file.functions.emplace_back();
  function.name = "F";
  function.domain = "f";
  function.inputs = {"p"};
  function.outputs = {"r"};
  function.nodes = {node("Neg", {"p"}, {"q"}), node("Neg", {"q"}, {"r"})};
  function.opset_imports = {{"", 21}};
  const Model model = load(file);
  expect_error(ErrorCode::invalid_argument, "a value in a body of node 'choice' (If)",
               [&] { model.expose({"choice/then_branch/inner"}); });
  expect_error(ErrorCode::invalid_argument, "a value inside a function",
               [&] { model.extract({"call/q"}, {"y"}); });
  EXPECT_EQ(names(model.expose({"a"}).outputs()), (Strings{"y", "a"}));
}

TEST(EditModel, SavesAndGivesBytes) {
  const onnx::TemporaryFolder folder;
  const Model model = affine({1, 2}).extract({}, {"sum"});
  const std::string path = folder / "m.onnx";
  model.save(path);
  EXPECT_EQ(onnx::file_bytes(path), model.to_bytes());
  // The file that a model looks into may be replaced.
  const Model loaded = Model::load(path);
  loaded.expose({"product"}).save(path);
  EXPECT_EQ(names(Model::load(path).outputs()), (Strings{"sum", "product"}));
  EXPECT_EQ(numbers(Session(loaded).run({{"x", kX}})["sum"]), (std::vector<float>{11, -18}));
  expect_error(ErrorCode::file_error, "none/m.onnx", [&] { model.save(folder / "none/m.onnx"); });
}

TEST(EditModel, SavesExternalData) {
  const onnx::TemporaryFolder folder;
  const Tensor large = Tensor::of<float>({2000}, std::vector<float>(2000, 3));
  const Model model = load(
      onnx::model(onnx::graph({node("Add", {"x", "w"}, {"y"})}, {value("x", DType::f32, {2000})},
                              {value("y")}, {onnx::initializer("w", large)})));
  const std::string path = folder / "m.onnx";
  model.save(path, {.external_data = true});
  EXPECT_EQ(onnx::file_bytes(path + ".data").size(), large.bytes());
  EXPECT_EQ(numbers(Session(path).run({{"x", large}})["y"]), std::vector<float>(2000, 6));
  const std::string bytes = Model::load(path).to_bytes();
  EXPECT_EQ(Model::from_memory(bytes.data(), bytes.size()).parameters(), 2000);
}

TEST(ModelFacts, AreTheFiles) {
  const Model model = affine({1, 2});
  EXPECT_EQ(model.graph_doc_string(), "of the graph");
  EXPECT_EQ(model.doc_string(), "of the model");
  EXPECT_EQ(model.domain(), "org.example");
  EXPECT_EQ(model.model_version(), 7);
}

TEST(ModelFacts, OverridableInitializersHaveTheirInputsType) {
  onnx::Model file = onnx::model(onnx::graph(
      {node("Add", {"x", "w"}, {"a"}), node("Add", {"a", "v"}, {"y"})},
      {value("w", DType::f32, {-1}), value("x", DType::f32, {2}), value("v", DType::undefined)},
      {value("y")},
      {onnx::initializer("w", Tensor::of<float>({2}, {1, 2})),
       onnx::initializer("v", Tensor::of<float>({2}, {1, 2})),
       onnx::initializer("u", Tensor::of<float>({2}, {1, 2}))}));
  const std::vector<ValueInfo> infos = load(file).overridable_initializers();
  EXPECT_EQ(names(infos), (Strings{"w", "v"}));
  EXPECT_EQ(types(infos), (Strings{"float32[?]", "float32[2]"}));
  EXPECT_EQ(infos[0].kind, ValueInfo::Kind::initializer);
  EXPECT_EQ(names(load(file).inputs()), (Strings{"x"}));
}

}  // namespace
}  // namespace mezzo
