// Large images in bands of rows: each thread computes one, or a single thread all, one after the
// other. What is expected comes from kernels of the plain layout, which know no bands.

#include <map>
#include <random>
#include <thread>

#include "kernels/blocked_f32.h"
#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

// One thread computes bands only of images that are large for its caches: wide ones.
constexpr std::int64_t kHeight = 131, kWidth = 96, kLargeWidth = 700;

// Inverted residuals as in MobileNetV2, a pool, and a module of SqueezeNet; heights of 66, 33 and
// 16. "gate" is used by what cannot be split, too.
Model network(std::int64_t width = kWidth) {
  G g;
  g.input("x", DType::f32, {1, 3, kHeight, width});
  g.weight("w0", {16, 3, 3, 3}).weight("b0", {16}).weight("d1", {16, 1, 3, 3});
  g.weight("p1", {24, 16, 1, 1}).weight("e2", {48, 24, 1, 1}).weight("d2", {48, 1, 5, 5});
  g.weight("p2", {24, 48, 1, 1}).weight("e3", {48, 24, 1, 1}).weight("d3", {48, 1, 3, 3});
  g.weight("s4", {16, 48, 1, 1}).weight("a4", {64, 16, 1, 1}).weight("c4", {64, 16, 3, 3});
  g.weight("w5", {64, 128, 1, 1}).weight("w6", {64, 64, 3, 3});
  const auto one = G::ints("pads", {1, 1, 1, 1}), two = G::ints("pads", {2, 2, 2, 2});
  const auto stride = G::ints("strides", {2, 2});
  const auto relu = [&](const std::string& from) { g.node("Relu", {from}, {from + "r"}); };
  g.node("Conv", {"x", "w0", "b0"}, {"c0"}, {one, stride});
  relu("c0");
  g.node("Conv", {"c0r", "d1"}, {"c1"}, {one, G::number("group", 16)});
  relu("c1");
  g.node("Conv", {"c1r", "p1"}, {"narrow"});
  g.node("Conv", {"narrow", "e2"}, {"wide"});
  relu("wide");
  g.node("Conv", {"wider", "d2"}, {"deep"}, {two, G::number("group", 48)});
  relu("deep");
  g.node("Conv", {"deepr", "p2"}, {"back"}).node("Add", {"back", "narrow"}, {"sum"});
  g.node("Conv", {"sum", "e3"}, {"gate"});
  g.node("Conv", {"gate", "d3"}, {"c3"}, {one, stride, G::number("group", 48)});
  relu("c3");
  g.node("GlobalAveragePool", {"gate"}, {"mean"}).node("Mul", {"c3r", "mean"}, {"gated"});
  g.node("Conv", {"gated", "s4"}, {"squeezed"});
  relu("squeezed");
  g.node("Conv", {"squeezedr", "a4"}, {"left"});
  relu("left");
  g.node("Conv", {"squeezedr", "c4"}, {"right"}, {one});
  relu("right");
  g.node("Concat", {"leftr", "rightr"}, {"joined"}, {G::number("axis", 1)});
  g.node("Conv", {"joined", "w5"}, {"c5"});
  relu("c5");
  g.node("Conv", {"c5r", "w6"}, {"c6"}, {one});
  g.node("MaxPool", {"c6"}, {"y"}, {G::ints("kernel_shape", {3, 3}), stride}).output("y");
  return g.finish();
}

const std::vector<std::string> kValues = {"y",     "c0r",   "c1",     "narrow", "wider",
                                          "deepr", "sum",   "gate",   "c3r",    "squeezedr",
                                          "left",  "right", "joined", "c5r",    "c6"};

Feeds picture(std::int64_t width = kWidth) { return {{"x", G::random({1, 3, kHeight, width}, 4)}}; }

bool is_split(const std::string& plan, int threads) {
  const std::string bands = threads == 1
                                ? " bands of rows, one after the other"
                                : " in " + std::to_string(threads) + " bands of rows, each";
  return plan.find(bands) != std::string::npos && is_by(plan, "row_bands");
}

