// Chains of element-wise functions in one step: bit for bit what the functions give one by one.

#include <cstring>
#include <limits>

#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

// More elements than are kept in the caches, in blocks of which the last is ragged.
const Shape kLarge = {3, 173, 131};

G with_input(const Shape& shape) {
  G g;
  g.input("x", DType::f32, shape);
  return g;
}

std::vector<std::string> values_of(const Model& model) {
  std::vector<std::string> names;
  for (const ValueInfo& value : model.values()) {
    if (value.kind == ValueInfo::Kind::node_output) names.push_back(value.name);
  }
  return names;
}

// The same bits with the pass and without it, for the outputs and for all values.
std::string expect_same_bits(const Model& model, const Feeds& feeds) {
  const Session fused(model, {.threads = 2});
  const Session plain(model, {.threads = 2, .disabled_passes = {"pointwise"}});
  for (const std::vector<std::string>& fetches : {std::vector<std::string>{}, values_of(model)}) {
    EXPECT_TRUE(is_by(fused.explain(feeds, fetches), "pointwise"));
    EXPECT_FALSE(is_by(plain.explain(feeds, fetches), "pointwise"));
    const Outputs got = fused.run(feeds, fetches), expected = plain.run(feeds, fetches);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].shape(), expected[i].shape());
      EXPECT_EQ(std::memcmp(got[i].data(), expected[i].data(), expected[i].bytes()), 0)
          << (fetches.empty() ? "output" : fetches[i]);
    }
  }
  return fused.explain(feeds);
}

// A GELU behind a bias, in an order that the pass `gelu` does not know.
G gelu(const Shape& shape) {
  G g = with_input(shape);
  g.weight("bias", {shape.back()});
  g.constant("root", Tensor::scalar(1.4142135F)).constant("one", Tensor::scalar(1.0F));
  g.node("Add", {"x", "bias"}, {"sum"}).node("Div", {"sum", "root"}, {"scaled"});
  g.node("Erf", {"scaled"}, {"erf"}).node("Add", {"one", "erf"}, {"shifted"});
  g.node("Mul", {"sum", "shifted"}, {"y"}).output("y");
  return g;
}

class Pointwise : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::simd_enabled()) GTEST_SKIP() << "MEZZO_TARGET=scalar";
  }
};

TEST_F(Pointwise, AChainIsOneStep) {
  for (const Shape& shape : {Shape{2, 5, 12}, Shape{1, 1, 1}, Shape{1024}, kLarge}) {
    const std::string plan = expect_same_bits(gelu(shape).finish(), {{"x", G::random(shape, 60)}});
    EXPECT_EQ(plan.rfind("1 steps, 5 nodes", 0), 0U) << plan;
  }
}

// GELU as frameworks write it, of which any part may be wanted: alone, behind a bias and ahead of
// more.
TEST_F(Pointwise, GeluByParts) {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{2, 5, 12}, Shape{1021}, kLarge}) {
    for (const bool is_divided : {true, false}) {
      SCOPED_TRACE(to_string(shape) + (is_divided ? ", divided" : ", multiplied"));
      G g = with_input(shape);
      g.weight("bias", {shape.back()}).constant("one", Tensor::scalar(1.0F));
      g.constant("scale", Tensor::scalar(is_divided ? 1.4142135F : 0.70710677F));
      g.constant("half", Tensor::of<float>({1}, {0.5F}));
      g.node("Add", {"x", "bias"}, {"sum"});
      const std::vector<std::string> swapped = is_divided
                                                   ? std::vector<std::string>{"sum", "scale"}
                                                   : std::vector<std::string>{"scale", "sum"};
      g.node(is_divided ? "Div" : "Mul", swapped, {"scaled"}).node("Erf", {"scaled"}, {"erf"});
      g.node("Add", {is_divided ? "erf" : "one", is_divided ? "one" : "erf"}, {"shifted"});
      g.node("Mul", {is_divided ? "sum" : "shifted", is_divided ? "shifted" : "sum"}, {"product"});
      g.node("Mul", {is_divided ? "product" : "half", is_divided ? "half" : "product"}, {"gelu"});
      g.node("Sub", {"gelu", "x"}, {"y"}).output("y");
      const Model model = g.finish();
      const Feeds feeds = {{"x", G::random(shape, 61)}};
      const std::vector<std::string> values = {"sum",     "scaled", "erf", "shifted",
                                               "product", "gelu",   "y"};
      const Session fused(model, {.threads = 2, .disabled_passes = {"gelu"}});
      const Outputs expected =
          Session(model, {.threads = 2, .disabled_passes = {"gelu", "pointwise"}})
              .run(feeds, values);
      std::vector<std::vector<std::string>> requests = {values};
      for (const std::string& value : values) requests.push_back({value, "y"});
      for (const std::vector<std::string>& names : requests) {
        EXPECT_TRUE(is_by(fused.explain(feeds, names), "pointwise"));
        for (const auto& [name, tensor] : fused.run(feeds, names)) {
          const Tensor& same = expected[name];
          EXPECT_EQ(std::memcmp(tensor.data(), same.data(), same.bytes()), 0) << name;
        }
      }
    }
  }
}

