// Graphs, bodies and functions that are wrong although each node might be right.
#include <gtest/gtest.h>

#include "attempt.h"
#include "valid_models.h"

namespace mezzo::malformed {
namespace {

using onnx::attribute;
using onnx::graph;
using onnx::ints;
using onnx::model;
using onnx::node;
using onnx::value;

void expect_error_of(const std::string& name, const onnx::Model& bad, std::string_view text = "") {
  expect_error(name, attempt_model(name, bad), text);
}

// A model whose graph `change` damages.
void expect_error_after(const std::string& name, onnx::Model base,
                        const std::function<void(onnx::Model&)>& change,
                        std::string_view text = "") {
  change(base);
  expect_error_of(name, base, text);
}

TEST(MalformedGraphs, NamesAndEdges) {
  const auto damage = [](const std::string& name, std::string_view text,
                         const std::function<void(onnx::Graph&)>& change) {
    expect_error_after(
        name, onnx::convolution_model(), [&](onnx::Model& m) { change(m.graph); }, text);
  };
  damage("cycle", "cycle", [](onnx::Graph& g) { g.nodes[0].inputs[0] = "y"; });
  damage("itself", "cycle", [](onnx::Graph& g) { g.nodes[1].inputs[0] = "r"; });
  damage("a value that nobody makes", "nothing produces",
         [](onnx::Graph& g) { g.nodes[2].inputs[0] = "nobody"; });
  damage("an output that nobody makes", "nothing produces",
         [](onnx::Graph& g) { g.outputs[0].name = "nobody"; });
  damage("one name, two nodes", "same name", [](onnx::Graph& g) { g.nodes[1].outputs[0] = "c"; });
  damage("one name, two inputs", "same name",
         [](onnx::Graph& g) { g.inputs.push_back(g.inputs[0]); });
  damage("one name, two weights", "same name",
         [](onnx::Graph& g) { g.initializers.push_back(g.initializers[0]); });
  damage("a weight that a node makes", "same name",
         [](onnx::Graph& g) { g.initializers[0].name = "c"; });
  damage("no weights", "nothing produces", [](onnx::Graph& g) { g.initializers.clear(); });
  damage("an input without a name", "", [](onnx::Graph& g) { g.inputs[0].name = ""; });
  damage("no operator", "not supported", [](onnx::Graph& g) { g.nodes[1].op_type = ""; });
  damage("a node twice", "same name", [](onnx::Graph& g) { g.nodes.push_back(g.nodes[0]); });
  damage("a weight of another type", "", [](onnx::Graph& g) {
    g.initializers[0].tensor = Tensor(DType::i32, {2, 1, 3, 3});
  });
  damage("a declared input of another rank", "",
         [](onnx::Graph& g) { g.inputs[0].type.shape->pop_back(); });
  damage("an input that is a sequence", "",
         [](onnx::Graph& g) { g.inputs[0].type.kind = onnx::Type::Kind::sequence; });
}

TEST(MalformedGraphs, SparseInitializers) {
  const auto damage = [](const std::string& name, std::string_view text,
                         const std::function<void(onnx::SparseTensor&)>& change) {
    expect_error_after(
        name, onnx::sparse_model(), [&](onnx::Model& m) { change(m.graph.sparse_initializers[0]); },
        text);
  };
  using onnx::SparseTensor;
  const auto indices = [](std::vector<std::int64_t> list) {
    return Tensor::of<std::int64_t>({2, 2}, list);
  };
  damage("out of range", "out of range", [&](SparseTensor& s) {
    s.indices.tensor = indices({0, 1, 5, 0});
  });
  damage("negative", "out of range", [&](SparseTensor& s) {
    s.indices.tensor = indices({0, -1, 1, 0});
  });
  damage("unsorted", "ascending", [&](SparseTensor& s) {
    s.indices.tensor = indices({1, 1, 0, 0});
  });
  damage("repeated", "ascending", [&](SparseTensor& s) {
    s.indices.tensor = indices({1, 1, 1, 1});
  });
  damage("too many", "do not fit", [](SparseTensor& s) {
    s.indices.tensor = Tensor(DType::i64, {3, 2});
  });
  damage("floats", "wrong type", [](SparseTensor& s) {
    s.indices.tensor = Tensor(DType::f32, {2, 2});
  });
  damage("terabytes", "too large", [](SparseTensor& s) { s.dims = {1LL << 40, 3}; });
  damage("beyond 64 bits", "64 bits", [](SparseTensor& s) { s.dims = {1LL << 40, 1LL << 40}; });
  damage("a negative extent", "negative", [](SparseTensor& s) { s.dims = {-2, 3}; });
  damage("another rank", "", [](SparseTensor& s) { s.dims = {6, 1, 1}; });
  damage("a scalar", "no list", [](SparseTensor& s) { s.values.tensor = Tensor::scalar(1.0F); });
}

TEST(MalformedGraphs, Branches) {
  const auto damage = [](const std::string& name, std::string_view text,
                         const std::function<void(onnx::Node&)>& change) {
    expect_error_after(
        name, onnx::control_flow_model(), [&](onnx::Model& m) { change(m.graph.nodes[0]); }, text);
  };
  damage("no else", "else_branch", [](onnx::Node& n) { n.attributes.pop_back(); });
  damage("no bodies at all", "", [](onnx::Node& n) { n.attributes.clear(); });
  damage("a body that is a number", "",
         [](onnx::Node& n) { n.attributes[1] = attribute("else_branch", std::int64_t{1}); });
  damage("a condition of floats", "", [](onnx::Node& n) { n.inputs[0] = "x"; });
  damage("no condition", "", [](onnx::Node& n) { n.inputs.clear(); });
  damage("an omitted condition", "", [](onnx::Node& n) { n.inputs[0] = ""; });
  damage("two conditions", "", [](onnx::Node& n) { n.inputs.push_back("x"); });
  damage("fewer outputs than its node", "fewer outputs",
         [](onnx::Node& n) { n.attributes[1] = attribute("else_branch", graph({}, {}, {})); });
  damage("a body with a cycle", "cycle", [](onnx::Node& n) {
    n.attributes[0] = attribute(
        "then_branch",
        graph({node("Relu", {"q"}, {"p"}), node("Relu", {"p"}, {"q"})}, {}, {value("p")}));
  });
  damage("a body that uses what comes from it", "cycle", [](onnx::Node& n) {
    n.attributes[0] =
        attribute("then_branch", graph({node("Relu", {"z"}, {"p"})}, {}, {value("p")}));
  });
  damage("a body that needs an input", "", [](onnx::Node& n) {
    n.attributes[1] = attribute(
        "else_branch", graph({node("Relu", {"given"}, {"p"})}, {value("given")}, {value("p")}));
  });
}

// Loop(trips, condition, x) with a body of (i, go, state) -> outputs.
onnx::Model loop_model(onnx::Graph body, const std::string& trips, const std::string& condition,
                       int outputs = 1) {
  std::vector<std::string> names;
  std::vector<onnx::ValueInfo> infos;
  for (int k = 0; k < outputs; ++k) {
    names.push_back("y" + std::to_string(k));
    infos.push_back(value(names.back(), DType::undefined));
  }
  return model(graph(
      {node("Loop", {trips, condition, "x"}, names, {attribute("body", std::move(body))}, "loop")},
      {value("x", DType::f32, {2})}, infos,
      {onnx::initializer("yes", Tensor::scalar(true)),
       onnx::initializer("many", Tensor::scalar<std::int64_t>(INT64_MAX)),
       onnx::initializer("three", Tensor::scalar<std::int64_t>(3)),
       onnx::initializer("list", ints({1, 2}))}));
}

onnx::Graph loop_body(std::vector<onnx::Node> nodes, std::vector<std::string> outputs) {
  std::vector<onnx::ValueInfo> infos;
  for (const std::string& name : outputs) infos.push_back(value(name, DType::undefined));
  return graph(std::move(nodes),
               {value("i", DType::i64), value("go", DType::boolean), value("state")}, infos);
}

TEST(MalformedGraphs, Loops) {
  const std::vector<onnx::Node> step = {node("Relu", {"state"}, {"next"}),
                                        node("Identity", {"go"}, {"on"})};
  const onnx::Graph good = loop_body(step, {"on", "next"});
  EXPECT_FALSE(attempt_model("a good loop", loop_model(good, "three", "")));
  expect_error_of("without an end", loop_model(good, "", "yes"), "runs too long");
  expect_error_of("without any bound", loop_model(good, "", ""), "runs too long");
  expect_error_of("2^63 iterations", loop_model(good, "many", ""), "runs too long");
  expect_error_of("two trip counts", loop_model(good, "list", ""));
  expect_error_of("a trip count of floats", loop_model(good, "x", ""));
  expect_error_of("a condition of numbers", loop_model(good, "", "three"));
  expect_error_of("too few outputs", loop_model(good, "three", "", 2));
  expect_error_of("a body without outputs", loop_model(loop_body(step, {}), "three", ""));
  expect_error_of("a body with one output", loop_model(loop_body(step, {"on"}), "three", ""));
  onnx::Graph fewer = good;
  fewer.inputs.pop_back();
  expect_error_of("a body with fewer inputs", loop_model(fewer, "three", ""));
  onnx::Graph more = good;
  more.inputs.push_back(value("extra"));
  expect_error_of("a body with more inputs", loop_model(more, "three", ""));
  expect_error_of("a condition that is no bool",
                  loop_model(loop_body(step, {"next", "next"}), "three", "yes"));
  expect_error_of(
      "a state that changes its type",
      loop_model(loop_body({node("Cast", {"state"}, {"next"}, {attribute("to", std::int64_t{7})}),
                            node("Identity", {"go"}, {"on"})},
                           {"on", "next"}),
                 "three", ""));
  expect_error_of("a state that doubles without end",
                  loop_model(loop_body({node("Concat", {"state", "state"}, {"next"},
                                             {attribute("axis", std::int64_t{0})}),
                                        node("Identity", {"go"}, {"on"})},
                                       {"on", "next"}),
                             "many", ""));
  expect_error_of(
      "scan outputs of different shapes",
      loop_model(
          loop_body({node("Concat", {"state", "x"}, {"next"}, {attribute("axis", std::int64_t{0})}),
                     node("Identity", {"go"}, {"on"})},
                    {"on", "next", "next"}),
          "three", "", 2));
  onnx::Model no_body = loop_model(good, "three", "");
  no_body.graph.nodes[0].attributes.clear();
  expect_error_of("no body", no_body, "required attribute");
  onnx::Model two_bodies = loop_model(good, "three", "");
  two_bodies.graph.nodes[0].attributes[0].kind = onnx::Attribute::Kind::graphs;
  two_bodies.graph.nodes[0].attributes[0].graphs.push_back(
      std::make_shared<const onnx::Graph>(good));
  expect_error_of("two bodies", two_bodies);
}

TEST(MalformedGraphs, Scans) {
  const auto damage = [](const std::string& name, const std::function<void(onnx::Node&)>& change) {
    expect_error_after(name, onnx::attention_model(),
                       [&](onnx::Model& m) { change(m.graph.nodes.back()); });
  };
  using List = std::vector<std::int64_t>;
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{3}, INT64_MAX}) {
    damage("scan inputs: " + std::to_string(count),
           [&](onnx::Node& n) { n.attributes[1] = attribute("num_scan_inputs", count); });
  }
  for (const std::int64_t axis : {std::int64_t{9}, std::int64_t{-9}, INT64_MIN}) {
    damage("input axis " + std::to_string(axis), [&](onnx::Node& n) {
      n.attributes.push_back(attribute("scan_input_axes", List{axis}));
    });
    damage("output axis " + std::to_string(axis), [&](onnx::Node& n) {
      n.attributes.push_back(attribute("scan_output_axes", List{axis}));
    });
    damage("direction " + std::to_string(axis), [&](onnx::Node& n) {
      n.attributes.push_back(attribute("scan_input_directions", List{axis}));
    });
  }
  damage("no body", [](onnx::Node& n) { n.attributes.erase(n.attributes.begin()); });
  damage("no inputs", [](onnx::Node& n) { n.inputs.clear(); });
  damage("three outputs", [](onnx::Node& n) { n.outputs.push_back("z"); });
}

