// Passes for what transformers and their exporters are made of.

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

Tensor number(float value) { return Tensor::scalar(value); }

Feeds rows(const std::string& name = "x") { return {{name, G::random({2, 5, 12}, 60)}}; }

G with_input() {
  G g;
  g.input("x", DType::f32, {2, 5, 12});
  return g;
}

// LayerNormalization written out; the square as Pow or as Mul.
G layer_norm(bool pow, bool swapped) {
  G g = with_input();
  g.constant("two", number(2)).constant("epsilon", number(1e-3F));
  g.weight("gamma", {12}).weight("beta", {12});
  const G::Attributes last = {G::ints("axes", {-1})};
  g.node("ReduceMean", {"x"}, {"mean"}, last).node("Sub", {"x", "mean"}, {"d"});
  g.node(pow ? "Pow" : "Mul", {"d", pow ? "two" : "d"}, {"square"});
  g.node("ReduceMean", {"square"}, {"variance"}, last);
  const auto add = [&](const std::string& a, const std::string& b, const std::string& y,
                       const std::string& op) {
    g.node(op, {swapped ? b : a, swapped ? a : b}, {y});
  };
  add("variance", "epsilon", "v", "Add");
  g.node("Sqrt", {"v"}, {"deviation"}).node("Div", {"d", "deviation"}, {"n"});
  add("n", "gamma", "scaled", "Mul");
  return g;
}

TEST(TransformerPasses, LayerNorm) {
  for (const bool pow : {false, true}) {
    for (const bool swapped : {false, true}) {
      G g = layer_norm(pow, swapped);
      g.node("Add", {swapped ? "beta" : "scaled", swapped ? "scaled" : "beta"}, {"y"}).output("y");
      const std::string plan = expect_fusion({"layer_norm", g.finish(), rows(), "n"});
      EXPECT_EQ(plan.rfind("1 steps, 9 nodes", 0), 0U) << plan;
    }
  }
}

TEST(TransformerPasses, LayerNormWithoutBias) {
  G g = layer_norm(true, false);
  g.node("Exp", {"scaled"}, {"y"}).output("y");
  expect_fusion({"layer_norm", g.finish(), rows(), "variance"});
}

// RMSNormalization written out: divided by the root, or multiplied by what a Reciprocal or a
// division gives of it.
TEST(TransformerPasses, RmsNorm) {
  for (const std::string way : {"Div", "Reciprocal", "One"}) {
    SCOPED_TRACE(way);
    G g = with_input();
    g.constant("two", number(2)).constant("epsilon", number(1e-3F)).constant("one", number(1));
    g.weight("gamma", {12}).node("Pow", {"x", "two"}, {"square"});
    g.node("ReduceMean", {"square"}, {"variance"}, {G::ints("axes", {-1})});
    g.node("Add", {"variance", "epsilon"}, {"v"}).node("Sqrt", {"v"}, {"root"});
    if (way == "Div") {
      g.node("Div", {"x", "root"}, {"n"});
    } else {
      if (way == "One") g.node("Div", {"one", "root"}, {"inverse"});
      if (way == "Reciprocal") g.node("Reciprocal", {"root"}, {"inverse"});
      g.node("Mul", {"x", "inverse"}, {"n"});
    }
    g.node("Mul", {"gamma", "n"}, {"y"}).output("y");
    const std::string plan = expect_fusion({"layer_norm", g.finish(), rows(), "n"});
    EXPECT_EQ(plan.rfind("1 steps", 0), 0U) << plan;
    EXPECT_NE(plan.find("as RMSNormalization"), std::string::npos) << plan;
  }
}

// Another tensor divided by the root of x is no norm of x.
TEST(TransformerPasses, ARootOfOtherRowsStays) {
  G g = with_input();
  g.constant("two", number(2)).constant("epsilon", number(1e-3F)).weight("gamma", {12});
  g.node("Pow", {"x", "two"}, {"square"}).node("Exp", {"x"}, {"e"});
  g.node("ReduceMean", {"square"}, {"variance"}, {G::ints("axes", {-1})});
  g.node("Add", {"variance", "epsilon"}, {"v"}).node("Sqrt", {"v"}, {"root"});
  g.node("Div", {"e", "root"}, {"n"}).node("Mul", {"gamma", "n"}, {"y"}).output("y");
  EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(rows()), "layer_norm"));
}