Outputs expected_of(const Model& model, const Feeds& feeds,
                    const std::vector<std::string>& names = {}) {
  return Session(model, {.threads = 1, .disabled_passes = {"layout"}}).run(feeds, names);
}

class RowBandsPass : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::simd_enabled() || !kernels::blocked_layout_pays())
      GTEST_SKIP() << "for vectors of 8 elements and more";
  }
};

TEST_F(RowBandsPass, EachThreadTakesSomeRows) {
  const Model model = network();
  const Tensor expected = expected_of(model, picture())[0];
  for (const int threads : {1, 2, 3, 4, 6, 11}) {
    SCOPED_TRACE(threads);
    const Session session(model, {.threads = threads});
    const std::string plan = session.explain(picture());
    EXPECT_EQ(is_split(plan, threads), threads > 1) << plan;
    for (int run = 0; run < 3; ++run) expect_near(session.run(picture())[0], expected, 1e-5);
  }
  const Session whole(model, {.threads = 2, .disabled_passes = {"row_bands"}});
  EXPECT_FALSE(is_split(whole.explain(picture()), 2));
}

TEST_F(RowBandsPass, OneThreadTakesBandsOfLargeImages) {
  const Model model = network(kLargeWidth);
  const Feeds feeds = picture(kLargeWidth);
  const Tensor expected = expected_of(model, feeds)[0];
  const Session session(model, {.threads = 1});
  EXPECT_TRUE(is_split(session.explain(feeds), 1)) << session.explain(feeds);
  for (int run = 0; run < 3; ++run) expect_near(session.run(feeds)[0], expected, 1e-5);
  const Session whole(model, {.threads = 1, .disabled_passes = {"row_bands"}});
  EXPECT_FALSE(is_split(whole.explain(feeds), 1));
}

TEST_F(RowBandsPass, EveryValueInside) {
  for (const int threads : {1, 2, 3}) {
    const std::int64_t width = threads == 1 ? kLargeWidth : kWidth;
    const Model model = network(width);
    const Feeds feeds = picture(width);
    const Outputs expected = expected_of(model, feeds, kValues);
    const Session session(model, {.threads = threads});
    expect_values(session, feeds, kValues, expected);
  }
}

// A line of the cache that two threads write into goes from one to the other for each of them.
TEST_F(RowBandsPass, TappedPlanesAreNotCutWithinALine) {
  constexpr const char* kReason = "threads would write into the same cache lines";
  const Session session(network(), {.threads = 3});
  // 11 of 33 rows of 24 are no whole lines, 22 of 66 rows of 48 are.
  EXPECT_EQ(session.explain(picture()).find(kReason), std::string::npos);
  EXPECT_EQ(session.explain(picture(), {"wider", "y"}).find(kReason), std::string::npos);
  const std::string plan = session.explain(picture(), kValues);
  EXPECT_NE(plan.find(kReason), std::string::npos) << plan;
  EXPECT_TRUE(is_split(plan, 3)) << plan;
  // Few such lines do not matter.
  EXPECT_EQ(session.explain(picture(), {"gate", "c3r", "y"}).find(kReason), std::string::npos);
  // Where planes are large a line does not matter.
  const Model model = network(kLargeWidth);
  const Feeds feeds = picture(kLargeWidth);
  const Session large(model, {.threads = 3});
  EXPECT_EQ(large.explain(feeds, {"wider"}).find(kReason), std::string::npos);
  const Outputs all = large.run(feeds, kValues), expected = expected_of(model, feeds, kValues);
  for (std::size_t i = 0; i < kValues.size(); ++i) expect_near(all[i], expected[i], 1e-5);
}

