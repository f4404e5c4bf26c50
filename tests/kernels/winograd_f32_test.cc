#include "kernels/winograd_f32.h"

#include <algorithm>

#include "kernels/conv_test.h"

namespace mezzo::kernels {
namespace {

ConvShape make_3x3(std::int64_t batch, std::int64_t in_c, Extents in, std::int64_t out_c,
                   std::array<std::int64_t, 4> pads = {1, 1, 1, 1}, std::int64_t groups = 1) {
  return make_shape(batch, in_c, in, out_c, {3, 3}, {1, 1}, pads, {1, 1}, groups);
}

const ConvShape kShapes[] = {
    // Whole tiles; tiles cut in each direction; more tiles in a row than a vector has lanes.
    make_3x3(1, 16, {16, 16}, 32),
    make_3x3(1, 16, {13, 14}, 33),
    make_3x3(2, 20, {15, 17}, 64),
    make_3x3(1, 3, {9, 150}, 5),
    // One tile, of one result.
    make_3x3(1, 1, {3, 3}, 1, {0, 0, 0, 0}),
    make_3x3(1, 2, {1, 1}, 3),
    // Paddings of all kinds: none, unequal, wider than the image, negative (a crop).
    make_3x3(1, 8, {18, 12}, 16, {0, 0, 0, 0}),
    make_3x3(1, 8, {12, 13}, 17, {2, 0, 1, 3}),
    make_3x3(1, 2, {2, 2}, 3, {9, 8, 7, 10}),
    make_3x3(1, 5, {16, 19}, 7, {-2, -3, 1, -1}),
    // Several blocks of tiles, several of channels; batches whose images share panels.
    make_3x3(1, 300, {41, 41}, 70),
    make_3x3(1, 9, {60, 61}, 7),
    make_3x3(1, 800, {8, 8}, 40),
    make_3x3(5, 40, {7, 7}, 40),
    make_3x3(7, 60, {14, 13}, 50),
    // Groups: fewer than threads, and more; of several panels of channels each.
    make_3x3(2, 16, {13, 14}, 34, {1, 1, 1, 1}, 2),
    make_3x3(1, 90, {9, 9}, 60, {1, 1, 1, 1}, 10),
    make_3x3(3, 24, {7, 7}, 120, {1, 1, 1, 1}, 3),
};

TEST(WinogradF32, EveryShapeAndEpilogue) {
  for (const ConvShape& s : kShapes) {
    SCOPED_TRACE(to_string(s));
    ASSERT_TRUE(winograd_applies(s));
    const std::int64_t image = s.out_c * s.out_h * s.out_w;
    const std::vector<float> x = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1);
    const std::vector<float> weights = random_floats(s.out_c * s.in_c / s.groups * 9, 2);
    const std::vector<float> bias = random_floats(s.out_c, 3),
                             add = random_floats(s.batch * image, 4);
    const Expected expected = reference(s, x, weights);
    const double tolerance = winograd_tolerance(expected);
    for_each_target([&] {
      AlignedFloats packed(winograd_weights_bytes(s));
      pack_winograd_weights(s, weights.data(), packed.data(), test_pool());
      for (int parts = 0; parts < 16; ++parts) {
        SCOPED_TRACE("epilogue " + std::to_string(parts));
        const std::int64_t stride = image + ((parts & 8) != 0 ? 3 : 0);
        std::vector<float> y(static_cast<std::size_t>(s.batch * stride), kUntouched);
        ConvArgs args{x.data(), packed.data()};
        args.y = y.data();
        if ((parts & 1) != 0) args.bias = bias.data();
        if ((parts & 2) != 0) args.add = add.data();
        if ((parts & 4) != 0) {
          args.min = -0.5f;
          args.max = 0.75f;
        }
        if ((parts & 8) != 0) args.y_batch_stride = stride;
        winograd_conv(s, args, test_pool());
        for (std::int64_t i = 0; i < s.batch * stride; ++i) {
          const float got = y[static_cast<std::size_t>(i)];
          if (i % stride >= image) {
            ASSERT_EQ(got, kUntouched);
            continue;
          }
          const auto at = static_cast<std::size_t>(i / stride * image + i % stride);
          double value = expected.values[at];
          if (args.bias != nullptr)
            value += bias[static_cast<std::size_t>(i % stride / (s.out_h * s.out_w))];
          if (args.add != nullptr) value += add[at];
          ASSERT_NEAR(got, std::clamp<double>(value, args.min, args.max), tolerance) << "at " << i;
        }
      }
    });
    if (HasFatalFailure()) return;
  }
}

TEST(WinogradF32, TheThreadsDoNotShowInTheResult) {
  const ConvShape shapes[] = {make_3x3(1, 50, {33, 33}, 30), make_3x3(3, 20, {14, 14}, 100),
                              make_3x3(1, 70, {7, 7}, 20),
                              make_3x3(1, 60, {33, 33}, 90, {1, 1, 1, 1}, 3)};
  check_threads(shapes, [](const ConvShape& s, const std::vector<float>& weights, ConvArgs args,
                           ThreadPool& pool) {
    AlignedFloats packed(winograd_weights_bytes(s));
    pack_winograd_weights(s, weights.data(), packed.data(), pool);
    args.packed_weights = packed.data();
    winograd_conv(s, args, pool);
  });
}

TEST(WinogradF32, AddMayBeTheOutputItself) {
  const ConvShape s = make_3x3(2, 24, {14, 21}, 50);
  const std::vector<float> x = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1),
                           before = random_floats(s.batch * s.out_c * s.out_h * s.out_w, 4);
  const std::vector<float> weights = random_floats(s.out_c * s.in_c * 9, 2);
  const Expected expected = reference(s, x, weights);
  for_each_target([&] {
    AlignedFloats packed(winograd_weights_bytes(s));
    pack_winograd_weights(s, weights.data(), packed.data(), test_pool());
    std::vector<float> y = before;
    ConvArgs args{x.data(), packed.data()};
    args.add = args.y = y.data();
    winograd_conv(s, args, test_pool());
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], expected.values[i] + before[i], winograd_tolerance(expected)) << "at " << i;
    }
  });
}

