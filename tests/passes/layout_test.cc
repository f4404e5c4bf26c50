// Convolutions, and what lies between them, in blocks of channels.

#include <algorithm>

#include "kernels/blocked_f32.h"
#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

// A region with everything that one may hold: a first convolution of a plain image, pools, 1x1,
// 3x3 and depthwise convolutions, norms, a residual sum, activations, a concatenation. Of the norm
// some factors may be zero; the convolution ahead of it may be of groups.
Model network(bool erases = false, std::int64_t groups = 1) {
  G g;
  g.input("x", DType::f32, {2, 3, 65, 65});
  g.weight("w1", {32, 3, 3, 3}).weight("w2", {64, 32, 1, 1}).weight("w3", {64, 1, 3, 3});
  g.weight("w4", {32, 64 / groups, 1, 1}).weight("w5", {64, 32, 3, 3}).weight("w6", {40, 96, 3, 3});
  const auto pads = G::ints("pads", {1, 1, 1, 1}), strides = G::ints("strides", {2, 2});
  g.node("Conv", {"x", "w1"}, {"c1"}, {pads}).node("Relu", {"c1"}, {"r1"});
  g.node("MaxPool", {"r1"}, {"m1"}, {G::ints("kernel_shape", {3, 3}), strides});
  g.node("Conv", {"m1", "w2"}, {"c2"})
      .node("Sigmoid", {"c2"}, {"s2"})
      .node("Mul", {"c2", "s2"}, {"a2"});
  g.node("Conv", {"a2", "w3"}, {"c3"}, {pads, G::number("group", 64)});
  g.weight("shift", {32}).weight("mean", {32});
  Tensor scale = G::random({32}, 73);
  if (erases) std::ranges::fill(scale.mutable_values<float>().first(3), 0.0F);
  g.constant("scale", scale);
  g.constant("var", Tensor::of<float>({32}, std::vector<float>(32, 3.0F)));
  g.node("Conv", {"c3", "w4"}, {"c4"}, {G::number("group", groups)});
  g.node("BatchNormalization", {"c4", "scale", "shift", "mean", "var"}, {"n4"});
  g.node("Add", {"m1", "n4"}, {"sum"}).node("Relu", {"sum"}, {"r4"});
  g.node("Conv", {"r4", "w5"}, {"c5"}, {pads}).node("Tanh", {"c5"}, {"t5"});
  g.node("Concat", {"t5", "r4"}, {"joined"}, {G::number("axis", -3)});
  g.node("Conv", {"joined", "w6"}, {"c6"}, {pads, strides}).node("Relu", {"c6"}, {"r6"});
  g.node("GlobalAveragePool", {"r6"}, {"y"}).output("y");
  return g.finish();
}

Feeds picture() { return {{"x", G::random({2, 3, 65, 65}, 71)}}; }

class LayoutPass : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::simd_enabled() || !kernels::blocked_layout_pays())
      GTEST_SKIP() << "for vectors of 8 elements and more";
  }
};

TEST_F(LayoutPass, ARegionNeedsNoConversion) {
  const std::string plan = Session(network(), {.threads = 1}).explain(picture());
  EXPECT_EQ(count(plan, "as BlockedConv"), 6) << plan;
  EXPECT_EQ(count(plan, "as BlockedMaxPool"), 1) << plan;
  EXPECT_EQ(count(plan, "as BlockedGlobalAveragePool"), 1) << plan;
  EXPECT_EQ(count(plan, "as ToBlocked"), 0) << plan;
  EXPECT_EQ(count(plan, "as FromBlocked"), 0) << plan;
  EXPECT_EQ(Session(network(false, 4), {.threads = 1}).explain(picture()), plan);
}

