#include "kernels/pool_f32.h"

#include <algorithm>
#include <limits>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  PoolShape shape;
  std::int64_t pad_bottom, pad_right;
  bool ceil_mode;
};

Case make_case(std::int64_t planes, std::int64_t in_h, std::int64_t in_w, std::int64_t k_h,
               std::int64_t k_w, std::int64_t stride_h, std::int64_t stride_w,
               std::array<std::int64_t, 4> pads, std::int64_t dilation = 1,
               bool ceil_mode = false) {
  PoolShape s{planes,   in_h,     in_w,    1,       1,        k_h,     k_w,
              stride_h, stride_w, pads[0], pads[1], dilation, dilation};
  const auto out = [&](std::int64_t in, std::int64_t pad, std::int64_t k, std::int64_t stride) {
    const std::int64_t room = in + pad - dilation * (k - 1) - 1;
    return (ceil_mode ? (room + stride - 1) / stride : room / stride) + 1;
  };
  s.out_h = out(in_h, pads[0] + pads[2], k_h, stride_h);
  s.out_w = out(in_w, pads[1] + pads[3], k_w, stride_w);
  return {s, pads[2], pads[3], ceil_mode};
}

const Case kCases[] = {
    make_case(1, 1, 1, 1, 1, 1, 1, {0, 0, 0, 0}),
    make_case(5, 13, 17, 3, 3, 1, 1, {1, 1, 1, 1}),
    make_case(3, 55, 55, 3, 3, 2, 2, {0, 0, 0, 0}),
    make_case(3, 14, 70, 2, 2, 2, 2, {0, 0, 0, 0}),
    make_case(3, 15, 71, 3, 3, 2, 2, {1, 1, 1, 1}, 1, true),
    make_case(2, 14, 14, 3, 2, 3, 2, {0, 1, 2, 0}, 1, true),
    make_case(2, 20, 33, 3, 3, 1, 2, {2, 2, 2, 2}, 2),
    make_case(2, 9, 9, 2, 2, 5, 4, {0, 0, 0, 0}),
    make_case(70, 7, 7, 7, 7, 1, 1, {0, 0, 0, 0}),  // global
    make_case(4, 1, 90, 1, 5, 1, 3, {0, 2, 0, 2}),  // 1-D
    make_case(1, 3, 3, 2, 2, 1, 1, {3, 3, 3, 3}),   // windows all padding
};

struct Windows {
  std::vector<double> max, sum, inside, padded;
};

Windows reference(const Case& c, const std::vector<float>& x) {
  const PoolShape& s = c.shape;
  Windows r;
  for (std::int64_t p = 0; p < s.planes; ++p) {
    for (std::int64_t oh = 0; oh < s.out_h; ++oh) {
      for (std::int64_t ow = 0; ow < s.out_w; ++ow) {
        double max = -kInfinity, sum = 0, inside = 0, padded = 0;
        for (std::int64_t kh = 0; kh < s.k_h; ++kh) {
          for (std::int64_t kw = 0; kw < s.k_w; ++kw) {
            const std::int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h,
                               iw = ow * s.stride_w - s.pad_left + kw * s.dilation_w;
            if (ih < s.in_h + c.pad_bottom && iw < s.in_w + c.pad_right) padded += 1;
            if (ih < 0 || ih >= s.in_h || iw < 0 || iw >= s.in_w) continue;
            const double v = x[static_cast<std::size_t>((p * s.in_h + ih) * s.in_w + iw)];
            max = std::isnan(v) || v > max ? v : max;
            sum += v;
            inside += 1;
          }
        }
        r.max.push_back(max);
        r.sum.push_back(sum);
        r.inside.push_back(inside);
        r.padded.push_back(padded);
      }
    }
  }
  return r;
}

TEST(PoolF32, MaximumAndAverages) {
  for (const Case& c : kCases) {
    const PoolShape& s = c.shape;
    SCOPED_TRACE(std::to_string(s.in_h) + "x" + std::to_string(s.in_w) + " by " +
                 std::to_string(s.k_h) + "x" + std::to_string(s.k_w));
    const std::vector<float> x = random_floats(s.planes * s.in_h * s.in_w, 1);
    const Windows expected = reference(c, x);
    for_each_target([&] {
      std::vector<float> y(expected.max.size() + 1, kUntouched);
      max_pool(s, x.data(), y.data(), test_pool());
      for (std::size_t i = 0; i < expected.max.size(); ++i)
        ASSERT_EQ(y[i], expected.max[i]) << "max at " << i;
      ASSERT_EQ(y.back(), kUntouched);
      for (bool include : {false, true}) {
        average_pool(s, window_shares(s, include, c.pad_bottom, c.pad_right), x.data(), y.data(),
                     test_pool());
        for (std::size_t i = 0; i < expected.max.size(); ++i) {
          const double count = include ? expected.padded[i] : expected.inside[i];
          ASSERT_NEAR(y[i], count == 0 ? 0 : expected.sum[i] / count, 2e-6)
              << "average at " << i << (include ? ", padding counted" : "");
        }
        ASSERT_EQ(y.back(), kUntouched);
      }
    });
  }
}

TEST(PoolF32, InfinitiesAreNumbers) {
  const Case c = make_case(2, 9, 20, 3, 3, 2, 2, {1, 1, 1, 1});
  std::vector<float> x = random_floats(2 * 9 * 20, 1);
  x[4 * 20 + 7] = kInfinity;
  for (int i = 0; i < 5 * 20; ++i) x[static_cast<std::size_t>(9 * 20 + i)] = -kInfinity;
  const Windows expected = reference(c, x);
  for_each_target([&] {
    std::vector<float> y(expected.max.size());
    max_pool(c.shape, x.data(), y.data(), test_pool());
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], expected.max[i]) << i;
  });
}

TEST(PoolF32, NanReachesTheWindowsThatHoldIt) {
  const Case c = make_case(2, 9, 20, 3, 3, 2, 2, {1, 1, 1, 1});
  std::vector<float> x = random_floats(2 * 9 * 20, 1);
  x[4 * 20 + 7] = std::nanf("");
  const Windows expected = reference(c, x);
  for_each_target([&] {
    std::vector<float> y(expected.sum.size());
    max_pool(c.shape, x.data(), y.data(), test_pool());
    for (std::size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(std::isnan(y[i]), std::isnan(expected.sum[i])) << i;
  });
}

}  // namespace
}  // namespace mezzo::kernels
