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
  Convolution(const Shape& x, const Shape& w, bool constant) : feeds{{"x", wave(x, 0.37f)}} {
    const Tensor weights = wave(w, 0.61f);
    std::vector<onnx::ValueInfo> inputs = {input("x", x)};
    if (!constant) {
      inputs.push_back(input("w", w));
      feeds.emplace_back("w", weights);
    }
    onnx::Graph graph = onnx::graph({onnx::node("Conv", {"x", "w"}, {"y"})}, inputs,
                                    {onnx::value("y", DType::undefined)});
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
  EXPECT_NE(explained.find("by direct"), std::string::npos) << explained;
  EXPECT_NE(explained.find("not Winograd: MEZZO_WINOGRAD=0"), std::string::npos) << explained;
  ASSERT_EQ(with.shape(), without.shape());
  for (std::int64_t i = 0; i < with.size(); ++i) {
    ASSERT_NEAR(with.values<float>()[static_cast<std::size_t>(i)],
                without.values<float>()[static_cast<std::size_t>(i)], 1e-3)
        << "at " << i;
  }
}

}  // namespace
}  // namespace mezzo