TEST(MalformedGraphs, Functions) {
  const auto damage = [](const std::string& name, std::string_view text,
                         const std::function<void(onnx::Function&)>& change) {
    expect_error_after(
        name, onnx::function_model(), [&](onnx::Model& m) { change(m.functions[0]); }, text);
  };
  damage("calls itself", "themselves", [](onnx::Function& f) {
    f.nodes[0] = node("Scaled", {"a", "b"}, {"m"});
    f.nodes[0].domain = "local";
  });
  damage("calls itself in a body", "nested too deeply", [](onnx::Function& f) {
    onnx::Node again = node("Scaled", {"a", "b"}, {"d"});
    again.domain = "local";
    f.nodes[1] = node("If", {"m"}, {"c"},
                      {attribute("then_branch", graph({again}, {}, {value("d")})),
                       attribute("else_branch", graph({again}, {}, {value("d")}))});
  });
  damage("fewer inputs than the call", "more inputs",
         [](onnx::Function& f) { f.inputs.pop_back(); });
  damage("no outputs", "", [](onnx::Function& f) { f.outputs.clear(); });
  damage("no nodes", "nothing produces", [](onnx::Function& f) { f.nodes.clear(); });
  damage("a cycle", "cycle", [](onnx::Function& f) { f.nodes[0].inputs[0] = "m"; });
  damage("a name twice", "same name", [](onnx::Function& f) { f.nodes[1].outputs[0] = "m"; });
  damage("an unknown operator", "not supported",
         [](onnx::Function& f) { f.nodes[0].op_type = "Unheard"; });
  damage("an absurd opset", "opset version",
         [](onnx::Function& f) { f.opset_imports[0].version = INT64_MAX; });
  damage("an attribute of the wrong kind", "",
         [](onnx::Function& f) { f.default_attributes = {attribute("slope", std::int64_t{1})}; });

  // Each function calls the next one twice.
  for (const bool has_nodes : {true, false}) {
    onnx::Model exponential = model(graph({node("F0", {"x"}, {"y"})}, {value("x")}, {value("y")}));
    for (int k = 0; k < 50; ++k) {
      onnx::Function f;
      f.name = "F" + std::to_string(k);
      f.inputs = {"a"};
      f.outputs = {"c"};
      const std::string callee = "F" + std::to_string(k + 1);
      f.nodes = {node(callee, {"a"}, {"b"}), node(callee, {"b"}, {"c"})};
      exponential.functions.push_back(std::move(f));
    }
    exponential.functions.back().nodes.clear();
    exponential.functions.back().outputs = {"a"};
    if (has_nodes) {
      exponential.functions.back().nodes = {node("Relu", {"a"}, {"c"})};
      exponential.functions.back().outputs = {"c"};
    }
    expect_error_of("2^50 calls", exponential, "too many nodes");
  }

  // One long name in each of many calls.
  onnx::Model names = onnx::function_model();
  for (onnx::Node& call : names.graph.nodes) call.name = std::string(1 << 20, 'n');
  for (int k = 0; k < 2000; ++k) {
    names.functions[0].nodes.push_back(node("Relu", {"m"}, {"m" + std::to_string(k)}));
  }
  expect_error_of("a gigabyte of names", names, "too many nodes");
}

TEST(MalformedGraphs, PathsThatGrowWithEveryBody) {
  onnx::Graph inner = graph({node("Relu", {"x"}, {"v"})}, {}, {value("v")});
  for (int depth = 0; depth < 40; ++depth) {
    const auto body = [&](const char* name) { return attribute(name, inner); };
    inner = graph({node("If", {"c"}, {"v"}, {body("then_branch")}, std::string(1000, 'n'))}, {},
                  {value("v")});
  }
  onnx::Model deep = model(inner);
  deep.graph.inputs = {value("x"), value("c", DType::boolean)};
  expect_error_of("paths of many kilobytes", deep, "too long names");
}

}  // namespace
}  // namespace mezzo::malformed
