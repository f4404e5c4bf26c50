// Passes that join something to a convolution.

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

// A convolution of x [2, 6, 9, 7] with 8 channels, in two groups.
G convolution(bool bias) {
  G g;
  g.input("x", DType::f32, {2, 6, 9, 7}).weight("w", {8, 3, 3, 3}).weight("b", {8});
  std::vector<std::string> inputs = {"x", "w"};
  if (bias) inputs.emplace_back("b");
  g.node("Conv", inputs, {"c"}, {G::ints("pads", {1, 1, 1, 1}), G::number("group", 2)});
  return g;
}

Feeds picture() { return {{"x", G::random({2, 6, 9, 7}, 50)}}; }

TEST(ConvPasses, Activations) {
  const std::vector<std::pair<std::string, G::Attributes>> activations = {
      {"Relu", {}},
      {"Sigmoid", {}},
      {"Tanh", {}},
      {"LeakyRelu", {real("alpha", 0.3F)}},
      {"HardSigmoid", {real("alpha", 0.4F), real("beta", 0.1F)}},
  };
  for (const auto& [name, attributes] : activations) {
    SCOPED_TRACE(name);
    G g = convolution(true);
    g.node(name, {"c"}, {"y"}, attributes).output("y");
    expect_fusion({"conv_activation", g.finish(), picture(), "c"});
  }
}

TEST(ConvPasses, ClipWithBounds) {
  G g = convolution(false);
  g.constant("low", Tensor::scalar(-0.25F)).constant("high", Tensor::scalar(0.5F));
  g.node("Clip", {"c", "low", "high"}, {"y"}).output("y");
  expect_fusion({"conv_activation", g.finish(), picture(), "c"});
  G open = convolution(false);
  open.constant("high", Tensor::scalar(0.125F)).node("Clip", {"c", "", "high"}, {"y"}).output("y");
  expect_fusion({"conv_activation", open.finish(), picture(), "c"});
}

TEST(ConvPasses, ClipWithBoundsOfTheRunStays) {
  G g = convolution(false);
  g.input("low", DType::f32, {}).node("Clip", {"c", "low"}, {"y"}).output("y");
  Feeds feeds = picture();
  feeds.emplace_back("low", Tensor::scalar(0.0F));
  EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(feeds), "conv_activation"));
}

TEST(ConvPasses, BatchNormalization) {
  for (const bool bias : {false, true}) {
    G g = convolution(bias);
    g.weight("scale", {8}).weight("shift", {8}).weight("mean", {8});
    g.constant("var", Tensor::of<float>({8}, {1, 2, 3, 4, 5, 6, 7, 8}));
    g.node("BatchNormalization", {"c", "scale", "shift", "mean", "var"}, {"y"},
           {real("epsilon", 0.125F)});
    g.output("y");
    expect_fusion({"conv_scale", g.finish(), picture(), "c"});
  }
}

TEST(ConvPasses, BatchNormalizationAlone) {
  for (const std::string name : {"Mul", "Add", "Sub"}) {
    G g;
    g.input("x", DType::f32, {2, 8, 9, 7}).weight("k", {8, 1, 1});
    g.weight("scale", {8}).weight("shift", {8}).weight("mean", {8});
    g.constant("var", Tensor::of<float>({8}, {1, 2, 3, 4, 5, 6, 7, 8}));
    g.node("BatchNormalization", {"x", "scale", "shift", "mean", "var"}, {"n"});
    g.node(name, {"k", "n"}, {"m"}).node(name, {"m", "k"}, {"y"}).output("y");
    const Feeds feeds = {{"x", G::random({2, 8, 9, 7}, 52)}};
    const std::string plan = expect_fusion({"norm_scale", g.finish(), feeds, "n"});
    EXPECT_EQ(plan.rfind("1 steps, 3 nodes", 0), 0U) << plan;
  }
}

TEST(ConvPasses, ArithmeticWithConstants) {
  for (const std::string name : {"Mul", "Div", "Add", "Sub"}) {
    for (const Shape& shape : {Shape{8, 1, 1}, Shape{1, 8, 1, 1}, Shape{}, Shape{1}}) {
      SCOPED_TRACE(name + to_string(shape));
      G g = convolution(true);
      g.weight("k", shape).node(name, {"c", "k"}, {"y"}).output("y");
      expect_fusion({"conv_scale", g.finish(), picture(), "c"});
      if (name == "Div") continue;
      G swapped = convolution(false);
      swapped.weight("k", shape).node(name, {"k", "c"}, {"y"}).output("y");
      expect_fusion({"conv_scale", swapped.finish(), picture(), "c"});
    }
  }
}

