// Networks that are one region of the blocked layout, with all that regions go on through: norms
// ahead of convolutions, pools, gates, slopes by channel, parts of channels, enlarged images.

#include "graph/build_model.h"
#include "kernels/blocked_f32.h"
#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

// Every value of a model, alone and all at once, for sessions of one to three threads whose plan
// names all of `operators` and converts nothing back.
void expect_in_blocks(const Model& model, const Feeds& feeds, std::vector<std::string> values,
                      const std::vector<std::string>& operators, bool in_bands) {
  if (!kernels::simd_enabled() || !kernels::blocked_layout_pays())
    GTEST_SKIP() << "for vectors of 8 elements and more";
  values.insert(values.begin(), "y");
  const Outputs expected =
      Session(model, {.threads = 1, .disabled_passes = {"layout", "scale_shift"}})
          .run(feeds, values);
  for (const int threads : {1, 2, 3}) {
    SCOPED_TRACE(threads);
    const Session session(model, {.threads = threads});
    const std::string plan = session.explain(feeds);
    for (const std::string& name : operators)
      EXPECT_NE(plan.find("as " + name), std::string::npos) << plan;
    EXPECT_EQ(plan.find("as FromBlocked"), std::string::npos) << plan;
    EXPECT_EQ(is_by(plan, "row_bands"), in_bands && threads > 1) << plan;
    EXPECT_EQ(is_by(plan, "micro_batch"), feeds[0].second.shape()[0] > 10) << plan;
    expect_values(session, feeds, values, expected);
  }
}

// Two layers and a transition of a DenseNet.
Model dense_network() {
  G g;
  g.input("x", DType::f32, {1, 3, 131, 96});
  g.weight("w0", {16, 3, 3, 3}).weight("w1", {32, 16, 1, 1}).weight("w2", {16, 32, 3, 3});
  g.weight("w3", {32, 32, 1, 1}).weight("w4", {16, 32, 3, 3}).weight("w5", {24, 48, 1, 1});
  g.weight("w6", {32, 24, 1, 1});
  const auto one = G::ints("pads", {1, 1, 1, 1}), two = G::ints("kernel_shape", {2, 2});
  const auto window = G::ints("kernel_shape", {3, 3}), stride = G::ints("strides", {2, 2});
  const auto normed = [&](const std::string& from, std::int64_t channels) {
    add_norm(g, from, from + "n", channels);
    g.node("Relu", {from + "n"}, {from + "r"});
  };
  const auto layer = [&](const std::string& from, std::int64_t channels, const std::string& narrow,
                         const std::string& wide, const std::string& to) {
    normed(from, channels);
    g.node("Conv", {from + "r", narrow}, {to + "b"});
    normed(to + "b", 32);
    g.node("Conv", {to + "br", wide}, {to + "c"}, {one});
    g.node("Concat", {from, to + "c"}, {to}, {G::number("axis", 1)});
  };
  g.node("Conv", {"x", "w0"}, {"c0"}, {one}).node("MaxPool", {"c0"}, {"d0"}, {window, stride});
  layer("d0", 16, "w1", "w2", "d1");
  layer("d1", 32, "w3", "w4", "d2");
  normed("d2", 48);
  g.node("Conv", {"d2r", "w5"}, {"t"}).node("AveragePool", {"t"}, {"p"}, {two, stride});
  g.node("AveragePool", {"p"}, {"q"}, {window, one});
  g.node("AveragePool", {"q"}, {"s"}, {window, one, G::number("count_include_pad", 1)});
  normed("s", 24);
  g.node("Conv", {"sr", "w6"}, {"e"}).node("GlobalAveragePool", {"e"}, {"y"}).output("y");
  return g.finish(15);
}

TEST(BlockedRegions, NormsAheadOfConvolutions) {
  expect_in_blocks(dense_network(), {{"x", G::random({1, 3, 131, 96}, 5)}},
                   {"c0", "d0",  "d0n", "d0r", "d1b", "d1bn", "d1br", "d1c", "d1", "d1n", "d1r",
                    "d2", "d2n", "d2r", "t",   "p",   "q",    "s",    "sn",  "sr", "e"},
                   {"BlockedScaleShift", "BlockedAveragePool"}, true);
}