// The root of a mean of what no step squares: of an input, and of its view.
TEST(TransformerPasses, ARootOfAnInputsMeanStays) {
  for (const bool viewed : {false, true}) {
    G g = with_input();
    g.constant("epsilon", number(1)).constant("flat", Tensor::of<std::int64_t>({2}, {10, 12}));
    if (viewed) g.node("Reshape", {"x", "flat"}, {"v"});
    g.node("ReduceMean", {viewed ? "v" : "x"}, {"mean"}, {G::ints("axes", {-1})});
    g.node("Add", {"mean", "epsilon"}, {"sum"}).node("Sqrt", {"sum"}, {"root"});
    g.node("Div", {viewed ? "v" : "x", "root"}, {"y"}).output("y");
    const Session session(g.finish(), {.threads = 1});
    EXPECT_FALSE(is_by(session.explain(rows()), "layer_norm"));
    EXPECT_EQ(session.run(rows())[0].size(), 120);
  }
}

TEST(TransformerPasses, LayerNormKeepsASumThatIsFetched) {
  G g = layer_norm(true, false);
  g.node("Add", {"scaled", "beta"}, {"y"}).output("y");
  const Session session(g.finish(), {.threads = 1});
  const std::string plan = session.explain(rows(), {"y", "scaled"});
  // All but the bias is still one step.
  EXPECT_EQ(plan.rfind("2 steps, 9 nodes", 0), 0U) << plan;
}

TEST(TransformerPasses, AMeanAlongAnotherAxisStays) {
  G g = with_input();
  g.constant("two", number(2)).constant("epsilon", number(1e-3F)).weight("gamma", {12});
  const G::Attributes middle = {G::ints("axes", {1})};
  g.node("ReduceMean", {"x"}, {"mean"}, middle).node("Sub", {"x", "mean"}, {"d"});
  g.node("Pow", {"d", "two"}, {"square"}).node("ReduceMean", {"square"}, {"variance"}, middle);
  g.node("Add", {"variance", "epsilon"}, {"v"}).node("Sqrt", {"v"}, {"deviation"});
  g.node("Div", {"d", "deviation"}, {"n"}).node("Mul", {"n", "gamma"}, {"y"}).output("y");
  EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(rows()), "layer_norm"));
}

// The three orders of the factors of x * sum / 2.
void product(G& g, const std::string& sum, int order) {
  g.constant("half", number(0.5F));
  if (order == 0) g.node("Mul", {"x", sum}, {"p"}).node("Mul", {"p", "half"}, {"y"});
  if (order == 1) g.node("Mul", {"x", "half"}, {"p"}).node("Mul", {"p", sum}, {"y"});
  if (order == 2) g.node("Mul", {"half", sum}, {"p"}).node("Mul", {"x", "p"}, {"y"});
  g.output("y");
}

TEST(TransformerPasses, GeluByErf) {
  for (int order = 0; order < 3; ++order) {
    for (const bool divided : {false, true}) {
      G g = with_input();
      g.constant("root", number(divided ? 1.4142135381698608F : 0.70710676908493042F));
      g.constant("one", number(1));
      g.node(divided ? "Div" : "Mul", {"x", "root"}, {"scaled"}).node("Erf", {"scaled"}, {"erf"});
      g.node("Add", {"erf", "one"}, {"sum"});
      product(g, "sum", order);
      const std::string plan = expect_fusion({"gelu", g.finish(), rows(), "erf"});
      EXPECT_EQ(plan.rfind("1 steps, 5 nodes", 0), 0U) << plan;
    }
  }
}

