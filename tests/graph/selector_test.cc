#include "graph/selector.h"

#include <gtest/gtest.h>

#include "build_model.h"

namespace mezzo::graph {
namespace {

// Names as exporters give them, a value that has a node's name, and a body.
Graph sample() {
  using namespace onnx;
  const onnx::Graph body = onnx::graph({node("Relu", {"b"}, {"inside"}, {}, "relu_inside")}, {},
                                       {value("inside", DType::undefined)}, {}, "then");
  std::vector<onnx::Node> nodes = {
      node("Conv", {"x", "w"}, {"/layer1/conv/out"}, {}, "conv1"),
      node("Relu", {"/layer1/conv/out"}, {"/layer1/relu/out"}, {}, "relu1"),
      node("Split", {"/layer1/relu/out"}, {"a", "b"}, {}, "split"),
      node("Dropout", {"a"}, {"c", "", "mask"}, {}, "drop"),
      node("Relu", {"c"}, {"relu1:0"}),
      node("If", {"flag"}, {"y"}, {attribute("then_branch", body), attribute("else_branch", body)},
           "choice"),
      node("Identity", {"y"}, {"drop"}, {}, "last"),
  };
  return Graph(model(onnx::graph(std::move(nodes), {value("x"), value("flag", DType::boolean)},
                                 {value("drop", DType::undefined)},
                                 {initializer("w", Tensor(DType::f32, {1}))})));
}

std::vector<std::string> names(const Graph& graph, std::string_view selector) {
  std::vector<std::string> list;
  for (const ValueId id : select(graph, selector)) list.push_back(graph.value(id).name);
  return list;
}

using Names = std::vector<std::string>;

void expect_refused(const Graph& graph, std::string_view selector, std::string_view text) {
  try {
    select(graph, selector);
    ADD_FAILURE() << selector << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string_view(error.what()).find(text), std::string_view::npos) << error.what();
    EXPECT_NE(error.place().find(selector), std::string::npos);
  }
}

TEST(Selector, AnExactNameGoesFirst) {
  const Graph graph = sample();
  EXPECT_EQ(names(graph, "x"), Names{"x"});
  EXPECT_EQ(names(graph, "w"), Names{"w"});
  EXPECT_EQ(names(graph, "/layer1/conv/out"), Names{"/layer1/conv/out"});
  // Also where it looks like an output's number, or is a node's name as well.
  EXPECT_EQ(names(graph, "relu1:0"), Names{"relu1:0"});
  EXPECT_EQ(names(graph, "drop"), Names{"drop"});
}

TEST(Selector, NodesByNameAndOutput) {
  const Graph graph = sample();
  EXPECT_EQ(names(graph, "conv1"), Names{"/layer1/conv/out"});
  EXPECT_EQ(names(graph, "split"), Names{"a"});
  EXPECT_EQ(names(graph, "split:1"), Names{"b"});
  EXPECT_EQ(names(graph, "drop:2"), Names{"mask"});
  expect_refused(graph, "split:2", "no such output");
  expect_refused(graph, "drop:1", "no such output");  // omitted
  expect_refused(graph, "split:-1", "no value matches");
}

TEST(Selector, NodesByIndex) {
  const Graph graph = sample();
  EXPECT_EQ(names(graph, "[0]"), Names{"/layer1/conv/out"});
  EXPECT_EQ(names(graph, "[2]:1"), Names{"b"});
  EXPECT_EQ(names(graph, "[-1]"), Names{"drop"});
  EXPECT_EQ(names(graph, "[-2]"), Names{"y"});
  EXPECT_EQ(names(graph, "[-7]"), Names{"/layer1/conv/out"});
  expect_refused(graph, "[7]", "expected -7 to 6");
  expect_refused(graph, "[-8]", "out of range");
  expect_refused(graph, "[0]:1", "no such output");
}

TEST(Selector, Globs) {
  const Graph graph = sample();
  EXPECT_EQ(names(graph, "/layer1/*"), (Names{"/layer1/conv/out", "/layer1/relu/out"}));
  EXPECT_EQ(names(graph, "*relu*out"), Names{"/layer1/relu/out"});
  EXPECT_EQ(names(graph, "[ab]"), (Names{"a", "b"}));
  EXPECT_EQ(names(graph, "[a-c]"), (Names{"a", "b", "c"}));
  EXPECT_EQ(names(graph, "mas?"), Names{"mask"});
  EXPECT_EQ(names(graph, "[!ab]"), (Names{"x", "w", "c", "y"}));
  expect_refused(graph, "[!m]ask*", "no value matches");
}

TEST(Selector, Operators) {
  const Graph graph = sample();
  // Of a node with several outputs the first; bodies count.
  const Names relus = names(graph, "op:Relu");
  EXPECT_EQ(relus.size(), 4U);
  EXPECT_EQ(relus[0], "/layer1/relu/out");
  EXPECT_EQ(names(graph, "op:Split"), Names{"a"});
  expect_refused(graph, "op:relu", "no value matches");
}

TEST(Selector, RegularExpressions) {
  const Graph graph = sample();
  EXPECT_EQ(names(graph, R"(/layer\d/)"), (Names{"/layer1/conv/out", "/layer1/relu/out"}));
  EXPECT_EQ(names(graph, "/^[xw]$/"), (Names{"x", "w"}));
  expect_refused(graph, "/(/", "not a regular expression");
  expect_refused(graph, "/nothing_has_this/", "no value matches");
}

TEST(Selector, ValuesOfBodiesByTheirPath) {
  const Graph graph = sample();
  EXPECT_EQ(names(graph, "choice/then_branch/inside"), Names{"choice/then_branch/inside"});
  EXPECT_EQ(names(graph, "choice/*/inside"),
            (Names{"choice/then_branch/inside", "choice/else_branch/inside"}));
}

TEST(Selector, UnknownNamesGetTheNearest) {
  const Graph graph = sample();
  expect_refused(graph, "/layer1/conv/oat", "'/layer1/conv/out'");
  expect_refused(graph, "conv2", "node 'conv1'");
  expect_refused(graph, "masc", "'mask'");
  expect_refused(graph, "", "no value matches");
  expect_refused(graph, std::string(100'000, '*') + "q", "no value matches");
}

TEST(Selector, OneWhereOneIsNeeded) {
  const Graph graph = sample();
  EXPECT_EQ(graph.value(select_one(graph, "conv1")).name, "/layer1/conv/out");
  try {
    select_one(graph, "/layer1/*");
    ADD_FAILURE() << "two values were taken for one";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_EQ(error.got_text(), "2, the first two '/layer1/conv/out' and '/layer1/relu/out'");
  }
}

}  // namespace
}  // namespace mezzo::graph
