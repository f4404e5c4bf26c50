#include "kernels/quantized_i8.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernel_test.h"
#include "kernels/tap_sums_i8.h"

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

TEST(Requantize, AddsBehindTheProduct) {
  for_each_target([] {
    const Requantize args{1, 0.5F, -10, 245, 10, -2.5F};
    const std::vector<std::int32_t> sums = {4, 6, 99, -99};
    std::vector<std::uint8_t> y(sums.size());
    requantize(args, sums.data(), y.data(), 4);
    // 0, 1, 47.5 and -51.5: the ties to even.
    EXPECT_EQ(y, (std::vector<std::uint8_t>{10, 11, 58, 0}));
  });
}

TEST(Requantize, EachByItsOwn) {
  for_each_target([] {
    for (const std::size_t n : {1, 15, 16, 33}) {
      std::vector<std::int32_t> sums(n), offsets(n);
      std::vector<float> multipliers(n);
      for (std::size_t i = 0; i < n; ++i) {
        sums[i] = static_cast<std::int32_t>(i * 37 % 101) - 50;
        offsets[i] = static_cast<std::int32_t>(i) - 9;
        multipliers[i] = i % 2 == 0 ? 0.5F : 4;
      }
      for (const bool has_offsets : {false, true}) {
        std::vector<std::uint8_t> y(n + 1, 5);
        requantize_each({0, 1, -20, 235, 20}, multipliers.data(),
                        has_offsets ? offsets.data() : nullptr, sums.data(), y.data(),
                        static_cast<std::int64_t>(n));
        for (std::size_t i = 0; i < n; ++i) {
          const auto sum = static_cast<float>(sums[i] + (has_offsets ? offsets[i] : 0));
          const float value = std::clamp(sum * multipliers[i], -20.0F, 235.0F);
          ASSERT_EQ(y[i], static_cast<int>(std::nearbyint(value)) + 20) << "element " << i;
        }
        EXPECT_EQ(y[n], 5);
      }
    }
  });
}

// A sum in double of numbers that are exact in it, and what rounding leaves open near ties.
template <class Byte>
void check_sum(const Sum8& sum) {
  std::vector<Byte> a, b;
  for (int i = 0; i < 256; i += 3) {
    for (int k = 0; k < 256; k += 5) {
      a.push_back(static_cast<Byte>(i));
      b.push_back(static_cast<Byte>(k));
    }
  }
  a.resize(a.size() - 5);
  b.resize(a.size());
  std::vector<Byte> y(a.size());
  add_8(sum, std::is_signed_v<Byte>, reinterpret_cast<const std::uint8_t*>(a.data()),
        reinterpret_cast<const std::uint8_t*>(b.data()), reinterpret_cast<std::uint8_t*>(y.data()),
        static_cast<std::int64_t>(y.size()));
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double value =
        static_cast<double>(a[i]) * sum.left + static_cast<double>(b[i]) * sum.right + sum.offset;
    ASSERT_NEAR(y[i] - sum.zero_point, std::clamp<double>(value, sum.low, sum.high), 0.50002)
        << "element " << i;
  }
}

TEST(Add8, SumsSaturate) {
  for_each_target([] {
    check_sum<std::uint8_t>({0.37F, 1.21F, -70.3F, 0, 255});
    check_sum<std::uint8_t>({0.37F, -0.8F, 60, -9, 101, 33});
    check_sum<std::int8_t>({0.9F, 0.77F, 4.25F, -128, 127});
  });
}

