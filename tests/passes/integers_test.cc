// Networks in QDQ form, computed from their bytes.

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
TEST(IntegersPass, GivesWhatTheModelSays) {
  if (!computes_bytes()) GTEST_SKIP() << "for CPUs with an instruction for products of bytes";
  for (const DType dtype : {DType::u8, DType::i8}) {
    const SmallModel small = quantized(dtype);
    SCOPED_TRACE(small.name);
    std::vector<std::string> values = {"y"};
    for (const ValueInfo& value : small.model.values())
      if (value.kind == ValueInfo::Kind::node_output) values.push_back(value.name);
    const Outputs expected =
        Session(small.model, {.threads = 1, .disabled_passes = {"all"}}).run(small.feeds, values);
    for (const std::vector<std::string>& disabled :
         {std::vector<std::string>{}, {"layout"}, {"row_bands"}}) {
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
}

TEST(IntegersPass, LeavesNoFloatsBetween) {
  if (!computes_bytes()) GTEST_SKIP() << "for CPUs with an instruction for products of bytes";
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
  if (!computes_bytes()) GTEST_SKIP() << "for CPUs with an instruction for products of bytes";
  const SmallModel small = quantized(DType::u8);
  const Session session(small.model, {.threads = 1});
  const std::string plan = session.explain(small.feeds, {"y", "c3"});
  EXPECT_NE(plan.find("not integers: 'c3' is fetched"), std::string::npos) << plan;
  EXPECT_NE(plan.find("as BlockedQuantizedConv"), std::string::npos) << "the others stay";
  // What is quantised, and what is made of it, are there without that.
  const std::string taps = session.explain(small.feeds, {"y", "c3_q", "c3_d"});
  EXPECT_EQ(taps.find("is fetched"), std::string::npos) << taps;
}

// A QLinearConv of a model in operator form goes into blocks as well.
TEST(IntegersPass, OperatorForm) {
  if (!computes_bytes()) GTEST_SKIP() << "for CPUs with an instruction for products of bytes";
  for (const bool weights_signed : {true, false}) {
    G g;
    const int zero = weights_signed ? 0 : 128;
    const DType dtype = weights_signed ? DType::i8 : DType::u8;
    Tensor w(DType::i32, {32, 16, 3, 3});
    for (std::size_t i = 0; i < w.mutable_values<std::int32_t>().size(); ++i)
      w.mutable_values<std::int32_t>()[i] = static_cast<int>(i * 37 % 251) - 125 + zero;
    Tensor bias(DType::i32, {32});
    for (std::size_t i = 0; i < 32; ++i)
      bias.mutable_values<std::int32_t>()[i] = static_cast<int>(i) * 900 - 9000;
    g.constant("w", w.to(dtype)).constant("wz", Tensor::scalar<std::int32_t>(zero).to(dtype));
    g.constant("b", bias).constant("s", Tensor::scalar(0.02F)).constant("t", Tensor::scalar(0.9F));
    g.constant("z", Tensor::scalar<std::uint8_t>(100));
    g.input("x", DType::f32, {2, 16, 19, 23});
    g.node("QuantizeLinear", {"x", "s", "z"}, {"q"});
    g.node("QLinearConv", {"q", "s", "z", "w", "s", "wz", "t", "z", "b"}, {"y"},
           {G::ints("pads", {1, 1, 1, 1})});
    const Model model = g.output("y").finish();
    const Feeds feeds = {{"x", G::random({2, 16, 19, 23}, 5)}};
    const Session session(model, {.threads = 2});
    const std::string plan = session.explain(feeds);
    EXPECT_NE(plan.find("as BlockedQuantizedConv"), std::string::npos) << plan;
    const Outputs expected =
        Session(model, {.threads = 1, .disabled_passes = {"all"}}).run(feeds, {"y"});
    expect_same(session.run(feeds, {"y"})[0], expected[0], "y");
  }
}

}  // namespace
}  // namespace mezzo::tests
