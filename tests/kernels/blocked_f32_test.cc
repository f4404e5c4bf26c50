#include "kernels/blocked_f32.h"

#include <algorithm>

#include "kernels/conv_test.h"

namespace mezzo::kernels {
namespace {

const ConvShape kShapes[] = {
    // 1x1: one block and several, ragged tiles of every size, several blocks of k.
    make_shape(1, 8, {1, 1}, 8, {1, 1}),
    make_shape(2, 16, {9, 11}, 24, {1, 1}),
    make_shape(1, 32, {5, 5}, 32, {1, 1}),
    make_shape(1, 24, {13, 13}, 16, {1, 1}),
    make_shape(3, 64, {7, 7}, 80, {1, 1}),
    make_shape(1, 576, {7, 7}, 40, {1, 1}),
    make_shape(2, 1200, {3, 1}, 56, {1, 1}),
    make_shape(1, 64, {30, 31}, 104, {1, 1}),
    // Strides, padding, crop.
    make_shape(2, 16, {9, 9}, 24, {1, 1}, {2, 2}),
    make_shape(1, 8, {19, 12}, 8, {1, 1}, {3, 2}),
    make_shape(1, 8, {5, 6}, 16, {1, 1}, {1, 1}, {1, 2, 0, 1}),
    make_shape(1, 8, {9, 12}, 16, {1, 1}, {1, 1}, {-1, -2, 0, -1}),
    // Other windows, dilations.
    make_shape(1, 16, {14, 14}, 40, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(2, 40, {7, 9}, 24, {3, 3}, {2, 2}, {1, 1, 1, 1}),
    make_shape(1, 8, {12, 13}, 8, {2, 3}, {3, 1}, {0, 2, 1, 0}),
    make_shape(1, 16, {20, 30}, 24, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}),
    make_shape(1, 8, {20, 30}, 16, {3, 2}, {2, 2}, {4, 3, 2, 5}, {3, 2}),
    make_shape(2, 16, {1, 100}, 8, {1, 9}, {1, 2}, {0, 4, 0, 4}),
    make_shape(1, 8, {2, 2}, 8, {2, 2}, {1, 1}, {5, 4, 3, 6}),
    // A plain x.
    make_shape(2, 3, {32, 33}, 16, {3, 3}, {2, 2}, {1, 1, 1, 1}),
    make_shape(1, 3, {40, 75}, 64, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(1, 1, {9, 9}, 8, {3, 3}),
    make_shape(1, 20, {7, 7}, 24, {1, 1}),
    // Depthwise.
    make_shape(2, 16, {17, 19}, 16, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 16),
    make_shape(1, 40, {7, 7}, 40, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, 40),
    make_shape(1, 8, {21, 70}, 8, {5, 5}, {2, 2}, {2, 2, 2, 2}, {1, 1}, 8),
    make_shape(1, 8, {14, 33}, 8, {5, 5}, {1, 1}, {2, 2, 2, 2}, {1, 1}, 8),
    make_shape(1, 8, {12, 91}, 8, {3, 3}, {2, 2}, {0, 0, 1, 1}, {1, 1}, 8),
    make_shape(1, 8, {6, 40}, 8, {3, 3}, {2, 2}, {4, 5, 6, 7}, {1, 1}, 8),
    make_shape(1, 8, {9, 40}, 8, {5, 5}, {1, 1}, {-1, -2, 3, -3}, {1, 1}, 8),
    make_shape(1, 8, {9, 9}, 8, {3, 3}, {2, 3}, {1, 1, 1, 1}, {1, 1}, 8),
    make_shape(1, 16, {10, 10}, 16, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}, 16),
    make_shape(1, 8, {10, 50}, 8, {1, 7}, {1, 3}, {0, 3, 0, 3}, {1, 1}, 8),
    make_shape(1, 8, {8, 8}, 8, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 8),
    make_shape(1, 8, {3, 1}, 8, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 8),
    make_shape(1, 8, {2, 2}, 8, {5, 5}, {1, 1}, {4, 4, 4, 4}, {1, 1}, 8),
    make_shape(1, 8, {63, 213}, 8, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 8),
};

// [batch, channels, pixels] with channels in blocks, element by element.
std::vector<float> blocked(std::int64_t batch, std::int64_t channels, std::int64_t pixels,
                           const std::vector<float>& x) {
  std::vector<float> y(x.size());
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t p = 0; p < pixels; ++p) {
        y[static_cast<std::size_t>(((n * channels / 8 + c / 8) * pixels + p) * 8 + c % 8)] =
            x[static_cast<std::size_t>((n * channels + c) * pixels + p)];
      }
    }
  }
  return y;
}

