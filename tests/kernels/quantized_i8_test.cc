#include "kernels/quantized_i8.h"

#include <limits>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

TEST(Requantize, RoundsHalfToEvenSaturatesAndWraps) {
  for_each_target([] {
    // Bounds of uint8 with zero point 10. 5 * 0.5 and 7 * 0.5 are ties.
    Requantize args{0, 0.5F, -10, 245, 10};
    const std::vector<std::int32_t> sums = {5, 7, -5, -7, 0, 488, 490, 491, 1000000, -20, -21, -99};
    const std::vector<std::uint8_t> expected = {12, 14, 8, 6, 10, 254, 255, 255, 255, 0, 0, 0};
    std::vector<std::uint8_t> y(sums.size());
    requantize(args, sums.data(), y.data(), static_cast<std::int64_t>(y.size()));
    EXPECT_EQ(y, expected);

    // int8: the low byte; INT_MAX + 1 wraps to the least.
    args = {1, 1, -128, 127, 0};
    const std::vector<std::int32_t> extremes = {std::numeric_limits<std::int32_t>::max(), -4};
    requantize(args, extremes.data(), y.data(), 2);
    EXPECT_EQ(static_cast<std::int8_t>(y[0]), -128);
    EXPECT_EQ(static_cast<std::int8_t>(y[1]), -3);

    args.multiplier = std::numeric_limits<float>::quiet_NaN();
    requantize(args, extremes.data(), y.data(), 1);
    EXPECT_EQ(static_cast<std::int8_t>(y[0]), -128);
  });
}

TEST(Requantize, EveryLengthAndNothingBeyond) {
  for_each_target([] {
    for (std::int64_t n = 0; n < 70; ++n) {
      std::vector<std::int32_t> sums(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = static_cast<std::int32_t>(i) - 9;
      std::vector<std::uint8_t> y(sums.size() + 1, 77);
      requantize({0, 2, -20, 235, 20}, sums.data(), y.data(), n);
      for (std::size_t i = 0; i < sums.size(); ++i) {
        EXPECT_EQ(y[i], static_cast<int>(i) * 2 + 2) << n << " " << i;
      }
      EXPECT_EQ(y.back(), 77) << n;
    }
  });
}

TEST(SumTaps, EqualsTheSumsTermByTerm) {
  for_each_target([] {
    for (std::int64_t columns = 1; columns < 40; ++columns) {
      constexpr std::int64_t kRows = 3, kTaps = 3, kStep = 50;
      const std::int64_t offsets[kTaps] = {0, 1, kStep + 4};
      const float weights[kTaps] = {255, -3, 17};
      std::vector<float> x(static_cast<std::size_t>((kRows - 1) * kStep + kStep + 4 + columns));
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(static_cast<int>(i * 37 % 511) - 255);
      }
      std::vector<std::int32_t> sums(static_cast<std::size_t>(kRows * columns) + 1, 5);
      sum_taps({kRows, columns, kStep, kTaps, offsets, weights}, x.data(), sums.data());
      for (std::int64_t r = 0; r < kRows; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          int expected = 0;
          for (std::int64_t t = 0; t < kTaps; ++t) {
            expected += static_cast<int>(weights[t]) *
                        static_cast<int>(x[static_cast<std::size_t>(r * kStep + offsets[t] + c)]);
          }
          EXPECT_EQ(sums[static_cast<std::size_t>(r * columns + c)], expected) << r << " " << c;
        }
      }
      EXPECT_EQ(sums.back(), 5);
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