// Sums of many channels: the case with the largest error.
TEST(WinogradF32, ErrorIsAFewTimesThatOfDirectSums) {
  const ConvShape s = make_3x3(1, 512, {16, 16}, 64);
  const std::vector<float> x = random_floats(s.in_c * s.in_h * s.in_w, 5);
  const std::vector<float> weights = random_floats(s.out_c * s.in_c * 9, 6);
  const Expected expected = reference(s, x, weights);
  for_each_target([&] {
    AlignedFloats packed(winograd_weights_bytes(s));
    pack_winograd_weights(s, weights.data(), packed.data(), test_pool());
    std::vector<float> y(expected.values.size());
    ConvArgs args{x.data(), packed.data()};
    args.y = y.data();
    winograd_conv(s, args, test_pool());
    double squares = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      squares += (y[i] - expected.values[i]) * (y[i] - expected.values[i]);
    const double rms = std::sqrt(squares / static_cast<double>(y.size()));
    EXPECT_LT(rms, 2.5e-6 * spread(expected.values));
  });
}

TEST(WinogradF32, AppliesToPlain3x3Alone) {
  EXPECT_TRUE(winograd_applies(make_3x3(1, 8, {9, 9}, 8)));
  EXPECT_FALSE(winograd_applies(make_shape(1, 8, {9, 9}, 8, {1, 3})));
  EXPECT_FALSE(winograd_applies(make_shape(1, 8, {9, 9}, 8, {3, 3}, {2, 1})));
  const ConvShape dilated = make_shape(1, 8, {9, 9}, 8, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 2});
  EXPECT_FALSE(winograd_applies(dilated));
  EXPECT_TRUE(blocked_winograd_applies(dilated));
  EXPECT_TRUE(winograd_applies(make_3x3(1, 8, {9, 9}, 8, {1, 1, 1, 1}, 2)));
  EXPECT_FALSE(winograd_applies(make_3x3(1, 8, {9, 9}, 8, {1, 1, 1, 1}, 8)));
}

}  // namespace
}  // namespace mezzo::kernels
