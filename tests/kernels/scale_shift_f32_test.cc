#include "kernels/scale_shift_f32.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

// Planes further apart than they are long, of one channel each or of eight.
TEST(ScaleShiftF32, IsTheFormula) {
  for (const bool blocked : {false, true}) {
    for (const std::int64_t pixels : {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 49, 100, 3000}) {
      const std::int64_t lanes = blocked ? 8 : 1, image_planes = 3, images = 2;
      ScaleShift s;
      s.planes = images * image_planes;
      s.image_planes = image_planes;
      s.n = pixels * lanes;
      s.x_step = s.n + 16;
      s.y_step = s.n + 24;
      s.blocked = blocked;
      const std::vector<float> x = random_floats(s.planes * s.x_step, 1),
                               scale = random_floats(images * image_planes * lanes, 2),
                               shift = random_floats(images * image_planes * lanes, 3);
      for (const int numbers : {0, 1, 2, 3}) {
        s.scale = (numbers & 1) != 0 ? scale.data() : nullptr;
        s.shift = (numbers & 2) != 0 ? shift.data() : nullptr;
        for (const bool by_image : {false, true}) {
          s.image_step = by_image ? image_planes * lanes : 0;
          s.min = by_image ? -0.25F : -std::numeric_limits<float>::infinity();
          s.max = by_image ? 0.5F : std::numeric_limits<float>::infinity();
          std::vector<float> expected(static_cast<std::size_t>(s.planes * s.y_step), kUntouched);
          for (std::int64_t plane = 0; plane < s.planes; ++plane) {
            for (std::int64_t i = 0; i < s.n; ++i) {
              const auto number = static_cast<std::size_t>(
                  (by_image ? plane : plane % image_planes) * lanes + i % lanes);
              const double a = s.scale == nullptr ? 1 : scale[number],
                           b = s.shift == nullptr ? 0 : shift[number];
              const double v = x[static_cast<std::size_t>(plane * s.x_step + i)] * a + b;
              expected[static_cast<std::size_t>(plane * s.y_step + i)] =
                  static_cast<float>(by_image ? std::min(std::max(v, -0.25), 0.5) : v);
            }
          }
          for_each_target([&] {
            std::vector<float> y(expected.size(), kUntouched);
            scale_shift(s, x.data(), y.data(), test_pool());
            for (std::size_t i = 0; i < y.size(); ++i)
              ASSERT_NEAR(y[i], expected[i], 1e-6) << pixels << " pixels, at " << i;
            if (numbers != 1 || by_image) return;
            scale_negative(s, x.data(), y.data(), test_pool());
            for (std::size_t i = 0; i < y.size(); ++i) {
              const auto plane = static_cast<std::int64_t>(i) / s.y_step,
                         at = static_cast<std::int64_t>(i) % s.y_step;
              if (at >= s.n) continue;
              const float v = x[static_cast<std::size_t>(plane * s.x_step + at)];
              ASSERT_EQ(y[i], v < 0 ? expected[i] : v) << pixels << " pixels, at " << i;
            }
          });
        }
      }
    }
  }
}

TEST(ScaleShiftF32, InPlaceAndOfSpecialValues) {
  ScaleShift s;
  s.planes = 1;
  s.n = s.x_step = s.y_step = 5;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInfinity = std::numeric_limits<float>::infinity();
  const float two = 2;
  for (const bool multiplies : {false, true}) {
    s.scale = multiplies ? &two : nullptr;
    for_each_target([&] {
      std::vector<float> x = {kNan, -kInfinity, kInfinity, -0.0F, 0.0F};
      scale_shift(s, x.data(), x.data(), test_pool());
      EXPECT_TRUE(std::isnan(x[0]));
      EXPECT_EQ(x[1], -kInfinity);
      EXPECT_EQ(x[2], kInfinity);
      EXPECT_TRUE(x[3] == 0 && std::signbit(x[3]));
      EXPECT_TRUE(x[4] == 0 && !std::signbit(x[4]));
    });
  }
}

}  // namespace
}  // namespace mezzo::kernels