TEST(Rescale8, QuantisesWhatTheBytesStandFor) {
  for_each_target([] {
    std::vector<std::uint8_t> x(256 + 7), y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(i);
    for (const bool is_signed : {false, true}) {
      const int zero = is_signed ? 3 : 40;
      const float low = static_cast<float>((is_signed ? -128 : 0) - 90);
      const Rescale8 args{is_signed, zero, 0.125F, {0.25F, low, low + 255, 90}};
      rescale_8(args, x.data(), y.data(), static_cast<std::int64_t>(x.size()));
      for (std::size_t i = 0; i < x.size(); ++i) {
        const int q = is_signed ? static_cast<std::int8_t>(x[i]) : x[i];
        const auto number = static_cast<float>(q - zero) * 0.5F;
        const int expected =
            static_cast<int>(std::nearbyint(std::clamp(number, low, low + 255))) + 90;
        ASSERT_EQ(y[i], static_cast<std::uint8_t>(expected)) << "byte " << i;
      }
    }
  });
}

// With the division as the definition has it: ties, what lies a bit beside them, and the bounds.
TEST(Quantize8, RoundsTheQuotient) {
  for_each_target([] {
    std::mt19937 random(1);
    for (const float scale : {0.5F, 0.1F, 0.0078125F, 0.023F, -0.3F, 3.0F, 1e-38F, 1e38F, 1e-42F}) {
      std::vector<float> x = {0,
                              std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN(),
                              1e30F,
                              -1e30F};
      for (int i = -300; i <= 300; ++i) {
        const float tie = (static_cast<float>(i) + 0.5F) * scale;
        for (const float value : {tie, std::nextafter(tie, 1e30F), std::nextafter(tie, -1e30F)})
          x.push_back(value);
        x.push_back(std::uniform_real_distribution<float>(-300, 300)(random) * scale);
      }
      for (const int zero_point : {0, 10, 255}) {
        const Quantize8 args{scale, static_cast<float>(-zero_point),
                             static_cast<float>(255 - zero_point), zero_point};
        std::vector<std::uint8_t> y(x.size());
        quantize_8(args, x.data(), y.data(), static_cast<std::int64_t>(x.size()));
        for (std::size_t i = 0; i < x.size(); ++i) {
          const float quotient = x[i] / scale;
          const float bounded = !(quotient > args.low) ? args.low : std::min(quotient, args.high);
          ASSERT_EQ(y[i], static_cast<int>(std::nearbyint(bounded)) + zero_point)
              << x[i] << " / " << scale;
        }
      }
    }
  });
}

TEST(WidenRange, OfEveryLength) {
  for_each_target([] {
    for (std::int64_t n = 0; n < 150; ++n) {
      for (std::int64_t at = 0; at < n; ++at) {
        std::vector<float> x(static_cast<std::size_t>(n), 0.5F);
        x[0] = std::numeric_limits<float>::quiet_NaN();
        x[static_cast<std::size_t>(at)] = -3;
        float least = 0, most = 0;
        widen_range(x.data(), n, least, most);
        ASSERT_EQ(least, -3) << n << " " << at;
        ASSERT_EQ(most, n > 2 || (n == 2 && at == 0) ? 0.5F : 0) << n << " " << at;
        x[static_cast<std::size_t>(at)] = 7;
        widen_range(x.data(), n, least, most);
        ASSERT_EQ(least, -3);
        ASSERT_EQ(most, 7) << n << " " << at;
      }
    }
  });
}