// One number, which two convolutions add to their results: of each channel, and there are 8 of one
// and 5 of the other.
TEST(ConvPasses, ANumberThatConvolutionsShare) {
  G g = convolution(false);
  g.weight("w2", {5, 8, 1, 1}).constant("number", Tensor::scalar(3.0F));
  g.node("Add", {"c", "number"}, {"c3"}).node("Conv", {"c3", "w2"}, {"d"});
  g.node("Add", {"d", "number"}, {"y"}).output("y");
  const Model model = g.finish();
  const Tensor expected =
      Session(model, {.threads = 1, .disabled_passes = {"all"}}).run(picture())[0];
  expect_near(Session(model, {.threads = 1}).run(picture())[0], expected, 1e-5);
}

TEST(ConvPasses, WhatIsNotByChannelStays) {
  for (const Shape& shape :
       {Shape{7}, Shape{9, 1}, Shape{8, 9, 7}, Shape{2, 1, 1, 1}, Shape{2, 8, 1, 1}}) {
    SCOPED_TRACE(to_string(shape));
    G g = convolution(true);
    g.weight("k", shape).node("Mul", {"c", "k"}, {"y"}).output("y");
    EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(picture()), "conv_scale"));
  }
  G reciprocal = convolution(true);
  reciprocal.weight("k", {8, 1, 1}).node("Div", {"k", "c"}, {"y"}).output("y");
  EXPECT_FALSE(
      is_by(Session(reciprocal.finish(), {.threads = 1}).explain(picture()), "conv_scale"));
}

TEST(ConvPasses, FactorsThatAreNotFiniteStay) {
  G g = convolution(true);
  g.constant("zero", Tensor::scalar(0.0F)).node("Div", {"c", "zero"}, {"y"}).output("y");
  EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(picture()), "conv_scale"));
}

TEST(ConvPasses, NoChannelsAtAllStay) {
  G g;
  g.input("x", DType::f32, {1, 2, 4, 4}).weight("w", {0, 2, 3, 3});
  g.constant("two", Tensor::scalar(2.0F));
  g.node("Conv", {"x", "w"}, {"c"}).node("Mul", {"c", "two"}, {"y"}).output("y");
  Session session(g.finish(), {.threads = 1});
  const Feeds feeds = {{"x", G::random({1, 2, 4, 4}, 50)}};
  EXPECT_FALSE(is_by(session.explain(feeds), "conv_scale"));
  EXPECT_EQ(session.run(feeds)[0].shape(), (Shape{1, 0, 2, 2}));
}

TEST(ConvPasses, ResidualSum) {
  for (const std::string name : {"Add", "Sum"}) {
    for (const bool swapped : {false, true}) {
      G g = convolution(true);
      g.input("z", DType::f32, {2, 8, 9, 7});
      const std::vector<std::string> inputs = {swapped ? "z" : "c", swapped ? "c" : "z"};
      g.node(name, inputs, {"y"}).output("y");
      Feeds feeds = picture();
      feeds.emplace_back("z", G::random({2, 8, 9, 7}, 51));
      expect_fusion({"conv_add", g.finish(), feeds, "c"});
    }
  }
}

TEST(ConvPasses, OfTwoConvolutionsTheLaterTakesTheSum) {
  G g = convolution(true);
  g.weight("v", {8, 6, 1, 1}).node("Conv", {"x", "v"}, {"d"});
  g.node("Add", {"c", "d"}, {"s"}).node("Relu", {"s"}, {"y"}).output("y");
  const std::string plan = expect_fusion({"conv_add", g.finish(), picture(), "d"});
  EXPECT_TRUE(is_by(plan, "conv_activation")) << plan;
  EXPECT_EQ(plan.rfind("2 steps, 4 nodes", 0), 0U) << plan;
  // Where the later one is asked for, the earlier takes it.
  const std::string tapped = Session(g.finish(), {.threads = 1}).explain(picture(), {"y", "d"});
  EXPECT_TRUE(is_by(tapped, "conv_add")) << tapped;
}

TEST(ConvPasses, ASumWithItselfAndABroadcastStay) {
  G twice = convolution(true);
  twice.node("Add", {"c", "c"}, {"y"}).output("y");
  EXPECT_FALSE(is_by(Session(twice.finish(), {.threads = 1}).explain(picture()), "conv_add"));
  G row = convolution(true);
  row.input("z", DType::f32, {1, 8, 1, 1}).node("Add", {"c", "z"}, {"y"}).output("y");
  Feeds feeds = picture();
  feeds.emplace_back("z", G::random({1, 8, 1, 1}, 51));
  EXPECT_FALSE(is_by(Session(row.finish(), {.threads = 1}).explain(feeds), "conv_add"));
}

