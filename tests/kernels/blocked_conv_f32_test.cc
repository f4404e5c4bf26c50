// Convolutions of images in blocks, direct ones and by tiles of bfloat16: shapes, epilogues and
// stages.
#include "kernels/blocked_conv_test.h"
#include "kernels/conv_bf16x3.h"

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
    // So many output channels that the pixels between the steps are left out first.
    make_shape(2, 16, {9, 11}, 264, {1, 1}, {2, 2}),
    make_shape(1, 8, {10, 12}, 256, {1, 1}, {3, 2}),
    make_shape(1, 24, {1, 7}, 256, {1, 1}, {1, 2}),
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
    // Taps that lie apart, and may all lie outside.
    make_shape(2, 16, {14, 13}, 40, {3, 3}, {1, 1}, {12, 12, 12, 12}, {12, 12}),
    make_shape(1, 16, {14, 30}, 24, {3, 3}, {1, 1}, {24, 24, 24, 24}, {24, 24}),
    make_shape(1, 264, {9, 12}, 24, {3, 3}, {1, 1}, {6, 7, 6, 7}, {6, 7}),
    make_shape(1, 8, {20, 31}, 16, {3, 2}, {2, 2}, {9, 12, 8, 13}, {6, 6}),
    make_shape(1, 8, {5, 5}, 8, {1, 2}, {1, 1}, {7, 8, 9, 10}, {1, 9}),
    make_shape(1, 32, {17, 15}, 32, {3, 3}, {1, 1}, {8, 8, 8, 8}, {8, 8}, 2),
    make_shape(1, 16, {30, 5}, 16, {3, 1}, {1, 1}, {-2, 0, 3, 1}, {7, 1}),
    // Images that are padded two at a time.
    make_shape(5, 56, {65, 67}, 8, {3, 3}, {2, 2}, {1, 1, 1, 1}),
    // A plain x.
    make_shape(2, 3, {32, 33}, 16, {3, 3}, {2, 2}, {1, 1, 1, 1}),
    make_shape(1, 3, {40, 75}, 64, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(1, 1, {9, 9}, 8, {3, 3}),
    make_shape(1, 20, {7, 7}, 24, {1, 1}),
    // Groups of channels.
    make_shape(2, 48, {17, 19}, 48, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 6),
    make_shape(1, 48, {9, 9}, 72, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, 3),
    make_shape(3, 32, {6, 7}, 64, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2),
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
    make_shape(2, 16, {7, 7}, 16, {7, 7}, {1, 1}, {3, 3, 3, 3}, {1, 1}, 16),
    make_shape(1, 8, {14, 33}, 8, {7, 7}, {1, 1}, {3, 4, 3, 5}, {1, 1}, 8),
    make_shape(1, 8, {9, 56}, 8, {3, 7}, {1, 1}, {1, 3, 1, 3}, {1, 1}, 8),
    make_shape(1, 8, {12, 25}, 8, {7, 7}, {2, 2}, {3, 3, 3, 3}, {1, 1}, 8),
    make_shape(1, 8, {2, 3}, 8, {7, 7}, {1, 1}, {3, 3, 3, 3}, {1, 1}, 8),
};

void convolve_blocked(const ConvShape& s, const std::vector<float>& weights, ConvArgs args,
                      ThreadPool& pool) {
  ASSERT_TRUE(blocked_conv_applies(s));
  AlignedFloats packed(blocked_weights_bytes(s)), scratch(blocked_scratch_bytes(s));
  pack_blocked_weights(s, weights.data(), packed.data(), pool);
  args.packed_weights = packed.data();
  blocked_conv(s, args, scratch.data(), pool);
}

TEST(BlockedF32, EveryShapeAndEpilogue) { check(kShapes, false, convolve_blocked); }

void convolve_bf16x3(const ConvShape& s, const std::vector<float>& weights, ConvArgs args,
                     ThreadPool& pool) {
  ASSERT_TRUE(conv_bf16x3_applies(s));
  AlignedFloats packed(conv_bf16x3_weights_bytes(s));
  pack_conv_bf16x3_weights(s, weights.data(), packed.data(), pool);
  args.packed_weights = packed.data();
  conv_bf16x3(s, args, pool);
}

// Without tiles of the CPU, by those of C++.
TEST(BlockedF32, Bf16x3) {
  std::vector<ConvShape> shapes;
  for (const ConvShape& s : kShapes) {
    const std::int64_t work = s.batch * s.out_c * s.out_h * s.out_w * s.in_c * s.k_h * s.k_w;
    if (conv_bf16x3_applies(s) && work < 1000000) shapes.push_back(s);
  }
  EXPECT_GT(shapes.size(), 10u);
  // Blocks of positions that are whole, and half; images that end inside them; several chunks.
  shapes.push_back(make_shape(1, 32, {8, 8}, 32, {1, 1}));
  shapes.push_back(make_shape(3, 64, {4, 4}, 40, {1, 1}));
  shapes.push_back(make_shape(7, 40, {9, 9}, 16, {3, 3}, {2, 2}, {1, 1, 1, 1}));
  shapes.push_back(make_shape(2, 32, {60, 45}, 8, {2, 2}, {2, 2}));
  check(shapes, false, convolve_bf16x3);
}

