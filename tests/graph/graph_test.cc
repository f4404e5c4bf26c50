#include "graph/graph.h"

#include <gtest/gtest.h>

#include <functional>

#include "build_model.h"

namespace mezzo::graph {
namespace {

using onnx::attribute;
using onnx::initializer;
using onnx::model;
using onnx::node;
using onnx::reference;
using onnx::value;

void expect_error(ErrorCode code, std::string_view text, const std::function<void()>& run) {
  try {
    run();
    ADD_FAILURE() << "no error with: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(text), std::string_view::npos) << error.what();
  }
}

void expect_invalid(std::string_view text, const onnx::Graph& main) {
  expect_error(ErrorCode::invalid_model, text, [&] { Graph{model(main)}; });
}

std::vector<std::string> names_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<std::string> names;
  for (const ValueId id : ids) names.push_back(id == kNone ? "" : graph.value(id).name);
  return names;
}

std::vector<std::string> ops_of(const Graph& graph, BodyId body = 0) {
  std::vector<std::string> ops;
  for (const NodeId id : graph.body(body).nodes) ops.push_back(graph.node(id).op_type);
  return ops;
}

using Names = std::vector<std::string>;

TEST(Graph, ConnectsValuesAndNodes) {
  const Graph graph(
      model(onnx::graph({node("Clip", {"x", "", "high"}, {"a"}, {}, "clip"),
                         node("Split", {"a"}, {"", "b"}, {}, "split")},
                        {value("x")}, {value("b")}, {initializer("high", Tensor::scalar(6.0F))})));
  const Node& clip = graph.node(0);
  EXPECT_EQ(names_of(graph, clip.inputs), (Names{"x", "", "high"}));
  EXPECT_EQ(clip.opset, 21);
  const Value& a = graph.value(graph.find("a"));
  EXPECT_EQ(a.producer, 0);
  EXPECT_EQ(a.consumers, std::vector<NodeId>{1});
  const Value& b = graph.value(graph.find("b"));
  EXPECT_EQ(b.output_index, 1);
  EXPECT_TRUE(b.is_output);
  EXPECT_TRUE(graph.value(graph.find("high")).initializer.has_value());
  EXPECT_EQ(names_of(graph, graph.required_inputs()), Names{"x"});
  EXPECT_EQ(names_of(graph, graph.main().outputs), Names{"b"});
  EXPECT_EQ(graph.find("none"), kNone);
  EXPECT_EQ(graph.describe(0), "node 'clip' (Clip)");
}

TEST(Graph, NodesMayStandInAnyOrder) {
  const Graph graph(
      model(onnx::graph({node("C", {"b"}, {"c"}), node("A", {"x"}, {"a"}), node("B", {"a"}, {"b"})},
                        {value("x")}, {value("c")})));
  EXPECT_EQ(ops_of(graph), (Names{"A", "B", "C"}));
  // The file's order is still known.
  EXPECT_EQ(graph.node(graph.file_order()[0]).op_type, "C");
}

TEST(Graph, InitializersOfOldFilesAreInputsToo) {
  onnx::Model old = model(onnx::graph({node("MatMul", {"x", "w"}, {"y"})},
                                      {value("x"), value("w", DType::f32, {1})}, {value("y")},
                                      {initializer("w", Tensor(DType::f32, {1}))}));
  old.ir_version = 3;
  const Graph graph(old);
  const Value& w = graph.value(graph.find("w"));
  EXPECT_TRUE(w.is_input);
  EXPECT_TRUE(w.initializer.has_value());
  EXPECT_EQ(names_of(graph, graph.required_inputs()), Names{"x"});
  EXPECT_EQ(names_of(graph, graph.main().inputs), (Names{"x", "w"}));
}

TEST(Graph, SparseInitializersAreExpanded) {
  onnx::Graph main = onnx::graph({node("Relu", {"s"}, {"y"})}, {}, {value("y")});
  onnx::SparseTensor sparse;
  sparse.values = initializer("s", Tensor::of<float>({1}, {5}));
  sparse.indices = initializer("", Tensor::of<std::int64_t>({1}, {2}));
  sparse.dims = {4};
  main.sparse_initializers.push_back(sparse);
  const Graph graph(model(main));
  const Tensor& dense = graph.value(graph.find("s")).initializer;
  EXPECT_EQ(dense.shape(), Shape{4});
  EXPECT_EQ(dense.values<float>()[2], 5);
}

TEST(Graph, ManySparseInitializersDoNotFillTheMemory) {
  onnx::Graph main;
  for (int i = 0; i < 100; ++i) {
    onnx::SparseTensor sparse;
    sparse.values = initializer("s" + std::to_string(i), Tensor::of<float>({1}, {5}));
    sparse.indices = initializer("", Tensor::of<std::int64_t>({1}, {2}));
    sparse.dims = {1LL << 40};
    main.sparse_initializers.push_back(sparse);
  }
  expect_error(ErrorCode::limit, "too large", [&] { Graph{model(main)}; });
}

TEST(Graph, RefusesCycles) {
  expect_invalid(
      "cycle", onnx::graph({node("A", {"b"}, {"a"}, {}, "one"), node("B", {"a"}, {"b"}, {}, "two")},
                           {}, {value("a")}));
  expect_invalid("node 'one' (A)",
                 onnx::graph({node("A", {"a"}, {"a"}, {}, "one")}, {}, {value("a")}));
  // Through a body: the If needs what it makes itself.
  const onnx::Graph body = onnx::graph({node("Relu", {"y"}, {"z"})}, {}, {value("z")});
  expect_invalid(
      "cycle", onnx::graph({node("If", {"c"}, {"y"},
                                 {attribute("then_branch", body), attribute("else_branch", body)})},
                           {value("c", DType::boolean)}, {value("y")}));
}

TEST(Graph, RefusesNamesThatStandForTwoThings) {
  const char* const text = "the same name";
  expect_invalid(text, onnx::graph({node("A", {"x"}, {"x"})}, {value("x")}, {value("x")}));
  expect_invalid(text, onnx::graph({node("A", {}, {"a", "a"})}, {}, {value("a")}));
  expect_invalid(text, onnx::graph({}, {value("x"), value("x")}, {}));
  expect_invalid(text, onnx::graph({}, {}, {},
                                   {initializer("w", Tensor::scalar(1.0F)),
                                    initializer("w", Tensor::scalar(2.0F))}));
  expect_invalid(
      text, onnx::graph({node("A", {}, {"w"})}, {}, {}, {initializer("w", Tensor::scalar(1.0F))}));
}

TEST(Graph, RefusesValuesThatNothingMakes) {
  expect_invalid("'x', an input of node 'n' (A)",
                 onnx::graph({node("A", {"x"}, {"y"}, {}, "n")}, {}, {value("y")}));
  expect_invalid("an output of the graph", onnx::graph({}, {}, {value("y")}));
  // What a body makes is not there outside.
  const onnx::Graph body = onnx::graph({node("A", {}, {"inner"})}, {}, {value("inner")});
  expect_invalid("'inner'", onnx::graph({node("If", {"c"}, {"y"}, {attribute("then_branch", body)}),
                                         node("B", {"inner"}, {"z"})},
                                        {value("c")}, {value("z")}));
}

TEST(Graph, BodiesTakeValuesFromOutside) {
  const onnx::Graph deep = onnx::graph({node("Add", {"x", "i"}, {"d"})}, {}, {value("d")});
  const onnx::Graph body =
      onnx::graph({node("If", {"c"}, {"e"}, {attribute("then_branch", deep)}, "inner")},
                  {value("i"), value("c", DType::boolean)}, {value("c"), value("e")}, {}, "body");
  const Graph graph(
      model(onnx::graph({node("Loop", {"n", ""}, {"y"}, {attribute("body", body)}, "loop"),
                         node("Relu", {"in"}, {"x"})},
                        {value("in"), value("n", DType::i64)}, {value("y")})));
  ASSERT_EQ(graph.bodies().size(), 3U);
  EXPECT_EQ(ops_of(graph), (Names{"Relu", "Loop"}));  // the loop needs x
  const Node& loop = graph.node(graph.main().nodes[1]);
  EXPECT_EQ(names_of(graph, loop.captures), Names{"x"});
  const BodyId body_id = loop.bodies.at("body");
  const Node& inner = graph.node(graph.body(body_id).nodes.at(0));
  EXPECT_EQ(names_of(graph, inner.captures), (Names{"x", "i"}));
  EXPECT_EQ(graph.value(graph.find("i")).body, body_id);
  EXPECT_EQ(graph.find("loop/body/i"), graph.find("i"));
  EXPECT_EQ(graph.body(body_id).owner, graph.main().nodes[1]);
}

TEST(Graph, EqualNamesInTwoBodiesGetTheirPath) {
  const auto body = [](const char* op) {
    return onnx::graph({node(op, {"x"}, {"inner"})}, {}, {value("inner")});
  };
  const Graph graph(model(onnx::graph(
      {node("If", {"c"}, {"y"},
            {attribute("then_branch", body("A")), attribute("else_branch", body("B"))}, "if")},
      {value("x"), value("c")}, {value("y")})));
  EXPECT_EQ(graph.find("inner"), kNone);
  const auto op_of = [&](std::string_view name) {
    return graph.node(graph.value(graph.find(name)).producer).op_type;
  };
  EXPECT_EQ(op_of("if/then_branch/inner"), "A");
  EXPECT_EQ(op_of("if/else_branch/inner"), "B");
}

// A function "F(a, b) -> (c)" of domain "d", whose one node has an attribute by reference.
onnx::Function function() {
  onnx::Function f;
  f.name = "F";
  f.domain = "d";
  f.inputs = {"a", "b"};
  f.outputs = {"c"};
  f.attributes = {"alpha"};
  f.nodes = {node("Add", {"a", "b"}, {"t"}, {}, "sum"),
             node("LeakyRelu", {"t"}, {"c"},
                  {reference("alpha", "alpha", onnx::Attribute::Kind::float_)})};
  f.opset_imports = {{"", 16}};
  return f;
}

onnx::Node call(std::string name, std::vector<std::string> inputs, std::vector<std::string> outputs,
                std::vector<onnx::Attribute> attributes = {}) {
  onnx::Node result =
      node("F", std::move(inputs), std::move(outputs), std::move(attributes), std::move(name));
  result.domain = "d";
  return result;
}

TEST(Graph, FunctionsAreInlinedUnderTheCallersName) {
  onnx::Model with_function = model(onnx::graph(
      {call("first", {"x", "x"}, {"y"}, {attribute("alpha", 0.5F)}), call("", {"y", "x"}, {"z"})},
      {value("x")}, {value("z")}));
  with_function.functions = {function()};
  const Graph graph(with_function);
  EXPECT_EQ(ops_of(graph), (Names{"Add", "LeakyRelu", "Add", "LeakyRelu"}));
  EXPECT_EQ(graph.node(0).name, "first/sum");
  EXPECT_EQ(graph.node(0).opset, 16);  // the function's own, not the model's
  EXPECT_EQ(graph.value(graph.find("first/t")).producer, 0);
  EXPECT_EQ(graph.value(graph.find("y")).producer, 1);
  EXPECT_EQ(graph.node(1).attribute("alpha")->f, 0.5F);
  // A call without a name goes by its first output; an attribute that is not given, not at all.
  EXPECT_NE(graph.find("z/t"), kNone);
  EXPECT_EQ(graph.node(3).attribute("alpha"), nullptr);
}

TEST(Graph, FunctionsHaveDefaultAttributes) {
  onnx::Model with_function =
      model(onnx::graph({call("f", {"x", "x"}, {"y"})}, {value("x")}, {value("y")}));
  with_function.functions = {function()};
  with_function.functions[0].default_attributes = {attribute("alpha", 0.25F)};
  const Graph graph(with_function);
  EXPECT_EQ(graph.node(1).attribute("alpha")->f, 0.25F);
}

TEST(Graph, OmittedInputsOfACallAreOmittedInside) {
  onnx::Model with_function =
      model(onnx::graph({call("f", {"x"}, {"y"})}, {value("x")}, {value("y")}));
  with_function.functions = {function()};
  const Graph graph(with_function);
  EXPECT_EQ(names_of(graph, graph.node(0).inputs), (Names{"x", ""}));
}

TEST(Graph, AFunctionMayHandOnItsInput) {
  onnx::Model with_function =
      model(onnx::graph({call("f", {"x"}, {"y"})}, {value("x")}, {value("y")}));
  onnx::Function f;
  f.name = "F";
  f.domain = "d";
  f.inputs = {"a"};
  f.outputs = {"a"};
  with_function.functions = {f};
  const Graph graph(with_function);
  EXPECT_EQ(ops_of(graph), Names{"Identity"});
}

TEST(Graph, FunctionsInsideFunctionsAndBodies) {
  onnx::Function outer;
  outer.name = "G";
  outer.domain = "d";
  outer.inputs = {"p"};
  outer.outputs = {"q"};
  onnx::Graph body = onnx::graph({call("inner", {"p", "local"}, {"r"})}, {}, {value("r")},
                                 {initializer("local", Tensor::scalar(1.0F))});
  outer.nodes = {node("If", {"p"}, {"q"}, {attribute("then_branch", body)}, "if")};
  outer.opset_imports = {{"", 18}, {"d", 1}};
  onnx::Model nested =
      model(onnx::graph({node("G", {"x"}, {"y"}, {}, "call")}, {value("x")}, {value("y")}));
  nested.graph.nodes[0].domain = "d";
  nested.functions = {outer, function()};
  const Graph graph(nested);
  EXPECT_EQ(graph.node(0).name, "call/if");
  EXPECT_EQ(ops_of(graph, 1), (Names{"Add", "LeakyRelu"}));
  const Node& sum = graph.node(graph.body(1).nodes[0]);
  EXPECT_EQ(names_of(graph, sum.inputs), (Names{"x", "local"}));
}

TEST(Graph, RefusesFunctionsWithoutAnEnd) {
  onnx::Model recursive =
      model(onnx::graph({call("f", {"x", "x"}, {"y"})}, {value("x")}, {value("y")}));
  onnx::Function f = function();
  f.nodes = {call("again", {"a", "b"}, {"c"})};
  recursive.functions = {f};
  expect_error(ErrorCode::limit, "themselves", [&] { Graph{recursive}; });

  // Each calls the next twice: 2^40 nodes.
  onnx::Model exponential =
      model(onnx::graph({node("F0", {"x"}, {"y"})}, {value("x")}, {value("y")}));
  for (int i = 0; i < 40; ++i) {
    onnx::Function next;
    next.name = "F" + std::to_string(i);
    next.inputs = {"a"};
    next.outputs = {"c"};
    const std::string callee = i < 39 ? "F" + std::to_string(i + 1) : "Relu";
    next.nodes = {node(callee, {"a"}, {"b"}), node(callee, {"b"}, {"c"})};
    exponential.functions.push_back(next);
  }
  expect_error(ErrorCode::limit, "too many nodes", [&] { Graph{exponential}; });

  // The same without a single node.
  exponential.functions.back().nodes.clear();
  exponential.functions.back().outputs = {"a"};
  expect_error(ErrorCode::limit, "too many nodes", [&] { Graph{exponential}; });

  // The way back leads through a body.
  f.nodes = {node(
      "If", {"a"}, {"c"},
      {attribute("then_branch", onnx::graph({call("again", {"a", "b"}, {"d"})}, {}, {value("d")}))},
      "if")};
  recursive.functions = {f};
  expect_error(ErrorCode::limit, "nested too deeply", [&] { Graph{recursive}; });

  onnx::Model too_many =
      model(onnx::graph({call("f", {"x", "x", "x"}, {"y"})}, {value("x")}, {value("y")}));
  too_many.functions = {function()};
  expect_error(ErrorCode::invalid_model, "more inputs", [&] { Graph{too_many}; });
}

TEST(Graph, OpsetsAreCheckedAndDefault) {
  onnx::Model none = model(onnx::graph({node("Relu", {"x"}, {"y"})}, {value("x")}, {value("y")}));
  none.opset_imports.clear();
  EXPECT_EQ(Graph(none).node(0).opset, 1);
  onnx::Model named = none;
  named.opset_imports = {{"ai.onnx", 9}};
  named.graph.nodes[0].domain = "ai.onnx";
  EXPECT_EQ(Graph(named).node(0).opset, 9);
  EXPECT_EQ(Graph(named).node(0).domain, "");
  for (const std::int64_t version : {-1LL, 1LL << 40}) {
    onnx::Model odd = none;
    odd.opset_imports = {{"", version}};
    expect_error(ErrorCode::invalid_model, "opset version", [&] { Graph{odd}; });
  }
}

TEST(Graph, PrintsItself) {
  const Graph graph(model(onnx::graph({node("Relu", {"x"}, {"y"}, {}, "act")},
                                      {value("x", DType::f32, {1, 3})}, {value("y")})));
  const std::string text = to_text(graph);
  EXPECT_NE(text.find("float32[1, 3]"), std::string::npos) << text;
  EXPECT_NE(text.find("Relu"), std::string::npos) << text;
  EXPECT_EQ(to_text(value("x", DType::i64, {-1, 2}).type), "int64[?, 2]");
  EXPECT_EQ(to_text(onnx::Type()), "?");
}

}  // namespace
}  // namespace mezzo::graph
