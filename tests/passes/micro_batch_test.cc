// Large batches, some images at a time.

#include <algorithm>
#include <map>
#include <thread>

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

constexpr std::int64_t kImages = 6, kSide = 320;

// 20 MB of images: more than the planner lets several steps hand to each other at once.
Model network(std::int64_t images) {
  G g;
  g.input("x", DType::f32, {images, 8, kSide, kSide});
  g.weight("w1", {8, 8, 3, 3}).weight("w2", {16, 8, 1, 1}).weight("w3", {8, 16, 1, 1});
  g.weight("w4", {3, 8, 1, 1}).weight("b", {8});
  const auto pads = G::ints("pads", {1, 1, 1, 1});
  // What the images of a batch share is computed, and has the shape of one of them.
  g.input("factors", DType::f32, {8, 1, 1}).input("picture", DType::f32, {1, 8, kSide, kSide});
  g.node("Abs", {"factors"}, {"f"}).node("Abs", {"picture"}, {"a"});
  g.node("Conv", {"x", "w1", "b"}, {"c1"}, {pads}).node("Relu", {"c1"}, {"r1"});
  g.node("Conv", {"r1", "w2"}, {"c2"}).node("Relu", {"c2"}, {"r2"});
  g.node("Conv", {"r2", "w3"}, {"c3"}).node("Add", {"r1", "c3"}, {"s"}).node("Relu", {"s"}, {"r3"});
  g.node("Mul", {"r3", "f"}, {"m"}).node("Tanh", {"m"}, {"t"}).node("Add", {"a", "t"}, {"p"});
  g.node("Conv", {"p", "w4"}, {"y"}).output("y");
  return g.finish();
}

Feeds feeds_of(const std::string& name, const Tensor& images) {
  return {{name, images},
          {"factors", G::random({8, 1, 1}, 6)},
          {"picture", G::random({1, 8, kSide, kSide}, 7)}};
}

Tensor pictures() { return G::random({kImages, 8, kSide, kSide}, 5); }

Tensor image_of(const Tensor& all, std::int64_t n) {
  const auto size = static_cast<std::size_t>(all.size() / all.shape()[0]);
  const auto values = all.values<float>().subspan(static_cast<std::size_t>(n) * size, size);
  Shape shape = all.shape();
  shape[0] = 1;
  return Tensor::of<float>(shape, {values.begin(), values.end()});
}

// What the network makes of each image alone, joined again.
std::vector<Tensor> one_by_one(const std::vector<std::string>& names) {
  const Session session(network(1), {.threads = 1});
  std::vector<std::vector<float>> joined(names.size());
  std::vector<Tensor> results(names.size());
  for (std::int64_t n = 0; n < kImages; ++n) {
    const Outputs outputs = session.run(feeds_of("x", image_of(pictures(), n)), names);
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto part = outputs[i].values<float>();
      joined[i].insert(joined[i].end(), part.begin(), part.end());
      Shape shape = outputs[i].shape();
      shape[0] = kImages;
      if (n + 1 == kImages) results[i] = Tensor::of<float>(shape, joined[i]);
    }
  }
  return results;
}

bool is_split(const std::string& plan) {
  return plan.find("micro-batches:") != std::string::npos && is_by(plan, "micro_batch");
}

std::int64_t working_memory(const std::string& plan) {
  const std::size_t end = plan.find(" bytes of working memory");
  return std::stoll(plan.substr(plan.rfind(' ', end - 1) + 1));
}

TEST(MicroBatchPass, ALargeBatchIsSplit) {
  const Feeds feeds = feeds_of("x", pictures());
  const std::string plan = Session(network(kImages), {.threads = 1}).explain(feeds);
  EXPECT_TRUE(is_split(plan)) << plan;
  const std::string whole =
      Session(network(kImages), {.threads = 1, .disabled_passes = {"micro_batch"}}).explain(feeds);
  EXPECT_FALSE(is_split(whole)) << whole;
  EXPECT_LT(working_memory(plan), working_memory(whole) / 2);
  const Feeds one = feeds_of("x", G::random({1, 8, kSide, kSide}, 5));
  EXPECT_FALSE(is_split(Session(network(1), {.threads = 1}).explain(one)));
}

TEST(MicroBatchPass, EachImageIsWhatItIsAlone) {
  const std::vector<std::string> names = {"y", "c1", "r1", "r2", "c3", "s", "r3", "m", "t", "p"};
  const std::vector<Tensor> expected = one_by_one(names);
  const Feeds feeds = feeds_of("x", pictures());
  for (const int threads : {1, 2, 3, 5}) {
    SCOPED_TRACE(threads);
    const Session apart(network(kImages), {.threads = threads, .disabled_passes = {"pointwise"}});
    expect_near(apart.run(feeds)[0], expected[0], 1e-5);
    const Session session(network(kImages), {.threads = threads});
    expect_near(session.run(feeds)[0], expected[0], 1e-5);
    expect_values(session, feeds, names, expected);
  }
}

