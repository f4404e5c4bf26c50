// Which kernel a convolution gets, and that the choice shows in rounding only.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "graph/build_model.h"
#include "kernels/target.h"
#include "mezzo/mezzo.h"
#include "onnx/writer.h"

namespace mezzo {
namespace {

Tensor wave(const Shape& shape, float step) {
  Tensor tensor(DType::f32, shape);
  auto* values = static_cast<float*>(tensor.mutable_data());
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    values[i] = std::sin(step * static_cast<float>(i));
  return tensor;
}

onnx::ValueInfo input(const std::string& name, const Shape& shape) {
  onnx::ValueInfo info = onnx::value(name);
  for (const std::int64_t extent : shape) info.type.shape->emplace_back().value = extent;
  return info;
}

// y = Conv(x, w), the weights being constant or fed.
struct Convolution {
  Convolution(const Shape& x, const Shape& w, bool constant,
              std::vector<onnx::Attribute> attributes = {})
      : feeds{{"x", wave(x, 0.37f)}} {
    const Tensor weights = wave(w, 0.61f);
    std::vector<onnx::ValueInfo> inputs = {input("x", x)};
    if (!constant) {
      inputs.push_back(input("w", w));
      feeds.emplace_back("w", weights);
    }
    onnx::Node node = onnx::node("Conv", {"x", "w"}, {"y"});
    node.attributes = std::move(attributes);
    onnx::Graph graph =
        onnx::graph({std::move(node)}, inputs, {onnx::value("y", DType::undefined)});
    if (constant) graph.initializers.push_back(onnx::initializer("w", weights));
    bytes = onnx::write_memory(onnx::model(std::move(graph), 21));
  }
  Session session() const {
    return Session(Model::from_memory(bytes.data(), bytes.size()), {.threads = 1});
  }
  std::string explain() const { return session().explain(feeds); }

  Feeds feeds;
  std::string bytes;
};

TEST(Conv, WinogradIsTakenWhereItPays) {
  if (!kernels::simd_enabled()) GTEST_SKIP() << "MEZZO_TARGET=scalar";
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(Convolution({1, 64, 34, 34}, {64, 64, 3, 3}, true).explain(), "by Winograd"));
  EXPECT_TRUE(has(Convolution({1, 64, 9, 9}, {64, 64, 3, 3}, true).explain(), "by Winograd"));
  EXPECT_TRUE(
      has(Convolution({1, 64, 34, 34}, {64, 64, 5, 5}, true).explain(), "not Winograd: not 3x3"));
  EXPECT_TRUE(
      has(Convolution({1, 64, 7, 7}, {64, 64, 3, 3}, true).explain(), "not Winograd: too few"));
  EXPECT_TRUE(has(Convolution({1, 64, 34, 34}, {64, 64, 3, 3}, false).explain(),
                  "not Winograd: the weights are computed"));
}

TEST(Conv, WinogradCanBeTurnedOff) {
  if (!kernels::simd_enabled()) GTEST_SKIP() << "MEZZO_TARGET=scalar";
  const Convolution conv({1, 64, 34, 34}, {64, 64, 3, 3}, true);
  const Tensor with = conv.session().run(conv.feeds)[0];
  setenv("MEZZO_WINOGRAD", "0", 1);
  const std::string explained = conv.explain();
  const Tensor without = conv.session().run(conv.feeds)[0];
  unsetenv("MEZZO_WINOGRAD");
  EXPECT_EQ(explained.find("by Winograd"), std::string::npos) << explained;
  EXPECT_NE(explained.find("not Winograd: MEZZO_WINOGRAD=0"), std::string::npos) << explained;
  ASSERT_EQ(with.shape(), without.shape());
  for (std::int64_t i = 0; i < with.size(); ++i) {
    ASSERT_NEAR(with.values<float>()[static_cast<std::size_t>(i)],
                without.values<float>()[static_cast<std::size_t>(i)], 1e-3)
        << "at " << i;
  }
}

// An image of one column, which the kernels see as a row.
TEST(Conv, AlongAColumn) {
  constexpr std::int64_t kIn = 3, kOut = 5, kHeight = 61, kTaps = 5, kStride = 2, kDilation = 3,
                         kTop = 4, kBottom = 1;
  const Convolution conv({2, kIn, kHeight, 1}, {kOut, kIn, kTaps, 1}, true,
                         {onnx::attribute("strides", std::vector<std::int64_t>{kStride, 1}),
                          onnx::attribute("dilations", std::vector<std::int64_t>{kDilation, 1}),
                          onnx::attribute("pads", std::vector<std::int64_t>{kTop, 0, kBottom, 0})});
  const Tensor y = conv.session().run(conv.feeds)[0];
  constexpr std::int64_t kRows =
      (kHeight + kTop + kBottom - (kTaps - 1) * kDilation - 1) / kStride + 1;
  ASSERT_EQ(y.shape(), (Shape{2, kOut, kRows, 1}));
  const auto x = [](std::int64_t i) { return std::sin(0.37f * static_cast<float>(i)); };
  const auto w = [](std::int64_t i) { return std::sin(0.61f * static_cast<float>(i)); };
  for (std::int64_t i = 0; i < y.size(); ++i) {
    const std::int64_t row = i % kRows, out = i / kRows % kOut, image = i / kRows / kOut;
    double sum = 0;
    for (std::int64_t c = 0; c < kIn; ++c) {
      for (std::int64_t t = 0; t < kTaps; ++t) {
        const std::int64_t at = row * kStride + t * kDilation - kTop;
        if (at < 0 || at >= kHeight) continue;
        sum += static_cast<double>(x((image * kIn + c) * kHeight + at)) *
               static_cast<double>(w((out * kIn + c) * kTaps + t));
      }
    }
    ASSERT_NEAR(y.values<float>()[static_cast<std::size_t>(i)], sum, 1e-4) << "at " << i;
  }
}

}  // namespace
}  // namespace mezzo