// Chains of windows of all kinds, and element-wise functions between them, on images whose heights
// fit nothing.
TEST_F(RowBandsPass, WindowsOfAllKinds) {
  std::mt19937 random(7);
  const auto any = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  int split = 0, in_turn = 0, parts = 0;
  for (int i = 0; i < 150; ++i) {
    SCOPED_TRACE(i);
    const int threads = any(1, 5);
    G g;
    std::int64_t channels = 16, height = any(50, 90);
    const Shape x = {1, channels, height, threads == 1 ? kLargeWidth : kWidth};
    g.input("x", DType::f32, x);
    std::string last = "x";
    for (int layer = 0; layer < 5 && height > 20; ++layer) {
      const std::string name = "v" + std::to_string(layer), weights = "w" + std::to_string(layer);
      if (const int between = any(0, 4); between == 0) {
        g.node("HardSwish", {last}, {last + "h"});
        last += "h";
      } else if (between == 1) {
        add_norm(g, last, last + "n", channels);
        g.node("Relu", {last + "n"}, {last + "r"});
        last += "r";
      } else if (between == 2 && channels > 8) {
        g.constant(last + "sizes", Tensor::of<std::int64_t>({2}, {8, channels - 8}));
        g.node("Split", {last, last + "sizes"}, {last + "a", last + "b"}, {G::number("axis", 1)});
        g.node("Concat", {last + "b", last + "a"}, {last + "c"}, {G::number("axis", 1)});
        last += "c";
      }
      const int kind = any(0, 3), k = kind == 3 ? 1 : any(1, 5), step = any(1, 4) == 1 ? 2 : 1;
      const int apart = any(1, 4) == 1 ? 2 : 1, before = any(0, k / 2), behind = any(0, k / 2);
      const auto pads = G::ints("pads", {before, k / 2, behind, k / 2});
      const auto strides = G::ints("strides", {step, 1});
      const auto dilations = G::ints("dilations", {apart, 1});
      height = (height + before + behind - (k - 1) * apart - 1) / step + 1;
      if (kind == 0) {
        const auto window = G::ints("kernel_shape", {k, k});
        if (any(0, 1) == 0) {
          g.node("MaxPool", {last}, {name}, {pads, strides, dilations, window});
        } else {
          g.node("AveragePool", {last}, {name},
                 {pads, strides, dilations, window, G::number("count_include_pad", any(0, 1))});
        }
      } else if (kind == 1) {
        g.weight(weights, {channels, 1, k, k});
        g.node("Conv", {last, weights}, {name},
               {pads, strides, dilations, G::number("group", channels)});
      } else {
        const std::int64_t groups = channels % 16 == 0 ? any(1, 2) : 1;
        const std::int64_t more = 8 * groups * any(1, 3);
        g.weight(weights, {more, channels / groups, k, k});
        g.node("Conv", {last, weights}, {name},
               {pads, strides, dilations, G::number("group", groups)});
        channels = more;
      }
      last = name;
    }
    g.node("LeakyRelu", {last}, {"y"}).output("y");
    const Model model = g.finish(19);
    const Feeds feeds = {{"x", G::random(x, static_cast<unsigned>(i))}};
    const Tensor expected = expected_of(model, feeds)[0];
    const Session session(model, {.threads = threads});
    const std::string plan = session.explain(feeds);
    (threads == 1 ? in_turn : split) += is_split(plan, threads);
    parts += plan.find("as BlockedSlice, by layout row_bands") != std::string::npos;
    expect_near(session.run(feeds)[0], expected, 2e-5);
  }
  EXPECT_GT(split, 30);
  EXPECT_GT(in_turn, 10);
  EXPECT_GT(parts, 10);
}

