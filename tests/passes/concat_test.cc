// Concat whose parts are written where they belong.

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

// x [1, 16, 4, 4] through two activations, joined along the channels.
G branches(const std::vector<std::string>& parts, std::int64_t axis = 1) {
  G g;
  g.input("x", DType::f32, {1, 16, 4, 4});
  g.node("Exp", {"x"}, {"a"}).node("Tanh", {"x"}, {"b"}).node("Exp", {"b"}, {"c"});
  g.node("Concat", parts, {"joined"}, {G::number("axis", axis)});
  g.node("Neg", {"joined"}, {"y"}).output("y");
  return g;
}

Feeds picture() { return {{"x", G::random({1, 16, 4, 4}, 70)}}; }

// Every value, alone and all at once, equals that without the pass.
void expect_same(const Model& model, const Feeds& feeds) {
  const Session placed(model, {.threads = 1});
  const Session plain(model, {.threads = 1, .disabled_passes = {"concat"}});
  std::vector<std::string> all;
  for (const ValueInfo& value : model.values()) {
    if (value.kind == ValueInfo::Kind::node_output) all.push_back(value.name);
  }
  const Outputs expected = plain.run(feeds, all);
  const Outputs together = placed.run(feeds, all);
  const std::string output = model.outputs()[0].name;
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(all[i]);
    expect_near(together[i], expected[i], 0);
    expect_near(placed.run(feeds, {all[i]})[0], expected[i], 0);
    const Outputs both = placed.run(feeds, {all[i], output});
    expect_near(both[0], expected[i], 0);
    expect_near(both[1], expected[output], 0);
  }
}

TEST(ConcatPass, WritesPartsInPlace) {
  const Model model = branches({"a", "c"}).finish();
  const Session session(model, {.threads = 1});
  EXPECT_TRUE(is_by(session.explain(picture()), "concat")) << session.explain(picture());
  const std::string tapped = session.explain(picture(), {"y", "a"});
  EXPECT_TRUE(is_by(tapped, "concat")) << tapped;
  EXPECT_NE(tapped.find("not concat: 'a' is fetched"), std::string::npos) << tapped;
  EXPECT_FALSE(is_by(session.explain(picture(), {"y", "a", "c"}), "concat"));
  expect_same(model, picture());
}

TEST(ConcatPass, APartThatOthersReadToo) {
  expect_same(branches({"b", "c"}).finish(), picture());
  expect_same(branches({"b", "a", "c", "b"}).finish(), picture());
  expect_same(branches({"x", "b", "x"}).finish(), picture());
  expect_same(branches({"a"}).finish(), picture());
}

TEST(ConcatPass, ConcatsOfConcats) {
  G g;
  g.input("x", DType::f32, {1, 16, 4, 4}).weight("w", {16, 32, 1, 1});
  g.node("Exp", {"x"}, {"a"}).node("Tanh", {"x"}, {"b"});
  g.node("Concat", {"a", "b"}, {"ab"}, {G::number("axis", 1)});
  g.node("Conv", {"ab", "w"}, {"c"}).node("Relu", {"c"}, {"r"});
  g.node("Concat", {"ab", "r"}, {"abc"}, {G::number("axis", -3)});
  g.node("Concat", {"r", "abc", "a"}, {"all"}, {G::number("axis", 1)});
  g.node("Neg", {"all"}, {"y"}).output("y");
  const Model model = g.finish();
  EXPECT_TRUE(is_by(Session(model, {.threads = 1}).explain(picture()), "concat"));
  expect_same(model, picture());
}

// The result is an output, and so has memory of its own; a view of it, too.
TEST(ConcatPass, IntoAnOutput) {
  G g;
  g.input("x", DType::f32, {1, 16, 4, 4});
  g.node("Exp", {"x"}, {"a"}).node("Tanh", {"x"}, {"b"});
  g.node("Concat", {"a", "b"}, {"joined"}, {G::number("axis", 1)});
  g.node("Flatten", {"joined"}, {"y"}).output("y").output("joined");
  const Model model = g.finish();
  EXPECT_TRUE(is_by(Session(model, {.threads = 1}).explain(picture()), "concat"));
  expect_same(model, picture());
}

TEST(ConcatPass, OnlyAlongTheOutermostAxis) {
  const Model inner = branches({"a", "c"}, 2).finish();
  EXPECT_FALSE(is_by(Session(inner, {.threads = 1}).explain(picture()), "concat"));
  expect_same(inner, picture());
}

TEST(ConcatPass, OnlyWhereThePartIsAligned) {
  G g;
  g.input("x", DType::f32, {3, 5});
  g.node("Exp", {"x"}, {"a"}).node("Tanh", {"x"}, {"b"});
  g.node("Concat", {"a", "b"}, {"joined"}, {G::number("axis", 0)});
  g.node("Neg", {"joined"}, {"y"}).output("y");
  expect_same(g.finish(), {{"x", G::random({3, 5}, 71)}});
}

}  // namespace
}  // namespace mezzo::tests
