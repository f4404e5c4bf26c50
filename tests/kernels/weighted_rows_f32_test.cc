#include "kernels/weighted_rows_f32.h"

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

TEST(WeightedRowsF32, AreTheSums) {
  for_each_target([] {
    for (const std::int64_t width : {1, 5, 16, 17, 48, 64, 80, 147}) {
      SCOPED_TRACE("width " + std::to_string(width));
      const std::vector<float> x = random_floats(9 * width, 1);
      // None, one, several, and one row twice.
      const std::vector<WeightedRow<float>> rows = {{8, 0.5f}, {0, -2}, {3, 1.25f}, {3, 0.75f}};
      const std::vector<RowRange> sums = {{1, 1}, {0, 1}, {0, 4}, {2, 4}};
      std::vector<float> y(sums.size() * static_cast<std::size_t>(width) + 1, kUntouched);
      sum_weighted_rows(rows.data(), sums.data(), static_cast<std::int64_t>(sums.size()), x.data(),
                        width, y.data());
      ASSERT_EQ(y.back(), kUntouched);
      for (std::size_t at = 0; at + 1 < y.size(); ++at) {
        const auto [begin, end] = sums[at / static_cast<std::size_t>(width)];
        const auto column = static_cast<std::int64_t>(at) % width;
        double sum = 0, magnitudes = 0;
        for (std::size_t k = begin; k < end; ++k) {
          const double element = x[static_cast<std::size_t>(rows[k].row * width + column)];
          sum += rows[k].weight * element;
          magnitudes += std::abs(rows[k].weight * element);
        }
        ASSERT_NEAR(y[at], sum, sum_tolerance(magnitudes)) << at;
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