// Kernels for a few pixels are chosen, and sum, by how many images there are. Five threads take two
// at a time.
TEST(MicroBatchPass, SplittingChangesNoBit) {
  G g;
  g.input("x", DType::f32, {40, 8, 7, 7});
  g.weight("w1", {2304, 8, 1, 1}).weight("w2", {64, 2304, 1, 1}).weight("w3", {64, 64, 3, 3});
  g.weight("w4", {2304, 64, 1, 1});
  g.node("Conv", {"x", "w1"}, {"c1"}).node("Conv", {"c1", "w2"}, {"c2"});
  g.node("Conv", {"c2", "w3"}, {"c3"}, {G::ints("pads", {1, 1, 1, 1})});
  g.node("Conv", {"c3", "w4"}, {"y"}).output("y");
  const Model model = g.finish();
  const Feeds feeds{{"x", G::random({40, 8, 7, 7}, 5)}};
  const Tensor whole = Session(model, {.disabled_passes = {"micro_batch"}}).run(feeds)[0];
  for (const int threads : {1, 5}) {
    SCOPED_TRACE(threads);
    const Session session(model, {.threads = threads});
    const std::string plan = session.explain(feeds);
    EXPECT_TRUE(is_by(plan, "micro_batch")) << plan;
    const Tensor split = session.run(feeds)[0];
    EXPECT_TRUE(std::ranges::equal(split.values<float>(), whole.values<float>()));
  }
}

TEST(MicroBatchPass, ThreadsTakeImagesOfTheirOwn) {
  const Feeds feeds = feeds_of("x", pictures());
  // Where some would wait for the others for long, all share each image.
  for (const auto& [threads, side_by_side] :
       std::map<int, bool>{{1, false}, {2, true}, {3, true}, {4, false}}) {
    const std::string plan = Session(network(kImages), {.threads = threads}).explain(feeds);
    const std::string expected = "6 micro-batches, " + std::to_string(threads) + " side by side:";
    EXPECT_EQ(plan.find(expected) != std::string::npos, side_by_side) << threads << plan;
  }
}

TEST(MicroBatchPass, SeveralCallersAtOnce) {
  const Tensor expected = one_by_one({"y"})[0];
  const Session session(network(kImages), {.threads = 2});
  const Feeds feeds = feeds_of("x", pictures());
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      for (int run = 0; run < 3; ++run) expect_near(session.run(feeds)[0], expected, 1e-5);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(MicroBatchPass, ACheckEndsTheRun) {
  const Session session(network(kImages), {.threads = 2});
  const Feeds feeds = feeds_of("x", pictures());
  const std::thread::id caller = std::this_thread::get_id();
  int calls = 0;
  const auto check = [&] {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    if (++calls == 6) throw Error(ErrorCode::cancelled, "enough");
  };
  EXPECT_THROW(session.run(feeds, {}, {.check = check}), Error);
  EXPECT_EQ(calls, 6);
  expect_near(session.run(feeds)[0], one_by_one({"y"})[0], 1e-5);
}

// A convolution whose weights are as many as the images and are computed like images: all of them
// meet each image.
TEST(MicroBatchPass, ComputedWeightsAreWhole) {
  const auto built = [](std::int64_t images) {
    G g;
    g.input("x", DType::f32, {images, 8, kSide, kSide}).input("w", DType::f32, {kImages, 8, 3, 3});
    g.node("Tanh", {"x"}, {"t"}).node("Tanh", {"w"}, {"weights"});
    g.node("Conv", {"t", "weights"}, {"c"}).node("Elu", {"c"}, {"y"}).output("y");
    return g.finish();
  };
  const Tensor w = G::random({kImages, 8, 3, 3}, 9);
  const Session session(built(kImages), {.threads = 1}), alone(built(1), {.threads = 1});
  const Tensor all = session.run({{"x", pictures()}, {"w", w}})[0];
  for (std::int64_t n = 0; n < kImages; ++n) {
    const Tensor expected = alone.run({{"x", image_of(pictures(), n)}, {"w", w}})[0];
    expect_near(image_of(all, n), expected, 1e-5);
  }
}

// Whoever patches, watches or gives a value sees all of it at once.
TEST(MicroBatchPass, ValuesInBetweenAreWhole) {
  const std::vector<Tensor> expected = one_by_one({"y", "r2"});
  const Session session(network(kImages), {.threads = 2});
  const Feeds feeds = feeds_of("x", pictures());
  expect_seen_whole(session, feeds, "r2", expected[1], expected[0]);
  const Tensor r1 = session.run(feeds, {"r1"})[0];
  expect_near(session.run(feeds_of("r1", r1), {"y"})[0], expected[0], 1e-5);
}

// Each step's times and work, for all of its micro-batches.
TEST(MicroBatchPass, TheWorkIsThatOfTheBatch) {
  const Feeds feeds = feeds_of("x", pictures());
  std::map<std::string, std::int64_t> work[2];
  for (const bool split : {false, true}) {
    const std::vector<std::string> disabled =
        split ? std::vector<std::string>{} : std::vector<std::string>{"micro_batch"};
    const Session session(network(kImages), {.threads = 2, .disabled_passes = disabled});
    std::vector<StepTime> times;
    session.run(feeds, {}, {.times = &times});
    for (const StepTime& time : times) work[split][time.node] += time.multiply_adds;
  }
  EXPECT_EQ(work[true], work[false]);
  const std::int64_t pixels = kImages * kSide * kSide;
  std::int64_t total = 0;
  for (const auto& [node, count] : work[true]) total += count;
  EXPECT_EQ(total, pixels * (8 * 8 * 9 + 16 * 8 + 8 * 16 + 3 * 8));
}

}  // namespace
}  // namespace mezzo::tests
