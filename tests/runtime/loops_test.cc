// What the iterations of a loop have in common.
#include <gtest/gtest.h>

#include <algorithm>

#include "laws/small_models.h"
#include "mezzo/session.h"

namespace mezzo::tests {
namespace {

std::vector<float> numbers(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

// Three times: s = s + h * turned(w) + exp(x), where h and w are handed on from iteration to
// iteration, w is a constant (folded outside), h is fed and x is of the outer graph. `lost` is read
// by nobody, and fails.
Model sums(const std::string& op_type = "Loop") {
  const bool is_loop = op_type == "Loop";
  GraphBuilder body, g;
  if (is_loop) body.input("i", DType::i64, {}).input("go", DType::boolean, {});
  body.input("s", DType::f32, {1, 2}).input("w", DType::f32, {2, 2}).input("h", DType::f32, {1, 2});
  if (is_loop) {
    body.node("Identity", {"go"}, {"go_on"}).output("go_on");
  } else {
    body.input("item", DType::f32, {1});
  }
  body.node("Transpose", {"w"}, {"turned"}, {GraphBuilder::ints("perm", {1, 0})});
  body.node("MatMul", {"h", "turned"}, {"product"}).node("Exp", {"x"}, {"power"});
  body.node("Add", {"s", "product"}, {"half"}).node("Add", {"half", "power"}, {"after"});
  body.node("Gather", {"h", "far"}, {"lost"});
  body.output("after").output("w").output("h");
  g.input("x", DType::f32, {1, 2}).input("h_0", DType::f32, {1, 2}).input("n", DType::i64, {});
  g.constant("zero", Tensor(DType::f32, {1, 2})).constant("far", Tensor::scalar<std::int64_t>(9));
  g.constant("w_0", Tensor::of<float>({2, 2}, {-1, -3, -2, -4})).node("Neg", {"w_0"}, {"w_1"});
  g.constant("three", Tensor(DType::f32, {3, 1}));
  if (is_loop) {
    g.node("Loop", {"n", "", "zero", "w_1", "h_0"}, {"last", "same_w", "same_h"},
           {GraphBuilder::body("body", body)});
  } else {
    g.node("Scan", {"zero", "w_1", "h_0", "three"}, {"last", "same_w", "same_h"},
           {GraphBuilder::body("body", body), GraphBuilder::number("num_scan_inputs", 1)});
  }
  g.output("last").output("same_w").output("same_h");
  return g.finish();
}

Feeds feeds(std::int64_t trips = 3) {
  return {{"x", Tensor::of<float>({1, 2}, {0, 0})},
          {"h_0", Tensor::of<float>({1, 2}, {10, 100})},
          {"n", Tensor::scalar(trips)}};
}

std::ptrdiff_t runs_of(const std::string& op_type, const std::vector<StepTime>& times) {
  return std::count_if(times.begin(), times.end(),
                       [&](const StepTime& time) { return time.op_type == op_type; });
}

// Of an iteration: h * w and exp(0).
const std::vector<float> kOnce = {311, 421};

TEST(Loops, ComputeWhatNothingChangesOnce) {
  for (const char* op_type : {"Loop", "Scan"}) {
    const Session session(sums(op_type));
    std::vector<StepTime> times;
    const Outputs out = session.run(feeds(), {}, {.times = &times});
    EXPECT_EQ(numbers(out["last"]), (std::vector<float>{3 * kOnce[0], 3 * kOnce[1]}));
    EXPECT_EQ(numbers(out["same_w"]), (std::vector<float>{1, 3, 2, 4}));
    EXPECT_EQ(numbers(out["same_h"]), (std::vector<float>{10, 100}));
    EXPECT_EQ(runs_of("MatMul", times), 1) << op_type;
    EXPECT_EQ(runs_of("Exp", times), 1) << op_type;
    // The constant is turned when planning.
    EXPECT_EQ(runs_of("Transpose", times), 0) << op_type;
  }
}

TEST(Loops, GiveWhatIsComputedOnceForEachIteration) {
  const Session session(sums());
  std::vector<StepTime> times;
  const Outputs out = session.run(feeds(), {"product", "turned", "last"}, {.times = &times});
  EXPECT_EQ(numbers(out["product"]), (std::vector<float>{310, 420, 310, 420, 310, 420}));
  EXPECT_EQ(out["turned"].shape(), (Shape{3, 2, 2}));
  EXPECT_EQ(numbers(out["last"]), (std::vector<float>{3 * kOnce[0], 3 * kOnce[1]}));
  EXPECT_EQ(runs_of("MatMul", times), 1);
}

TEST(Loops, ShowAndChangeItInEachIteration) {
  const Session session(sums());
  int seen = 0, changed = 0;
  RunOptions options;
  options.observers.push_back({"product", [&](const std::string&, const Tensor&) { ++seen; }});
  options.patches.push_back({"power", [&](const Tensor&) {
                               ++changed;
                               return Tensor::of<float>({1, 2}, {float(changed), 0});
                             }});
  const Outputs out = session.run(feeds(), {"last"}, options);
  EXPECT_EQ(numbers(out["last"]), (std::vector<float>{3 * 310 + 1 + 2 + 3, 3 * 420}));
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(changed, 3);
}

TEST(Loops, HandOnPatchedStates) {
  const Session session(sums());
  RunOptions options;
  options.patches.push_back({"h", [](const Tensor& h) {
                               const auto values = h.values<float>();
                               return Tensor::of<float>({1, 2}, {2 * values[0], 2 * values[1]});
                             }});
  const Outputs out = session.run(feeds(), {"last", "same_h"}, options);
  EXPECT_EQ(numbers(out["same_h"]), (std::vector<float>{80, 800}));
  EXPECT_EQ(numbers(out["last"]), (std::vector<float>{310 * 14 + 3, 420 * 14 + 3}));
}

TEST(Loops, TakeWhatIsFedForAConstant) {
  const Session session(sums());
  session.run(feeds());
  Feeds with_weights = feeds();
  with_weights.emplace_back("w_1", Tensor::of<float>({2, 2}, {1, 0, 0, 1}));
  EXPECT_EQ(numbers(session.run(with_weights, {"last"})[0]), (std::vector<float>{33, 303}));
  Feeds inside = feeds();
  inside.emplace_back("power", Tensor::of<float>({1, 2}, {5, 6}));
  EXPECT_EQ(numbers(session.run(inside, {"last"})[0]), (std::vector<float>{945, 1278}));
  EXPECT_EQ(numbers(session.run(feeds(), {"last"})[0]),
            (std::vector<float>{3 * kOnce[0], 3 * kOnce[1]}));
}

// Nothing is computed for no iteration, nor what nobody reads: it might fail.
TEST(Loops, ComputeNothingThatNobodyNeeds) {
  const Session session(sums());
  std::vector<StepTime> times;
  const Outputs out = session.run(feeds(0), {"last"}, {.times = &times});
  EXPECT_EQ(numbers(out["last"]), (std::vector<float>{0, 0}));
  EXPECT_EQ(runs_of("MatMul", times) + runs_of("Exp", times), 0);
  EXPECT_THROW(session.run(feeds(), {"lost"}), Error);
}

// Each iteration has a shape of its own.
TEST(Loops, KeepThePlansOfAllIterations) {
  GraphBuilder body, g;
  body.input("i", DType::i64, {}).input("go", DType::boolean, {}).input("list", DType::f32, {-1});
  body.node("Identity", {"go"}, {"go_on"})
      .node("Concat", {"list", "x"}, {"longer"}, {GraphBuilder::number("axis", 0)});
  body.output("go_on").output("longer");
  g.input("x", DType::f32, {1}).constant("n", Tensor::scalar<std::int64_t>(100));
  g.constant("none", Tensor(DType::f32, {0}));
  g.node("Loop", {"n", "", "none"}, {"list_of_x"}, {GraphBuilder::body("body", body)});
  g.output("list_of_x");
  const Session session(g.finish());
  RunStats stats;
  for (int round = 0; round < 2; ++round) {
    const Outputs out = session.run({{"x", Tensor::of<float>({1}, {7})}}, {}, {.stats = &stats});
    EXPECT_EQ(numbers(out[0]), std::vector<float>(100, 7.0F));
    EXPECT_EQ(stats.plans_run, 101);
    EXPECT_EQ(stats.plans_compiled, round == 0 ? 101 : 0);
  }
}

}  // namespace
}  // namespace mezzo::tests
