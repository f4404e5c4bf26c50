#include "kernels/convert.h"

#include <bit>
#include <limits>
#include <utility>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

// y may be longer than x.
template <DType kFrom, DType kTo, class X, class Y>
void convert_all(const std::vector<X>& x, std::vector<Y>& y) {
  array_converter(kFrom, kTo)(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
}

// The value of a half, from its fields (IEEE 754-2019, table 3.5).
double half_value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double v = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
             : exponent == 0 ? std::ldexp(fraction, -24)
                             : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -v : v;
}

// Each 16-bit pattern, the float halfway to the next, and its neighbours: rounding is decided
// there.
std::vector<float> floats_around_halves() {
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const double low = half_value(static_cast<std::uint16_t>(bits)),
                 high = bits == 0x7bff ? 65536 : half_value(static_cast<std::uint16_t>(bits + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    for (float v : {static_cast<float>(low), std::nextafter(middle, 0.0f), middle,
                    std::nextafter(middle, 1e9f)})
      x.insert(x.end(), {v, -v});
  }
  for (float v : {65520.0f, 1e10f, std::numeric_limits<float>::infinity(),
                  std::numeric_limits<float>::denorm_min()})
    x.insert(x.end(), {v, -v});
  return x;
}

TEST(Convert, EveryHalfWidensExactly) {
  for_each_target([] {
    std::vector<Half> x(65536 + 5);
    for (std::size_t i = 0; i < x.size(); ++i) x[i].bits = static_cast<std::uint16_t>(i);
    std::vector<float> y(x.size() + 1, kUntouched);
    convert_all<DType::f16, DType::f32>(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = half_value(x[i].bits);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(y[i])) << i;
      } else {
        ASSERT_EQ(y[i], expected) << i;
        ASSERT_EQ(std::signbit(y[i]), std::signbit(expected)) << i;
      }
    }
    ASSERT_EQ(y.back(), kUntouched);
  });
}

TEST(Convert, FloatsRoundToTheNearestHalf) {
  const std::vector<float> x = floats_around_halves();
  for_each_target([&] {
    std::vector<Half> y(x.size() + 1, Half{0x1234});
    convert_all<DType::f32, DType::f16>(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::uint16_t bits = y[i].bits & 0x7fff;
      ASSERT_EQ((y[i].bits & 0x8000) != 0, std::signbit(x[i])) << x[i];
      const double magnitude = std::abs(static_cast<double>(x[i]));
      if (magnitude >= 65520) {
        ASSERT_EQ(bits, 0x7c00) << x[i];
        continue;
      }
      ASSERT_LT(bits, 0x7c00) << x[i];
      // Nearest, and of two equally near the even one.
      const double error = std::abs(half_value(bits) - magnitude);
      const double above =
          bits == 0x7bff ? INFINITY : half_value(static_cast<std::uint16_t>(bits + 1)) - magnitude;
      const double below =
          bits == 0 ? INFINITY : magnitude - half_value(static_cast<std::uint16_t>(bits - 1));
      ASSERT_LE(error, std::min(above, below)) << x[i];
      ASSERT_TRUE(error < std::min(above, below) || bits % 2 == 0) << x[i];
    }
    ASSERT_EQ(y.back().bits, 0x1234);
  });
}

TEST(Convert, Bfloat16IsTheUpperHalfRounded) {
  std::vector<float> x;
  for (std::uint32_t upper = 0; upper < 65536; ++upper) {
    for (std::uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
  }
  for_each_target([&] {
    std::vector<BFloat16> y(x.size());
    convert_all<DType::f32, DType::bf16>(x, y);
    std::vector<float> back(x.size());
    convert_all<DType::bf16, DType::f32>(y, back);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(x[i]);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(back[i]), static_cast<std::uint32_t>(y[i].bits) << 16);
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(back[i])) << std::hex << bits;
        continue;
      }
      const std::uint32_t lower = bits & 0xffff;
      std::uint32_t expected = bits >> 16;
      if (lower > 0x8000 || (lower == 0x8000 && (expected & 1) != 0)) ++expected;
      ASSERT_EQ(y[i].bits, expected) << std::hex << bits;
    }
  });
}

