#include "kernels/resample_f32.h"

#include <algorithm>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

struct Axis {
  std::int64_t in, out, taps;
};

// Enlarged and shrunk, so that a vector's elements lie within one vector, two, or far apart; from
// the far end, too.
TEST(ResampleF32, IsTheWeightedSum) {
  const Axis axes[] = {{1, 1, 2},    {1, 5, 2},    {3, 7, 4},   {16, 16, 2},  {15, 40, 2},
                       {56, 112, 2}, {57, 28, 2},  {64, 24, 4}, {200, 17, 2}, {33, 33, 4},
                       {9, 100, 8},  {1000, 9, 6}, {31, 19, 2}, {40, 1, 2}};
  for_each_target([&] {
    for (const auto& [in, out, taps] : axes) {
      for (const bool falls : {false, true}) {
        std::vector<std::int64_t> index;
        for (std::int64_t j = 0; j < out; ++j) {
          const std::int64_t place = (falls ? out - 1 - j : j) * in / out;
          for (std::int64_t t = 0; t < taps; ++t)
            index.push_back(std::clamp<std::int64_t>(place + t - taps / 2 + 1, 0, in - 1));
        }
        const std::vector<float> weight = random_floats(out * taps, 2);
        const Resample resample(in, out, taps, index.data(), weight.data());
        for (const std::int64_t inner : {1, 2, 7, 16, 67, 200}) {
          const std::int64_t outer = 6;
          SCOPED_TRACE(std::to_string(in) + " to " + std::to_string(out) + ", " +
                       std::to_string(taps) + " taps, inner " + std::to_string(inner));
          const std::vector<float> x = random_floats(outer * in * inner, 1);
          std::vector<float> y(static_cast<std::size_t>(outer * out * inner + 1), kUntouched);
          resample.run(x.data(), y.data(), outer, inner, test_pool());
          ASSERT_EQ(y.back(), kUntouched);
          for (std::size_t at = 0; at + 1 < y.size(); ++at) {
            const auto i = static_cast<std::int64_t>(at), row = i / inner;
            double sum = 0, magnitudes = 0;
            for (std::int64_t t = 0; t < taps; ++t) {
              const auto tap = static_cast<std::size_t>(row % out * taps + t);
              const std::int64_t from = (row / out * in + index[tap]) * inner + i % inner;
              const double product = double{weight[tap]} * x[static_cast<std::size_t>(from)];
              sum += product;
              magnitudes += std::abs(product);
            }
            ASSERT_NEAR(y[at], sum, sum_tolerance(magnitudes)) << i;
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
