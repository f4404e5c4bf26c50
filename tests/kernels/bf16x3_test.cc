// What is particular to products by tiles of bfloat16: that three parts are the whole number, and
// what tiles cannot take. Shapes are in gemm_f32_test.cc and blocked_conv_f32_test.cc.

#include <cmath>
#include <limits>

#include "kernels/conv_bf16x3.h"
#include "kernels/gemm_bf16x3.h"
#include "kernels/gemm_f32.h"
#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// C [m, n] of dense A and B.
std::vector<float> product(std::int64_t m, std::int64_t n, std::int64_t k,
                           const std::vector<float>& a, const std::vector<float>& b) {
  AlignedFloats packed(packed_b_bf16x3_bytes(k, n));
  pack_b_bf16x3(k, n, {b.data(), n, 1}, packed.data(), test_pool());
  std::vector<float> c(static_cast<std::size_t>(m * n));
  gemm(m, n, k, {a.data(), k, 1}, {packed.data(), 0, 0, true, true}, c.data(), n, {}, test_pool());
  return c;
}

std::vector<float> identity(std::int64_t n) {
  std::vector<float> one(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) one[static_cast<std::size_t>(i * n + i)] = 1;
  return one;
}

// Of every size that has three normal parts.
TEST(Bf16x3, TimesOneEveryNumberIsItself) {
  constexpr std::int64_t kRows = 45, kSize = 70;
  for (const std::int64_t rows : {kRows, std::int64_t{7}}) {
    std::vector<float> a = random_floats(rows * kSize, 1);
    for (std::size_t i = 0; i < a.size(); ++i)
      a[i] = std::ldexp(a[i], static_cast<int>(i * 7 % 200) - 90);
    for_each_target([&] {
      EXPECT_EQ(product(rows, kSize, kSize, a, identity(kSize)), a);
      EXPECT_EQ(product(rows, kSize, rows, identity(rows), a), a);
    });
  }
}

// The error of float32's own products: Henry, Tang and Heinecke's, and no more for long sums.
TEST(Bf16x3, IsAsExactAsFloat32) {
  constexpr std::int64_t kM = 40, kN = 48, kK = 4608;
  const std::vector<float> a = random_floats(kM * kK, 1), b = random_floats(kK * kN, 2);
  std::vector<double> exact(kM * kN);
  double square = 0;
  for (std::int64_t i = 0; i < kM; ++i) {
    for (std::int64_t j = 0; j < kN; ++j) {
      double& sum = exact[static_cast<std::size_t>(i * kN + j)];
      for (std::int64_t p = 0; p < kK; ++p)
        sum += static_cast<double>(a[static_cast<std::size_t>(i * kK + p)]) *
               b[static_cast<std::size_t>(p * kN + j)];
      square += sum * sum;
    }
  }
  const double deviation = std::sqrt(square / (kM * kN));
  for_each_target([&] {
    const std::vector<float> c = product(kM, kN, kK, a, b);
    double worst = 0;
    for (std::size_t i = 0; i < c.size(); ++i)
      worst = std::max(worst, std::abs(c[i] - exact[i]) / deviation);
    EXPECT_LT(worst, 4e-6);
  });
}

// `got` is what IEEE 754 says of a sum of products, but for rounding.
void expect_like(const std::vector<float>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << got[i] << " at " << i;
    } else if (std::isinf(expected[i])) {
      EXPECT_EQ(got[i], expected[i]) << "at " << i;
    } else {
      EXPECT_NEAR(got[i], expected[i], 1e-5 * std::abs(expected[i]) + 1e-4) << "at " << i;
    }
  }
}

std::vector<double> plain_product(std::int64_t m, std::int64_t n, std::int64_t k,
                                  const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<double> c(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t p = 0; p < k; ++p)
        c[static_cast<std::size_t>(i * n + j)] +=
            static_cast<double>(a[static_cast<std::size_t>(i * k + p)]) *
            b[static_cast<std::size_t>(p * n + j)];
    }
  }
  return c;
}

TEST(Bf16x3, InfinitiesNansAndHugeNumbers) {
  constexpr std::int64_t kM = 50, kN = 40, kK = 600;
  const float odd[] = {kInfinity, -kInfinity, std::nanf(""), 1e38f, -3e38f, kLargest, -kLargest};
  for_each_target([&] {
    for (const float x : odd) {
      SCOPED_TRACE(x);
      std::vector<float> a = random_floats(kM * kK, 1),
                         b = random_floats(kK * kN, 2, -1e-3f, 1e-3f);
      const std::vector<float> usual = product(kM, kN, kK, a, b);
      a[7 * kK + 33] = x;
      a[38 * kK + 599] = x;
      const std::vector<float> c = product(kM, kN, kK, a, b);
      expect_like(c, plain_product(kM, kN, kK, a, b));
      // The other rows are what they were, to the last bit.
      for (std::size_t i = 0; i < c.size(); ++i) {
        const std::size_t row = i / kN;
        if (row == 7 || row == 38) continue;
        ASSERT_EQ(c[i], usual[i]) << i;
      }
      a = random_floats(kM * kK, 1, -1e-3f, 1e-3f);
      b[19 * kN + 5] = x;
      expect_like(product(kM, kN, kK, a, b), plain_product(kM, kN, kK, a, b));
    }
  });
}

// A large number is seen by all windows that it is in, and by no others.
TEST(Bf16x3, WindowsWithAnInfinity) {
  ConvShape s;
  s.batch = 3;
  s.in_c = 40;
  s.in_h = s.in_w = 11;
  s.out_c = 16;
  s.k_h = s.k_w = 3;
  s.stride_h = s.stride_w = 2;
  s.pad_top = s.pad_left = 1;
  s.out_h = s.out_w = 6;
  const std::vector<float> weights(static_cast<std::size_t>(s.out_c * s.in_c * 9), 0.5f);
  std::vector<float> x(static_cast<std::size_t>(s.batch * s.in_c * 11 * 11), 1.0f);
  // Image 1, channel 35, pixel (4, 7): in blocks of 8 channels.
  x[static_cast<std::size_t>((((1 * 5 + 4) * 11 + 4) * 11 + 7) * 8 + 3)] = -kInfinity;
  for_each_target([&] {
    AlignedFloats packed(conv_bf16x3_weights_bytes(s));
    pack_conv_bf16x3_weights(s, weights.data(), packed.data(), test_pool());
    std::vector<float> y(static_cast<std::size_t>(s.batch * s.out_c * 36));
    ConvArgs args;
    args.x = x.data();
    args.packed_weights = packed.data();
    args.y = y.data();
    conv_bf16x3(s, args, test_pool());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t n = i / 8 / 36 / 2, row = i / 8 % 36 / 6, col = i / 8 % 6;
      // Windows are at rows 2 i - 1 .. 2 i + 1.
      const bool sees = n == 1 && row == 2 && (col == 3 || col == 4);
      const auto inside = [](std::size_t i) { return i == 0 || i == 5 ? 2 : 3; };
      const auto taps = static_cast<float>(inside(row) * inside(col));
      ASSERT_EQ(y[i], sees ? -kInfinity : 20 * taps) << i;
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
