// The pass that recognises attention where an exporter wrote it out.

#include "passes/attention.h"

#include <cstring>
#include <limits>

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

constexpr std::int64_t kBatch = 2, kRows = 5, kKeys = 7, kHeads = 3, kSize = 4;

struct Form {
  std::string scale = "scores";  // "scores", "twice" (them), "queries", "both" or "none"
  bool divides = true;
  bool keys_twice = false;  // [B, H, S, D] first, then its last two axes
  Shape mask = {};          // empty: none
  bool mask_first = false;  // as the left summand
  Shape condition = {};     // of a Where ahead of the mask; empty: none
  bool keeps = true;        // the condition is that scores stay, or that they are replaced
  bool expands = false;     // an Expand repeats it ahead of the Where
  Shape fill = {};          // of what scores are replaced by
  bool guards = false;      // weights that are NaN become 0, by IsNaN and Where
  float instead = 0;        // or this
  // What keeps it from being attention.
  std::int64_t axis = -1;
  bool scaled_values = false, masked_before_scaling = false;
  std::vector<std::int64_t> join = {0, 2, 1, 3};
};

Feeds feeds(const Form& form) {
  Feeds all = {{"q", G::random({kBatch, kRows, kHeads * kSize}, 1)},
               {"k", G::random({kBatch, kKeys, kHeads * kSize}, 2)},
               {"v", G::random({kBatch, kKeys, kHeads * kSize}, 3)}};
  if (!form.mask.empty()) all.emplace_back("mask", G::random(form.mask, 4));
  if (!form.condition.empty()) {
    Tensor some = G::random(form.condition, 5);
    for (float& value : some.mutable_values<float>()) value = value > 0 ? 1 : 0;
    all.emplace_back("condition", some.to(DType::boolean));
  }
  return all;
}