// The first convolution would be faster by Winograd's method on plain images, which blocks of 8
// channels do not divide; but then its result would have to be converted.
TEST_F(LayoutPass, AConvolutionOfAPlainImageGivesBlocks) {
  G g;
  g.input("x", DType::f32, {1, 12, 32, 32})
      .weight("w0", {16, 12, 3, 3})
      .weight("w", {16, 16, 3, 3});
  const auto pads = G::ints("pads", {1, 1, 1, 1});
  g.node("Conv", {"x", "w0"}, {"c0"}, {pads}).node("Conv", {"c0", "w"}, {"c1"}, {pads});
  g.node("Conv", {"c1", "w"}, {"c2"}, {pads});
  g.node("Conv", {"c2", "w"}, {"y"}, {pads}).output("y");
  const Model model = g.finish();
  const Feeds feeds = {{"x", G::random({1, 12, 32, 32}, 1)}};
  const std::string plan = Session(model, {.threads = 1}).explain(feeds);
  EXPECT_EQ(count(plan, "as BlockedConv") + count(plan, "as BlockedStagedConv"), 4) << plan;
  EXPECT_EQ(count(plan, "as ToBlocked"), 0) << plan;
  expect_near(Session(model).run(feeds)[0],
              Session(model, {.disabled_passes = {"layout"}}).run(feeds)[0], 1e-5);
}

TEST_F(LayoutPass, ATappedTensorIsConvertedOnTheSide) {
  const Session session(network(), {.threads = 1});
  const std::string plan = session.explain(picture(), {"y", "m1"});
  EXPECT_EQ(count(plan, "as BlockedConv"), 6) << plan;
  EXPECT_EQ(count(plan, "as FromBlocked"), 1) << plan;
  EXPECT_EQ(count(plan, "as ToBlocked"), 0) << plan;
}

// What lies in a convolution and right behind it.
TEST_F(LayoutPass, AConvolutionGivesWhatIsTappedInIt) {
  const Session session(network(), {.threads = 1});
  for (const std::string tapped : {"c1", "r1", "c3", "c4", "n4", "sum", "r4", "c5", "c6"}) {
    SCOPED_TRACE(tapped);
    const std::string plan = session.explain(picture(), {"y", tapped});
    EXPECT_EQ(count(plan, "as BlockedStagedConv"), 1) << plan;
    EXPECT_EQ(count(plan, "as BlockedConv"), 5) << plan;
    EXPECT_EQ(count(plan, "as FromBlocked"), 0) << plan;
  }
  const std::string all =
      session.explain(picture(), {"y", "c1", "r1", "c4", "n4", "sum", "r4", "c6", "r6"});
  EXPECT_EQ(count(all, "as BlockedStagedConv"), 3) << all;
  EXPECT_NE(all.find("'Conv_c4' (Conv) + node 'BatchNormalization_n4' (BatchNormalization) + node "
                     "'Add_sum' (Add) + node 'Relu_r4' (Relu)"),
            std::string::npos)
      << all;
}

// Reshape has no step of its own: who reads its result reads the convolution's, before the Relu
// runs.
TEST_F(LayoutPass, AViewThatIsReadInBetweenIsThere) {
  G g;
  g.input("x", DType::f32, {1, 3, 65, 65});
  g.weight("w1", {32, 3, 3, 3}).weight("w2", {32, 1, 3, 3}).weight("w3", {64, 32, 1, 1});
  g.constant("flat", Tensor::of<std::int64_t>({1}, {-1}));
  const auto pads = G::ints("pads", {1, 1, 1, 1});
  g.node("Conv", {"x", "w1"}, {"c"}, {pads}).node("Reshape", {"c", "flat"}, {"v"});
  g.node("ReduceL2", {"v"}, {"norm"}).output("norm");
  g.node("Relu", {"c"}, {"r"});
  g.node("Conv", {"r", "w2"}, {"d"}, {pads, G::number("group", 32)})
      .node("Conv", {"d", "w3"}, {"e"});
  g.node("GlobalAveragePool", {"e"}, {"y"}).output("y");
  const Model model = g.finish();
  const Feeds feeds = {{"x", G::random({1, 3, 65, 65}, 72)}};
  const Session session(model, {.threads = 1});
  EXPECT_GT(count(session.explain(feeds), "as Blocked"), 0);
  const Outputs got = session.run(feeds);
  const Outputs expected = Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(feeds);
  expect_near(got[0], expected[0], 1e-5);
  expect_near(got[1], expected[1], 1e-5);
}

