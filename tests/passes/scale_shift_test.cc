// Batch normalisation without a convolution ahead of it, with the activation behind it.

#include <limits>

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

G norm(const Shape& shape) {
  G g;
  g.input("x", DType::f32, shape);
  add_norm(g, "x", "n", shape[1]);
  return g;
}

Feeds images(const Shape& shape) { return {{"x", G::random(shape, 53)}}; }

const std::vector<Shape> kShapes = {{2, 8, 5},     {1, 3, 9, 7},    {2, 16, 7, 7},   {3, 5, 1, 1},
                                    {1, 4, 6, 40}, {2, 3, 3, 5, 4}, {1, 6, 130, 129}};

TEST(ScaleShiftPass, WithAnActivation) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(to_string(shape));
    G relu = norm(shape);
    relu.node("Relu", {"n"}, {"y"}).output("y");
    const std::string plan =
        expect_fusion({"scale_shift", relu.finish(), images(shape), "n", 1e-6});
    EXPECT_EQ(plan.rfind("1 steps, 2 nodes", 0), 0U) << plan;
    G clip = norm(shape);
    clip.constant("low", Tensor::scalar(-0.5F)).constant("high", Tensor::scalar(0.25F));
    clip.node("Clip", {"n", "low", "high"}, {"y"}).output("y");
    expect_fusion({"scale_shift", clip.finish(), images(shape), "n", 1e-6});
  }
}

TEST(ScaleShiftPass, Alone) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(to_string(shape));
    const Model model = norm(shape).output("n").finish();
    const Session session(model, {.threads = 2});
    EXPECT_TRUE(is_by(session.explain(images(shape)), "scale_shift"));
    const Session plain(model, {.threads = 2, .disabled_passes = {"scale_shift"}});
    expect_near(session.run(images(shape))[0], plain.run(images(shape))[0], 1e-6);
  }
}

TEST(ScaleShiftPass, NotANumberStaysOne) {
  G g = norm({1, 2, 4, 5});
  g.node("Relu", {"n"}, {"y"}).output("y");
  Tensor x = G::random({1, 2, 4, 5}, 3);
  x.mutable_values<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  const Outputs y = Session(g.finish(), {.threads = 1}).run({{"x", x}});
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(y[0].values<float>()[i]), i == 7);
}

TEST(ScaleShiftPass, WhatIsNoneStays) {
  const auto stays = [](G& g, int opset, const Feeds& feeds) {
    const std::string plan = Session(g.finish(opset), {.threads = 1}).explain(feeds);
    EXPECT_FALSE(is_by(plan, "scale_shift")) << plan;
  };
  const Shape shape = {2, 8, 3, 3};
  // Statistics of the batch.
  G trains;
  trains.input("x", DType::f32, shape);
  add_norm(trains, "x", "n", 8, {G::number("training_mode", 1)});
  stays(trains.output("n"), 15, images(shape));
  // Statistics of each activation.
  G each;
  each.input("x", DType::f32, {2, 8}).weight("s", {8}).weight("b", {8}).weight("m", {8});
  each.constant("v", Tensor::of<float>({8}, std::vector<float>(8, 2.0F)));
  each.node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"n"}, {G::number("spatial", 0)});
  stays(each.output("n"), 7, images({2, 8}));
  // Statistics of the run.
  G fed = G();
  fed.input("x", DType::f32, shape).input("m", DType::f32, {8}).weight("s", {8}).weight("b", {8});
  fed.constant("v", Tensor::of<float>({8}, std::vector<float>(8, 2.0F)));
  fed.node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"n"});
  stays(fed.output("n"), 15, {{"x", G::random(shape, 1)}, {"m", G::random({8}, 2)}});
}

}  // namespace
}  // namespace mezzo::tests
