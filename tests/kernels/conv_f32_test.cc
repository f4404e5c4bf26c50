#include "kernels/conv_f32.h"

#include <algorithm>

#include "kernels/conv_test.h"

namespace mezzo::kernels {
namespace {

const ConvShape kShapes[] = {
    make_shape(1, 1, {1, 1}, 1, {1, 1}),
    // 1x1 in place: ragged channels and pixels; few and many rows of weights; several blocks of K.
    make_shape(1, 3, {5, 7}, 4, {1, 1}),
    make_shape(2, 16, {9, 11}, 64, {1, 1}),
    make_shape(1, 400, {4, 8}, 14, {1, 1}),
    make_shape(1, 800, {20, 20}, 30, {1, 1}),
    make_shape(3, 64, {7, 7}, 70, {1, 1}),
    make_shape(1, 512, {1, 1}, 100, {1, 1}),
    make_shape(2, 96, {13, 13}, 16, {1, 1}),
    // One, two, three and four pixels left over by whole tiles, of several blocks of K.
    make_shape(1, 600, {7, 7}, 52, {1, 1}),
    make_shape(2, 33, {5, 10}, 44, {1, 1}),
    make_shape(1, 300, {3, 9}, 12, {1, 1}),
    make_shape(1, 40, {14, 14}, 36, {1, 1}),
    // Images of more than 16 MB, of whole panels and not.
    make_shape(2, 600, {83, 85}, 2, {1, 1}),
    // 1x1 with strides, padding, crop.
    make_shape(2, 8, {9, 9}, 20, {1, 1}, {2, 2}),
    make_shape(1, 8, {9, 70}, 20, {1, 1}, {3, 2}),
    make_shape(1, 8, {5, 6}, 20, {1, 1}, {1, 1}, {1, 2, 0, 1}),
    make_shape(1, 8, {9, 12}, 20, {1, 1}, {1, 1}, {-1, -2, 0, -1}),
    // 3x3 and others.
    make_shape(1, 3, {32, 32}, 13, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 64, {14, 14}, 33, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(2, 100, {7, 7}, 65, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 16, {15, 17}, 20, {3, 3}, {2, 2}, {0, 0, 1, 1}),
    make_shape(1, 3, {40, 75}, 64, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(1, 3, {23, 41}, 8, {11, 11}, {4, 4}, {2, 2, 2, 2}),
    make_shape(1, 5, {12, 13}, 7, {2, 3}, {3, 1}, {0, 2, 1, 0}),
    make_shape(1, 6, {20, 30}, 9, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}),
    make_shape(1, 6, {20, 30}, 9, {3, 2}, {2, 3}, {4, 3, 2, 5}, {3, 2}),
    make_shape(1, 4, {5, 5}, 6, {5, 5}),
    make_shape(1, 2, {1, 1}, 3, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 2, {2, 2}, 3, {2, 2}, {1, 1}, {5, 4, 3, 6}),
    // 1-D.
    make_shape(2, 10, {1, 100}, 12, {1, 9}, {1, 5}, {0, 4, 0, 4}),
    // Groups, with and without a channel multiplier.
    make_shape(2, 12, {9, 9}, 30, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3),
    make_shape(1, 64, {6, 6}, 64, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2),
    make_shape(1, 6, {9, 9}, 12, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 6),
    make_shape(1, 128, {5, 5}, 128, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 2),
    // Depthwise.
    make_shape(2, 7, {17, 19}, 7, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 7),
    make_shape(1, 40, {7, 7}, 40, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, 40),
    make_shape(1, 9, {21, 70}, 9, {5, 5}, {2, 2}, {2, 2, 2, 2}, {1, 1}, 9),
    make_shape(1, 9, {14, 33}, 9, {5, 5}, {1, 1}, {2, 2, 2, 2}, {1, 1}, 9),
    make_shape(2, 3, {13, 70}, 3, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3),
    make_shape(1, 3, {12, 91}, 3, {3, 3}, {2, 2}, {0, 0, 1, 1}, {1, 1}, 3),
    make_shape(1, 3, {6, 40}, 3, {3, 3}, {2, 2}, {4, 5, 6, 7}, {1, 1}, 3),
    make_shape(1, 3, {9, 40}, 3, {5, 5}, {1, 1}, {-1, -2, 3, -3}, {1, 1}, 3),
    make_shape(1, 3, {9, 9}, 3, {3, 3}, {2, 1}, {1, 1, 1, 1}, {1, 1}, 3),
    make_shape(1, 5, {10, 10}, 5, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}, 5),
    make_shape(1, 5, {10, 50}, 5, {1, 7}, {1, 3}, {0, 3, 0, 3}, {1, 1}, 5),
    make_shape(1, 5, {8, 8}, 5, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 5),
    // Depthwise: several rows in a vector, and planes of a thousand pixels and more.
    make_shape(2, 20, {7, 7}, 20, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 20),
    make_shape(1, 6, {9, 5}, 6, {3, 3}, {1, 1}, {0, 2, 1, 0}, {1, 1}, 6),
    make_shape(1, 4, {30, 8}, 4, {3, 3}, {1, 1}, {2, 0, 3, 2}, {1, 1}, 4),
    make_shape(1, 3, {3, 1}, 3, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3),
    make_shape(2, 3, {40, 41}, 3, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3),
    make_shape(1, 3, {81, 90}, 3, {5, 5}, {2, 2}, {2, 2, 2, 2}, {1, 1}, 3),
    make_shape(1, 3, {63, 113}, 3, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3),
};

TEST(ConvF32, EveryShapeAndEpilogue) {
  for (const ConvShape& s : kShapes) {
    SCOPED_TRACE(to_string(s));
    const std::int64_t image = s.out_c * s.out_h * s.out_w;
    // Exact sizes, so that a sanitizer sees any read past them.
    const std::vector<float> x = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1);
    const std::vector<float> weights =
        random_floats(s.out_c * (s.in_c / s.groups) * s.k_h * s.k_w, 2);
    const std::vector<float> bias = random_floats(s.out_c, 3),
                             add = random_floats(s.batch * image, 4);
    const Expected expected = reference(s, x, weights);
    for_each_target([&] {
      AlignedFloats packed(packed_weights_bytes(s)), scratch(scratch_bytes(s));
      pack_weights(s, weights.data(), packed.data(), test_pool());
      for (int parts = 0; parts < 16; ++parts) {
        SCOPED_TRACE("epilogue " + std::to_string(parts));
        const bool gap = (parts & 8) != 0;
        const std::int64_t stride = image + (gap ? 3 : 0);
        std::vector<float> y(static_cast<std::size_t>(s.batch * stride), kUntouched);
        ConvArgs args{x.data(), packed.data()};
        args.y = y.data();
        args.y_batch_stride = gap ? stride : 0;
        if ((parts & 1) != 0) args.bias = bias.data();
        if ((parts & 2) != 0) args.add = add.data();
        if ((parts & 4) != 0) {
          args.min = -0.5f;
          args.max = 0.25f;
        }
        conv(s, args, scratch.data(), test_pool());
        for (std::int64_t n = 0; n < s.batch; ++n) {
          for (std::int64_t i = 0; i < stride; ++i) {
            const float got = y[static_cast<std::size_t>(n * stride + i)];
            if (i >= image) {
              ASSERT_EQ(got, kUntouched);
              continue;
            }
            const auto at = static_cast<std::size_t>(n * image + i);
            double value = expected.values[at];
            if (args.bias != nullptr)
              value += bias[static_cast<std::size_t>(i / (s.out_h * s.out_w))];
            if (args.add != nullptr) value += add[at];
            ASSERT_NEAR(got, std::clamp<double>(value, args.min, args.max),
                        sum_tolerance(expected.magnitudes[at] + 1))
                << "image " << n << " at " << i;
          }
        }
      }
    });
    if (HasFatalFailure()) return;
  }
}

TEST(ConvF32, AddMayBeTheOutputItself) {
  for (const ConvShape& s : kShapes) {
    SCOPED_TRACE(to_string(s));
    const std::int64_t size = s.batch * s.out_c * s.out_h * s.out_w;
    const std::vector<float> x = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1),
                             before = random_floats(size, 4);
    const std::vector<float> weights =
        random_floats(s.out_c * (s.in_c / s.groups) * s.k_h * s.k_w, 2);
    const Expected expected = reference(s, x, weights);
    for_each_target([&] {
      AlignedFloats packed(packed_weights_bytes(s)), scratch(scratch_bytes(s));
      pack_weights(s, weights.data(), packed.data(), test_pool());
      std::vector<float> y = before;
      ConvArgs args{x.data(), packed.data()};
      args.add = args.y = y.data();
      conv(s, args, scratch.data(), test_pool());
      for (std::size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], expected.values[i] + before[i], sum_tolerance(expected.magnitudes[i] + 1))
            << "at " << i;
      }
    });
  }
}

}  // namespace
}  // namespace mezzo::kernels
