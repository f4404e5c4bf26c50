// Networks in QDQ form, computed from their bytes.

#include <cstdlib>
#include <cstring>

#include "kernels/blocked_i8.h"
#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

bool computes_bytes() { return kernels::blocked_i8_pays(); }

void expect_same(const Tensor& got, const Tensor& expected, const std::string& name) {
  ASSERT_EQ(got.dtype(), expected.dtype()) << name;
  ASSERT_EQ(got.shape(), expected.shape()) << name;
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.bytes()), 0) << name;
}

// Every value, alone and all at once, bit for bit.
void expect_exact(const SmallModel& small, const std::vector<std::vector<std::string>>& switches) {
  SCOPED_TRACE(small.name);
  std::vector<std::string> values = {"y"};
  for (const ValueInfo& value : small.model.values())
    if (value.kind == ValueInfo::Kind::node_output) values.push_back(value.name);
  const Outputs expected =
      Session(small.model, {.threads = 1, .disabled_passes = {"all"}}).run(small.feeds, values);
  for (const std::vector<std::string>& disabled : switches) {
    for (const int threads : {1, 2, 3}) {
      const Session session(small.model, {.threads = threads, .disabled_passes = disabled});
      for (std::size_t i = 1; i < values.size(); ++i) {
        const Outputs got = session.run(small.feeds, {"y", values[i]});
        expect_same(got[0], expected[0], "y beside " + values[i]);
        expect_same(got[1], expected[i], values[i]);
      }
      const Outputs all = session.run(small.feeds, values);
      for (std::size_t i = 0; i < values.size(); ++i) expect_same(all[i], expected[i], values[i]);
    }
  }
}

TEST(IntegersPass, GivesWhatTheModelSays) {
  if (!computes_bytes()) GTEST_SKIP() << "for targets with kernels for products of bytes";
  for (const DType dtype : {DType::u8, DType::i8})
    expect_exact(quantized(dtype), {{}, {"layout"}, {"row_bands"}});
}

// Two layers of a transformer's kind: rows times a matrix, a bias behind it in QDQ form of its own;
// and a Gemm whose bias counts in the units of its products, or does not.
SmallModel products(bool transposed, float bias_scale) {
  G g;
  g.constant("s", Tensor::scalar(0.0625F)).constant("z", Tensor::scalar<std::uint8_t>(119));
  g.constant("t", Tensor::scalar(0.125F));
  const auto dequantized = [&](const std::string& from, const std::string& scale) {
    g.node("QuantizeLinear", {from, scale, "z"}, {from + "_q"});
    g.node("DequantizeLinear", {from + "_q", scale, "z"}, {from + "_d"});
    return from + "_d";
  };
  const auto weights = [&](const std::string& name, const Shape& shape, std::int64_t axis) {
    std::vector<std::int8_t> values(static_cast<std::size_t>(element_count(shape)));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<std::int8_t>(static_cast<int>((i * 11 + i / 7 * 5) % 31) - 15);
    const std::int64_t count = shape[static_cast<std::size_t>(axis)];
    g.constant(name, Tensor::of<std::int8_t>(shape, values));
    g.constant(
        name + "_s",
        Tensor::of<float>({count}, std::vector<float>(static_cast<std::size_t>(count), 0.03125F)));
    g.constant(name + "_z", Tensor(DType::i8, {count}));
    g.node("DequantizeLinear", {name, name + "_s", name + "_z"}, {name + "_d"},
           {G::number("axis", axis)});
    return name + "_d";
  };
  g.input("x", DType::f32, {2, 5, 26});
  g.node("MatMul", {dequantized("x", "s"), weights("w1", {26, 37}, 1)}, {"m1"});
  std::vector<std::uint8_t> bias(37);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<std::uint8_t>(100 + i);
  g.constant("b1", Tensor::of<std::uint8_t>({37}, bias));
  g.node("DequantizeLinear", {"b1", "s", "z"}, {"b1_d"});
  g.node("Add", {"b1_d", dequantized("m1", "t")}, {"a1"}).node("Relu", {"a1"}, {"r1"});
  g.constant("shape", Tensor::of<std::int64_t>({2}, {10, 37}));
  g.node("Reshape", {dequantized("r1", "t"), "shape"}, {"f1"});
  Tensor offsets(DType::i32, {9});
  for (std::size_t i = 0; i < 9; ++i)
    offsets.mutable_values<std::int32_t>()[i] = static_cast<int>(i) * 70 - 200;
  g.constant("b2", offsets).constant("b2_s", Tensor::scalar(bias_scale));
  g.node("DequantizeLinear", {"b2", "b2_s"}, {"b2_d"});
  const Shape shape = transposed ? Shape{9, 37} : Shape{37, 9};
  g.node("Gemm", {dequantized("f1", "s"), weights("w2", shape, transposed ? 0 : 1), "b2_d"}, {"g2"},
         {G::number("transB", transposed ? 1 : 0)});
  g.node("QuantizeLinear", {"g2", "t", "z"}, {"y"}).output("y");
  return {"products", g.finish(), {{"x", G::random({2, 5, 26}, 17)}}};
}

TEST(IntegersPass, ProductsOfMatrices) {
  if (!computes_bytes()) GTEST_SKIP() << "for targets with kernels for products of bytes";
  constexpr float kUnit = 0.0625F * 0.03125F;
  for (const bool transposed : {false, true}) {
    for (const float bias_scale : {kUnit, 2 * kUnit}) {
      const SmallModel small = products(transposed, bias_scale);
      const std::string plan = Session(small.model, {.threads = 1}).explain(small.feeds);
      EXPECT_NE(plan.find("as QLinearMatMul"), std::string::npos) << plan;
      EXPECT_NE(plan.find("as QuantizedAdd"), std::string::npos) << plan;
      EXPECT_EQ(plan.find("as QGemm") != std::string::npos, bias_scale == kUnit) << plan;
      expect_exact(small, {{}});
    }
  }
}