TEST(Quantize8, EveryLengthThereAndBack) {
  for_each_target([] {
    for (std::int64_t n = 0; n < 70; ++n) {
      std::vector<float> x(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) * 0.25F - 8;
      for (const bool is_signed : {false, true}) {
        const int zero_point = is_signed ? -7 : 40;
        const float low = static_cast<float>((is_signed ? -128 : 0) - zero_point);
        std::vector<std::uint8_t> y(x.size() + 1, 77);
        quantize_8({0.25F, low, low + 255, zero_point}, x.data(), y.data(), n);
        EXPECT_EQ(y.back(), 77) << n;
        std::vector<float> back(x.size() + 1, 77);
        dequantize_8(y.data(), is_signed, zero_point, 0.25F, back.data(), n);
        EXPECT_EQ(back.back(), 77) << n;
        back.pop_back();
        EXPECT_EQ(back, x);
      }
    }
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

// Taps in threes, each row of them further down. 9 and 25 have kernels of their own.
TEST(SumTaps, EqualsTheSumsTermByTerm) {
  for_each_target([] {
    constexpr std::int64_t kRows = 3, kStep = 50;
    for (const std::int64_t taps : {3, 9, 12, 25}) {
      std::vector<std::int64_t> offsets;
      std::vector<float> weights;
      for (std::int64_t t = 0; t < taps; ++t) {
        offsets.push_back(t / 3 * kStep + t % 3 * 2);
        weights.push_back(static_cast<float>(t * 71 % 511 - 255));
      }
      for (std::int64_t columns = 1; columns < 40; ++columns) {
        SCOPED_TRACE(std::to_string(taps) + " taps, " + std::to_string(columns) + " columns");
        std::vector<float> x(
            static_cast<std::size_t>((kRows - 1) * kStep + offsets.back() + columns + 4));
        for (std::size_t i = 0; i < x.size(); ++i) {
          x[i] = static_cast<float>(static_cast<int>(i * 37 % 511) - 255);
        }
        std::vector<std::int32_t> sums(static_cast<std::size_t>(kRows * columns) + 1, 5);
        sum_taps({kRows, columns, kStep, taps, offsets.data(), weights.data()}, x.data(),
                 sums.data());
        for (std::int64_t r = 0; r < kRows; ++r) {
          for (std::int64_t c = 0; c < columns; ++c) {
            int expected = 0;
            for (std::size_t t = 0; t < offsets.size(); ++t) {
              expected += static_cast<int>(weights[t]) *
                          static_cast<int>(x[static_cast<std::size_t>(r * kStep + offsets[t] + c)]);
            }
            EXPECT_EQ(sums[static_cast<std::size_t>(r * columns + c)], expected) << r << " " << c;
          }
        }
        EXPECT_EQ(sums.back(), 5);
      }
    }
  });
}

// Each byte goes where the definition says, and nothing else is written.
TEST(SpreadRows, SortsColumnsByPhase) {
  for_each_target([] {
    SpreadRows shape;
    shape.rows = 2;
    shape.zero_point = 3;
    std::vector<std::uint8_t> x;
    for (int i = 0; i < 200; ++i) x.push_back(static_cast<std::uint8_t>(i * 59 + 200));
    for (int variant = 0; variant < 2 * 3 * 4; ++variant) {
      shape.is_signed = variant % 2 != 0;
      shape.phases = 1 + variant / 2 % 3;
      shape.first = variant / 6;
      for (shape.columns = 0; shape.columns < 75; ++shape.columns) {
        SCOPED_TRACE(std::to_string(variant) + ", " + std::to_string(shape.columns) + " columns");
        shape.x_step = shape.columns + 5;
        shape.phase_size = (shape.first + shape.columns) / shape.phases + 1;
        const std::int64_t row_size = shape.phases * shape.phase_size;
        std::vector<float> expected(static_cast<std::size_t>(shape.rows * row_size) + 1, -777),
            y = expected;
        for (std::int64_t r = 0; r < shape.rows; ++r) {
          for (std::int64_t c = 0; c < shape.columns; ++c) {
            const std::uint8_t byte = x[static_cast<std::size_t>(r * shape.x_step + c)];
            const std::int64_t at = shape.first + c;
            expected[static_cast<std::size_t>(r * row_size + at % shape.phases * shape.phase_size +
                                              at / shape.phases)] =
                static_cast<float>((shape.is_signed ? static_cast<std::int8_t>(byte) : byte) - 3);
          }
        }
        // Nothing behind the last byte is read.
        const std::vector<std::uint8_t> bytes(
            x.begin(), x.begin() + (shape.rows - 1) * shape.x_step + shape.columns);
        spread_rows(shape, bytes.data(), y.data());
        EXPECT_EQ(y, expected);
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