TEST_F(LayoutPass, ManyConversionsKeepItPlain) {
  Feeds feeds = {{"x", G::random({1, 8, 9, 9}, 1)}};
  G g;
  g.input("x", DType::f32, {1, 8, 9, 9}).weight("w", {8, 8, 1, 1});
  g.node("Conv", {"x", "w"}, {"c"}).output("c");
  const std::string plan = Session(g.finish(), {.threads = 1}).explain(feeds);
  EXPECT_EQ(count(plan, "as Blocked"), 0) << plan;
  EXPECT_NE(plan.find("not layout: converting"), std::string::npos) << plan;
}

// Every value, alone and with the output, fed and observed, equals that of the plain layout.
void expect_only_rounding(const Model& model, const Feeds& given = picture()) {
  const Session blocked(model, {.threads = 2});
  const Session plain(model, {.threads = 2, .disabled_passes = {"layout"}});
  const Tensor y = plain.run(given)[0];
  for (const ValueInfo& value : model.values()) {
    if (value.kind != ValueInfo::Kind::node_output) continue;
    SCOPED_TRACE(value.name);
    const Tensor expected = plain.run(given, {value.name})[0];
    const Outputs out = blocked.run(given, {value.name, "y"});
    expect_near(out[0], expected, 1e-5);
    expect_near(out[1], y, 1e-5);
    Feeds feeds = given;
    feeds.emplace_back(value.name, expected);
    expect_near(blocked.run(feeds, {"y"})[0], y, 1e-5);
    int seen = 0;
    const auto patch = [&](const Tensor& tensor) {
      expect_near(tensor, expected, 1e-5);
      ++seen;
      return tensor;
    };
    expect_near(blocked.run(given, {"y"}, {.patches = {{value.name, patch}}})[0], y, 1e-5);
    EXPECT_EQ(seen, 1);
  }
}

TEST_F(LayoutPass, NothingChangesButRounding) {
  expect_only_rounding(network());
  expect_only_rounding(network(false, 4));
}

// Between Transposes that take channels to the end and back, as ConvNeXt has them: these move
// blocks of channels.
TEST_F(LayoutPass, TransposesOfChannelsGiveBlocksAndTakeThem) {
  G g;
  g.input("x", DType::f32, {2, 14, 11, 64}).weight("w1", {64, 1, 7, 7}).weight("w2", {64, 64});
  g.weight("gamma", {64, 1, 1});
  const auto first = G::ints("perm", {0, 3, 1, 2}), last = G::ints("perm", {0, 2, 3, 1});
  g.node("Transpose", {"x"}, {"t1"}, {first});
  g.node("Conv", {"t1", "w1"}, {"c1"}, {G::ints("pads", {3, 3, 3, 3}), G::number("group", 64)});
  g.node("Transpose", {"c1"}, {"t2"}, {last}).node("MatMul", {"t2", "w2"}, {"m2"});
  g.node("Transpose", {"m2"}, {"t3"}, {first}).node("Mul", {"gamma", "t3"}, {"s3"});
  g.node("Add", {"s3", "t1"}, {"sum"}).node("Transpose", {"sum"}, {"y"}, {last}).output("y");
  const Model model = g.finish();
  const Feeds feeds = {{"x", G::random({2, 14, 11, 64}, 74)}};
  // With the other pass the sum is done without the channels ahead.
  const std::string plan =
      Session(model, {.threads = 1, .disabled_passes = {"transposes"}}).explain(feeds);
  EXPECT_EQ(count(plan, "as ToBlocked"), 2) << plan;
  EXPECT_EQ(count(plan, "as FromBlocked"), 2) << plan;
  EXPECT_EQ(count(plan, "as BlockedSharedMul"), 1) << plan;
  EXPECT_EQ(count(plan, "moving elements"), 0) << plan;
  expect_only_rounding(model, feeds);
}

