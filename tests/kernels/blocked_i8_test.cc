#include "kernels/blocked_i8.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/conv_test.h"

namespace mezzo::kernels {
namespace {

using Bytes = std::vector<std::uint8_t>;

const ConvShape kShapes[] = {
    // 1x1: units that are whole and not, ragged tiles, images that are cut.
    make_shape(1, 8, {1, 1}, 8, {1, 1}),
    make_shape(2, 16, {9, 11}, 24, {1, 1}),
    make_shape(1, 40, {7, 7}, 40, {1, 1}),
    make_shape(3, 64, {30, 31}, 72, {1, 1}),
    make_shape(1, 520, {3, 5}, 16, {1, 1}),
    // Strides, padding, crop, dilation.
    make_shape(2, 16, {9, 9}, 24, {1, 1}, {2, 2}),
    make_shape(1, 8, {5, 6}, 16, {1, 1}, {1, 1}, {1, 2, 0, 1}),
    make_shape(1, 8, {9, 12}, 16, {1, 1}, {1, 1}, {-1, -2, 0, -1}),
    make_shape(1, 16, {14, 14}, 40, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(2, 40, {7, 9}, 24, {3, 3}, {2, 2}, {1, 1, 1, 1}),
    make_shape(1, 8, {12, 13}, 8, {2, 3}, {3, 1}, {0, 2, 1, 0}),
    make_shape(1, 16, {20, 30}, 24, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}),
    make_shape(2, 16, {1, 100}, 8, {1, 9}, {1, 2}, {0, 4, 0, 4}),
    make_shape(1, 8, {2, 2}, 8, {2, 2}, {1, 1}, {5, 4, 3, 6}),
    // A plain x.
    make_shape(2, 3, {32, 33}, 16, {3, 3}, {2, 2}, {1, 1, 1, 1}),
    make_shape(1, 3, {40, 75}, 64, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(1, 1, {9, 9}, 8, {3, 3}),
    make_shape(1, 4, {6, 20}, 8, {2, 2}, {1, 1}, {-1, -2, 1, 1}),
    // Depthwise.
    make_shape(2, 16, {17, 19}, 16, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 16),
    make_shape(1, 40, {7, 7}, 40, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, 40),
    make_shape(1, 8, {21, 70}, 8, {5, 5}, {2, 2}, {2, 2, 2, 2}, {1, 1}, 8),
    make_shape(1, 8, {14, 33}, 8, {5, 5}, {1, 1}, {2, 2, 2, 2}, {1, 1}, 8),
    make_shape(1, 8, {9, 40}, 8, {5, 5}, {1, 1}, {-1, -2, 3, -3}, {1, 1}, 8),
    make_shape(1, 16, {10, 10}, 16, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}, 16),
    make_shape(1, 8, {8, 8}, 8, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 8),
};

Bytes random_bytes(std::int64_t n, std::uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(static_cast<std::size_t>(n));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

// [planes, 8, pixels] to [planes, pixels, 8], or back.
Bytes in_blocks(const Bytes& x, std::int64_t pixels, bool back = false) {
  Bytes y(x.size());
  const auto n = static_cast<std::size_t>(pixels);
  for (std::size_t plain = 0; plain < x.size(); ++plain) {
    const std::size_t block = plain / (8 * n), c = plain / n % 8, p = plain % n;
    const std::size_t blocked = (block * n + p) * 8 + c;
    if (back) {
      y[plain] = x[blocked];
    } else {
      y[blocked] = x[plain];
    }
  }
  return y;
}

int number(std::uint8_t byte, bool is_signed) {
  return is_signed ? static_cast<std::int8_t>(byte) : byte;
}

// The sums of a convolution that check() has made, as int32.
void check_sums(const ConvShape& s, BlockedConvI8 args, const std::vector<double>& expected,
                float* scratch) {
  std::vector<std::int32_t> sums(expected.size() + 16, 77);
  args.sums = sums.data();
  blocked_conv_i8(s, args, scratch, test_pool());
  const auto pixels = static_cast<std::size_t>(s.out_h * s.out_w),
             channels = static_cast<std::size_t>(s.out_c);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t c = i / pixels % channels,
                      block = i / pixels / channels * channels / 8 + c / 8;
    ASSERT_EQ(sums[(block * pixels + i % pixels) * 8 + c % 8], expected[i] + static_cast<double>(c))
        << "sum " << i;
  }
  for (std::size_t i = expected.size(); i < sums.size(); ++i) ASSERT_EQ(sums[i], 77);
}

// Weights are of all sizes, so that many do not fit the vectors; `wide`: differences of bytes, each
// channel's from a byte of its own.
void check(const ConvShape& s, bool x_signed, bool y_signed, bool wide = false) {
  const std::int64_t x_pixels = s.in_h * s.in_w, y_pixels = s.out_h * s.out_w;
  const std::int64_t terms = s.in_c / s.groups * s.k_h * s.k_w;
  const Bytes x = random_bytes(s.batch * s.in_c * x_pixels, 1),
              weight_bytes = random_bytes(s.out_c * terms, 2);
  std::vector<std::int16_t> weights;
  for (std::size_t i = 0; i < weight_bytes.size(); ++i) {
    const auto channel = static_cast<int>(i) / static_cast<int>(terms);
    const int zero = wide ? 37 * channel % 256 - 128 : 0;
    weights.push_back(static_cast<std::int16_t>(number(weight_bytes[i], true) - zero));
  }
  const int x_zero = x_signed ? -3 : 117, y_zero = y_signed ? -20 : 101;
  const int low = y_signed ? -100 : 9, high = y_signed ? 90 : 250;

  // What is to be, from differences in double, whose sums are whole numbers.
  std::vector<float> differences, widened(weights.begin(), weights.end());
  for (const std::uint8_t byte : x)
    differences.push_back(static_cast<float>(number(byte, x_signed) - x_zero));
  const std::vector<double> sums = reference(s, differences, widened).values;

  std::vector<ChannelScale> scales(static_cast<std::size_t>(s.out_c));
  const std::vector<float> factors = random_floats(s.out_c, 3, 0.1F, 1),
                           addends = random_floats(s.out_c, 4, -30, 30);
  for (std::size_t c = 0; c < scales.size(); ++c) {
    std::int32_t weight_sum = 0;
    for (std::int64_t i = 0; i < terms; ++i)
      weight_sum += weights[c * static_cast<std::size_t>(terms) + static_cast<std::size_t>(i)];
    scales[c] = {static_cast<std::int32_t>(c) - (x_zero + (x_signed ? 128 : 0)) * weight_sum,
                 factors[c] / (40 * std::sqrt(static_cast<float>(terms))), addends[c]};
  }
  AlignedFloats scratch(blocked_i8_scratch_bytes(s, x_signed));
  Packed packed;
  pack_blocked_i8_weights(s, weights.data(), packed.allocate(), test_pool());
  ASSERT_TRUE(packed.is_whole());
  const ChannelScales ordered = ordered_scales(s, scales);
  const bool blocked = s.in_c % 8 == 0;
  const Bytes x_blocked = blocked ? in_blocks(x, x_pixels) : x;
  constexpr std::size_t kGuard = 64;
  Bytes y(static_cast<std::size_t>(s.batch * s.out_c * y_pixels) + kGuard, 77);
  BlockedConvI8 args;
  args.x = x_blocked.data();
  args.x_signed = x_signed;
  args.x_zero_point = x_zero;
  args.packed_weights = packed.data();
  args.scales = &ordered;
  args.y = y.data();
  args.y_signed = y_signed;
  args.y_zero_point = y_zero;
  args.low = low;
  args.high = high;
  blocked_conv_i8(s, args, scratch.data(), test_pool());
  for (std::size_t i = 0; i < kGuard; ++i) ASSERT_EQ(y[y.size() - 1 - i], 77);
  if (s.groups == 1) check_sums(s, args, sums, scratch.data());
  y.resize(y.size() - kGuard);
  y = in_blocks(y, y_pixels, true);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t c = i / static_cast<std::size_t>(y_pixels) % scales.size();
    const double value =
        (sums[i] + static_cast<double>(c)) * scales[c].multiplier + scales[c].addend + y_zero;
    const double wanted = std::clamp<double>(value, low, high);
    ASSERT_NEAR(number(y[i], y_signed), wanted, 0.5001) << "element " << i;
  }
}

TEST(BlockedI8, ConvolutionsEqualTheirSums) {
  for_each_target([] {
    // Wider vectors' kernels are of an instruction that not all CPUs of the target have.
    const bool is_wide = active_target() == Target::avx2 || active_target() == Target::avx512;
    if (is_wide && !blocked_i8_pays()) return;
    for (const ConvShape& shape : kShapes) {
      SCOPED_TRACE(to_string(shape));
      ASSERT_TRUE(blocked_conv_i8_applies(shape));
      check(shape, false, false);
      check(shape, true, true);
      check(shape, true, false);
      check(shape, false, false, true);
      check(shape, true, true, true);
    }
  });
}

TEST(BlockedI8, ThereAndBack) {
  for_each_target([] {
    for (const std::int64_t pixels : {1, 15, 16, 49, 100}) {
      const Bytes x = random_bytes(5 * 8 * pixels, 7);
      Bytes blocked(x.size()), plain(x.size());
      to_blocked_i8(5, pixels, x.data(), blocked.data(), test_pool());
      EXPECT_EQ(blocked, in_blocks(x, pixels));
      from_blocked_i8({5, pixels, pixels, pixels}, blocked.data(), plain.data(), test_pool());
      EXPECT_EQ(plain, x);
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