G graph(const Form& form) {
  G g;
  g.input("q", DType::f32, {kBatch, kRows, kHeads * kSize});
  g.input("k", DType::f32, {kBatch, kKeys, kHeads * kSize});
  g.input("v", DType::f32, {kBatch, kKeys, kHeads * kSize});
  if (!form.mask.empty()) g.input("mask", DType::f32, form.mask);
  g.constant("split", Tensor::of<std::int64_t>({4}, {0, 0, kHeads, kSize}));
  g.constant("joined_shape", Tensor::of<std::int64_t>({3}, {kBatch, kRows, kHeads * kSize}));
  const bool halves = form.scale == "both";
  const float factor = halves ? 1.5F : 2.25F;
  g.constant("factor", Tensor::scalar(form.divides ? factor : 1 / factor));
  const auto scaled = [&](const std::string& from, const std::string& to) {
    g.node(form.divides ? "Div" : "Mul", {from, "factor"}, {to});
  };
  for (const std::string name : {"q", "k", "v"}) {
    g.node("Reshape", {name, "split"}, {name + "4"});
  }
  g.node("Transpose", {"q4"}, {"qh"}, {G::ints("perm", {0, 2, 1, 3})});
  if (form.keys_twice) {
    g.node("Transpose", {"k4"}, {"kh"}, {G::ints("perm", {0, 2, 1, 3})});
    g.node("Transpose", {"kh"}, {"kt"}, {G::ints("perm", {0, 1, 3, 2})});
  } else {
    g.node("Transpose", {"k4"}, {"kt"}, {G::ints("perm", {0, 2, 3, 1})});
  }
  g.node("Transpose", {"v4"}, {"vh"}, {G::ints("perm", {0, 2, 1, 3})});
  std::string q = "qh", k = "kt", v = "vh", scores = "scores";
  if (form.scale == "queries" || halves) scaled("qh", q = "qs");
  if (halves) scaled("kt", k = "ks");
  if (form.scaled_values) scaled("vh", v = "vs");
  g.node("MatMul", {q, k}, {scores});
  const auto add_mask = [&] {
    if (form.mask.empty()) return;
    const std::string left = form.mask_first ? "mask" : scores;
    g.node("Add", {left, form.mask_first ? scores : "mask"}, {"masked"});
    scores = "masked";
  };
  if (form.masked_before_scaling) add_mask();
  if (form.scale == "twice") {
    scaled(scores, "once");
    scores = "once";
  }
  if (form.scale == "scores" || form.scale == "twice") {
    scaled(scores, "scaled");
    scores = "scaled";
  }
  if (!form.condition.empty()) {
    g.input("condition", DType::boolean, form.condition);
    std::string condition = "condition";
    if (form.expands) {
      g.constant("all_scores", Tensor::of<std::int64_t>({4}, {kBatch, kHeads, kRows, kKeys}));
      g.node("Expand", {"condition", "all_scores"}, {condition = "expanded"});
    }
    std::vector<float> fill(static_cast<std::size_t>(element_count(form.fill)), -1e4F);
    if (fill.size() > 1) fill[1] = -2e4F;
    g.constant("fill", Tensor::of<float>(form.fill, fill));
    g.node("Where",
           form.keeps ? std::vector<std::string>{condition, scores, "fill"}
                      : std::vector<std::string>{condition, "fill", scores},
           {"chosen"});
    scores = "chosen";
  }
  if (!form.masked_before_scaling) add_mask();
  g.node("Softmax", {scores}, {"weights"}, {G::number("axis", form.axis)});
  if (form.guards) {
    g.node("IsNaN", {"weights"}, {"nan"}).constant("instead", Tensor::scalar(form.instead));
    g.node("Where", {"nan", "instead", "weights"}, {"guarded"});
  }
  g.node("MatMul", {form.guards ? "guarded" : "weights", v}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", form.join)});
  g.node("Reshape", {"joined", "joined_shape"}, {"y"}).output("y");
  return g;
}

Model model(const Form& form) { return graph(form).finish(); }

void expect_recognised(const Form& form, const std::vector<std::string>& inner) {
  expect_attention(model(form), feeds(form), inner);
}

void expect_left_alone(const Form& form) {
  EXPECT_FALSE(is_by(Session(model(form), {.threads = 1}).explain(feeds(form)), "attention"));
}

TEST(AttentionPass, EveryValueInsideIsGiven) {
  Form form;
  form.mask = {kBatch, 1, 1, kKeys};
  expect_recognised(form, {"qh", "kt", "vh", "scores", "scaled", "masked", "weights", "mixed"});
  // Steps with the scale of queries and keys stay where they are.
  form.scale = "both";
  form.keys_twice = true;
  expect_recognised(form,
                    {"qh", "qs", "kh", "kt", "ks", "vh", "scores", "masked", "weights", "mixed"});
}

// As where a model gives its weights.
TEST(AttentionPass, ValuesThatAreReadElsewhere) {
  Form form;
  form.mask = {kBatch, 1, 1, kKeys};
  for (const std::string value : {"qh", "kt", "scaled", "masked", "weights", "mixed"}) {
    SCOPED_TRACE(value);
    G g = graph(form);
    g.node("Neg", {value}, {"negative"}).output("negative");
    const Model model = g.finish();
    const Session fused(model, {.threads = 1});
    const Session plain(model, {.threads = 1, .disabled_passes = {"attention"}});
    EXPECT_TRUE(is_by(fused.explain(feeds(form)), "attention"));
    const Outputs got = fused.run(feeds(form)), expected = plain.run(feeds(form));
    for (std::size_t i = 0; i < 2; ++i) expect_near(got[i], expected[i], 1e-5);
  }
}

TEST(AttentionPass, AValueBetweenTwoFactorsIsABarrier) {
  Form form;
  form.scale = "twice";
  expect_recognised(form, {"scores", "scaled", "weights"});
  const std::string plan = expect_fusion({"attention", model(form), feeds(form), "once", 1e-5});
  EXPECT_EQ(plan.rfind("1 steps", 0), 0U) << plan;
}

TEST(AttentionPass, PlacesOfTheScale) {
  for (const std::string scale : {"none", "queries", "both", "scores"}) {
    for (const bool divides : {false, true}) {
      SCOPED_TRACE(scale);
      Form form;
      form.scale = scale;
      form.divides = divides;
      expect_recognised(form, {"weights"});
    }
  }
}

TEST(AttentionPass, KeysTransposedTwice) {
  Form form;
  form.keys_twice = true;
  expect_recognised(form, {"kh", "kt"});
}

TEST(AttentionPass, FormsOfTheMask) {
  const std::vector<Shape> masks = {{kKeys},
                                    {kRows, kKeys},
                                    {kRows, 1},
                                    {kHeads, 1, kKeys},
                                    {kBatch, 1, kRows, kKeys},
                                    {kBatch, kHeads, kRows, kKeys},
                                    {1, 1, 1, 1}};
  for (const Shape& mask : masks) {
    for (const bool first : {false, true}) {
      SCOPED_TRACE(mask.size());
      Form form;
      form.mask = mask;
      form.mask_first = first;
      expect_recognised(form, {"masked"});
    }
  }
}

// As GPT-2 hides what is to come, or DistilBERT what only fills a batch up.
TEST(AttentionPass, ScoresThatAWhereReplaces) {
  for (const Shape& condition : {Shape{kRows, kKeys},
                                 {kBatch, 1, 1, kKeys},
                                 {1, kHeads, kRows, 1},
                                 {kBatch, kHeads, kRows, kKeys}}) {
    for (const bool keeps : {false, true}) {
      for (const bool expands : {false, true}) {
        for (const Shape& mask : {Shape{}, {kBatch, 1, 1, kKeys}}) {
          SCOPED_TRACE(to_string(condition) + to_string(mask));
          Form form;
          form.condition = condition;
          form.keeps = keeps;
          form.expands = expands;
          form.mask = mask;
          if (expands) form.fill = {1, 1};
          std::vector<std::string> inner = {"scores", "scaled", "chosen", "weights", "mixed"};
          if (!mask.empty()) inner.push_back("masked");
          expect_recognised(form, inner);
        }
      }
    }
  }
  // Not a number, but several.
  Form several;
  several.condition = {kRows, kKeys};
  several.fill = {kKeys};
  expect_left_alone(several);
}

// As scaled_dot_product_attention with a mask of bools is exported.
TEST(AttentionPass, WeightsThatAreGuarded) {
  Form form;
  form.mask = {kBatch, 1, 1, kKeys};
  form.guards = true;
  expect_recognised(form, {"scores", "scaled", "masked", "weights", "guarded", "mixed"});
  // A query that sees nothing.
  Feeds blind = feeds(form);
  for (float& value : blind.back().second.mutable_values<float>())
    value = -std::numeric_limits<float>::infinity();
  const Session fused(model(form), {.threads = 1});
  const Tensor y = fused.run(blind)[0];
  for (const float value : y.values<float>()) EXPECT_EQ(value, 0);
  // Where somebody asks which are NaN, that is not said on the way.
  EXPECT_FALSE(is_by(fused.explain(feeds(form), {"y", "nan"}), "attention"));
  form.instead = 1;
  expect_left_alone(form);
}

// A condition that others want is made, and taken from ahead of where it is repeated.
TEST(AttentionPass, AConditionThatIsReadElsewhere) {
  Form form;
  form.condition = {kBatch, 1, 1, kKeys};
  form.expands = true;
  const Session fused(model(form), {.threads = 1});
  const Session plain(model(form), {.threads = 1, .disabled_passes = {"attention"}});
  const std::vector<std::string> wanted = {"y", "expanded"};
  EXPECT_TRUE(is_by(fused.explain(feeds(form), wanted), "attention"));
  const Outputs got = fused.run(feeds(form), wanted), expected = plain.run(feeds(form), wanted);
  expect_near(got[0], expected[0], 1e-5);
  EXPECT_EQ(std::memcmp(got[1].data(), expected[1].data(), got[1].bytes()), 0);
}

TEST(AttentionPass, NotWhatLooksLikeIt) {
  Form values;
  values.scaled_values = true;
  expect_left_alone(values);
  // The operator adds its bias to scores that are scaled already.
  Form early;
  early.mask = {kRows, kKeys};
  early.masked_before_scaling = true;
  expect_left_alone(early);
  Form join;
  join.join = {0, 1, 2, 3};
  expect_left_alone(join);
  Form columns;
  columns.axis = 2;
  expect_left_alone(columns);
}

}  // namespace
}  // namespace mezzo::tests