// A first layer by Winograd's method, whose bands of rows are whole tiles.
TEST_F(LayoutPass, AFirstLayerByPhases) {
  G g;
  g.input("x", DType::f32, {1, 3, 64, 64}).weight("w1", {32, 3, 7, 7}).weight("w2", {32, 32, 3, 3});
  const auto strides = G::ints("strides", {2, 2}), pads = G::ints("pads", {1, 1, 1, 1});
  g.node("Conv", {"x", "w1"}, {"c1"}, {G::ints("pads", {3, 3, 3, 3}), strides});
  g.node("Relu", {"c1"}, {"r1"}).node("Conv", {"r1", "w2"}, {"c2"}, {pads});
  g.node("Relu", {"c2"}, {"y"}).output("y");
  const Model model = g.finish();
  const Feeds feeds = {{"x", G::random({1, 3, 64, 64}, 75)}};
  const std::string plan = Session(model, {.threads = 1}).explain(feeds);
  EXPECT_EQ(count(plan, "by Winograd"), 2) << plan;
  expect_only_rounding(model, feeds);
}

// The same of tensors of one spatial axis: dilated, strided and depthwise convolutions, norms,
// slopes by channel, a pool, a gate, a sum, parts of channels.
Model signal_network() {
  G g;
  g.input("x", DType::f32, {2, 1, 4000});
  g.weight("w1", {128, 1, 9}).weight("w2", {128, 128, 3}).weight("w3", {128, 1, 5});
  g.weight("w4", {128, 128, 1}).weight("w5", {32, 256, 3}).weight("w6", {48, 32, 3});
  const auto one = G::ints("pads", {1, 1}), two = G::ints("pads", {2, 2}),
             strides = G::ints("strides", {2});
  g.node("Conv", {"x", "w1"}, {"c1"}, {G::ints("strides", {5})}).node("Tanh", {"c1"}, {"t1"});
  g.node("Conv", {"t1", "w2"}, {"c2"}, {two, G::ints("dilations", {2})});
  add_norm(g, "c2", "n2", 128);
  g.weight("slope", {128, 1}).node("PRelu", {"n2", "slope"}, {"r2"});
  g.node("Conv", {"r2", "w3"}, {"c3"}, {two, G::number("group", 128)});
  g.node("Conv", {"c3", "w4"}, {"c4"}).node("Add", {"c4", "r2"}, {"sum"});
  g.node("Relu", {"sum"}, {"u4"});
  g.node("GlobalAveragePool", {"u4"}, {"mean"}).node("Sigmoid", {"mean"}, {"gate"});
  g.node("Mul", {"u4", "gate"}, {"gated"});
  add_norm(g, "gated", "n4", 128);
  g.node("MaxPool", {"n4"}, {"r4"}, {G::ints("kernel_shape", {3}), one});
  g.constant("parts", Tensor::of<std::int64_t>({2}, {64, 64}));
  g.node("Split", {"r4", "parts"}, {"left", "right"}, {G::number("axis", 1)});
  g.node("Concat", {"right", "r4", "left"}, {"joined"}, {G::number("axis", -2)});
  g.node("Conv", {"joined", "w5"}, {"c5"}, {one, strides}).node("Sigmoid", {"c5"}, {"s5"});
  g.node("Mul", {"c5", "s5"}, {"a5"}).node("Conv", {"a5", "w6"}, {"y"}, {one}).output("y");
  return g.finish();
}