TEST(BlockedF32, TheThreadsDoNotShowInTheResult) {
  const ConvShape shapes[] = {make_shape(1, 64, {33, 33}, 40, {1, 1}),
                              make_shape(2, 16, {15, 15}, 32, {3, 3}, {2, 2}, {1, 1, 1, 1})};
  check_threads(shapes, convolve_blocked);
  check_threads(shapes, convolve_bf16x3);
}

// Channels of equal weights are equal to the last bit, whichever blocks and vectors they are in.
TEST(BlockedF32, EqualWeightsGiveEqualOutputs) {
  const ConvShape s = make_shape(1, 520, {9, 7}, 40, {1, 1});
  const std::vector<float> x = random_floats(s.in_c * s.in_h * s.in_w, 1),
                           row = random_floats(s.in_c, 2);
  std::vector<float> weights;
  for (std::int64_t c = 0; c < s.out_c; ++c) weights.insert(weights.end(), row.begin(), row.end());
  const std::int64_t pixels = s.out_h * s.out_w;
  std::vector<float> y(static_cast<std::size_t>(s.out_c * pixels));
  for_each_target([&] {
    convolve_blocked(s, weights, {.x = x.data(), .y = y.data()}, test_pool());
    for (std::size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(y[i], y[i / 8 % static_cast<std::size_t>(pixels) * 8]) << i;
  });
}

// Outputs come in tiles of every width, those at the ends of a row and inside, and by pairs that
// may begin at either pixel of a vector.
TEST(BlockedF32, DepthwiseRowsOfEveryLength) {
  std::vector<ConvShape> shapes;
  for (const std::int64_t window : {3, 5, 7}) {
    for (const std::int64_t stride : {1, 2}) {
      for (const std::int64_t pad : {std::int64_t{0}, std::int64_t{1}, window / 2}) {
        for (std::int64_t width = 1; width <= 37; ++width) {
          const std::int64_t height = window + 2 + width % 4;
          if (width + 2 * pad < window) continue;
          shapes.push_back(make_shape(1, 8, {height, width}, 8, {window, window}, {stride, stride},
                                      {pad, pad, pad, pad}, {1, 1}, 8));
        }
      }
    }
  }
  check(shapes, false, convolve_blocked);
}

TEST(BlockedF32, Stages) {
  const ConvShape shapes[] = {
      // Rows of whole lines, of whole lines that collide, of others; small images and large ones.
      make_shape(1, 8, {28, 28}, 40, {1, 1}),
      make_shape(2, 16, {32, 48}, 24, {1, 1}),
      make_shape(1, 8, {48, 48}, 8, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 8),
      make_shape(1, 16, {37, 31}, 32, {1, 1}),
      make_shape(3, 208, {7, 7}, 40, {1, 1}),
      make_shape(2, 16, {33, 35}, 24, {3, 3}, {2, 2}, {1, 1, 1, 1}),
      make_shape(2, 24, {19, 23}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 24),
      make_shape(1, 8, {64, 90}, 16, {1, 1}),
      // Images that are cut where rows are no whole lines, and steps of 2.
      make_shape(1, 64, {65, 65}, 8, {1, 1}),
      make_shape(2, 128, {57, 57}, 16, {1, 1}, {2, 2}),
      make_shape(1, 128, {64, 64}, 16, {1, 1}, {2, 2}),
      // One long row.
      make_shape(2, 16, {1, 1111}, 24, {1, 7}),
      make_shape(3, 40, {1, 2192}, 72, {1, 3}, {1, 2}, {0, 1, 0, 1}),
  };
  check_stages(shapes, convolve_blocked);
  check_stages(std::span(kShapes).first(7), convolve_bf16x3);
  check_stages(std::span(kShapes).subspan(12, 4), convolve_bf16x3);
}

TEST(BlockedF32, RefusesWhatItDoesNotTake) {
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 8, {9, 9}, 12, {1, 1})));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 8, {9, 9}, 8, {1, 1}, {1, 3})));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 16, {9, 9}, 32, {1, 1}, {1, 1}, {}, {1, 1}, 16)));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 16, {9, 9}, 16, {1, 1}, {1, 1}, {}, {1, 1}, 4)));
}

}  // namespace
}  // namespace mezzo::kernels
