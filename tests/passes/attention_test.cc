// The pass that recognises attention where an exporter wrote it out.

#include <algorithm>
#include <cstring>

#include "passes/fusion.h"

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
  if (!form.masked_before_scaling) add_mask();
  g.node("Softmax", {scores}, {"weights"}, {G::number("axis", form.axis)});
  g.node("MatMul", {"weights", v}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", form.join)});
  g.node("Reshape", {"joined", "joined_shape"}, {"y"}).output("y");
  return g;
}

Model model(const Form& form) { return graph(form).finish(); }

// Attention is one step whichever of its values are fetched, and gives the same then; patched and
// observed they are seen whole. The plan's text.
std::string expect_attention(const Model& model, const Feeds& feeds,
                             const std::vector<std::string>& inner) {
  const Session fused(model, {.threads = 2});
  const Session plain(model, {.threads = 2, .disabled_passes = {"attention"}});
  const std::string plan = fused.explain(feeds);
  EXPECT_TRUE(is_by(plan, "attention")) << plan;
  EXPECT_EQ(plan.rfind("1 steps", 0), 0U) << plan;
  EXPECT_FALSE(is_by(plain.explain(feeds), "attention"));
  std::vector<std::string> all = {"y"};
  all.insert(all.end(), inner.begin(), inner.end());
  const Outputs expected = plain.run(feeds, all);
  const Tensor y = fused.run(feeds)[0];
  expect_near(y, expected[0], 1e-5);
  std::vector<std::vector<std::string>> sets = {all};
  for (const std::string& value : inner) sets.push_back({"y", value});
  for (const std::vector<std::string>& set : sets) {
    SCOPED_TRACE(set.back());
    const std::string tapped = fused.explain(feeds, set);
    EXPECT_TRUE(is_by(tapped, "attention")) << tapped;
    const Outputs got = fused.run(feeds, set);
    EXPECT_EQ(std::memcmp(got[0].data(), y.data(), y.bytes()), 0);
    for (std::size_t i = 0; i < set.size(); ++i) {
      const auto at = std::find(all.begin(), all.end(), set[i]) - all.begin();
      expect_near(got[i], expected[static_cast<std::size_t>(at)], 1e-5);
    }
  }
  for (std::size_t i = 1; i < all.size(); ++i)
    expect_seen_whole(fused, feeds, all[i], expected[i], expected[0]);
  EXPECT_EQ(fused.explain(feeds), plan);
  return plan;
}

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

// Queries, keys and values side by side, as timm's and torchvision's vision transformers are
// exported; `parts` says which of the three are taken for which.
Model packed_model(const std::vector<std::int64_t>& parts, bool with_mask,
                   std::int64_t packed = 3) {
  G g;
  g.input("qkv", DType::f32, {kBatch, kRows, packed * kHeads * kSize});
  g.constant("split", Tensor::of<std::int64_t>({5}, {0, 0, packed, kHeads, kSize}));
  g.constant("joined_shape", Tensor::of<std::int64_t>({3}, {kBatch, kRows, kHeads * kSize}));
  g.constant("factor", Tensor::scalar(0.5F)).weight("mask", {1, kHeads, kRows, kRows});
  g.node("Reshape", {"qkv", "split"}, {"rows"});
  g.node("Transpose", {"rows"}, {"heads"}, {G::ints("perm", {2, 0, 3, 1, 4})});
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string name(1, "qkv"[i]);
    g.constant("i" + name, Tensor::scalar(parts[i]));
    g.node("Gather", {"heads", "i" + name}, {name}, {G::number("axis", 0)});
  }
  g.node("Mul", {"q", "factor"}, {"qs"});
  g.node("Transpose", {"k"}, {"kt"}, {G::ints("perm", {0, 1, 3, 2})});
  g.node("MatMul", {"qs", "kt"}, {"scores"});
  if (with_mask) g.node("Add", {"scores", "mask"}, {"masked"});
  g.node("Softmax", {with_mask ? "masked" : "scores"}, {"weights"}, {G::number("axis", -1)});
  g.node("MatMul", {"weights", "v"}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", {0, 2, 1, 3})});
  g.node("Reshape", {"joined", "joined_shape"}, {"y"}).output("y");
  return g.finish();
}

TEST(AttentionPass, SideBySide) {
  const Feeds feeds = {{"qkv", G::random({kBatch, kRows, 3 * kHeads * kSize}, 1)}};
  for (const bool with_mask : {false, true}) {
    const std::string plan =
        expect_attention(packed_model({0, 1, -1}, with_mask), feeds,
                         {"heads", "q", "v", "qs", "kt", "scores", "weights", "mixed"});
    EXPECT_NE(plan.find("as FusedAttention"), std::string::npos) << plan;
  }
  for (const std::vector<std::int64_t>& parts :
       {std::vector<std::int64_t>{1, 0, 2}, {0, 1, 1}, {2, 1, 0}}) {
    const Session session(packed_model(parts, false), {.threads = 1});
    EXPECT_FALSE(is_by(session.explain(feeds), "attention"));
  }
  // With something else besides, heads are taken as the Gathers give them.
  const Model four = packed_model({0, 1, 2}, false, 4);
  const Session fused(four, {.threads = 1});
  const Session plain(four, {.threads = 1, .disabled_passes = {"attention"}});
  const Feeds more = {{"qkv", G::random({kBatch, kRows, 4 * kHeads * kSize}, 1)}};
  const std::string plan = fused.explain(more);
  EXPECT_TRUE(is_by(plan, "attention")) << plan;
  EXPECT_NE(plan.find("(Gather) by"), std::string::npos) << plan;
  expect_near(fused.run(more)[0], plain.run(more)[0], 1e-5);
}