TEST(Convert, NanStaysNan) {
  // Signalling and quiet, with payloads that 16 bits cannot hold.
  std::vector<float> x;
  for (std::uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xff800001u, 0xffffffffu, 0x7f80ffffu})
    x.push_back(std::bit_cast<float>(bits));
  for_each_target([&] {
    std::vector<Half> half(x.size());
    convert_all<DType::f32, DType::f16>(x, half);
    for (Half h : half) EXPECT_TRUE(std::isnan(half_value(h.bits))) << h.bits;
  });
}

// Truncated, and modulo 2^32 or 2^8 where 64 bits hold the whole number; the rest as
// base/convert.h says. Each odd number stands at each place of a vector and of the rest.
TEST(Convert, FloatsAreTruncatedToIntegers) {
  const std::vector<float> odd = {0.99f,        -0.99f,   -1.5f,     255.9f,  256.f,    -129.f,
                                  2147483520.f, -0x1p31f, 0x1p31f,   0x1p40f, -0x1p40f, 1e30f,
                                  -1e30f,       INFINITY, -INFINITY, NAN,     -0.0f,    1e-40f};
  for (float strange : odd) {
    for (std::size_t at = 0; at < 37; ++at) {
      std::vector<float> x(37);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = 1.75f * static_cast<float>(i) - 20;
      x[at] = strange;
      for_each_target([&] {
        std::vector<std::int64_t> wide(38, 77);
        std::vector<std::int32_t> whole(38, 77);
        std::vector<std::uint8_t> bytes(38, 77), truth(38, 77);
        std::vector<std::int8_t> signed_bytes(38, 77);
        convert_all<DType::f32, DType::i64>(x, wide);
        convert_all<DType::f32, DType::i32>(x, whole);
        convert_all<DType::f32, DType::u8>(x, bytes);
        convert_all<DType::f32, DType::i8>(x, signed_bytes);
        convert_all<DType::f32, DType::boolean>(x, truth);
        for (std::size_t i = 0; i < x.size(); ++i) {
          const bool fits = std::abs(x[i]) < 0x1p63f;
          const std::int64_t expected = fits ? static_cast<std::int64_t>(x[i])
                                        : std::isnan(x[i])
                                            ? 0
                                            : std::numeric_limits<std::int64_t>::min();
          ASSERT_EQ(wide[i], expected) << x[i];
          ASSERT_EQ(whole[i], static_cast<std::int32_t>(expected)) << x[i];
          ASSERT_EQ(bytes[i], static_cast<std::uint8_t>(expected)) << x[i];
          ASSERT_EQ(signed_bytes[i], static_cast<std::int8_t>(expected)) << x[i];
          ASSERT_EQ(truth[i], x[i] == 0 ? 0 : 1) << x[i];
        }
        ASSERT_EQ(wide.back(), 77);
        ASSERT_EQ(whole.back(), 77);
        ASSERT_EQ(bytes.back(), 77);
        ASSERT_EQ(signed_bytes.back(), 77);
        ASSERT_EQ(truth.back(), 77);
      });
    }
  }
}

// Whole numbers of more than 24 bits lie between floats.
TEST(Convert, IntegersRoundToTheNearestFloat) {
  constexpr std::int64_t kOne = 1;
  const std::vector<std::pair<std::int64_t, float>> known = {
      {0, 0.0f},
      {-1, -1.0f},
      {(kOne << 24) + 1, 16777216.0f},
      {(kOne << 24) + 3, 16777220.0f},
      {-(kOne << 24) - 3, -16777220.0f},
      {(kOne << 40) + (kOne << 16) + 1, 1099511758848.0f},
      {std::numeric_limits<std::int64_t>::max(), 9223372036854775808.0f},
      {std::numeric_limits<std::int64_t>::lowest(), -9223372036854775808.0f},
  };
  for_each_target([&] {
    for (std::size_t n = 0; n < 40; ++n) {
      std::vector<std::int64_t> x;
      for (std::size_t i = 0; i < n; ++i) x.push_back(known[(i + n) % known.size()].first);
      std::vector<float> y(n + 1, kUntouched);
      convert_all<DType::i64, DType::f32>(x, y);
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_EQ(y[i], known[(i + n) % known.size()].second) << n << ", " << i;
      ASSERT_EQ(y[n], kUntouched);
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