TEST(TransformerPasses, GeluByTanh) {
  for (int order = 0; order < 3; ++order) {
    for (const std::string cube : {"power", "product", "factor innermost"}) {
      G g = with_input();
      g.constant("three", number(3)).constant("k", number(0.044715F)).constant("one", number(1));
      g.constant("root", number(0.79788458347320557F));
      if (cube == "power") {
        g.node("Pow", {"x", "three"}, {"cube"}).node("Mul", {"k", "cube"}, {"small"});
      } else if (cube == "product") {
        g.node("Mul", {"x", "x"}, {"square"}).node("Mul", {"square", "x"}, {"cube"});
        g.node("Mul", {"k", "cube"}, {"small"});
      } else {
        g.node("Mul", {"k", "x"}, {"first"}).node("Mul", {"x", "first"}, {"second"});
        g.node("Mul", {"x", "second"}, {"small"});
      }
      g.node("Add", {"x", "small"}, {"inner"});
      g.node("Mul", {"root", "inner"}, {"argument"}).node("Tanh", {"argument"}, {"tanh"});
      g.node("Add", {"one", "tanh"}, {"sum"});
      product(g, "sum", order);
      const std::string plan = expect_fusion({"gelu", g.finish(), rows(), "inner"});
      EXPECT_EQ(plan.rfind("1 steps, ", 0), 0U) << plan;
    }
  }
}

TEST(TransformerPasses, OtherPowersAreNoGelu) {
  G g = with_input();
  g.constant("k", number(0.044715F)).constant("one", number(1));
  g.constant("root", number(0.79788458347320557F));
  g.node("Mul", {"k", "x"}, {"first"}).node("Mul", {"x", "first"}, {"small"});
  g.node("Add", {"x", "small"}, {"inner"}).node("Mul", {"root", "inner"}, {"argument"});
  g.node("Tanh", {"argument"}, {"tanh"}).node("Add", {"one", "tanh"}, {"sum"});
  product(g, "sum", 0);
  EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(rows()), "gelu"));
}

TEST(TransformerPasses, OtherNumbersAreNoGelu) {
  for (const float wrong : {1.4F, -1.4142135F}) {
    G g = with_input();
    g.constant("root", number(wrong)).constant("one", number(1));
    g.node("Div", {"x", "root"}, {"scaled"}).node("Erf", {"scaled"}, {"erf"});
    g.node("Add", {"erf", "one"}, {"sum"});
    product(g, "sum", 0);
    EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(rows()), "gelu"));
  }
}

TEST(TransformerPasses, Swish) {
  G g = with_input();
  g.node("Sigmoid", {"x"}, {"s"}).node("Mul", {"s", "x"}, {"y"}).output("y");
  expect_fusion({"swish", g.finish(), rows(), "s"});
  G scaled = with_input();
  scaled.constant("alpha", number(1.702F)).node("Mul", {"x", "alpha"}, {"a"});
  scaled.node("Sigmoid", {"a"}, {"s"}).node("Mul", {"x", "s"}, {"y"}).output("y");
  expect_fusion({"swish", scaled.finish(), rows(), "a"});
  G other = with_input();
  other.weight("z", {12}).node("Sigmoid", {"x"}, {"s"}).node("Mul", {"s", "z"}, {"y"}).output("y");
  EXPECT_FALSE(is_by(Session(other.finish(), {.threads = 1}).explain(rows()), "swish"));
}

TEST(TransformerPasses, HardSwish) {
  const Feeds wide = {
      {"x", Tensor::of<float>({2, 5, 2}, {-9,   -4, -3,   -2.5F, -1, -0.5F, 0, 0.25F, 0.5F, 1,
                                          1.5F, 2,  2.5F, 2.75F, 3,  3.5F,  4, 5,     7,    100})}};
  for (int form = 0; form < 4; ++form) {
    SCOPED_TRACE(form);
    G g;
    g.input("x", DType::f32, {2, 5, 2}).constant("three", number(3)).constant("zero", number(0));
    g.constant("six", number(6)).constant("sixth", number(1.0F / 6));
    std::string inner = "c";
    if (form < 3) {
      g.node("Add", {"x", "three"}, {"a"}).node("Clip", {"a", "zero", "six"}, {"c"});
    }
    if (form == 0) g.node("Mul", {"x", "c"}, {"m"}).node("Div", {"m", "six"}, {"y"});
    if (form == 1) g.node("Mul", {"c", "x"}, {"m"}).node("Mul", {"m", "sixth"}, {"y"});
    if (form == 2) g.node("Div", {"c", "six"}, {"m"}).node("Mul", {"x", "m"}, {"y"});
    if (form == 3) {
      g.node("HardSigmoid", {"x"}, {"c"}, {real("alpha", 1.0F / 6)});
      g.node("Mul", {"x", "c"}, {"y"});
    }
    g.output("y");
    expect_fusion({"hard_swish", g.finish(), wide, "c"});
  }
}

