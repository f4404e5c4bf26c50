// The pass that recognises attention, where queries, keys and values lie side by side, or keys and
// values are shared.

#include "passes/attention.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

constexpr std::int64_t kBatch = 2, kRows = 5, kKeys = 7, kHeads = 3, kSize = 4;

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

// Rows side by side that a Split takes apart, as in GPT-2; `order` says which of the three is
// which.
Model split_model(const std::vector<std::string>& order) {
  G g;
  g.input("qkv", DType::f32, {kBatch, kRows, 3 * kHeads * kSize});
  g.constant("joined_shape", Tensor::of<std::int64_t>({3}, {kBatch, kRows, kHeads * kSize}));
  g.node("Split", {"qkv"}, order, {G::number("axis", -1)});
  for (const std::string name : {"q", "k", "v"}) {
    g.constant(name + "s", Tensor::of<std::int64_t>({4}, {0, 0, kHeads, kSize}));
    g.node("Reshape", {name, name + "s"}, {name + "4"});
    const std::vector<std::int64_t> perm =
        name == "k" ? std::vector<std::int64_t>{0, 2, 3, 1} : std::vector<std::int64_t>{0, 2, 1, 3};
    g.node("Transpose", {name + "4"}, {name + "h"}, {G::ints("perm", perm)});
  }
  g.node("MatMul", {"qh", "kh"}, {"scores"});
  g.node("Softmax", {"scores"}, {"weights"}, {G::number("axis", -1)});
  g.node("MatMul", {"weights", "vh"}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", {0, 2, 1, 3})});
  g.node("Reshape", {"joined", "joined_shape"}, {"y"}).output("y");
  return g.finish();
}

TEST(AttentionPass, SideBySideUntilASplit) {
  const Feeds feeds = {{"qkv", G::random({kBatch, kRows, 3 * kHeads * kSize}, 1)}};
  expect_attention(split_model({"q", "k", "v"}), feeds,
                   {"q", "k", "v", "qh", "kh", "scores", "weights", "mixed"});
  // In another order the Split stays.
  const Model other = split_model({"k", "q", "v"});
  const Session fused(other, {.threads = 1});
  const Session plain(other, {.threads = 1, .disabled_passes = {"attention"}});
  const std::string plan = fused.explain(feeds);
  EXPECT_TRUE(is_by(plan, "attention")) << plan;
  EXPECT_NE(plan.find("(Split) by"), std::string::npos) << plan;
  expect_near(fused.run(feeds)[0], plain.run(feeds)[0], 1e-5);
}

// Heads that are one axis with the batch, as BART's and CLIP's are exported: queries are scaled
// ahead of the heads, and a mask is added to scores of four axes.
G merged(bool with_mask, std::int64_t joined_heads = kHeads, bool is_read_between = false) {
  G g;
  const auto shape = [&](const std::string& name, const Shape& sizes) {
    g.constant(name, Tensor::of<std::int64_t>({static_cast<std::int64_t>(sizes.size())}, sizes));
  };
  g.constant("factor", Tensor::scalar(0.5F));
  shape("split", {kBatch, -1, kHeads, kSize});
  shape("one_axis", {kBatch * kHeads, -1, kSize});
  shape("four_axes", {kBatch, kHeads, kRows, kKeys});
  shape("three_axes", {kBatch * kHeads, kRows, kKeys});
  shape("parted", {kBatch * kHeads / joined_heads, joined_heads, kRows, kSize});
  shape("y_shape", {kBatch, kRows, kHeads * kSize});
  for (const std::string name : {"q", "k", "v"}) {
    g.input(name, DType::f32, {kBatch, name == "q" ? kRows : kKeys, kHeads * kSize});
    if (name == "q") g.node("Mul", {"q", "factor"}, {"qs"});
    g.node("Reshape", {name == "q" ? "qs" : name, "split"}, {name + "4"});
    g.node("Transpose", {name + "4"}, {name + "h"}, {G::ints("perm", {0, 2, 1, 3})});
    g.node("Reshape", {name + "h", "one_axis"}, {name + "1"});
  }
  g.node("Transpose", {"k1"}, {"kt"}, {G::ints("perm", {0, 2, 1})});
  g.node("MatMul", {"q1", "kt"}, {"scores"});
  if (with_mask) {
    g.input("mask", DType::f32, {kBatch, 1, kRows, kKeys});
    g.node("Reshape", {"scores", "four_axes"}, {"scores4"});
    g.node("Add", {"scores4", "mask"}, {"masked4"});
    if (is_read_between) g.node("Neg", {"scores4"}, {"negative"}).output("negative");
    g.node("Reshape", {"masked4", "three_axes"}, {"masked"});
  }
  g.node("Softmax", {with_mask ? "masked" : "scores"}, {"weights"}, {G::number("axis", -1)});
  g.node("MatMul", {"weights", "v1"}, {"mixed"});
  g.node("Reshape", {"mixed", "parted"}, {"mixed4"});
  g.node("Transpose", {"mixed4"}, {"joined"}, {G::ints("perm", {0, 2, 1, 3})});
  g.node("Reshape", {"joined", "y_shape"}, {"y"}).output("y");
  return g;
}

TEST(AttentionPass, HeadsThatAreOneAxisWithTheBatch) {
  for (const bool with_mask : {false, true}) {
    Feeds feeds = {{"q", G::random({kBatch, kRows, kHeads * kSize}, 1)},
                   {"k", G::random({kBatch, kKeys, kHeads * kSize}, 2)},
                   {"v", G::random({kBatch, kKeys, kHeads * kSize}, 3)}};
    if (with_mask) feeds.emplace_back("mask", G::random({kBatch, 1, kRows, kKeys}, 4));
    std::vector<std::string> inner = {"q1", "kh", "kt", "scores", "weights", "mixed4"};
    if (with_mask) inner.push_back("masked4");
    // The queries' scale is a step of its own.
    expect_attention(merged(with_mask).finish(), feeds, inner, 2);
    // Weights that are an output under another name, which no step reads.
    G g = merged(with_mask);
    g.node("Reshape", {"weights", "four_axes"}, {"weights4"}).output("weights4");
    const Model model = g.finish();
    const Session fused(model, {.threads = 1});
    const Session plain(model, {.threads = 1, .disabled_passes = {"attention"}});
    EXPECT_TRUE(is_by(fused.explain(feeds), "attention"));
    const Outputs got = fused.run(feeds), expected = plain.run(feeds);
    for (std::size_t i = 0; i < 2; ++i) expect_near(got[i], expected[i], 1e-5);
    // Joined in another way than they were split they are no heads.
    const Session other(merged(with_mask, 1).finish(), {.threads = 1});
    EXPECT_FALSE(is_by(other.explain(feeds), "attention"));
  }
}

// As PyTorch's newer exporter has it: keys are turned while their heads are one axis with the
// batch, queries and keys are scaled behind that, and weights guarded where a mask is added.
TEST(AttentionPass, KeysThatAreTurnedAsOneAxis) {
  for (const bool with_mask : {false, true}) {
    for (const bool is_other : {false, true}) {
      G g;
      const auto shape = [&](const std::string& name, const Shape& sizes) {
        g.constant(name,
                   Tensor::of<std::int64_t>({static_cast<std::int64_t>(sizes.size())}, sizes));
      };
      g.constant("factor", Tensor::scalar(0.6F)).constant("zero", Tensor::scalar(0.0F));
      shape("split", {kBatch, -1, kHeads, kSize});
      shape("one_axis", {-1, kKeys, kSize});
      shape("four_axes", {kBatch, kHeads, kSize, kKeys});
      shape("y_shape", {kBatch, kRows, -1});
      Feeds feeds;
      for (const std::string name : {"q", "k", "v"}) {
        const Shape rows = {kBatch, name == "q" ? kRows : kKeys, kHeads * kSize};
        g.input(name, DType::f32, rows).node("Reshape", {name, "split"}, {name + "4"});
        g.node("Transpose", {name + "4"}, {name + "h"}, {G::ints("perm", {0, 2, 1, 3})});
        feeds.emplace_back(name, G::random(rows, static_cast<int>(name[0])));
      }
      // Not turned, though given the turned ones' shape, they are no keys.
      g.node("Reshape", {"kh", "one_axis"}, {"k3"});
      if (is_other) {
        g.node("Identity", {"k3"}, {"kt3"});
      } else {
        g.node("Transpose", {"k3"}, {"kt3"}, {G::ints("perm", {0, 2, 1})});
      }
      g.node("Reshape", {"kt3", "four_axes"}, {"kt"}).node("Mul", {"kt", "factor"}, {"kf"});
      g.node("Mul", {"qh", "factor"}, {"qf"}).node("MatMul", {"qf", "kf"}, {"scores"});
      std::vector<std::string> inner = {"qf", "kh", "kt3", "kt", "kf", "scores", "weights"};
      std::string taken = "scores", weights = "weights";
      if (with_mask) {
        g.input("mask", DType::f32, {1, 1, kRows, kKeys});
        g.node("Add", {"scores", "mask"}, {"masked"});
        feeds.emplace_back("mask", G::random({1, 1, kRows, kKeys}, 4));
        taken = "masked";
        inner.push_back("masked");
      }
      g.node("Softmax", {taken}, {"weights"}, {G::number("axis", -1)});
      if (with_mask) {
        g.node("IsNaN", {"weights"}, {"nan"})
            .node("Where", {"nan", "zero", "weights"}, {"guarded"});
        weights = "guarded";
        inner.push_back("guarded");
      }
      g.node("MatMul", {weights, "vh"}, {"mixed"});
      g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", {0, 2, 1, 3})});
      g.node("Reshape", {"joined", "y_shape"}, {"y"}).output("y");
      if (is_other) {
        const Model model = g.finish();
        const Session session(model, {.threads = 1});
        EXPECT_FALSE(is_by(session.explain(feeds), "attention"));
        const Session plain(model, {.threads = 1, .disabled_passes = {"all"}});
        expect_near(session.run(feeds)[0], plain.run(feeds)[0], 1e-5);
      } else {
        expect_attention(g.finish(), feeds, inner);
      }
    }
  }
}

// torch.nn.MultiheadAttention: the batch comes second, and one of one image is not there at all
// while heads are put in front.
TEST(AttentionPass, ABatchOfOneThatComesSecond) {
  for (const std::int64_t batch : {1, 2}) {
    G g;
    const auto shape = [&](const std::string& name, const Shape& sizes) {
      g.constant(name, Tensor::of<std::int64_t>({static_cast<std::int64_t>(sizes.size())}, sizes));
    };
    Feeds feeds;
    for (const std::string name : {"q", "k", "v"}) {
      const std::int64_t rows = name == "q" ? kRows : kKeys;
      g.input(name, DType::f32, {rows, batch, kHeads * kSize});
      feeds.emplace_back(name, G::random({rows, batch, kHeads * kSize}, static_cast<int>(name[0])));
      shape(name + "_split", {rows, batch * kHeads, kSize});
      shape(name + "_four",
            name == "k" ? Shape{batch, kHeads, kSize, rows} : Shape{batch, kHeads, rows, kSize});
      g.node("Reshape", {name, name + "_split"}, {name + "3"});
      g.node("Transpose", {name + "3"}, {name + "h"}, {G::ints("perm", {1, 0, 2})});
      if (name == "k") g.node("Transpose", {"kh"}, {"kt3"}, {G::ints("perm", {0, 2, 1})});
      g.node("Reshape", {name == "k" ? "kt3" : name + "h", name + "_four"}, {name + "f"});
    }
    g.node("MatMul", {"qf", "kf"}, {"scores"});
    g.node("Softmax", {"scores"}, {"weights"}, {G::number("axis", -1)});
    g.node("MatMul", {"weights", "vf"}, {"mixed"});
    g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", {2, 0, 1, 3})});
    shape("y_shape", {kRows * batch, kHeads * kSize});
    g.node("Reshape", {"joined", "y_shape"}, {"y"}).output("y");
    const Model model = g.finish();
    if (batch == 1) {
      expect_attention(model, feeds, {"qh", "kh", "kt3", "kf", "vf", "scores", "weights", "mixed"});
      continue;
    }
    const Session session(model, {.threads = 1}),
        plain(model, {.threads = 1, .disabled_passes = {"all"}});
    EXPECT_FALSE(is_by(session.explain(feeds), "attention"));
    expect_near(session.run(feeds)[0], plain.run(feeds)[0], 1e-5);
  }
}

// What changes nothing lies between: a Cast to the same type, an Identity, a Dropout of inference.
TEST(AttentionPass, StepsThatChangeNothing) {
  const Shape rows = {kBatch, kHeads, kRows, kSize}, keys = {kBatch, kHeads, kKeys, kSize};
  G g;
  g.input("q", DType::f32, rows).input("k", DType::f32, keys).input("v", DType::f32, keys);
  g.constant("factor", Tensor::scalar(0.5F)).constant("ratio", Tensor::scalar(0.1F));
  g.constant("y_shape", Tensor::of<std::int64_t>({3}, {kBatch, kRows, kHeads * kSize}));
  const G::Attributes to_float = {G::number("to", 1)};
  g.node("Transpose", {"k"}, {"kt"}, {G::ints("perm", {0, 1, 3, 2})})
      .node("Cast", {"kt"}, {"kc"}, to_float);
  g.node("MatMul", {"q", "kc"}, {"scores"}).node("Cast", {"scores"}, {"scores_cast"}, to_float);
  g.node("Mul", {"scores_cast", "factor"}, {"scaled"}).node("Identity", {"scaled"}, {"same"});
  g.node("Softmax", {"same"}, {"weights"}, {G::number("axis", -1)});
  g.node("Dropout", {"weights", "ratio"}, {"dropped"}).node("MatMul", {"dropped", "v"}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"joined"}, {G::ints("perm", {0, 2, 1, 3})});
  g.node("Reshape", {"joined", "y_shape"}, {"y"}).output("y");
  const Model model = g.finish();
  const Feeds feeds = {
      {"q", G::random(rows, 1)}, {"k", G::random(keys, 2)}, {"v", G::random(keys, 3)}};
  expect_attention(model, feeds, {"kc", "scores_cast", "same", "dropped", "mixed"});
  // Under both names at once: tensors of their own.
  const Session session(model, {.threads = 1});
  const Tensor expected = session.run(feeds, {"weights"})[0];
  Outputs both = session.run(feeds, {"weights", "dropped", "y"});
  Tensor weights = both[0];
  weights.mutable_values<float>()[0] = 7;
  expect_near(both[1], expected, 1e-6);
  // A Dropout of training is none of these.
  G training;
  training.input("x", DType::f32, {4000}).constant("ratio", Tensor::scalar(0.5F));
  training.constant("yes", Tensor::scalar(true));
  training.node("Dropout", {"x", "ratio", "yes"}, {"d"}).node("Neg", {"d"}, {"y"}).output("y");
  const Tensor ones = Tensor::of<float>({4000}, std::vector<float>(4000, 1.0F));
  const Tensor y = Session(training.finish(), {.threads = 1}).run({{"x", ones}})[0];
  const auto dropped = std::count(y.values<float>().begin(), y.values<float>().end(), 0.0F);
  EXPECT_GT(dropped, 1000);
  EXPECT_LT(dropped, 3000);
}

