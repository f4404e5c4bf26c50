// Images in blocks but for their convolutions: reordering, pools and means.
#include "kernels/blocked_f32.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/conv_test.h"

namespace mezzo::kernels {
namespace {

TEST(BlockedF32, ReordersBothWays) {
  for (const std::int64_t pixels :
       {1, 2, 3, 4, 5, 7, 8, 9, 15, 49, 169, 256, 257, 784, 1000, 3025}) {
    const std::vector<float> x = random_floats(2 * 24 * pixels, 1),
                             expected = blocked(2, 24, pixels, x);
    for_each_target([&] {
      std::vector<float> y(x.size());
      to_blocked(2, 24, pixels, x.data(), y.data(), test_pool());
      EXPECT_EQ(y, expected);
      for (const bool streamed : {false, true}) {
        // Rows begin anywhere in a line of the cache, and nothing around them is touched.
        for (const std::size_t offset : {0, 1, 5, 8, 15}) {
          std::vector<float> back(x.size() + 32, -7), around = back;
          std::copy(x.begin(), x.end(), around.begin() + static_cast<std::ptrdiff_t>(offset));
          from_blocked({2 * 24 / kBlockChannels, pixels, pixels, pixels}, y.data(),
                       back.data() + offset, streamed, test_pool());
          EXPECT_EQ(back, around) << pixels << " pixels, " << offset << " floats on";
        }
      }
    });
  }
}

// Calls check(shape of planes in blocks, shape of plain planes) for pools of all kinds.
template <class Check>
void for_pools(const Check& check) {
  PoolShape s{.in_h = 13, .in_w = 15, .stride_h = 2, .stride_w = 2};
  for (const auto& [k, pad] :
       {std::pair<std::int64_t, std::int64_t>{3, 0}, {3, 1}, {3, 3}, {2, 0}, {2, 1}, {4, 2}}) {
    for (const std::int64_t dilation : {1, 2}) {
      s.k_h = s.k_w = k;
      s.planes = 3;
      s.pad_top = s.pad_left = pad;
      s.dilation_h = s.dilation_w = dilation;
      s.out_h = (s.in_h + 2 * pad - (k - 1) * dilation - 1) / 2 + 1;
      s.out_w = (s.in_w + 2 * pad - (k - 1) * dilation - 1) / 2 + 1;
      PoolShape plain = s;
      plain.planes *= 8;
      check(s, plain);
    }
  }
}

TEST(BlockedF32, MaxPoolIsThatOfThePlainLayout) {
  for_pools([](const PoolShape& s, const PoolShape& plain) {
    std::vector<float> x = random_floats(s.planes * 8 * s.in_h * s.in_w, 1);
    // One block of channels with a NaN, one with infinities, one of finite numbers.
    const auto block = static_cast<std::size_t>(8 * s.in_h * s.in_w);
    x[100] = std::numeric_limits<float>::quiet_NaN();
    x[block + 200] = -std::numeric_limits<float>::infinity();
    x[block + 500] = std::numeric_limits<float>::infinity();
    std::vector<float> y(static_cast<std::size_t>(plain.planes * s.out_h * s.out_w));
    max_pool(plain, x.data(), y.data(), test_pool());
    const std::vector<float> expected = blocked(3, 8, s.out_h * s.out_w, y),
                             x_blocked = blocked(3, 8, s.in_h * s.in_w, x);
    for_each_target([&] {
      for (const std::int64_t batch : {1, 3}) {
        std::fill(y.begin(), y.end(), kUntouched);
        blocked_max_pool(batch, s, x_blocked.data(), y.data(), test_pool());
        for (std::size_t i = 0; i < y.size(); ++i) {
          ASSERT_TRUE(y[i] == expected[i] || (std::isnan(y[i]) && std::isnan(expected[i])))
              << y[i] << ", expected " << expected[i] << " at " << i;
        }
      }
    });
  });
}

TEST(BlockedF32, AveragePoolIsThatOfThePlainLayout) {
  for_pools([](const PoolShape& s, const PoolShape& plain) {
    const std::vector<float> x = random_floats(s.planes * 8 * s.in_h * s.in_w, 1);
    for (const bool include : {false, true}) {
      const WindowShares shares = window_shares(s, include, s.pad_top, s.pad_left);
      std::vector<float> y(static_cast<std::size_t>(plain.planes * s.out_h * s.out_w));
      average_pool(plain, shares, x.data(), y.data(), test_pool());
      const std::vector<float> expected = blocked(3, 8, s.out_h * s.out_w, y),
                               x_blocked = blocked(3, 8, s.in_h * s.in_w, x);
      for_each_target([&] {
        for (const std::int64_t batch : {1, 3}) {
          std::fill(y.begin(), y.end(), kUntouched);
          blocked_average_pool(batch, s, shares.rows.data(), shares.cols.data(), x_blocked.data(),
                               y.data(), test_pool());
          for (std::size_t i = 0; i < y.size(); ++i)
            ASSERT_NEAR(y[i], expected[i], 1e-6) << "at " << i;
        }
      });
    }
  });
}

TEST(BlockedF32, Means) {
  for (const std::int64_t pixels : {1, 3, 4, 49, 6400}) {
    const std::vector<float> x = random_floats(3 * 8 * pixels, 1);
    for_each_target([&] {
      std::vector<float> y(24);
      blocked_mean(3, pixels, x.data(), y.data(), test_pool());
      for (std::size_t i = 0; i < y.size(); ++i) {
        double sum = 0;
        for (std::int64_t p = 0; p < pixels; ++p)
          sum += x[i / 8 * static_cast<std::size_t>(pixels) * 8 + static_cast<std::size_t>(p) * 8 +
                   i % 8];
        EXPECT_NEAR(y[i], sum / static_cast<double>(pixels), 1e-5);
      }
    });
  }
}

}  // namespace
}  // namespace mezzo::kernels