TEST(ConvPasses, AWholeBlockIsOneStep) {
  G g = convolution(true);
  g.weight("k", {8, 1, 1}).weight("scale", {8}).weight("shift", {8}).weight("mean", {8});
  g.constant("var", Tensor::of<float>({8}, {1, 2, 3, 4, 5, 6, 7, 8}));
  g.node("BatchNormalization", {"c", "scale", "shift", "mean", "var"}, {"n"});
  g.node("Mul", {"n", "k"}, {"m"}).input("z", DType::f32, {2, 8, 9, 7});
  g.node("Add", {"m", "z"}, {"s"}).node("Relu", {"s"}, {"y"}).output("y");
  Feeds feeds = picture();
  feeds.emplace_back("z", G::random({2, 8, 9, 7}, 51));
  const Model model = g.finish();
  const Session session(model, {.threads = 1});
  const std::string plan = session.explain(feeds);
  EXPECT_EQ(plan.rfind("1 steps, 5 nodes", 0), 0U) << plan;
  const Session plain(model, {.threads = 1, .disabled_passes = {"all"}});
  const Outputs got = session.run(feeds);
  const std::vector<std::string> all = {"c", "n", "m", "s", "y"};
  const Outputs expected = plain.run(feeds, all);
  expect_near(got[0], expected[4], 1e-6);
  // Each value alone: what comes before it is still joined.
  for (std::size_t i = 0; i < all.size(); ++i) {
    expect_near(session.run(feeds, {all[i]})[0], expected[i], 1e-6);
    expect_near(session.run(feeds, {"y", all[i]})[0], expected[4], 1e-6);
  }
  EXPECT_EQ(session.explain(feeds, {"s"}).rfind("1 steps, 4 nodes", 0), 0U);
}

TEST(ConvPasses, AValueThatIsUsedTwiceStays) {
  G g = convolution(true);
  g.node("Relu", {"c"}, {"r"})
      .node("Sigmoid", {"c"}, {"s"})
      .node("Concat", {"r", "s"}, {"y"}, {G::number("axis", 1)});
  g.output("y");
  const std::string plan = Session(g.finish(), {.threads = 1}).explain(picture());
  EXPECT_FALSE(is_by(plan, "conv_activation")) << plan;
  EXPECT_NE(plan.find("not conv_activation: 'c' is used by node 'Sigmoid_s' (Sigmoid) as well"),
            std::string::npos)
      << plan;
}

TEST(ConvPasses, Float64Stays) {
  G g;
  g.input("x", DType::f64, {1, 1, 4, 4}).constant("w", Tensor(DType::f64, {1, 1, 3, 3}));
  g.node("Conv", {"x", "w"}, {"c"}).node("Relu", {"c"}, {"y"}).output("y");
  const std::string plan =
      Session(g.finish(), {.threads = 1}).explain({{"x", Tensor(DType::f64, {1, 1, 4, 4})}});
  EXPECT_FALSE(is_by(plan, "conv_activation")) << plan;
}

TEST(ConvPasses, PadAndConv) {
  G g;
  g.input("x", DType::f32, {1, 2, 6, 5}).weight("w", {3, 2, 3, 3});
  g.constant("pads", Tensor::of<std::int64_t>({8}, {0, 0, 1, 0, 0, 0, 2, 1}));
  g.node("Pad", {"x", "pads"}, {"p"});
  g.node("Conv", {"p", "w"}, {"y"}, {G::ints("pads", {0, 1, 1, 0}), G::ints("strides", {2, 1})});
  g.output("y");
  const Feeds feeds = {{"x", G::random({1, 2, 6, 5}, 65)}};
  expect_fusion({"pad", g.finish(), feeds, "p"});
}

TEST(ConvPasses, OtherPadsStay) {
  const std::vector<std::pair<std::vector<std::int64_t>, float>> cases = {
      {{0, 0, 1, 1, 0, 0, 1, 1}, 0.5F},  // not with zeros
      {{0, 1, 1, 1, 0, 0, 1, 1}, 0},     // channels
      {{0, 0, -1, 0, 0, 0, 1, 1}, 0},    // a crop
  };
  for (const auto& [pads, value] : cases) {
    G g;
    g.input("x", DType::f32, {1, 2, 6, 5});
    g.weight("w", {3, pads[1] + 2, 3, 3}).constant("pads", Tensor::of<std::int64_t>({8}, pads));
    g.constant("value", Tensor::scalar(value)).node("Pad", {"x", "pads", "value"}, {"p"});
    g.node("Conv", {"p", "w"}, {"y"}).output("y");
    const Feeds feeds = {{"x", G::random({1, 2, 6, 5}, 65)}};
    EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(feeds), "pad"));
  }
}

}  // namespace
}  // namespace mezzo::tests
