#include "mezzo/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "laws/small_models.h"

namespace mezzo::tests {
namespace {

// y = relu(x + 1) * 2 - 3, with a node that no kernel knows behind `sum`.
Model chain() {
  GraphBuilder g;
  g.input("x", DType::f32, {4})
      .constant("one", Tensor::scalar(1.0F))
      .constant("two", Tensor::scalar(2.0F));
  g.constant("three", Tensor::scalar(3.0F));
  g.node("Add", {"x", "one"}, {"sum"}).node("Relu", {"sum"}, {"positive"});
  g.node("Mul", {"positive", "two"}, {"doubled"}).node("Sub", {"doubled", "three"}, {"y"});
  g.node("Unheard", {"sum"}, {"unknown"}).output("y");
  return g.finish();
}

const Tensor kX = Tensor::of<float>({4}, {-3, -1, 0, 2});

std::vector<float> numbers(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

// Runs `what` and gives the Error that it must throw.
template <class Fn>
Error error_of(const Fn& what) {
  try {
    what();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorCode::internal, "nothing");
}

TEST(Session, FetchesOutputsAndTaps) {
  const Session session(chain());
  EXPECT_EQ(numbers(session.run({{"x", kX}})["y"]), (std::vector<float>{-3, -3, -1, 3}));
  const Outputs out = session.run({{"x", kX}}, {"positive", "op:Mul", "[0]", "Sub_y", "x"});
  EXPECT_EQ(numbers(out[0]), (std::vector<float>{0, 0, 1, 3}));
  EXPECT_EQ(numbers(out["doubled"]), (std::vector<float>{0, 0, 2, 6}));
  EXPECT_EQ(numbers(out["[0]"]), (std::vector<float>{-2, 0, 1, 3}));
  EXPECT_EQ(numbers(out["Sub_y"]), numbers(out["y"]));
  EXPECT_EQ(numbers(out["x"]), numbers(kX));
  EXPECT_EQ(out.size(), 5U);
}

TEST(Session, TellsWhatStepsTook) {
  const Session session(chain(), {.disabled_passes = {"pointwise"}});
  std::vector<StepTime> times;
  session.run({{"x", kX}}, {}, {.times = &times});
  std::vector<std::string> operators;
  for (const StepTime& time : times) {
    operators.push_back(time.op_type);
    EXPECT_GE(time.duration_ns, 0);
    EXPECT_FALSE(time.kernel.empty()) << time.node;
  }
  EXPECT_EQ(operators, (std::vector<std::string>{"Add", "Relu", "Mul", "Sub"}));
  for (std::size_t i = 1; i < times.size(); ++i) {
    EXPECT_GE(times[i].start_ns, times[i - 1].start_ns + times[i - 1].duration_ns);
  }
}

TEST(Session, EndsWhereTheCallersCheckThrows) {
  const Session session(chain(), {.disabled_passes = {"pointwise"}});
  int calls = 0;
  const auto stop = [&] {
    if (++calls == 3) throw Error(ErrorCode::cancelled, "enough");
  };
  const Error error = error_of([&] { session.run({{"x", kX}}, {}, {.check = stop}); });
  EXPECT_EQ(error.code(), ErrorCode::cancelled);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(numbers(session.run({{"x", kX}})["y"]), (std::vector<float>{-3, -3, -1, 3}));
}

TEST(Session, RunsOnlyWhatIsNeeded) {
  const Session session(chain());
  RunStats stats;
  session.run({{"x", kX}}, {"sum"}, {.stats = &stats});
  EXPECT_EQ(stats.nodes_executed, 1);
  session.run({{"x", kX}}, {"y"}, {.stats = &stats});
  EXPECT_EQ(stats.nodes_executed, 4);
  // From `doubled` on there is one node, and the input is not needed.
  const Outputs out = session.run({{"doubled", kX}}, {"y"}, {.stats = &stats});
  EXPECT_EQ(stats.nodes_executed, 1);
  EXPECT_EQ(numbers(out[0]), (std::vector<float>{-6, -4, -3, -1}));
  session.run({{"x", kX}}, {"three"}, {.stats = &stats});
  EXPECT_EQ(stats.nodes_executed, 0);
}

TEST(Session, CompilesAPlanOnce) {
  const Session session(chain());
  RunStats stats;
  session.run({{"x", kX}}, {"y"}, {.stats = &stats});
  EXPECT_EQ(stats.plans_compiled, 1);
  session.run({{"x", kX}}, {"y"}, {.stats = &stats});
  EXPECT_EQ(stats.plans_compiled, 0);
}

TEST(Session, PatchesAndObserves) {
  const Session session(chain());
  std::vector<std::string> seen;
  RunOptions options;
  options.patches.push_back({"positive", [](const Tensor& tensor) {
                               Tensor changed = tensor;
                               changed.mutable_values<float>()[0] = 10;
                               return changed;
                             }});
  options.observers.push_back({"*", [&](const std::string& name, const Tensor& tensor) {
                                 seen.push_back(name);
                                 if (name == "positive") {
                                   EXPECT_EQ(tensor.values<float>()[0], 10);
                                 }
                               }});
  // The observer's glob would see the unknown node's output as well; what is watched must be
  // computed.
  const Error error = error_of([&] { session.run({{"x", kX}}, {}, options); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  options.observers[0].selector = "[psd]*";
  seen.clear();
  EXPECT_EQ(numbers(session.run({{"x", kX}}, {}, options)["y"]),
            (std::vector<float>{17, -3, -1, 3}));
  EXPECT_EQ(seen, (std::vector<std::string>{"sum", "positive", "doubled"}));
}

TEST(Session, RefusesAPatchOfAnotherShape) {
  const Session session(chain());
  const Error error = error_of([&] {
    session.run({{"x", kX}}, {},
                {.patches = {{"sum", [](const Tensor&) { return Tensor(DType::f32, {5}); }}}});
  });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_EQ(error.expected_text(), "float32[4]");
  EXPECT_EQ(error.got_text(), "float32[5]");
}

TEST(Session, SaysWhatIsWrongWithARequest) {
  const Session session(chain());
  const Error missing = error_of([&] { session.run({}); });
  EXPECT_EQ(missing.code(), ErrorCode::missing_input);
  EXPECT_EQ(missing.expected_text(), "'x' float32[4]");
  const Error type = error_of([&] { session.run({{"x", Tensor(DType::i32, {4})}}); });
  EXPECT_EQ(type.place(), "feed 'x'");
  EXPECT_EQ(type.got_text(), "int32[4]");
  EXPECT_EQ(error_of([&] {
              session.run({{"x", Tensor(DType::f32, {5})}});
            }).got_text(),
            "float32[5]");
  EXPECT_EQ(error_of([&] {
              session.run({{"x", Tensor(DType::f32, {1, 4})}});
            }).got_text(),
            "float32[1, 4]");
  EXPECT_EQ(error_of([&] {
              session.run({{"x", kX}, {"x", kX}});
            }).code(),
            ErrorCode::invalid_argument);
  const Error unknown = error_of([&] { session.run({{"x", kX}}, {"duobled"}); });
  EXPECT_NE(unknown.hint_text().find("'doubled'"), std::string::npos) << unknown.what();
  const Error unsupported = error_of([&] { session.run({{"x", kX}}, {"unknown"}); });
  EXPECT_EQ(unsupported.code(), ErrorCode::unsupported);
  EXPECT_NE(std::string(unsupported.what()).find("Unheard_unknown"), std::string::npos)
      << unsupported.what();
  const Outputs out = session.run({{"x", kX}});
  EXPECT_EQ(error_of([&] { static_cast<void>(out[1]); }).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { static_cast<void>(out["sum"]); }).got_text(), "'sum'");
}

TEST(Session, GivesNothingForABranchNotTaken) {
  SmallModel model = branches();
  const Session session(model.model);
  const Outputs taken = session.run(model.feeds, {"doubled", "e1", "t2", "e2", "z"});
  EXPECT_EQ(numbers(taken["doubled"]), (std::vector<float>{2, -0.5F, 1, 4}));
  EXPECT_TRUE(taken["t2"].has_value());
  EXPECT_FALSE(taken["e1"].has_value());
  EXPECT_FALSE(taken["e2"].has_value());
  const Outputs other =
      session.run({{"x", Tensor::of<float>({4}, {-1, -2, -3, -4})}}, {"doubled", "e1"});
  EXPECT_FALSE(other["doubled"].has_value());
  EXPECT_EQ(numbers(other["e1"]), (std::vector<float>{1, 2, 3, 4}));
}

// Sums 1 x, 2 x, 3 x: a loop with a value inside it that is carried, one that is collected, and one
// of the outer graph.
Model loop() {
  GraphBuilder body, g;
  body.input("i", DType::i64, {}).input("go", DType::boolean, {}).input("before", DType::f32, {2});
  body.node("Identity", {"go"}, {"go_on"}).node("Add", {"before", "x"}, {"after"});
  body.node("Neg", {"after"}, {"negative"}).output("go_on").output("after").output("negative");
  g.input("x", DType::f32, {2}).constant("count", Tensor::scalar<std::int64_t>(3));
  g.constant("start", Tensor(DType::f32, {2}));
  g.node("Loop", {"count", "", "start"}, {"last", "all"}, {GraphBuilder::body("body", body)});
  g.output("last").output("all");
  return g.finish();
}

TEST(Session, ReachesIntoLoops) {
  const Session session(loop());
  const Tensor x = Tensor::of<float>({2}, {1, 10});
  const Outputs out = session.run({{"x", x}}, {"last", "all", "after"});
  EXPECT_EQ(numbers(out["last"]), (std::vector<float>{3, 30}));
  EXPECT_EQ(numbers(out["all"]), (std::vector<float>{-1, -10, -2, -20, -3, -30}));
  EXPECT_EQ(out["after"].shape(), (Shape{3, 2}));
  EXPECT_EQ(numbers(out["after"]), (std::vector<float>{1, 10, 2, 20, 3, 30}));
  int iterations = 0;
  RunOptions options;
  options.observers.push_back({"after", [&](const std::string&, const Tensor&) { ++iterations; }});
  options.patches.push_back(
      {"negative", [](const Tensor& tensor) { return Tensor(tensor.dtype(), tensor.shape()); }});
  EXPECT_EQ(numbers(session.run({{"x", x}}, {"all"}, options)[0]), std::vector<float>(6, 0.0F));
  EXPECT_EQ(iterations, 3);
}

TEST(Session, LimitsLoops) {
  const Session session(loop(), {.loop_iterations = 2});
  const Error error = error_of([&] { session.run({{"x", Tensor(DType::f32, {2})}}); });
  EXPECT_EQ(error.code(), ErrorCode::limit);
}

TEST(Session, KeepsPlansOfSeveralShapesOfData) {
  SmallModel model = data_dependent();
  const Session session(model.model);
  for (int round = 0; round < 2; ++round) {
    for (const float level : {-1.0F, 0.0F, 1.0F}) {
      Tensor x(DType::f32, {3, 4});
      x.mutable_values<float>()[5] = level;
      const Outputs out = session.run({{"x", x}}, {"kept", "y"});
      EXPECT_EQ(out["kept"].shape(), (Shape{level > 0 ? 1 : 0}));
      EXPECT_EQ(out["y"].shape(), (Shape{level > 0 ? 6 : 0}));
    }
  }
}

TEST(Session, ServesSeveralThreadsAtOnce) {
  SmallModel model = conv_net();
  const Session session(model.model, {.threads = 2});
  const std::vector<float> expected = numbers(session.run(model.feeds)[0]);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 50; ++i) {
        const std::vector<std::string> fetches =
            caller % 2 == 0 ? std::vector<std::string>{}
                            : std::vector<std::string>{"probabilities", "r1"};
        // Another request may be planned in another way, and then rounds otherwise.
        const std::vector<float> got = numbers(session.run(model.feeds, fetches)[0]);
        const bool same = std::equal(got.begin(), got.end(), expected.begin(), expected.end(),
                                     [](float a, float b) { return std::abs(a - b) <= 1e-6F; });
        if (!same) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Session, FetchedViewsHaveMemoryOfTheirOwn) {
  GraphBuilder g;
  g.input("x", DType::f32, {4}).constant("one", Tensor::scalar(1.0F));
  g.constant("shape", Tensor::of<std::int64_t>({2}, {2, 2}));
  g.node("Add", {"x", "one"}, {"sum"}).node("Reshape", {"sum", "shape"}, {"square"});
  g.node("Identity", {"square"}, {"same"}).node("Relu", {"same"}, {"y"}).output("y");
  const Session session(g.finish());
  const std::vector<std::string> views = {"sum", "square", "same"};
  Outputs out = session.run({{"x", kX}}, {"sum", "square", "same", "y"});
  for (const std::string& name : views) {
    Tensor tensor = out[name];
    EXPECT_EQ(numbers(tensor), (std::vector<float>{-2, 0, 1, 3})) << name;
    for (const std::string& other : views) {
      EXPECT_TRUE(name == other || tensor.data() != out[other].data()) << name << ", " << other;
    }
  }
  EXPECT_EQ(numbers(out["y"]), (std::vector<float>{0, 0, 1, 3}));
  const std::string plan = session.explain({{"x", kX}}, {"sum", "square"});
  EXPECT_NE(plan.find("square float32[2, 2] = copy"), std::string::npos) << plan;
}

// Large ones are written past the caches, in whole lines where there are any; their bits stay.
TEST(Session, LargeFetchedViewsAreCopied) {
  for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::u8}) {
    SCOPED_TRACE(name_of(dtype));
    const Shape shape = {37, 1801};
    GraphBuilder g;
    g.input("x", dtype, shape).constant("flat", Tensor::of<std::int64_t>({1}, {-1}));
    g.node("Transpose", {"x"}, {"turned"}, {GraphBuilder::ints("perm", {0, 1})});
    g.node("Reshape", {"turned", "flat"}, {"row"}).output("turned").output("row");
    Tensor x = Tensor(dtype, shape);
    auto* bytes = static_cast<unsigned char*>(x.mutable_data());
    for (std::size_t i = 0; i < x.bytes(); ++i) bytes[i] = static_cast<unsigned char>(i * 7 / 3);
    const Session session(g.finish(), {.threads = 2});
    EXPECT_NE(
        session.explain({{"x", x}}).find("row " + std::string(name_of(dtype)) + "[66637] = copy"),
        std::string::npos);
    const Outputs out = session.run({{"x", x}});
    for (const auto& [name, tensor] : out)
      EXPECT_EQ(std::memcmp(tensor.data(), x.data(), x.bytes()), 0) << name;
    EXPECT_NE(out[0].data(), out[1].data());
  }
}

// What only moves 16-bit floats moves them as they are; behind what computes they stay float32.
TEST(Session, MovesHalvesAsTheyAre) {
  const std::vector<float> values = {1, -2, 0.5F, 3, -4, 8};
  const Tensor x = Tensor::of<float>({2, 3}, values).to(DType::f16);
  GraphBuilder g;
  g.input("x", DType::f16, {2, 3});
  g.node("Transpose", {"x"}, {"turned"}).node("Relu", {"turned"}, {"positive"});
  g.node("Transpose", {"positive"}, {"back"}).output("back").output("turned");
  const Session session(g.finish());
  const Outputs out = session.run({{"x", x}});
  EXPECT_EQ(out["turned"].dtype(), DType::f16);
  EXPECT_EQ(numbers(out["turned"].to(DType::f32)), (std::vector<float>{1, 3, -2, -4, 0.5F, 8}));
  EXPECT_EQ(numbers(out["back"].to(DType::f32)), (std::vector<float>{1, 0, 0.5F, 3, 0, 8}));
  const std::string plan = session.explain({{"x", x}}, {"back", "turned"});
  EXPECT_NE(plan.find("turned float16[3, 2] = "), std::string::npos) << plan;
  EXPECT_EQ(plan.find("x float32"), std::string::npos) << plan;
  EXPECT_NE(plan.find("positive float32[3, 2]"), std::string::npos) << plan;
  EXPECT_NE(plan.find("back float32[2, 3] = "), std::string::npos) << plan;
}

TEST(Session, OutputsByNameAndTaken) {
  SmallModel model = conv_net();
  const Session session(model.model);
  const std::vector<std::string> names = {"r1", "x", "r1", "features"};
  Outputs out = session.run(model.feeds, names);
  ASSERT_EQ(out.size(), names.size());
  std::size_t seen = 0;
  for (const auto& [name, tensor] : out) {
    EXPECT_EQ(name, names[seen]);
    EXPECT_EQ(&tensor, &out[seen]);
    EXPECT_EQ(&name, &out.name(seen++));
  }
  EXPECT_EQ(seen, names.size());
  EXPECT_EQ(std::count_if(out.begin(), out.end(),
                          [](const Outputs::Item& item) { return item.name == "r1"; }),
            2);
  EXPECT_THROW(out.name(4), Error);
  EXPECT_THROW(Outputs().name(0), Error);
  const void* const data = out[3].data();
  std::vector<Tensor> taken = std::move(out).take();
  ASSERT_EQ(taken.size(), names.size());
  EXPECT_EQ(taken[3].data(), data) << "taken, not copied";
  EXPECT_EQ(numbers(taken[0]), numbers(taken[2]));
}

TEST(Session, OutputsOutliveIt) {
  Outputs out;
  {
    SmallModel model = conv_net();
    const Session session(model.model);
    out = session.run(model.feeds, {"r1", "w1", "x", "features"});
  }
  for (const auto& [name, tensor] : out) {
    float sum = 0;
    for (const float value : numbers(tensor)) sum += value;
    EXPECT_TRUE(std::isfinite(sum)) << name;
  }
}

}  // namespace
}  // namespace mezzo::tests
