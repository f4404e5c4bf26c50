// Steps between Transposes and their inverses.

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

const std::vector<std::int64_t> kLast = {0, 2, 3, 1}, kFirst = {0, 3, 1, 2};

G& to_last(G& g, const std::string& x, const std::string& y) {
  return g.node("Transpose", {x}, {y}, {G::ints("perm", kLast)});
}
G& to_first(G& g, const std::string& x, const std::string& y) {
  return g.node("Transpose", {x}, {y}, {G::ints("perm", kFirst)});
}

G image() {
  G g;
  g.input("x", DType::f32, {2, 6, 9, 7});
  return to_last(g, "x", "x_last");
}

Feeds picture() { return {{"x", G::random({2, 6, 9, 7}, 50)}}; }

// Same results with and without the pass, whatever is fetched: each of `names`, and all together.
// How many Transposes the plan of the outputs has left.
int transposes_left(G& g, std::vector<std::string> names) {
  const Model model = g.finish();
  const Session with(model, {.threads = 1}),
      without(model, {.threads = 1, .disabled_passes = {"all"}});
  const auto compare = [&](const std::vector<std::string>& fetches) {
    const Outputs got = with.run(picture(), fetches), expected = without.run(picture(), fetches);
    for (std::size_t i = 0; i < fetches.size(); ++i) {
      SCOPED_TRACE(fetches[i]);
      expect_near(got[i], expected[i], 1e-5);
    }
  };
  compare({"y"});
  for (const std::string& name : names) {
    compare({name, "y"});
    compare({name});
  }
  names.emplace_back("y");
  compare(names);
  // Nodes are counted, not kernels.
  RunStats stats, plain_stats;
  std::vector<StepTime> times;
  with.run(picture(), {"y"}, {.stats = &stats, .times = &times});
  without.run(picture(), {"y"}, {.stats = &plain_stats});
  EXPECT_EQ(stats.nodes_executed, plain_stats.nodes_executed);
  return static_cast<int>(std::count_if(times.begin(), times.end(), [](const StepTime& time) {
    return time.kernel == "moving elements" && time.op_type == "Transpose";
  }));
}

TEST(Transposes, GoWhereTheirInverseFollows) {
  G g = image();
  g.weight("shift", {6}).weight("factor", {1, 1, 6}).constant("two", Tensor::scalar(2.0F));
  g.node("Add", {"x_last", "shift"}, {"a"}).node("Mul", {"factor", "a"}, {"b"});
  g.node("Tanh", {"b"}, {"c"}).node("Sub", {"two", "c"}, {"d"});
  to_first(g, "d", "y").output("y");
  EXPECT_EQ(transposes_left(g, {"x_last", "a", "b", "c", "d"}), 0);
}

// An image that ends with its channels, in blocks with squeeze and excitation, pads and residual
// sums: as Keras has it.
TEST(Transposes, GoFromWholeNetworks) {
  G g = image();
  g.weight("w0", {6, 1, 3, 3}).weight("w1", {3, 6, 1, 1}).weight("w2", {6, 3, 1, 1});
  g.weight("slope", {6}).weight("b", {6});
  g.constant("pads", Tensor::of<std::int64_t>({8}, {0, 1, 1, 0, 0, 1, 2, 0}));
  g.node("PRelu", {"x_last", "slope"}, {"p"}).node("Pad", {"p", "pads"}, {"padded"});
  to_first(g, "padded", "padded_first");
  g.node("Conv", {"padded_first", "w0"}, {"conv"}, {G::number("group", 6)});
  to_last(g, "conv", "conv_last").node("Add", {"conv_last", "b"}, {"with_b"});
  g.node("Sigmoid", {"with_b"}, {"gate"}).node("Mul", {"with_b", "gate"}, {"swish"});
  g.node("ReduceMean", {"swish"}, {"mean"}, {G::ints("axes", {1, 2})});
  to_first(g, "mean", "mean_first").node("Conv", {"mean_first", "w1"}, {"few"});
  to_last(g, "few", "few_last").node("Softplus", {"few_last"}, {"few_plus"});
  to_first(g, "few_plus", "few_first").node("Conv", {"few_first", "w2"}, {"many"});
  to_last(g, "many", "many_last").node("HardSigmoid", {"many_last"}, {"excitation"});
  g.node("Mul", {"swish", "excitation"}, {"excited"});
  // Two readers, each with a Transpose of its own.
  to_first(g, "excited", "one").node("Conv", {"one", "w1"}, {"left"});
  to_first(g, "excited", "two").node("Conv", {"two", "w1"}, {"right"});
  to_last(g, "left", "left_last");
  to_last(g, "right", "right_last");
  g.node("Concat", {"left_last", "right_last"}, {"both"}, {G::number("axis", -1)});
  g.node("ReduceMax", {"both"}, {"y"}, {G::ints("axes", {1, 2}), G::number("keepdims", 0)});
  g.output("y");
  EXPECT_EQ(transposes_left(g, {"p", "padded", "padded_first", "conv_last", "swish", "mean",
                                "few_plus", "excitation", "excited", "one", "two", "both"}),
            0);
}

// What others read as it is gets a Transpose of its own, where that is less than those that go.
TEST(Transposes, MoveBehindWhatTheyAreNotNeededFor) {
  G g = image();
  g.weight("w", {6, 6, 1, 1}).weight("m", {6, 4});
  g.node("Relu", {"x_last"}, {"r"}).node("Exp", {"r"}, {"e"});
  to_first(g, "r", "r_first").node("Conv", {"r_first", "w"}, {"c"});
  to_last(g, "c", "c_last").node("Add", {"c_last", "e"}, {"sum"});
  g.node("MatMul", {"sum", "m"}, {"y"}).output("y");
  EXPECT_EQ(transposes_left(g, {"r", "e", "r_first", "sum"}), 1);
}

TEST(Transposes, StayWhereMoreWouldBeNeeded) {
  G g = image();
  g.weight("m", {6, 6});
  g.node("MatMul", {"x_last", "m"}, {"p"}).node("Add", {"p", "x_last"}, {"sum"});
  g.node("Mul", {"sum", "p"}, {"z"}).node("MatMul", {"z", "m"}, {"y"}).output("y");
  EXPECT_EQ(transposes_left(g, {"p", "sum", "z"}), 1);
  // The mean of other axes than those that keep their order.
  G mean = image();
  mean.node("Relu", {"x_last"}, {"r"})
      .node("ReduceMean", {"r"}, {"y"}, {G::ints("axes", {1}), G::number("keepdims", 0)})
      .output("y");
  EXPECT_EQ(transposes_left(mean, {"r"}), 1);
}

TEST(Transposes, StayBesideWhatIsSeenInTheRun) {
  G g = image();
  to_first(g.node("Relu", {"x_last"}, {"r"}), "r", "r_first");
  g.node("Neg", {"r_first"}, {"y"}).output("y");
  const Model model = g.finish();
  const Session session(model, {.threads = 1}),
      plain(model, {.threads = 1, .disabled_passes = {"all"}});
  const Outputs all = plain.run(picture(), {"y", "x_last", "r", "r_first"});
  for (int i = 1; i < 4; ++i) expect_seen_whole(session, picture(), all.name(i), all[i], all[0]);
}

}  // namespace
}  // namespace mezzo::tests