// Squeeze and excitation in both of the forms that exporters write, and a shift of each channel
// that the run gives; the numbers are the first operand or the second.
Model gated_network(std::int64_t batch, bool reduces) {
  G g;
  g.input("x", DType::f32, {batch, 3, 67, 96}).input("shift", DType::f32, {batch, 24, 1, 1});
  g.weight("w0", {24, 3, 3, 3}).weight("s1", {4, 24, 1, 1}).weight("e1", {24, 4, 1, 1});
  g.weight("d2", {24, 1, 3, 3}).weight("s2", {8, 24, 1, 1}).weight("e2", {24, 8, 1, 1});
  g.weight("w3", {32, 24, 1, 1}).constant("axes", Tensor::of<std::int64_t>({2}, {2, 3}));
  const auto one = G::ints("pads", {1, 1, 1, 1});
  const auto gate = [&](const std::string& x, const std::string& squeeze, const std::string& excite,
                        bool swapped) {
    if (reduces) {
      g.node("ReduceMean", {x, "axes"}, {x + "m"});
    } else {
      g.node("GlobalAveragePool", {x}, {x + "m"});
    }
    g.node("Conv", {x + "m", squeeze}, {x + "s"}).node("Relu", {x + "s"}, {x + "r"});
    g.node("Conv", {x + "r", excite}, {x + "e"}).node("Sigmoid", {x + "e"}, {x + "g"});
    g.node("Mul", {swapped ? x + "g" : x, swapped ? x : x + "g"}, {x + "y"});
  };
  g.node("Conv", {"x", "w0"}, {"a"}, {one}).node("Relu", {"a"}, {"b"});
  gate("b", "s1", "e1", false);
  g.node("Conv", {"by", "d2"}, {"c"}, {one, G::number("group", 24)})
      .node("HardSwish", {"c"}, {"h"});
  gate("h", "s2", "e2", true);
  g.node("Add", {"hy", "shift"}, {"i"}).node("Add", {"shift", "i"}, {"j"});
  g.node("Conv", {"j", "w3"}, {"k"}).node("GlobalAveragePool", {"k"}, {"y"}).output("y");
  return g.finish(18);
}

TEST(BlockedRegions, SqueezeAndExcitation) {
  // The largest batch goes in parts.
  for (const std::int64_t batch : {1, 3, 16}) {
    for (const bool reduces : {false, true}) {
      if (batch > 3 && reduces) continue;
      const Feeds feeds = {{"x", G::random({batch, 3, 67, 96}, 5)},
                           {"shift", G::random({batch, 24, 1, 1}, 6)}};
      expect_in_blocks(gated_network(batch, reduces), feeds,
                       {"a", "b", "bm", "bg", "by", "c", "h", "hm", "hg", "hy", "i", "j", "k"},
                       {"BlockedChannelMul", "BlockedChannelAdd", "BlockedGlobalAveragePool"},
                       batch == 1);
    }
  }
}

