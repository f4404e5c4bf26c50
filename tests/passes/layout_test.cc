// Convolutions, and what lies between them, in blocks of channels.

#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// A region with everything that one may hold: a first convolution of a plain image, pools, 1x1,
// 3x3 and depthwise convolutions, a residual sum, activations, a concatenation.
Model network() {
  G g;
  g.input("x", DType::f32, {2, 3, 65, 65});
  g.weight("w1", {32, 3, 3, 3}).weight("w2", {64, 32, 1, 1}).weight("w3", {64, 1, 3, 3});
  g.weight("w4", {32, 64, 1, 1}).weight("w5", {64, 32, 3, 3}).weight("w6", {40, 96, 3, 3});
  const auto pads = G::ints("pads", {1, 1, 1, 1}), strides = G::ints("strides", {2, 2});
  g.node("Conv", {"x", "w1"}, {"c1"}, {pads}).node("Relu", {"c1"}, {"r1"});
  g.node("MaxPool", {"r1"}, {"m1"}, {G::ints("kernel_shape", {3, 3}), strides});
  g.node("Conv", {"m1", "w2"}, {"c2"})
      .node("Sigmoid", {"c2"}, {"s2"})
      .node("Mul", {"c2", "s2"}, {"a2"});
  g.node("Conv", {"a2", "w3"}, {"c3"}, {pads, G::number("group", 64)});
  g.node("Conv", {"c3", "w4"}, {"c4"}).node("Add", {"c4", "m1"}, {"sum"});
  g.node("Conv", {"sum", "w5"}, {"c5"}, {pads}).node("Tanh", {"c5"}, {"t5"});
  g.node("Concat", {"t5", "sum"}, {"joined"}, {G::number("axis", -3)});
  g.node("Conv", {"joined", "w6"}, {"c6"}, {pads, strides}).node("Relu", {"c6"}, {"r6"});
  g.node("GlobalAveragePool", {"r6"}, {"y"}).output("y");
  return g.finish();
}

Feeds picture() { return {{"x", G::random({2, 3, 65, 65}, 71)}}; }

class LayoutPass : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels::active_target() != kernels::Target::avx2) GTEST_SKIP() << "for AVX2 only";
  }
};

TEST_F(LayoutPass, ARegionNeedsNoConversion) {
  const std::string plan = Session(network(), {.threads = 1}).explain(picture());
  EXPECT_EQ(count(plan, "as BlockedConv"), 6) << plan;
  EXPECT_EQ(count(plan, "as BlockedMaxPool"), 1) << plan;
  EXPECT_EQ(count(plan, "as BlockedGlobalAveragePool"), 1) << plan;
  EXPECT_EQ(count(plan, "as ToBlocked"), 0) << plan;
  EXPECT_EQ(count(plan, "as FromBlocked"), 0) << plan;
}

TEST_F(LayoutPass, ATappedTensorIsConvertedOnTheSide) {
  const Session session(network(), {.threads = 1});
  const std::string plan = session.explain(picture(), {"y", "sum"});
  EXPECT_EQ(count(plan, "as BlockedConv"), 6) << plan;
  EXPECT_EQ(count(plan, "as FromBlocked"), 1) << plan;
  EXPECT_EQ(count(plan, "as ToBlocked"), 0) << plan;
}

TEST_F(LayoutPass, ManyTapsKeepItPlain) {
  const Session session(network(), {.threads = 1});
  const std::string plan = session.explain(
      picture(), {"c1", "r1", "m1", "c2", "s2", "a2", "c3", "c4", "sum", "c5", "y"});
  EXPECT_EQ(count(plan, "as Blocked"), 0) << plan;
  EXPECT_NE(plan.find("not layout: converting"), std::string::npos) << plan;
}

// Every value, alone and with the output, fed and observed, equals that of the plain layout.
TEST_F(LayoutPass, NothingChangesButRounding) {
  const Model model = network();
  const Session blocked(model, {.threads = 2});
  const Session plain(model, {.threads = 2, .disabled_passes = {"layout"}});
  const Tensor y = plain.run(picture())[0];
  for (const ValueInfo& value : model.values()) {
    if (value.kind != ValueInfo::Kind::node_output) continue;
    SCOPED_TRACE(value.name);
    const Tensor expected = plain.run(picture(), {value.name})[0];
    const Outputs out = blocked.run(picture(), {value.name, "y"});
    expect_near(out[0], expected, 1e-5);
    expect_near(out[1], y, 1e-5);
    Feeds feeds = picture();
    feeds.emplace_back(value.name, expected);
    expect_near(blocked.run(feeds, {"y"})[0], y, 1e-5);
    int seen = 0;
    const auto patch = [&](const Tensor& tensor) {
      expect_near(tensor, expected, 1e-5);
      ++seen;
      return tensor;
    };
    expect_near(blocked.run(picture(), {"y"}, {.patches = {{value.name, patch}}})[0], y, 1e-5);
    EXPECT_EQ(seen, 1);
  }
}

}  // namespace
}  // namespace mezzo::tests