TEST(BlockedF32, EveryShapeAndEpilogue) {
  for (const ConvShape& s : kShapes) {
    SCOPED_TRACE(to_string(s));
    ASSERT_TRUE(blocked_conv_applies(s));
    const std::int64_t pixels = s.out_h * s.out_w, image = s.out_c * pixels;
    const std::vector<float> plain = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1);
    const std::vector<float> weights =
        random_floats(s.out_c * (s.in_c / s.groups) * s.k_h * s.k_w, 2);
    const std::vector<float> bias = random_floats(s.out_c, 3),
                             add = random_floats(s.batch * image, 4);
    const Expected expected = reference(s, plain, weights);
    const std::vector<float> x = blocked_conv_takes_blocked(s)
                                     ? blocked(s.batch, s.in_c, s.in_h * s.in_w, plain)
                                     : plain,
                             add_blocked = blocked(s.batch, s.out_c, pixels, add);
    for_each_target([&] {
      AlignedFloats packed(blocked_weights_bytes(s)), scratch(blocked_scratch_bytes(s));
      pack_blocked_weights(s, weights.data(), packed.data(), test_pool());
      for (int parts = 0; parts < 32; ++parts) {
        SCOPED_TRACE("epilogue " + std::to_string(parts));
        const bool gap = (parts & 8) != 0, in_place = (parts & 16) != 0 && !gap;
        const std::int64_t stride = image + (gap ? 3 : 0);
        std::vector<float> y(static_cast<std::size_t>(s.batch * stride), kUntouched);
        if (in_place) y = add_blocked;
        ConvArgs args{x.data(), packed.data()};
        args.y = y.data();
        args.y_batch_stride = gap ? stride : 0;
        if ((parts & 1) != 0) args.bias = bias.data();
        if ((parts & 2) != 0) args.add = in_place ? y.data() : add_blocked.data();
        if ((parts & 4) != 0) {
          args.min = -0.5f;
          args.max = 0.25f;
        }
        blocked_conv(s, args, scratch.data(), test_pool());
        for (std::int64_t n = 0; n < s.batch; ++n) {
          for (std::int64_t i = 0; i < stride; ++i) {
            const float got = y[static_cast<std::size_t>(n * stride + i)];
            if (i >= image) {
              ASSERT_EQ(got, kUntouched);
              continue;
            }
            const std::int64_t channel = i / pixels / 8 * 8 + i % 8, pixel = i / 8 % pixels;
            const auto at = static_cast<std::size_t>(n * image + channel * pixels + pixel);
            double value = expected.values[at];
            if (args.bias != nullptr) value += bias[static_cast<std::size_t>(channel)];
            if (args.add != nullptr) value += add[at];
            ASSERT_NEAR(got, std::clamp<double>(value, args.min, args.max),
                        sum_tolerance(expected.magnitudes[at] + 1))
                << "image " << n << ", channel " << channel << ", pixel " << pixel;
          }
        }
      }
    });
    if (HasFatalFailure()) return;
  }
}

TEST(BlockedF32, RefusesWhatItDoesNotTake) {
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 8, {9, 9}, 12, {1, 1})));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 8, {9, 9}, 8, {1, 1}, {1, 3})));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 16, {9, 9}, 32, {1, 1}, {1, 1}, {}, {1, 1}, 16)));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 16, {9, 9}, 16, {1, 1}, {1, 1}, {}, {1, 1}, 2)));
}

TEST(BlockedF32, ReordersBothWays) {
  for (const std::int64_t pixels : {1, 2, 3, 4, 5, 7, 8, 49, 1000}) {
    const std::vector<float> x = random_floats(2 * 24 * pixels, 1),
                             expected = blocked(2, 24, pixels, x);
    for_each_target([&] {
      std::vector<float> y(x.size()), back(x.size());
      to_blocked(2, 24, pixels, x.data(), y.data(), test_pool());
      EXPECT_EQ(y, expected);
      from_blocked(2, 24, pixels, y.data(), back.data(), test_pool());
      EXPECT_EQ(back, x);
    });
  }
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