// As YOLO's: channels that go apart and together, and images that are enlarged.
Model split_network(std::int64_t batch, int opset) {
  G g;
  g.input("x", DType::f32, {batch, 3, 66, 96});
  g.weight("w0", {48, 3, 3, 3}).weight("w1", {8, 8, 3, 3}).weight("w2", {24, 96, 1, 1});
  g.weight("w3", {16, 40, 1, 1}).weight("w4", {16, 16, 3, 3});
  g.constant("sizes", Tensor::of<std::int64_t>({3}, {16, 8, 24}));
  g.constant("twice", Tensor::of<float>({4}, {1, 1, 2, 2}));
  g.constant("roi", Tensor(DType::f32, {0})).constant("none", Tensor(DType::f32, {0}));
  g.constant("size", Tensor::of<std::int64_t>({4}, {batch, 16, 47, 131}));
  const auto one = G::ints("pads", {1, 1, 1, 1}), axis = G::number("axis", 1);
  const auto nearest = onnx::attribute("mode", std::string("nearest"));
  g.node("Conv", {"x", "w0"}, {"a"}, {one}).node("Relu", {"a"}, {"b"});
  if (opset < 13) {
    g.node("Split", {"b"}, {"l", "m", "n"}, {axis, G::ints("split", {16, 8, 24})});
  } else {
    g.node("Split", {"b", "sizes"}, {"l", "m", "n"}, {G::number("axis", -3)});
  }
  g.node("Conv", {"m", "w1"}, {"o"}, {one}).node("Add", {"m", "o"}, {"p"});
  g.node("Concat", {"l", "m", "n", "b"}, {"q"}, {axis}).node("Conv", {"q", "w2"}, {"r"});
  g.node("Concat", {"r", "p", "o"}, {"s"}, {axis}).node("Conv", {"s", "w3"}, {"t"});
  g.node("Resize", {"t", "roi", "twice"}, {"u"},
         {nearest, onnx::attribute("coordinate_transformation_mode", std::string("asymmetric")),
          onnx::attribute("nearest_mode", std::string("floor"))});
  g.node("Conv", {"u", "w4"}, {"v"}, {one});
  g.node("Resize", {"v", "roi", "none", "size"}, {"w"}, {nearest});
  g.node("GlobalAveragePool", {"w"}, {"y"}).output("y");
  return g.finish(opset);
}

// As in face recognition: a slope for each channel, or one for all.
TEST(BlockedRegions, PRelu) {
  for (const std::int64_t batch : {1, 3}) {
    G g;
    g.input("x", DType::f32, {batch, 3, 66, 96});
    g.weight("w0", {24, 3, 3, 3}).weight("w1", {24, 24, 3, 3}).weight("w2", {16, 24, 1, 1});
    g.weight("s0", {24, 1, 1}).weight("s1", {1, 24, 1, 1}).weight("s2", {1});
    const auto one = G::ints("pads", {1, 1, 1, 1});
    g.node("Conv", {"x", "w0"}, {"a"}, {one}).node("PRelu", {"a", "s0"}, {"b"});
    g.node("Conv", {"b", "w1"}, {"c"}, {one}).node("PRelu", {"c", "s1"}, {"d"});
    g.node("Conv", {"d", "w2"}, {"e"}).node("PRelu", {"e", "s2"}, {"f"});
    g.node("GlobalAveragePool", {"f"}, {"y"}).output("y");
    expect_in_blocks(g.finish(16), {{"x", G::random({batch, 3, 66, 96}, 5)}},
                     {"a", "b", "c", "d", "e", "f"}, {"BlockedPRelu"}, batch == 1);
  }
}