TEST_F(LayoutPass, TensorsOfOneSpatialAxisAreImagesOfOneRow) {
  const Feeds feeds = {{"x", G::random({2, 1, 4000}, 72)}};
  const Session session(signal_network(), {.threads = 1});
  const std::string plan = session.explain(feeds);
  for (const char* name : {"PRelu", "GlobalAveragePool", "ChannelMul", "ScaleShift", "MaxPool"})
    EXPECT_EQ(count(plan, "as Blocked" + std::string(name)), 1) << plan;
  EXPECT_EQ(count(plan, "as BlockedConv"), 4) << plan;
  EXPECT_EQ(count(plan, "as BlockedStagedConv"), 1) << plan;
  EXPECT_EQ(count(plan, "as ToBlocked"), 1) << plan;
  EXPECT_EQ(count(plan, "as FromBlocked"), 0) << plan;
  EXPECT_EQ(session.run(feeds)[0].shape(), (Shape{2, 48, 400}));
  expect_only_rounding(signal_network(), feeds);
}

// What is made of it by others besides must not take its place.
TEST_F(LayoutPass, AConversionReadsWhatItConverts) {
  G g;
  g.input("x", DType::f32, {1, 64, 32, 32}).weight("w", {64, 64, 3, 3});
  g.node("Exp", {"x"}, {"e"})
      .node("Conv", {"e", "w"}, {"c"},
            {G::ints("pads", {2, 2, 2, 2}), G::ints("dilations", {2, 2})});
  g.node("Sigmoid", {"e"}, {"s"}).output("c").output("s");
  const Model model = g.finish();
  const Feeds feeds = {{"x", G::random({1, 64, 32, 32}, 74)}};
  const Session session(model, {.threads = 1});
  EXPECT_EQ(count(session.explain(feeds), "as ToBlocked"), 1) << session.explain(feeds);
  const Outputs got = session.run(feeds);
  const Outputs expected = Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(feeds);
  for (const std::size_t i : {0, 1}) expect_near(got[i], expected[i], 1e-5);
}

// It has the weights that have taken in the norm, as the plan without the tap has.
TEST_F(LayoutPass, ATapAheadOfANormChangesNoBit) {
  const Session session(network(), {.threads = 1});
  const Tensor y = session.run(picture())[0];
  const Outputs tapped = session.run(picture(), {"c4", "y"});
  EXPECT_TRUE(std::ranges::equal(tapped[1].values<float>(), y.values<float>()));
  const Session plain(network(), {.threads = 1, .disabled_passes = {"layout"}});
  expect_near(tapped[0], plain.run(picture(), {"c4"})[0], 1e-5);
}

TEST_F(LayoutPass, ATapAheadOfANormThatErasesChannels) {
  const Session session(network(true), {.threads = 1});
  EXPECT_EQ(count(session.explain(picture(), {"c4", "y"}), "as BlockedStagedConv"), 1);
  const Outputs tapped = session.run(picture(), {"c4", "n4", "y"});
  const Session plain(network(true), {.threads = 1, .disabled_passes = {"layout"}});
  const Outputs expected = plain.run(picture(), {"c4", "n4", "y"});
  for (std::size_t i = 0; i < 3; ++i) expect_near(tapped[i], expected[i], 1e-5);
}

TEST_F(LayoutPass, AllValuesAtOnce) {
  const Model model = network();
  std::vector<std::string> names;
  for (const ValueInfo& value : model.values()) {
    if (value.kind == ValueInfo::Kind::node_output) names.push_back(value.name);
  }
  // Every tensor that is no clamp's is converted, which does not take the region apart.
  const std::string plan = Session(model, {.threads = 1}).explain(picture(), names);
  EXPECT_EQ(count(plan, "as BlockedConv") + count(plan, "as BlockedStagedConv"), 6) << plan;
  EXPECT_GE(count(plan, "as FromBlocked"), 4) << plan;
  for (const int threads : {1, 2}) {
    const Outputs got = Session(model, {.threads = threads}).run(picture(), names);
    const Outputs expected =
        Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(picture(), names);
    for (std::size_t i = 0; i < names.size(); ++i) {
      SCOPED_TRACE(names[i]);
      expect_near(got[i], expected[i], 1e-5);
    }
  }
}