// Scores that somebody else reads ahead of the last step, under another name that attention's own
// steps have read by then.
TEST(AttentionPass, AReaderInBetween) {
  const Model model = merged(true, kHeads, true).finish();
  const Feeds feeds = {{"q", G::random({kBatch, kRows, kHeads * kSize}, 1)},
                       {"k", G::random({kBatch, kKeys, kHeads * kSize}, 2)},
                       {"v", G::random({kBatch, kKeys, kHeads * kSize}, 3)},
                       {"mask", G::random({kBatch, 1, kRows, kKeys}, 4)}};
  const Session fused(model, {.threads = 1});
  const Session plain(model, {.threads = 1, .disabled_passes = {"attention"}});
  const Outputs got = fused.run(feeds), expected = plain.run(feeds);
  for (std::size_t i = 0; i < 2; ++i) expect_near(got[i], expected[i], 1e-5);
}

// A decoder's: keys by heads, as they come out of a cache, values by rows, both repeated for the
// heads that share them; queries rotated or not. Sizes of the Expand can be wrong.
G decoder(std::int64_t rows, bool rotated, const Shape& repeats, bool turned_as_one = false) {
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
    if (name == "k" && turned_as_one) continue;
    g.node("Reshape", {name + "e", "repeated"}, {name + "r"});
  }
  if (turned_as_one) {
    shape("one_axis", {kBatch * kAll, kKeys, kSize});
    shape("turned", {kBatch, kAll, kSize, kKeys});
    g.node("Reshape", {"ke", "one_axis"}, {"k3"});
    g.node("Transpose", {"k3"}, {"kt3"}, {G::ints("perm", {0, 2, 1})});
    g.node("Reshape", {"kt3", "turned"}, {"kt"});
  } else {
    g.node("Transpose", {"kr"}, {"kt"}, {G::ints("perm", {0, 1, 3, 2})});
  }
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
    expect_attention(decoder(rows, false, {kBatch, 2, 3, kKeys, kSize}, true).finish(),
                     decoder_feeds(rows), {"ke", "k3", "kt3", "kt", "ve", "scores", "weights"});
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

}  // namespace
}  // namespace mezzo::tests
