// Edits of models as structs. That other programs read and run the results, edit_test.py shows.
#include "onnx/edit.h"

#include <gtest/gtest.h>

#include "bytes.h"
#include "graph/build_model.h"

namespace mezzo::onnx {
namespace {

using Strings = std::vector<std::string>;

ValueInfo tensor(const std::string& name, DType dtype = DType::f32) {
  return value(name, dtype, {2, 3});
}

ValueInfo untyped(const std::string& name) { return value(name, DType::undefined); }

NamedTensor weight(const std::string& name) {
  return initializer(name, Tensor::of<float>({2}, {1, 2}));
}

SparseTensor sparse_weight(const std::string& name) {
  SparseTensor result;
  result.values.name = name;
  result.values.tensor = Tensor::of<float>({1}, {5});
  result.indices.tensor = Tensor::of<std::int64_t>({1}, {3});
  result.dims = {2, 3};
  return result;
}

TensorAnnotation annotation(const std::string& of, const StringPairs& parameters) {
  TensorAnnotation result;
  result.tensor_name = of;
  result.parameters = parameters;
  return result;
}

// x -> A -> a -> B (w) -> b -> C (s) -> y;  x -> D (v) -> d, unused
Model chain() {
  Model model;
  model.ir_version = 10;
  model.producer_name = "edit_test";
  model.metadata = {{"k", "v"}};
  model.opset_imports = {{"", 20}, {"other", 1}};
  model.graph.name = "chain";
  model.graph.nodes = {node("A", {"x"}, {"a"}), node("B", {"a", "w"}, {"b"}),
                       node("C", {"b", "s"}, {"y"}), node("D", {"x", "v"}, {"d"})};
  model.graph.nodes[3].domain = "other";
  model.graph.inputs = {tensor("x")};
  model.graph.outputs = {tensor("y")};
  model.graph.value_infos = {tensor("a", DType::i8), tensor("d")};
  model.graph.value_infos[0].doc_string = "after A";
  model.graph.initializers = {weight("w"), weight("v")};
  model.graph.sparse_initializers = {sparse_weight("s")};
  return model;
}

template <class T>
Strings names(const std::vector<T>& list) {
  Strings result;
  for (const T& each : list) result.push_back(each.name);
  return result;
}

Strings operators(const Model& model) {
  Strings result;
  for (const Node& each : model.graph.nodes) result.push_back(each.op_type);
  return result;
}

// ---- expose

TEST(Expose, AddsOutputsWithWhatIsDeclaredOfThem) {
  const Model model = expose(chain(), {"b", "a", "x", "w", "s"});
  EXPECT_EQ(names(model.graph.outputs), (Strings{"y", "b", "a", "x", "w", "s"}));
  EXPECT_EQ(operators(model), (Strings{"A", "B", "C", "D"}));
  const auto& outputs = model.graph.outputs;
  EXPECT_EQ(outputs[1].type.kind, Type::Kind::none);
  EXPECT_EQ(outputs[2].type.dtype, DType::i8);
  EXPECT_EQ(outputs[2].doc_string, "after A");
  EXPECT_EQ(outputs[3].type.shape->at(1).value, 3);
  EXPECT_EQ(outputs[4].type.dtype, DType::f32);
  ASSERT_EQ(outputs[4].type.shape->size(), 1U);
  EXPECT_EQ(outputs[4].type.shape->at(0).value, 2);
  ASSERT_EQ(outputs[5].type.shape->size(), 2U);
  EXPECT_EQ(outputs[5].type.shape->at(1).value, 3);
  // What is an output is not declared a second time.
  EXPECT_EQ(names(model.graph.value_infos), (Strings{"d"}));
}

TEST(Expose, LeavesWhatIsAnOutput) {
  EXPECT_EQ(names(expose(chain(), {"y", "a", "a"}).graph.outputs), (Strings{"y", "a"}));
}

TEST(Expose, SharesWeights) {
  const Model model = chain();
  const Model exposed = expose(model, {"a"});
  EXPECT_EQ(exposed.graph.initializers.at(0).tensor.data(),
            model.graph.initializers.at(0).tensor.data());
}

TEST(Expose, SaysWhereAValueIsThatItCannotExpose) {
  Model model = chain();
  Graph branch;
  branch.nodes = {node("E", {"a"}, {"inner"})};
  branch.outputs = {untyped("inner")};
  model.graph.nodes[1].name = "choice";
  model.graph.nodes[1].attributes = {attribute("then_branch", branch)};
  Function& function = model.functions.emplace_back();
  function.name = "F";
  function.nodes = {node("E", {"p"}, {"local"})};
  Graph deep;
  deep.initializers = {weight("deep")};
  function.nodes[0].attributes = {attribute("then_branch", deep)};
  const auto fails = [&](const std::string& name, const std::string& text) {
    SCOPED_TRACE(name);
    expect_error(ErrorCode::invalid_argument, text, [&] { expose(model, {name}); });
    expect_error(ErrorCode::invalid_argument, text, [&] { extract(model, {name}, {"y"}); });
    expect_error(ErrorCode::invalid_argument, text, [&] { extract(model, {"x"}, {name}); });
  };
  fails("inner", "the body 'then_branch' of node 'choice' (B)");
  fails("local", "the function 'F'");
  fails("deep", "the function 'F'");
  fails("nowhere", "value 'nowhere': no such value in the model's main graph");
  fails("", "no such value");
}

// ---- extract

TEST(Extract, KeepsWhatTheOutputsNeed) {
  const Model part = extract(chain(), {"x"}, {"b"});
  EXPECT_EQ(operators(part), (Strings{"A", "B"}));
  EXPECT_EQ(names(part.graph.initializers), (Strings{"w"}));
  EXPECT_TRUE(part.graph.sparse_initializers.empty());
  EXPECT_EQ(names(part.graph.inputs), (Strings{"x"}));
  EXPECT_EQ(part.graph.inputs[0].type.dtype, DType::f32);
  EXPECT_EQ(names(part.graph.outputs), (Strings{"b"}));
  EXPECT_EQ(names(part.graph.value_infos), (Strings{"a"}));
  ASSERT_EQ(part.opset_imports.size(), 1U);
  EXPECT_EQ(part.opset_imports[0].version, 20);
  EXPECT_EQ(part.ir_version, 10);
  EXPECT_EQ(part.producer_name, "edit_test");
  EXPECT_EQ(part.metadata, (StringPairs{{"k", "v"}}));
  EXPECT_EQ(part.graph.name, "chain");
}

TEST(Extract, BeginsAtAnyValue) {
  const Model part = extract(chain(), {"a"}, {"y"});
  EXPECT_EQ(operators(part), (Strings{"B", "C"}));
  EXPECT_EQ(part.graph.sparse_initializers.size(), 1U);
  ASSERT_EQ(names(part.graph.inputs), (Strings{"a"}));
  EXPECT_EQ(part.graph.inputs[0].type.dtype, DType::i8);
  EXPECT_EQ(part.graph.inputs[0].doc_string, "after A");
  EXPECT_TRUE(part.graph.value_infos.empty());
}

TEST(Extract, OrderIsTheCallers) {
  const Model part = extract(chain(), {"b", "x", "b"}, {"y", "d", "y"});
  EXPECT_EQ(names(part.graph.inputs), (Strings{"b", "x"}));
  EXPECT_EQ(names(part.graph.outputs), (Strings{"y", "d"}));
  EXPECT_EQ(operators(part), (Strings{"C", "D"}));
}

TEST(Extract, AFormerOutputInTheMiddleStaysDeclared) {
  Model model = chain();
  model.graph.outputs.push_back(tensor("b", DType::i16));
  const Model part = extract(model, {"x"}, {"y"});
  EXPECT_EQ(names(part.graph.outputs), (Strings{"y"}));
  ASSERT_EQ(names(part.graph.value_infos), (Strings{"a", "b"}));
  EXPECT_EQ(part.graph.value_infos[1].type.dtype, DType::i16);
  EXPECT_EQ(extract(model, {"b"}, {"y"}).graph.inputs.at(0).type.dtype, DType::i16);
}

TEST(Extract, WithoutInputsTheGraphsOwnCount) {
  Model model = chain();
  model.graph.inputs.push_back(tensor("z"));
  EXPECT_EQ(names(extract(model, {}, {"b"}).graph.inputs), (Strings{"x"}));
  const Model whole = extract(model, {}, {});
  EXPECT_EQ(operators(whole), (Strings{"A", "B", "C"}));
  EXPECT_EQ(names(whole.graph.outputs), (Strings{"y"}));
  EXPECT_TRUE(extract(model, {}, {"w"}).graph.inputs.empty());
}

TEST(Extract, AnInputThatNothingNeedsStays) {
  EXPECT_EQ(names(extract(chain(), {"x", "b"}, {"y"}).graph.inputs), (Strings{"x", "b"}));
  const Model identity = extract(chain(), {"a"}, {"a"});
  EXPECT_TRUE(identity.graph.nodes.empty());
  EXPECT_EQ(identity.graph.inputs.at(0).type.dtype, DType::i8);
  EXPECT_EQ(identity.graph.outputs.at(0).type.dtype, DType::i8);
}

TEST(Extract, SaysWhichInputIsMissing) {
  Model model = chain();
  model.graph.nodes[2].inputs.push_back("z");
  model.graph.inputs.push_back(tensor("z"));
  expect_error(ErrorCode::invalid_argument, "output 'y': the output cannot be computed", [&] {
    extract(model, {"x"}, {"b", "y"});
  });
  expect_error(ErrorCode::invalid_argument, "expected the graph's input 'z'", [&] {
    extract(model, {"x"}, {"b", "y"});
  });
  model.graph.inputs.pop_back();
  expect_error(ErrorCode::invalid_model, "nothing produces", [&] { extract(model, {"x"}, {"y"}); });
}

TEST(Extract, InitializersThatAreInputsRemainBoth) {
  Model model = chain();
  model.graph.inputs.push_back(tensor("v"));
  model.graph.inputs.push_back(value("w", DType::f32, {2}));
  const Model part = extract(model, {"a"}, {"b"});
  EXPECT_EQ(names(part.graph.inputs), (Strings{"a", "w"}));
  EXPECT_EQ(names(part.graph.initializers), (Strings{"w"}));
  const Model named = extract(model, {"w", "a"}, {"b"});
  EXPECT_EQ(names(named.graph.inputs), (Strings{"w", "a"}));
  EXPECT_EQ(names(named.graph.initializers), (Strings{"w"}));
  // One that was no input becomes one, with its own type.
  const Model made = extract(chain(), {"s", "b"}, {"y"});
  EXPECT_EQ(names(made.graph.inputs), (Strings{"s", "b"}));
  EXPECT_EQ(made.graph.inputs[0].type.shape->at(0).value, 2);
  EXPECT_EQ(made.graph.sparse_initializers.size(), 1U);
}

TEST(Extract, FollowsWhatBodiesTakeFromOutside) {
  Model model = chain();
  Graph inner;
  inner.inputs = {untyped("i")};
  inner.initializers = {weight("local")};
  inner.nodes = {node("E", {"i", "local", "middle", "v", ""}, {"e"})};
  inner.outputs = {untyped("e"), untyped("a")};
  Graph outer;
  outer.nodes = {node("E", {}, {"middle"}), node("E", {}, {"w"}), node("Loop", {"w"}, {"l"})};
  outer.nodes[2].attributes = {attribute("body", inner)};
  outer.outputs = {untyped("l")};
  model.graph.nodes.push_back(node("If", {"condition"}, {"z"}));
  model.graph.nodes.back().attributes = {attribute("then_branch", outer)};
  model.graph.inputs.push_back(value("condition", DType::boolean));
  // The branch takes v and a from outside; w it has itself.
  const Model part = extract(model, {"x", "condition"}, {"z"});
  EXPECT_EQ(operators(part), (Strings{"A", "If"}));
  EXPECT_EQ(names(part.graph.initializers), (Strings{"v"}));
  expect_error(ErrorCode::invalid_argument, "the graph's input 'x'",
               [&] { extract(model, {"condition"}, {"z"}); });
  EXPECT_EQ(operators(extract(model, {"condition", "a"}, {"z"})), (Strings{"If"}));
}

TEST(Extract, ANodesOtherOutputGetsAnotherName) {
  Model model = chain();
  model.graph.nodes[0].outputs = {"a", "a2"};
  model.graph.nodes[1].inputs = {"a", "a2"};
  model.graph.nodes[3].outputs = {"a_computed"};
  const Model part = extract(model, {"a", "x"}, {"b"});
  EXPECT_EQ(operators(part), (Strings{"A", "B"}));
  EXPECT_EQ(part.graph.nodes[0].outputs, (Strings{"a_computed_2", "a2"}));
  EXPECT_EQ(part.graph.nodes[1].inputs, (Strings{"a", "a2"}));
}

TEST(Extract, KeepsAnnotationsWithTheirTensors) {
  Model model = chain();
  model.graph.initializers.push_back(weight("scale"));
  model.graph.quantization = {annotation("a", {{"SCALE_TENSOR", "scale"}}),
                              annotation("b", {{"SCALE_TENSOR", "d"}}),
                              annotation("y", {{"SCALE_TENSOR", "v"}})};
  const Model part = extract(model, {"x"}, {"b"});
  ASSERT_EQ(part.graph.quantization.size(), 1U);  // b's scale is not computed here
  EXPECT_EQ(part.graph.quantization[0].tensor_name, "a");
  EXPECT_EQ(names(part.graph.initializers), (Strings{"w", "scale"}));
  EXPECT_EQ(extract(model, {"x"}, {"b", "d"}).graph.quantization.size(), 2U);
}

TEST(Extract, KeepsFunctionsThatAreCalled) {
  Model model = chain();
  const auto add = [&](const std::string& name, const std::string& overload, const Node& inner) {
    Function& function = model.functions.emplace_back();
    function.name = name;
    function.domain = "f";
    function.overload = overload;
    function.nodes = {inner};
  };
  Node call = node("Inner", {"p"}, {"q"});
  call.domain = "f";
  Graph branch;
  branch.nodes = {call};
  Node choice = node("If", {"p"}, {"q"});
  choice.attributes = {attribute("then_branch", branch)};
  add("Outer", "", choice);
  add("Outer", "2", node("E", {"p"}, {"q"}));
  add("Inner", "", node("Inner", {"p"}, {"q"}));
  model.functions.back().nodes[0].domain = "f";  // calls itself: nothing may hang
  model.functions.back().opset_imports = {{"deep", 3}};
  add("Unused", "", node("E", {"p"}, {"q"}));
  model.opset_imports.push_back({"f", 1});
  model.opset_imports.push_back({"deep", 3});
  model.graph.nodes[1] = node("Outer", {"a"}, {"b"});
  model.graph.nodes[1].domain = "f";
  const Model part = extract(model, {"x"}, {"b"});
  EXPECT_EQ(names(part.functions), (Strings{"Outer", "Inner"}));
  EXPECT_EQ(part.functions[0].overload, "");
  ASSERT_EQ(part.opset_imports.size(), 3U);
  EXPECT_EQ(part.opset_imports[1].domain, "f");
  EXPECT_EQ(part.opset_imports[2].domain, "deep");
  EXPECT_TRUE(extract(model, {"b"}, {"y"}).functions.empty());
}

TEST(Extract, TrainingInformationIsLeftOut) {
  const std::string other = message([](Writer& w) { w.add_string(26, "configuration"); });
  const std::string later = message([](Writer& w) { w.add_fixed64(300, 7); });
  Model model = chain();
  model.unknown = other + message([](Writer& w) { w.add_string(20, "training"); }) + later;
  EXPECT_EQ(extract(model, {"x"}, {"b"}).unknown, other + later);
}

TEST(Extract, SharesWeights) {
  const Model model = chain();
  const Model part = extract(model, {"x"}, {"y"});
  EXPECT_EQ(part.graph.initializers.at(0).tensor.data(),
            model.graph.initializers.at(0).tensor.data());
}

TEST(SharedModels, EveryTensorsPartIsReadBack) {
  const std::vector<std::string> paths = shared_models();
  if (paths.empty()) GTEST_SKIP() << "no models in $MEZZO_SHARED/models";
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const Model model = read_file(path);
    const std::size_t count = model.graph.nodes.size();
    for (const std::size_t index : {count / 4, count / 2, count - 1}) {
      const std::string& value = model.graph.nodes[index].outputs.at(0);
      const Model head = extract(model, {}, {value});
      EXPECT_EQ(head.graph.outputs.at(0).name, value);
      EXPECT_LE(head.graph.nodes.size(), count);
      EXPECT_GE(head.graph.nodes.size(), 1U);
      // Once more changes nothing.
      EXPECT_EQ(extract(head, {}, {}).graph.nodes.size(), head.graph.nodes.size());
      EXPECT_EQ(names(extract(head, {}, {}).graph.initializers), names(head.graph.initializers));
    }
  }
}

}  // namespace
}  // namespace mezzo::onnx