// Nearly that: functions in the same order on other operands.
TEST_F(Pointwise, WhatIsNoGelu) {
  const Shape shape = {3, 400};
  for (int kind = 0; kind < 6; ++kind) {
    SCOPED_TRACE(kind);
    G g = with_input(shape);
    g.constant("a", Tensor::scalar(1.5F)).weight("row", {400}).input("z", DType::f32, shape);
    g.node("Div", {kind == 0 ? "a" : "x", kind == 0 ? "x" : "a"}, {"scaled"});
    g.node(kind == 1 ? "Tanh" : "Erf", {"scaled"}, {"erf"});
    g.node("Add", {"erf", kind == 2 ? "row" : "a"}, {"shifted"});
    g.node("Mul", {kind == 3 ? "z" : "x", "shifted"}, {"product"});
    g.node("Mul", {"product", kind == 4 ? "row" : "a"}, {"scaled_again"});
    g.node(kind == 5 ? "Mul" : "Add", {"scaled_again", kind == 5 ? "erf" : "z"}, {"y"});
    g.output("y");
    expect_same_bits(g.finish(), {{"x", G::random(shape, 62)}, {"z", G::random(shape, 63)}});
  }
}

TEST_F(Pointwise, EveryBroadcast) {
  const Shape shape = {3, 5, 7, 300};
  G g = with_input(shape);
  g.weight("row", {300}).weight("column", {5, 1, 1}).weight("scalar", {1}).weight("full", shape);
  g.weight("rows", {3, 5, 7, 1}).weight("block", {7, 300});
  g.node("Sub", {"row", "x"}, {"a"}).node("Mul", {"a", "column"}, {"b"});
  g.node("Div", {"column", "b"}, {"c"}).node("Sub", {"scalar", "c"}, {"d"});
  g.node("Add", {"d", "full"}, {"e"}).node("Mul", {"e", "rows"}, {"f"});
  g.node("Add", {"block", "f"}, {"y"}).output("y");
  const std::string plan = expect_same_bits(g.finish(), {{"x", G::random(shape, 61)}});
  EXPECT_EQ(plan.rfind("1 steps, 7 nodes", 0), 0U) << plan;
}

TEST_F(Pointwise, FunctionsWithParametersAndSpecialValues) {
  Tensor x = G::random(kLarge, 62);
  x.mutable_values<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  x.mutable_values<float>()[1] = std::numeric_limits<float>::infinity();
  G g = with_input(kLarge);
  g.constant("low", Tensor::scalar(-0.25F)).constant("high", Tensor::scalar(0.3F));
  g.node("LeakyRelu", {"x"}, {"leaky"}, {real("alpha", 0.3F)});
  g.node("Clip", {"leaky", "low", "high"}, {"clipped"});
  g.node("HardSigmoid", {"clipped"}, {"gate"}, {real("alpha", 0.5F), real("beta", 0.25F)});
  g.node("Mul", {"x", "gate"}, {"gated"}).node("Elu", {"gated"}, {"y"}).output("y");
  const std::string plan = expect_same_bits(g.finish(), {{"x", x}});
  EXPECT_EQ(plan.rfind("1 steps, 5 nodes", 0), 0U) << plan;
}