// A decoder's: keys by heads, as they come out of a cache, values by rows, both repeated for the
// heads that share them; queries rotated or not. Sizes of the Expand can be wrong.
G decoder(std::int64_t rows, bool rotated, const Shape& repeats) {
  constexpr std::int64_t kGroups = 2, kAll = 6;
  G g;
  g.input("q", DType::f32, {kBatch, rows, kAll * kSize});
  g.input("k", DType::f32, {kBatch, kGroups, kKeys, kSize});
  g.input("v", DType::f32, {kBatch, kKeys, kGroups * kSize});
  const auto shape = [&](const std::string& name, const Shape& sizes) {
    g.constant(name, Tensor::of<std::int64_t>({static_cast<std::int64_t>(sizes.size())}, sizes));
  };
  shape("all", {kBatch, rows, kAll, kSize});
  shape("groups", {kBatch, kKeys, kGroups, kSize});
  shape("two", {2});
  shape("repeats", repeats);
  shape("repeated", {kBatch, kAll, kKeys, kSize});
  shape("y_shape", {kBatch, rows, kAll * kSize});
  g.node("Reshape", {"q", "all"}, {"q4"});
  g.node("Transpose", {"q4"}, {"qh"}, {G::ints("perm", {0, 2, 1, 3})});
  if (rotated) g.node("Sin", {"qh"}, {"qr"});
  g.node("Reshape", {"v", "groups"}, {"v4"});
  g.node("Transpose", {"v4"}, {"vh"}, {G::ints("perm", {0, 2, 1, 3})});
  for (const auto& [from, name] : {std::pair<std::string, std::string>{"k", "k"}, {"vh", "v"}}) {
    g.node("Unsqueeze", {from, "two"}, {name + "u"});
    g.node("Expand", {name + "u", "repeats"}, {name + "e"});
    g.node("Reshape", {name + "e", "repeated"}, {name + "r"});
  }
  g.node("Transpose", {"kr"}, {"kt"}, {G::ints("perm", {0, 1, 3, 2})});
  g.node("MatMul", {rotated ? "qr" : "qh", "kt"}, {"scores"});
  g.constant("factor", Tensor::scalar(0.5F)).node("Mul", {"scores", "factor"}, {"scaled"});
  g.weight("mask", {rows, kKeys}).node("Add", {"scaled", "mask"}, {"masked"});
  g.node("Softmax", {"masked"}, {"weights"}, {G::number("axis", -1)});
  g.node("MatMul", {"weights", "vr"}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", {0, 2, 1, 3})});
  g.node("Reshape", {"joined", "y_shape"}, {"y"}).output("y");
  return g;
}

Feeds decoder_feeds(std::int64_t rows) {
  return {{"q", G::random({kBatch, rows, 6 * kSize}, 1)},
          {"k", G::random({kBatch, 2, kKeys, kSize}, 2)},
          {"v", G::random({kBatch, kKeys, 2 * kSize}, 3)}};
}

TEST(AttentionPass, HeadsThatShareKeysAndValues) {
  for (const std::int64_t rows : {1, 2, 5}) {
    SCOPED_TRACE(rows);
    expect_attention(decoder(rows, false, {kBatch, 2, 3, kKeys, kSize}).finish(),
                     decoder_feeds(rows),
                     {"qh", "ke", "kr", "kt", "vh", "ve", "vr", "scores", "scaled", "masked",
                      "weights", "mixed"});
    const Model model = decoder(rows, true, {kBatch, 2, 3, kKeys, kSize}).finish();
    const std::string plan = Session(model, {.threads = 1}).explain(decoder_feeds(rows));
    EXPECT_TRUE(is_by(plan, "attention")) << plan;
    EXPECT_EQ(plan.find("ke float32"), std::string::npos) << plan;
    EXPECT_EQ(plan.find("vh float32"), std::string::npos) << plan;
  }
  // Repeated keys that are read elsewhere stay, under either name.
  for (const std::string value : {"ke", "kr", "vr"}) {
    G g = decoder(5, true, {kBatch, 2, 3, kKeys, kSize});
    g.node("Neg", {value}, {"negative"}).output("negative");
    const Model model = g.finish();
    const Session fused(model, {.threads = 1});
    const Session plain(model, {.threads = 1, .disabled_passes = {"attention"}});
    EXPECT_TRUE(is_by(fused.explain(decoder_feeds(5)), "attention"));
    const Outputs got = fused.run(decoder_feeds(5)), expected = plain.run(decoder_feeds(5));
    for (std::size_t i = 0; i < 2; ++i) expect_near(got[i], expected[i], 1e-5);
  }
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
