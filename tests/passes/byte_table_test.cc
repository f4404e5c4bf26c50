// What is made of a quantised tensor element by element, as a table.

#include <cstring>

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

// x * sigmoid(x) as quantisers write it, of all bytes: q is the input, y the output.
G gated(DType dtype) {
  G g;
  const auto byte = [&](int value) { return Tensor::scalar<std::int32_t>(value).to(dtype); };
  const bool is_signed = dtype == DType::i8;
  g.constant("s", Tensor::scalar(0.05F)).constant("z", byte(is_signed ? -7 : 121));
  g.constant("t", Tensor::scalar(0.004F)).constant("tz", byte(is_signed ? -128 : 0));
  g.constant("u", Tensor::scalar(0.03F)).constant("uz", byte(is_signed ? -90 : 30));
  g.input("q", dtype, {2, 8, 4, 4});
  g.node("DequantizeLinear", {"q", "s", "z"}, {"x"}).node("Sigmoid", {"x"}, {"gate"});
  g.node("QuantizeLinear", {"gate", "t", "tz"}, {"gate_q"});
  g.node("DequantizeLinear", {"gate_q", "t", "tz"}, {"gate_d"});
  g.node("Mul", {"x", "gate_d"}, {"product"});
  g.node("QuantizeLinear", {"product", "u", "uz"}, {"y"});
  return g;
}

Feeds all_bytes(DType dtype) {
  Tensor q = Tensor::uninitialized(dtype, {2, 8, 4, 4});
  auto* bytes = static_cast<std::uint8_t*>(q.mutable_data());
  for (int i = 0; i < 256; ++i) bytes[i] = static_cast<std::uint8_t>(i);
  return {{"q", q}};
}

void expect_same(const Tensor& got, const Tensor& expected) {
  ASSERT_EQ(got.dtype(), expected.dtype());
  ASSERT_EQ(got.shape(), expected.shape());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.bytes()), 0);
}

// Whether `name` is what a table gives.
bool is_table(const G& g, const std::string& name, Feeds feeds = {}) {
  feeds.insert(feeds.begin(), all_bytes(DType::u8)[0]);
  const std::string plan = "\n" + Session(g.finish(), {.threads = 1}).explain(feeds, {name});
  const std::size_t step = plan.find("\n" + name + " ");
  if (step == std::string::npos) return false;
  // What is said of a step is indented.
  std::size_t end = plan.find('\n', step + 1);
  while (end != std::string::npos && plan[end + 1] == ' ') end = plan.find('\n', end + 1);
  return plan.substr(step, end - step).find("as ByteTable") != std::string::npos;
}

TEST(ByteTablePass, GivesWhatTheStepsGive) {
  for (const DType dtype : {DType::u8, DType::i8}) {
    const Model model = gated(dtype).output("y").finish();
    const Feeds feeds = all_bytes(dtype);
    const Session fused(model, {.threads = 2});
    const Session plain(model, {.threads = 2, .disabled_passes = {"all"}});
    const std::string plan = fused.explain(feeds);
    EXPECT_NE(plan.find("1 steps, 6 nodes"), std::string::npos) << plan;
    for (const char* inner : {"x", "gate", "gate_q", "gate_d", "product", "y"}) {
      const Outputs got = fused.run(feeds, {"y", inner}), expected = plain.run(feeds, {"y", inner});
      expect_same(got[0], expected[0]);
      expect_same(got[1], expected[1]);
    }
    const std::string tapped = fused.explain(feeds, {"y", "gate_q"});
    EXPECT_NE(tapped.find("not byte_table: 'gate_q' is fetched"), std::string::npos) << tapped;
    // What stands ahead of all the steps is there without that.
    EXPECT_TRUE(is_by(fused.explain(feeds, {"y", "x"}), "byte_table"));
  }
}

TEST(ByteTablePass, OnlyOfOneTensorElementByElement) {
  EXPECT_TRUE(is_table(gated(DType::u8).output("y"), "y"));

  G two = gated(DType::u8);
  two.input("other", DType::f32, {2, 8, 4, 4}).node("Add", {"product", "other"}, {"sum"});
  two.node("QuantizeLinear", {"sum", "u", "uz"}, {"y2"}).output("y2");
  EXPECT_FALSE(is_table(two, "y2", {{"other", G::random({2, 8, 4, 4}, 3)}})) << "of two tensors";

  G along = gated(DType::u8);
  along.node("Softmax", {"product"}, {"shares"});
  along.node("QuantizeLinear", {"shares", "u", "uz"}, {"y2"}).output("y2");
  EXPECT_FALSE(is_table(along, "y2")) << "an element depends on others";

  G channels = gated(DType::u8);
  channels.constant("slopes", Tensor::of<float>({8, 1, 1}, std::vector<float>(8, 0.5F)));
  channels.node("Mul", {"product", "slopes"}, {"scaled"});
  channels.node("QuantizeLinear", {"scaled", "u", "uz"}, {"y2"}).output("y2");
  EXPECT_FALSE(is_table(channels, "y2")) << "a number for each channel";
}

// From one scale to another, and a chain of several.
TEST(ByteTablePass, OfOtherFunctions) {
  G g = gated(DType::u8);
  g.node("DequantizeLinear", {"q", "s", "z"}, {"d"})
      .node("QuantizeLinear", {"d", "u", "uz"}, {"r"});
  g.constant("two", Tensor::scalar(2.0F)).constant("one", Tensor::of<float>({1}, {1.0F}));
  g.node("DequantizeLinear", {"r", "u", "uz"}, {"e"}).node("Tanh", {"e"}, {"f"});
  g.node("Pow", {"f", "two"}, {"h"}).node("Sub", {"one", "h"}, {"i"});
  g.node("QuantizeLinear", {"i", "t", "tz"}, {"v"}).output("r").output("v");
  const Model model = g.finish();
  const Feeds feeds = all_bytes(DType::u8);
  const Session fused(model, {.threads = 1});
  EXPECT_TRUE(is_by(fused.explain(feeds, {"r", "v"}), "byte_table"));
  const Outputs got = fused.run(feeds, {"r", "v"});
  const Outputs expected =
      Session(model, {.threads = 1, .disabled_passes = {"all"}}).run(feeds, {"r", "v"});
  expect_same(got[0], expected[0]);
  expect_same(got[1], expected[1]);
}

}  // namespace
}  // namespace mezzo::tests
