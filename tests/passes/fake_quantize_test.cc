// A QuantizeLinear and the DequantizeLinear behind it as one step.

#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/blocked_f32.h"
#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

template <class Q>
G pair(float scale, Q zero_point, float other_scale, Q other_zero_point) {
  G g;
  g.constant("s", Tensor::scalar(scale)).constant("z", Tensor::scalar(zero_point));
  g.constant("s2", Tensor::scalar(other_scale)).constant("z2", Tensor::scalar(other_zero_point));
  g.input("x", DType::f32, {2, 3, 7, 5});
  g.node("QuantizeLinear", {"x", "s", "z"}, {"q"});
  g.node("DequantizeLinear", {"q", "s2", "z2"}, {"y"}).output("y");
  return g;
}

Feeds images() { return {{"x", G::random({2, 3, 7, 5}, 61)}}; }

bool is_fused(G g) {
  return is_by(Session(g.finish(), {.threads = 1}).explain(images()), "fake_quantize");
}

TEST(FakeQuantizePass, OfEveryIntegerType) {
  const auto check = [](auto zero_point, float scale, int opset) {
    const Model model = pair(scale, zero_point, scale, zero_point).finish(opset);
    expect_fusion({"fake_quantize", model, images(), "q", 0});
  };
  check(std::uint8_t{100}, 0.01F, 17);
  check(std::int8_t{-5}, 0.02F, 17);
  check(std::int16_t{9}, 1e-4F, 21);
  check(std::uint16_t{30000}, 1e-4F, 21);
}

// Bit for bit, with ties, zeros that come from below, infinities and NaN.
TEST(FakeQuantizePass, GivesWhatTheTwoGive) {
  Tensor x(DType::f32, {2, 3, 7, 5});
  const auto values = x.mutable_values<float>();
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = (static_cast<float>(i) - 105) * 0.125F;
  values[0] = std::numeric_limits<float>::quiet_NaN();
  values[1] = std::numeric_limits<float>::infinity();
  values[2] = -std::numeric_limits<float>::infinity();
  for (const float scale : {0.25F, 0.1F, -0.25F}) {
    const Model model = pair<std::uint8_t>(scale, 3, scale, 3).finish();
    const Session fused(model, {.threads = 1});
    const Session plain(model, {.threads = 1, .disabled_passes = {"fake_quantize"}});
    ASSERT_TRUE(is_by(fused.explain({{"x", x}}), "fake_quantize"));
    const Outputs got = fused.run({{"x", x}}), expected = plain.run({{"x", x}});
    EXPECT_EQ(std::memcmp(got[0].data(), expected[0].data(), got[0].bytes()), 0) << scale;
  }
}

TEST(FakeQuantizePass, OnlyWhereOneUndoesTheOther) {
  EXPECT_TRUE(is_fused(pair<std::uint8_t>(0.5F, 3, 0.5F, 3)));
  EXPECT_FALSE(is_fused(pair<std::uint8_t>(0.5F, 3, 0.25F, 3))) << "another scale";
  EXPECT_FALSE(is_fused(pair<std::uint8_t>(0.5F, 3, 0.5F, 4))) << "another zero point";

  G axis;
  axis.constant("s", Tensor::of<float>({3}, {0.5F, 0.25F, 1})).input("x", DType::f32, {2, 3, 7, 5});
  axis.node("QuantizeLinear", {"x", "s"}, {"q"}).node("DequantizeLinear", {"q", "s"}, {"y"});
  EXPECT_FALSE(is_fused(axis.output("y"))) << "a scale for each channel";

  G twice = pair<std::uint8_t>(0.5F, 3, 0.5F, 3);
  twice.node("DequantizeLinear", {"q", "s", "z"}, {"y2"}).output("y2");
  EXPECT_FALSE(is_fused(twice)) << "the bytes are wanted elsewhere";
}

// The blocked layout goes on through it.
TEST(FakeQuantizePass, DoesNotPartARegion) {
  if (!kernels::simd_enabled() || !kernels::blocked_layout_pays())
    GTEST_SKIP() << "for vectors of 8 elements and more";
  G g;
  g.constant("s", Tensor::scalar(0.02F)).constant("z", Tensor::scalar<std::uint8_t>(128));
  g.weight("w1", {32, 3, 3, 3}).weight("w2", {32, 1, 3, 3}).weight("w3", {64, 32, 1, 1});
  g.input("x", DType::f32, {1, 3, 66, 66});
  g.node("Conv", {"x", "w1"}, {"a"}).node("QuantizeLinear", {"a", "s", "z"}, {"aq"});
  g.node("DequantizeLinear", {"aq", "s", "z"}, {"ad"});
  g.node("Conv", {"ad", "w2"}, {"b"}, {G::number("group", 32)});
  g.node("QuantizeLinear", {"b", "s", "z"}, {"bq"});
  g.node("DequantizeLinear", {"bq", "s", "z"}, {"bd"}).node("Conv", {"bd", "w3"}, {"c"});
  g.node("GlobalAveragePool", {"c"}, {"y"}).output("y");
  const Model model = g.finish();
  const Feeds feeds = {{"x", G::random({1, 3, 66, 66}, 62)}};
  const Session session(model, {.threads = 1});
  const std::string plan = session.explain(feeds);
  EXPECT_NE(plan.find("as FakeQuantize, by fake_quantize layout"), std::string::npos) << plan;
  const Session plain(model, {.threads = 1, .disabled_passes = {"all"}});
  // A sum that lies next to a tie may be rounded to the other side: one step of 0.02.
  const Outputs got = session.run(feeds, {"aq"}), expected = plain.run(feeds, {"aq"});
  const auto a = got[0].values<std::uint8_t>(), b = expected[0].values<std::uint8_t>();
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_LE(std::abs(a[i] - b[i]), 1) << i;
  expect_near(session.run(feeds)[0], plain.run(feeds)[0], 0.02);
}

}  // namespace
}  // namespace mezzo::tests