TEST(TransformerPasses, ScaledMatMul) {
  for (const bool divided : {false, true}) {
    G g = with_input();
    g.input("k", DType::f32, {2, 12, 7}).constant("eight", number(8));
    g.node("MatMul", {"x", "k"}, {"scores"});
    g.node(divided ? "Div" : "Mul", {"scores", "eight"}, {"y"}).output("y");
    Feeds feeds = rows();
    feeds.emplace_back("k", G::random({2, 12, 7}, 61));
    expect_fusion({"matmul_scale", g.finish(), feeds, "scores"});
  }
}

TEST(TransformerPasses, MatMulAndBias) {
  for (const bool swapped : {false, true}) {
    G g = with_input();
    g.weight("w", {12, 7}).weight("b", {7}).node("MatMul", {"x", "w"}, {"m"});
    g.node("Add", {swapped ? "b" : "m", swapped ? "m" : "b"}, {"y"}).output("y");
    expect_fusion({"matmul_add", g.finish(), rows(), "m"});
  }
}

TEST(TransformerPasses, MatMulAndATensorLikeIt) {
  for (const bool batched : {false, true}) {
    G g = with_input();
    const Shape shape = batched ? Shape{2, 12, 7} : Shape{12, 7};
    g.input("k", DType::f32, shape).input("z", DType::f32, {2, 5, 7});
    g.node("MatMul", {"x", "k"}, {"m"}).node("Add", {"z", "m"}, {"y"}).output("y");
    Feeds feeds = rows();
    feeds.emplace_back("k", G::random(shape, 61));
    feeds.emplace_back("z", G::random({2, 5, 7}, 62));
    expect_fusion({"matmul_add", g.finish(), feeds, "m"});
  }
}

TEST(TransformerPasses, ASumOfAnotherShapeStays) {
  for (const Shape& shape : {Shape{5, 1}, Shape{5, 7}, Shape{1}, Shape{2, 1, 7}}) {
    G g = with_input();
    g.weight("w", {12, 7}).weight("b", shape).node("MatMul", {"x", "w"}, {"m"});
    g.node("Add", {"m", "b"}, {"y"}).output("y");
    EXPECT_FALSE(is_by(Session(g.finish(), {.threads = 1}).explain(rows()), "matmul_add"));
  }
}

TEST(TransformerPasses, GemmAndActivation) {
  const std::vector<std::pair<std::string, G::Attributes>> activations = {
      {"Relu", {}},     {"LeakyRelu", {real("alpha", 0.25F)}},
      {"Sigmoid", {}},  {"HardSigmoid", {real("alpha", 0.3F), real("beta", 0.25F)}},
      {"Softplus", {}}, {"Elu", {real("alpha", 0.5F)}},
      {"Tanh", {}},     {"Softsign", {}},
  };
  for (const auto& [name, attributes] : activations) {
    SCOPED_TRACE(name);
    G g;
    g.input("x", DType::f32, {4, 12}).weight("w", {7, 12}).weight("b", {7});
    g.node("Gemm", {"x", "w", "b"}, {"m"}, {G::number("transB", 1), real("alpha", 1.5F)});
    g.node(name, {"m"}, {"y"}, attributes).output("y");
    expect_fusion({"gemm_activation", g.finish(), {{"x", G::random({4, 12}, 63)}}, "m"});
  }
}