TEST(IntegersPass, LeavesNoFloatsBetween) {
  if (!computes_bytes()) GTEST_SKIP() << "for targets with kernels for products of bytes";
  const SmallModel small = quantized(DType::u8);
  const std::string plan = Session(small.model, {.threads = 1}).explain(small.feeds);
  for (const char* name :
       {"BlockedQuantizedConv", "BlockedMaxPool", "QuantizedAdd", "QLinearConcat", "ByteTable"})
    EXPECT_NE(plan.find(std::string("as ") + name), std::string::npos) << plan;
  // Of convolutions alone: the last tensor is dequantised for the AveragePool.
  EXPECT_EQ(plan.find("as BlockedConv,"), std::string::npos) << plan;
  std::size_t dequantized = 0;
  for (std::size_t at = plan.find("by simd i8"); at != std::string::npos;
       at = plan.find("by simd i8", at + 1))
    ++dequantized;
  EXPECT_EQ(dequantized, 2U) << plan;  // x on its way in, c4 on its way out
}

TEST(IntegersPass, StopsWhereFloatsAreAskedFor) {
  if (!computes_bytes()) GTEST_SKIP() << "for targets with kernels for products of bytes";
  const SmallModel small = quantized(DType::u8);
  const Session session(small.model, {.threads = 1});
  const std::string plan = session.explain(small.feeds, {"y", "c3"});
  EXPECT_NE(plan.find("not integers: 'c3' is fetched"), std::string::npos) << plan;
  EXPECT_NE(plan.find("as BlockedQuantizedConv"), std::string::npos) << "the others stay";
  // What is quantised, and what is made of it, are there without that.
  const std::string taps = session.explain(small.feeds, {"y", "c3_q", "c3_d"});
  EXPECT_EQ(taps.find("is fetched"), std::string::npos) << taps;
}

// A QLinearConv of a model in operator form goes into blocks as well, unless its weights' zero
// points are far from the middle of their range.
TEST(IntegersPass, OperatorForm) {
  if (!computes_bytes()) GTEST_SKIP() << "for targets with kernels for products of bytes";
  struct Weights {
    DType dtype;
    std::vector<std::int32_t> zeros;
    bool is_depthwise = false;
  };
  std::vector<std::int32_t> by_channel(32);
  for (int c = 0; c < 32; ++c) by_channel[static_cast<std::size_t>(c)] = 82 + c * 29 % 93;
  const std::vector<Weights> all = {
      {DType::i8, {0}},        {DType::u8, {128}},       {DType::u8, {149}},
      {DType::i8, {-48}},      {DType::u8, by_channel},  {DType::u8, {93}, true},
      {DType::i8, {48}, true}, {DType::u8, {128}, true}, {DType::u8, by_channel, true},
      {DType::u8, {0}},        {DType::i8, {49}, true},
  };
  for (const Weights& weights : all) {
    SCOPED_TRACE(std::string(name_of(weights.dtype)) + " from " + std::to_string(weights.zeros[0]));
    const int least = weights.dtype == DType::i8 ? -128 : 0;
    const Shape shape = {2, weights.is_depthwise ? 32 : 16, 19, 23};
    G g;
    Tensor w(DType::i32, {32, weights.is_depthwise ? 1 : 16, 3, 3});
    for (std::size_t i = 0; i < w.mutable_values<std::int32_t>().size(); ++i)
      w.mutable_values<std::int32_t>()[i] = static_cast<int>(i * 37 % 256) + least;
    Tensor zeros = Tensor::scalar<std::int32_t>(weights.zeros[0]);
    if (weights.zeros.size() > 1) zeros = Tensor::of<std::int32_t>({32}, weights.zeros);
    Tensor scales(DType::f32, zeros.shape());
    for (float& scale : scales.mutable_values<float>()) scale = 0.02F;
    Tensor bias(DType::i32, {32});
    for (std::size_t i = 0; i < 32; ++i)
      bias.mutable_values<std::int32_t>()[i] = static_cast<int>(i) * 900 - 9000;
    g.constant("w", w.to(weights.dtype)).constant("wz", zeros.to(weights.dtype));
    g.constant("b", bias).constant("s", Tensor::scalar(0.02F)).constant("ws", scales);
    g.constant("t", Tensor::scalar(weights.is_depthwise ? 0.3F : 0.9F));
    g.constant("z", Tensor::scalar<std::uint8_t>(100));
    g.input("x", DType::f32, shape);
    g.node("QuantizeLinear", {"x", "s", "z"}, {"q"});
    g.node("QLinearConv", {"q", "s", "z", "w", "ws", "wz", "t", "z", "b"}, {"y"},
           {G::ints("pads", {1, 1, 1, 1}), G::number("group", weights.is_depthwise ? 32 : 1)});
    const Model model = g.output("y").finish();
    const Feeds feeds = {{"x", G::random(shape, 5)}};
    const Session session(model, {.threads = 2});
    const std::string plan = session.explain(feeds);
    const int off = std::abs(weights.zeros[0] - least - 128);
    EXPECT_EQ(plan.find("as BlockedQuantizedConv") != std::string::npos, off <= 48) << plan;
    EXPECT_EQ(plan.find("zero points are far") != std::string::npos, off > 48) << plan;
    const Outputs expected =
        Session(model, {.threads = 1, .disabled_passes = {"all"}}).run(feeds, {"y"});
    expect_same(session.run(feeds, {"y"})[0], expected[0], "y");
  }
}

}  // namespace
}  // namespace mezzo::tests