// Two branches and what they are joined to, all of which may be asked for.
Model branches(std::int64_t size, std::int64_t channels, std::int64_t groups = 1) {
  G g;
  g.input("x", DType::f32, {1, 3, size, size}).weight("w1", {64, 3, 3, 3});
  g.weight("w2", {channels, 64, 1, 1}).weight("w3", {64, 64 / groups, 3, 3});
  g.weight("w4", {64, channels + 64, 3, 3});
  const auto pads = G::ints("pads", {1, 1, 1, 1});
  g.node("Conv", {"x", "w1"}, {"c1"}, {pads}).node("Relu", {"c1"}, {"r1"});
  g.node("Conv", {"r1", "w2"}, {"c2"}).node("Relu", {"c2"}, {"r2"});
  g.node("Conv", {"r1", "w3"}, {"c3"}, {pads, G::number("group", groups)});
  g.node("Relu", {"c3"}, {"r3"});
  g.node("Concat", {"r2", "r3"}, {"joined"}, {G::number("axis", 1)});
  g.node("Conv", {"joined", "w4"}, {"c4"}, {pads}).node("Relu", {"c4"}, {"r4"});
  g.node("GlobalAveragePool", {"r4"}, {"y"}).output("y");
  return g.finish();
}

TEST_F(LayoutPass, ConvolutionsGiveAConcatBesideItsParts) {
  const std::vector<std::string> names = {"r2", "joined", "c3", "r3", "y"};
  using Case = std::pair<std::int64_t, std::int64_t>;
  for (const auto& [size, groups] : {Case{13, 1}, {32, 1}, {55, 1}, {120, 1}, {13, 4}, {55, 4}}) {
    SCOPED_TRACE(std::to_string(size) + ", groups " + std::to_string(groups));
    const Model model = branches(size, 32, groups);
    const Feeds feeds = {{"x", G::random({1, 3, size, size}, 75)}};
    const Outputs expected =
        Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(feeds, names);
    for (const int threads : {1, 2}) {
      const Session session(model, {.threads = threads});
      const std::string plan = session.explain(feeds, names);
      EXPECT_EQ(count(plan, "as FromBlocked"), 0) << plan;
      EXPECT_EQ(count(plan, "as BlockedStagedConv"), 2) << plan;
      const Outputs got = session.run(feeds, names);
      for (std::size_t i = 0; i < names.size(); ++i) {
        SCOPED_TRACE(names[i]);
        expect_near(got[i], expected[i], 1e-5);
      }
      // Nobody who writes into one of them changes another.
      const auto bytes_of = [](const Tensor& t) { return std::as_bytes(t.values<float>()); };
      for (const Tensor& part : {got[0], got[3]}) {
        const auto apart = bytes_of(part), joined = bytes_of(got[1]);
        EXPECT_TRUE(apart.data() + apart.size() <= joined.data() ||
                    joined.data() + joined.size() <= apart.data());
      }
    }
  }
}

// The second part would not begin at a line of the cache; or somebody asks for one part only.
TEST_F(LayoutPass, AConcatThatIsConverted) {
  const auto conversions = [](std::int64_t channels, const std::vector<std::string>& names) {
    const Model model = branches(13, channels);
    const Feeds feeds = {{"x", G::random({1, 3, 13, 13}, 75)}};
    const Session session(model, {.threads = 1});
    const Outputs got = session.run(feeds, names);
    const Outputs expected =
        Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(feeds, names);
    for (std::size_t i = 0; i < names.size(); ++i) expect_near(got[i], expected[i], 1e-5);
    return count(session.explain(feeds, names), "as FromBlocked");
  };
  EXPECT_EQ(conversions(40, {"r2", "joined", "r3", "y"}), 1);
  EXPECT_EQ(conversions(32, {"joined", "r3", "y"}), 1);
  EXPECT_EQ(conversions(32, {"r2", "joined", "r3", "y"}), 0);
}

}  // namespace
}  // namespace mezzo::tests