// By Winograd's method: bands down whose columns a window goes are whole tiles.
TEST_F(RowBandsPass, WindowsAlongOneAxis) {
  const Shape x = {1, 32, 90, kWidth};
  for (const int threads : {2, 3, 5}) {
    SCOPED_TRACE(threads);
    G g;
    g.input("x", DType::f32, x);
    g.weight("w1", {32, 32, 7, 1}).weight("w2", {40, 32, 1, 7}).weight("w3", {32, 40, 3, 1});
    g.node("Conv", {"x", "w1"}, {"c1"}, {G::ints("pads", {3, 0, 3, 0})})
        .node("Relu", {"c1"}, {"r"});
    g.node("Conv", {"r", "w2"}, {"c2"}, {G::ints("pads", {0, 3, 0, 3})});
    g.node("Conv", {"c2", "w3"}, {"y"}, {G::ints("dilations", {2, 1})}).output("y");
    const Model model = g.finish();
    const Feeds feeds = {{"x", G::random(x, 5)}};
    const Session session(model, {.threads = threads});
    const std::string plan = session.explain(feeds);
    EXPECT_TRUE(is_split(plan, threads)) << plan;
    EXPECT_EQ(count(plan, "by Winograd"), 3) << plan;
    const Outputs expected = expected_of(model, feeds, {"y", "c1", "c2"});
    expect_near(session.run(feeds)[0], expected[0], 1e-5);
    expect_values(session, feeds, {"y", "c1", "c2"}, expected);
  }
}

TEST_F(RowBandsPass, SeveralCallersAtOnce) {
  const Model model = network();
  const Tensor expected = expected_of(model, picture())[0];
  const Session session(model, {.threads = 3});
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      for (int run = 0; run < 20; ++run) expect_near(session.run(picture())[0], expected, 1e-5);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

// Whoever patches, watches or gives a value sees all of it at once.
TEST_F(RowBandsPass, ValuesInBetweenAreWhole) {
  for (const int threads : {1, 2}) {
    const std::int64_t width = threads == 1 ? kLargeWidth : kWidth;
    const Feeds feeds = picture(width);
    const Outputs expected = expected_of(network(width), feeds, {"y", "wider"});
    const Session session(network(width), {.threads = threads});
    expect_seen_whole(session, feeds, "wider", expected[1], expected[0]);
    const Tensor narrow = session.run(feeds, {"narrow"})[0];
    expect_near(session.run({{"wider", expected[1]}, {"narrow", narrow}}, {"y"})[0], expected[0],
                1e-5);
  }
}

TEST_F(RowBandsPass, ACheckEndsTheRun) {
  for (const int threads : {1, 2}) {
    const std::int64_t width = threads == 1 ? kLargeWidth : kWidth;
    const Session session(network(width), {.threads = threads});
    int calls = 0;
    const auto check = [&] {
      if (++calls == 3) throw Error(ErrorCode::cancelled, "enough");
    };
    EXPECT_THROW(session.run(picture(width), {}, {.check = check}), Error);
    EXPECT_EQ(calls, 3);
    expect_near(session.run(picture(width))[0], expected_of(network(width), picture(width))[0],
                1e-5);
  }
}

// Each step's time and work, for all of its bands, one step behind the other.
TEST_F(RowBandsPass, TimedStepByStep) {
  for (const int threads : {1, 2}) {
    const std::int64_t width = threads == 1 ? kLargeWidth : kWidth;
    std::map<std::string, std::int64_t> work[2];
    const Tensor expected = expected_of(network(width), picture(width))[0];
    for (const bool split : {false, true}) {
      const std::vector<std::string> disabled =
          split ? std::vector<std::string>{} : std::vector<std::string>{"row_bands"};
      const Session session(network(width), {.threads = threads, .disabled_passes = disabled});
      std::vector<StepTime> times;
      expect_near(session.run(picture(width), {}, {.times = &times})[0], expected, 1e-5);
      std::int64_t end = 0;
      for (const StepTime& time : times) {
        work[split][time.node] += time.multiply_adds;
        EXPECT_GE(time.start_ns, end) << time.node;
        end = time.start_ns + time.duration_ns;
      }
    }
    EXPECT_EQ(work[true], work[false]);
  }
}

}  // namespace
}  // namespace mezzo::tests