TEST(BlockedRegions, SplitAndNearestPixels) {
  for (const std::int64_t batch : {1, 3}) {
    for (const int opset : {11, 13}) {
      expect_in_blocks(split_network(batch, opset), {{"x", G::random({batch, 3, 66, 96}, 5)}},
                       {"a", "b", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w"},
                       {"BlockedSlice", "BlockedNearest"}, false);
    }
  }
}

// As in super resolution: the last convolution gives three channels, which are plain, and leaves
// its activation, a bound or a function, to itself.
TEST(BlockedRegions, FewChannelsAtTheEnd) {
  for (const char* activation : {"Relu", "Tanh"}) {
    for (const std::int64_t batch : {1, 3}) {
      G g;
      g.input("x", DType::f32, {batch, 3, 131, 96}).weight("w0", {16, 3, 3, 3});
      g.weight("w1", {16, 16, 3, 3}).weight("w2", {3, 16, 3, 3}).weight("b2", {3});
      const auto one = G::ints("pads", {1, 1, 1, 1});
      g.node("Conv", {"x", "w0"}, {"a"}, {one}).node("Relu", {"a"}, {"b"});
      g.node("Conv", {"b", "w1"}, {"c"}, {one}).node("Add", {"b", "c"}, {"d"});
      g.node("Conv", {"d", "w2", "b2"}, {"e"}, {one}).node("Add", {"e", "x"}, {"f"});
      g.node(activation, {"f"}, {"y"}).output("y");
      expect_in_blocks(g.finish(16), {{"x", G::random({batch, 3, 131, 96}, 5)}},
                       {"a", "b", "c", "d", "e", "f"}, {"BlockedFewConv"}, batch == 1);
    }
  }
}

// As SegFormer mixes its tokens: an image of them is convolved, and its pixels are tokens again.
// `reads` is what is read besides: the Transpose's result, or the convolution's.
Model token_network(std::int64_t batch, const std::string& reads = "") {
  G g;
  g.input("x", DType::f32, {batch, 12 * 14, 16}).weight("w0", {16, 32}).weight("w1", {32, 16});
  g.weight("d", {32, 1, 3, 3}).weight("b", {32});
  g.constant("image", Tensor::of<std::int64_t>({4}, {batch, 32, 12, 14}));
  g.constant("row", Tensor::of<std::int64_t>({3}, {batch, 32, 12 * 14}));
  const auto turn = G::ints("perm", {0, 2, 1});
  g.node("MatMul", {"x", "w0"}, {"m"}).node("Transpose", {"m"}, {"t"}, {turn});
  g.node("Reshape", {"t", "image"}, {"i"});
  g.node("Conv", {"i", "d", "b"}, {"c"}, {G::ints("pads", {1, 1, 1, 1}), G::number("group", 32)});
  g.node("Relu", {"c"}, {"r"}).node("Reshape", {"r", "row"}, {"f"});
  g.node("Transpose", {"f"}, {"u"}, {turn}).node("Gelu", {"u"}, {"v"});
  g.node("MatMul", {"v", "w1"}, {"y"}).output("y");
  if (!reads.empty()) g.node("Neg", {reads}, {"n"}).output("n");
  return g.finish(20);
}

TEST(BlockedRegions, TokensBecomeBlocksWithoutTransposes) {
  if (!kernels::simd_enabled() || !kernels::blocked_layout_pays())
    GTEST_SKIP() << "for vectors of 8 elements and more";
  for (const std::int64_t batch : {1, 3, 16}) {
    const Feeds feeds = {{"x", G::random({batch, 12 * 14, 16}, 3)}};
    for (const std::string reads : {"", "t", "i", "c", "f", "u"}) {
      SCOPED_TRACE("batch " + std::to_string(batch) + ", reads " + reads);
      const Model model = token_network(batch, reads);
      std::vector<std::string> values = {"y", "m", "t", "i", "c", "r", "f", "u", "v"};
      if (!reads.empty()) values.push_back("n");
      const Outputs expected =
          Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(feeds, values);
      for (const int threads : {1, 2}) {
        const Session session(model, {.threads = threads});
        if (reads.empty()) {
          const std::string plan = session.explain(feeds);
          EXPECT_EQ(count(plan, "as ToBlocked"), 1) << plan;
          EXPECT_EQ(count(plan, "as FromBlocked"), 1) << plan;
          EXPECT_EQ(count(plan, "by moving elements"), 0) << plan;
        }
        expect_values(session, feeds, values, expected);
      }
    }
  }
}

// A part of four channels is not made of blocks.
TEST(BlockedRegions, PartsOfBlocksStayPlain) {
  G g;
  g.input("x", DType::f32, {1, 3, 40, 40}).weight("w", {16, 3, 3, 3}).weight("v", {8, 12, 1, 1});
  g.node("Conv", {"x", "w"}, {"a"})
      .node("Split", {"a"}, {"b", "c"}, {G::number("axis", 1), G::ints("split", {4, 12})});
  g.node("Conv", {"c", "v"}, {"y"}).output("y").output("b");
  const Model model = g.finish(11);
  const Feeds feeds = {{"x", G::random({1, 3, 40, 40}, 5)}};
  const Session session(model, {.threads = 2});
  EXPECT_EQ(session.explain(feeds).find("BlockedSlice"), std::string::npos);
  const Outputs expected = Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(feeds);
  const Outputs got = session.run(feeds);
  for (std::size_t i = 0; i < 2; ++i) expect_near(got[i], expected[i], 1e-5);
}

}  // namespace
}  // namespace mezzo::tests