// A sum that goes on to the next block, as in every transformer, is given besides.
TEST(TransformerPasses, SkipLayerNorm) {
  G g = with_input();
  g.input("z", DType::f32, {2, 5, 12}).weight("gamma", {12}).weight("beta", {12});
  g.node("Add", {"x", "z"}, {"s"}).node("LayerNormalization", {"s", "gamma", "beta"}, {"n"});
  g.node("Add", {"n", "s"}, {"t"}).node("LayerNormalization", {"t", "gamma"}, {"y"}).output("y");
  const Model model = g.finish();
  Feeds feeds = rows();
  feeds.emplace_back("z", G::random({2, 5, 12}, 64));
  const Session fused(model, {.threads = 2});
  const Session plain(model, {.threads = 2, .disabled_passes = {"skip_layer_norm"}});
  EXPECT_EQ(fused.explain(feeds).rfind("2 steps, 4 nodes", 0), 0U) << fused.explain(feeds);
  EXPECT_EQ(plain.explain(feeds).rfind("4 steps, 4 nodes", 0), 0U);
  const std::vector<std::string> all = {"s", "n", "t", "y"};
  const Outputs expected = plain.run(feeds, all);
  expect_near(fused.run(feeds)[0], expected[3], 1e-6);
  const Outputs taps = fused.run(feeds, all);
  for (std::size_t i = 0; i < all.size(); ++i) expect_near(taps[i], expected[i], 1e-6);
  // What the sum is given for must not come before it.
  RunOptions options;
  int calls = 0;
  options.patches = {{"s", [&](const Tensor& tensor) {
                        ++calls;
                        return tensor;
                      }}};
  expect_near(fused.run(feeds, {}, options)[0], expected[3], 1e-6);
  EXPECT_EQ(calls, 1);
}

TEST(TransformerPasses, SkipRmsNorm) {
  G g = with_input();
  g.input("z", DType::f32, {2, 5, 12}).weight("gamma", {12});
  g.node("Add", {"x", "z"}, {"s"}).node("RMSNormalization", {"s", "gamma"}, {"n"});
  g.node("Add", {"n", "s"}, {"y"}).output("y");
  Feeds feeds = rows();
  feeds.emplace_back("z", G::random({2, 5, 12}, 64));
  const Model model = g.finish(23);
  const Session fused(model, {.threads = 2});
  const Session plain(model, {.threads = 2, .disabled_passes = {"skip_layer_norm"}});
  EXPECT_EQ(fused.explain(feeds).rfind("2 steps, 3 nodes", 0), 0U) << fused.explain(feeds);
  const std::vector<std::string> all = {"s", "n", "y"};
  const Outputs expected = plain.run(feeds, all), got = fused.run(feeds, all);
  expect_near(fused.run(feeds)[0], expected[2], 1e-6);
  for (std::size_t i = 0; i < all.size(); ++i) expect_near(got[i], expected[i], 1e-6);
}

// Reshape has no step of its own: who reads its result reads the sum.
TEST(TransformerPasses, ASumWhoseViewIsUsedBeforeItsNormStays) {
  G g = with_input();
  g.input("z", DType::f32, {2, 5, 12}).weight("gamma", {12});
  g.constant("flat", Tensor::of<std::int64_t>({1}, {-1}));
  g.node("Add", {"x", "z"}, {"s"}).node("Reshape", {"s", "flat"}, {"v"});
  g.node("Softmax", {"v"}, {"r"}).output("r");
  g.node("LayerNormalization", {"s", "gamma"}, {"n"}).node("Add", {"n", "s"}, {"y"}).output("y");
  Feeds feeds = rows();
  feeds.emplace_back("z", G::random({2, 5, 12}, 64));
  const Model model = g.finish();
  const Session session(model, {.threads = 1});
  const std::string plan = session.explain(feeds);
  EXPECT_NE(plan.find("not skip_layer_norm: 's' is used in between"), std::string::npos) << plan;
  const Session plain(model, {.threads = 1, .disabled_passes = {"all"}});
  const Outputs got = session.run(feeds), expected = plain.run(feeds);
  expect_near(got[0], expected[0], 1e-6);
  expect_near(got[1], expected[1], 1e-6);
}

TEST(TransformerPasses, ASumThatIsUsedBeforeItsNormStays) {
  G g = with_input();
  g.input("z", DType::f32, {2, 5, 12}).weight("gamma", {12});
  g.node("Add", {"x", "z"}, {"s"}).node("Relu", {"s"}, {"r"});
  g.node("LayerNormalization", {"s", "gamma"}, {"n"}).node("Add", {"n", "r"}, {"y"}).output("y");
  Feeds feeds = rows();
  feeds.emplace_back("z", G::random({2, 5, 12}, 64));
  const std::string plan = Session(g.finish(), {.threads = 1}).explain(feeds);
  EXPECT_FALSE(is_by(plan, "skip_layer_norm")) << plan;
  EXPECT_NE(plan.find("'s' is used in between"), std::string::npos) << plan;
}

}  // namespace
}  // namespace mezzo::tests