TEST_F(Pointwise, AReaderInBetweenEndsTheChain) {
  G g = with_input({4, 6});
  g.node("Exp", {"x"}, {"e"}).node("Neg", {"e"}, {"n"});
  g.node("ReduceSum", {"e"}, {"sum"}, {G::number("keepdims", 1)});
  g.node("Mul", {"n", "sum"}, {"m"}).node("Abs", {"m"}, {"y"}).output("y");
  const std::string plan = expect_same_bits(g.finish(), {{"x", G::random({4, 6}, 63)}});
  // Exp with Neg; the sum; Mul with Abs.
  EXPECT_EQ(plan.rfind("3 steps, 5 nodes", 0), 0U) << plan;
}

// Reshape has no step of its own: who reads its result reads the chain's.
TEST_F(Pointwise, AReaderOfAViewEndsTheChain) {
  for (const bool pointwise_reader : {false, true}) {
    G g = with_input({4, 6});
    g.constant("flat", Tensor::of<std::int64_t>({1}, {24}));
    g.node("Exp", {"x"}, {"e"}).node("Neg", {"e"}, {"n"}).node("Reshape", {"n", "flat"}, {"view"});
    if (pointwise_reader) {
      g.node("Abs", {"view"}, {"r"});
    } else {
      g.node("Softmax", {"view"}, {"r"});
    }
    g.node("Sqrt", {"e"}, {"s"}).node("Mul", {"n", "s"}, {"y"}).output("y").output("r");
    expect_same_bits(g.finish(), {{"x", G::random({4, 6}, 67)}});
  }
}

TEST_F(Pointwise, AnotherShapeEndsTheChain) {
  G g = with_input({1, 6});
  g.weight("w", {4, 6});
  g.node("Exp", {"x"}, {"e"}).node("Neg", {"e"}, {"n"});
  g.node("Mul", {"n", "w"}, {"m"}).node("Abs", {"m"}, {"y"}).output("y");
  const std::string plan = expect_same_bits(g.finish(), {{"x", G::random({1, 6}, 64)}});
  EXPECT_EQ(plan.rfind("2 steps, 4 nodes", 0), 0U) << plan;
}

TEST_F(Pointwise, PatchesAndObserversStandBetween) {
  const Shape shape = {2, 5, 12};
  const Model model = gelu(shape).finish();
  const Feeds feeds = {{"x", G::random(shape, 65)}};
  const Session session(model, {.threads = 2});
  const Tensor erf = session.run(feeds, {"erf"})[0];
  int seen = 0;
  RunOptions options;
  options.patches = {{"erf", [](const Tensor& value) {
                        Tensor zero(value.dtype(), value.shape());
                        return zero;
                      }}};
  options.observers = {{"scaled", [&](const auto&, const Tensor& value) {
                          ++seen;
                          EXPECT_EQ(value.shape(), shape);
                        }}};
  const Outputs got = session.run(feeds, {"y", "sum"}, options);
  EXPECT_EQ(seen, 1);
  // x * (1 + 0).
  EXPECT_EQ(std::memcmp(got[0].data(), got[1].data(), got[1].bytes()), 0);
  EXPECT_NE(std::memcmp(got[0].data(), session.run(feeds)[0].data(), got[0].bytes()), 0);
}

TEST_F(Pointwise, OtherTypesAndOldBroadcastsStay) {
  G doubles;
  doubles.input("x", DType::f64, {8}).node("Exp", {"x"}, {"e"}).node("Neg", {"e"}, {"y"});
  doubles.output("y");
  const Session session(doubles.finish(), {.threads = 1});
  EXPECT_FALSE(is_by(session.explain({{"x", Tensor(DType::f64, {8})}}), "pointwise"));
  G old = with_input({2, 3, 4});
  old.weight("w", {3});
  const G::Attributes middle = {G::number("broadcast", 1), G::number("axis", 1)};
  old.node("Add", {"x", "w"}, {"s"}, middle).node("Mul", {"s", "w"}, {"y"}, middle).output("y");
  const Session limited(old.finish(6), {.threads = 1});
  EXPECT_FALSE(is_by(limited.explain({{"x", G::random({2, 3, 4}, 66)}}), "pointwise"));
}

}  // namespace
}  // namespace mezzo::tests
