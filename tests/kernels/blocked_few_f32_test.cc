// Convolutions of images in blocks to a few plain channels.
#include "kernels/blocked_few_f32.h"

#include <algorithm>

#include "kernels/conv_test.h"

namespace mezzo::kernels {
namespace {

const ConvShape kShapes[] = {
    // Every number of channels, rows of less than a tile and of several.
    make_shape(1, 8, {1, 1}, 1, {1, 1}),
    make_shape(2, 16, {5, 9}, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(2, 24, {7, 19}, 2, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(3, 64, {9, 40}, 3, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 32, {6, 13}, 4, {1, 1}),
    make_shape(1, 16, {6, 13}, 5, {2, 3}, {1, 1}, {0, 1, 1, 1}),
    make_shape(1, 8, {3, 3}, 6, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 16, {11, 21}, 7, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 40, {4, 16}, 9, {3, 3}),
    make_shape(1, 16, {8, 8}, 10, {3, 1}),
    make_shape(1, 8, {8, 8}, 11, {1, 3}),
    make_shape(2, 8, {8, 18}, 12, {5, 5}, {1, 1}, {2, 2, 2, 2}),
    // Steps, crops, dilations, wide windows, and windows that lie outside.
    make_shape(1, 16, {19, 22}, 3, {3, 3}, {2, 3}, {1, 1, 1, 1}),
    make_shape(1, 8, {9, 12}, 3, {1, 1}, {1, 1}, {-1, -2, 0, -1}),
    make_shape(1, 8, {20, 31}, 2, {3, 2}, {2, 2}, {4, 3, 2, 5}, {3, 2}),
    make_shape(2, 32, {1, 100}, 1, {1, 7}, {1, 1}, {0, 3, 0, 3}),
    make_shape(1, 16, {17, 30}, 3, {9, 9}, {1, 1}, {4, 4, 4, 4}),
    make_shape(1, 8, {2, 2}, 3, {2, 2}, {1, 1}, {5, 4, 3, 6}),
};

TEST(BlockedFewF32, SumsAndEpilogues) {
  for (const ConvShape& s : kShapes) {
    SCOPED_TRACE(to_string(s));
    ASSERT_TRUE(blocked_few_applies(s));
    const std::int64_t pixels = s.out_h * s.out_w, size = s.batch * s.out_c * pixels;
    const std::vector<float> plain = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1),
                             weights = random_floats(s.out_c * s.in_c * s.k_h * s.k_w, 2),
                             bias = random_floats(s.out_c, 3), add = random_floats(size, 4);
    const Expected expected = reference(s, plain, weights);
    const std::vector<float> x = blocked(s.batch, s.in_c, s.in_h * s.in_w, plain);
    for_each_target([&] {
      AlignedFloats packed(blocked_few_weights_bytes(s));
      pack_blocked_few_weights(s, weights.data(), packed.data(), test_pool());
      for (int parts = 0; parts < 16; ++parts) {
        SCOPED_TRACE("epilogue " + std::to_string(parts));
        const bool in_place = (parts & 8) != 0;
        std::vector<float> y(static_cast<std::size_t>(size) + 1, kUntouched);
        if (in_place) std::copy(add.begin(), add.end(), y.begin());
        ConvArgs args{x.data(), packed.data()};
        args.y = y.data();
        if ((parts & 1) != 0) args.bias = bias.data();
        if ((parts & 2) != 0) args.add = in_place ? y.data() : add.data();
        if ((parts & 4) != 0) {
          args.min = -0.5f;
          args.max = 0.25f;
        }
        blocked_few_conv(s, args, test_pool());
        ASSERT_EQ(y.back(), kUntouched);
        for (std::int64_t i = 0; i < size; ++i) {
          const auto at = static_cast<std::size_t>(i);
          double value = expected.values[at];
          if (args.bias != nullptr) value += bias[static_cast<std::size_t>(i / pixels % s.out_c)];
          if (args.add != nullptr) value += add[at];
          ASSERT_NEAR(y[at], std::clamp<double>(value, args.min, args.max),
                      sum_tolerance(expected.magnitudes[at] + 1))
              << "element " << i;
        }
      }
    });
  }
}

TEST(BlockedFewF32, AppliesToFewChannelsThatAreNoBlocks) {
  EXPECT_FALSE(blocked_few_applies(make_shape(1, 16, {5, 5}, 8, {3, 3})));
  EXPECT_FALSE(blocked_few_applies(make_shape(1, 16, {5, 5}, 13, {3, 3})));
  EXPECT_FALSE(blocked_few_applies(make_shape(1, 12, {5, 5}, 3, {3, 3})));
  EXPECT_FALSE(
      blocked_few_applies(make_shape(1, 16, {5, 5}, 4, {3, 3}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2)));
}

}  // namespace
}  // namespace mezzo::kernels
