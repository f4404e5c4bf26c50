#include "kernels/pool_i8.h"

#include <algorithm>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

// Rows and columns of x, window, strides, pads ahead, dilation; the output ends where it fits.
PoolShape make_shape(std::int64_t planes, std::int64_t in_h, std::int64_t in_w, std::int64_t k_h,
                     std::int64_t k_w, std::int64_t stride_h, std::int64_t stride_w,
                     std::int64_t pad, std::int64_t dilation = 1) {
  PoolShape s{planes, in_h, in_w, 1, 1, k_h, k_w, stride_h, stride_w, pad, pad, dilation, dilation};
  s.out_h = (in_h + 2 * pad - dilation * (k_h - 1) - 1) / stride_h + 1;
  s.out_w = (in_w + 2 * pad - dilation * (k_w - 1) - 1) / stride_w + 1;
  return s;
}

const PoolShape kShapes[] = {
    make_shape(1, 1, 1, 1, 1, 1, 1, 0),      make_shape(5, 13, 17, 3, 3, 1, 1, 1),
    make_shape(3, 55, 70, 3, 3, 2, 2, 0),    make_shape(3, 14, 150, 2, 2, 2, 2, 0),
    make_shape(2, 20, 33, 3, 3, 1, 2, 2, 2), make_shape(2, 9, 9, 2, 2, 5, 4, 0),
    make_shape(4, 1, 90, 1, 5, 1, 3, 0),     make_shape(1, 3, 3, 2, 2, 1, 1, 3),
};

template <class Byte>
void check(const PoolShape& s, std::int64_t lanes) {
  std::mt19937 random(3);
  std::vector<Byte> x(static_cast<std::size_t>(s.planes * s.in_h * s.in_w * lanes));
  for (Byte& value : x) value = static_cast<Byte>(random());
  std::vector<Byte> expected;
  for (std::int64_t p = 0; p < s.planes; ++p) {
    for (std::int64_t oh = 0; oh < s.out_h; ++oh) {
      for (std::int64_t i = 0; i < s.out_w * lanes; ++i) {
        Byte most = std::numeric_limits<Byte>::min();
        for (std::int64_t k = 0; k < s.k_h * s.k_w; ++k) {
          const std::int64_t row = oh * s.stride_h - s.pad_top + k / s.k_w * s.dilation_h,
                             column =
                                 i / lanes * s.stride_w - s.pad_left + k % s.k_w * s.dilation_w;
          if (row < 0 || row >= s.in_h || column < 0 || column >= s.in_w) continue;
          const std::int64_t at = ((p * s.in_h + row) * s.in_w + column) * lanes + i % lanes;
          most = std::max(most, x[static_cast<std::size_t>(at)]);
        }
        expected.push_back(most);
      }
    }
  }
  std::vector<Byte> y(expected.size() + 64, Byte{99});
  max_pool_i8(s, lanes, std::is_signed_v<Byte>, reinterpret_cast<const std::uint8_t*>(x.data()),
              reinterpret_cast<std::uint8_t*>(y.data()), test_pool());
  EXPECT_EQ(std::count(y.end() - 64, y.end(), Byte{99}), 64);
  y.resize(expected.size());
  EXPECT_EQ(y, expected);
}

TEST(MaxPoolI8, EqualsTheWindowsMaxima) {
  for_each_target([] {
    for (const PoolShape& shape : kShapes) {
      SCOPED_TRACE(std::to_string(shape.in_h) + "x" + std::to_string(shape.in_w));
      for (const std::int64_t lanes : {1, 8}) {
        check<std::uint8_t>(shape, lanes);
        check<std::int8_t>(shape, lanes);
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
