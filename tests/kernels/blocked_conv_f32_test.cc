// Convolutions of images in blocks, by every algorithm: shapes, epilogues and stages.
#include <algorithm>
#include <functional>
#include <span>

#include "kernels/blocked_f32.h"
#include "kernels/conv_bf16x3.h"
#include "kernels/conv_test.h"
#include "kernels/phased_winograd_f32.h"
#include "kernels/winograd_f32.h"

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

using Convolution =
    std::function<void(const ConvShape& s, const std::vector<float>& weights, const ConvArgs&)>;

// Holds a convolution with every epilogue against the sums in double.
void check(std::span<const ConvShape> shapes, bool winograd, const Convolution& convolve) {
  for (const ConvShape& s : shapes) {
    SCOPED_TRACE(to_string(s));
    const std::int64_t pixels = s.out_h * s.out_w, image = s.out_c * pixels;
    const std::vector<float> plain = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1);
    const std::vector<float> weights =
        random_floats(s.out_c * (s.in_c / s.groups) * s.k_h * s.k_w, 2);
    const std::vector<float> bias = random_floats(s.out_c, 3),
                             add = random_floats(s.batch * image, 4);
    const Expected expected = reference(s, plain, weights);
    const double spread_tolerance = winograd_tolerance(expected);
    const std::vector<float> x = blocked_conv_takes_blocked(s)
                                     ? blocked(s.batch, s.in_c, s.in_h * s.in_w, plain)
                                     : plain,
                             add_blocked = blocked(s.batch, s.out_c, pixels, add);
    for_each_target([&] {
      for (int parts = 0; parts < 32; ++parts) {
        SCOPED_TRACE("epilogue " + std::to_string(parts));
        const bool gap = (parts & 8) != 0, in_place = (parts & 16) != 0 && !gap;
        const std::int64_t stride = image + (gap ? 3 : 0);
        std::vector<float> y(static_cast<std::size_t>(s.batch * stride), kUntouched);
        if (in_place) y = add_blocked;
        ConvArgs args{x.data()};
        args.y = y.data();
        args.y_batch_stride = gap ? stride : 0;
        if ((parts & 1) != 0) args.bias = bias.data();
        if ((parts & 2) != 0) args.add = in_place ? y.data() : add_blocked.data();
        if ((parts & 4) != 0) {
          args.min = -0.5f;
          args.max = 0.25f;
        }
        convolve(s, weights, args);
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
                        winograd ? spread_tolerance : sum_tolerance(expected.magnitudes[at] + 1))
                << "image " << n << ", channel " << channel << ", pixel " << pixel;
          }
        }
      }
    });
    if (testing::Test::HasFatalFailure()) return;
  }
}

void convolve_blocked(const ConvShape& s, const std::vector<float>& weights, ConvArgs args) {
  ASSERT_TRUE(blocked_conv_applies(s));
  AlignedFloats packed(blocked_weights_bytes(s)), scratch(blocked_scratch_bytes(s));
  pack_blocked_weights(s, weights.data(), packed.data(), test_pool());
  args.packed_weights = packed.data();
  blocked_conv(s, args, scratch.data(), test_pool());
}

TEST(BlockedF32, EveryShapeAndEpilogue) { check(kShapes, false, convolve_blocked); }

void convolve_bf16x3(const ConvShape& s, const std::vector<float>& weights, ConvArgs args) {
  ASSERT_TRUE(conv_bf16x3_applies(s));
  AlignedFloats packed(conv_bf16x3_weights_bytes(s));
  pack_conv_bf16x3_weights(s, weights.data(), packed.data(), test_pool());
  args.packed_weights = packed.data();
  conv_bf16x3(s, args, test_pool());
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
    convolve_blocked(s, weights, {.x = x.data(), .y = y.data()});
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

const ConvShape kWinogradShapes[] = {
    // Whole tiles; tiles cut in each direction; panels of one, two and three blocks.
    make_shape(1, 16, {16, 16}, 32, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 8, {13, 14}, 40, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(2, 24, {15, 17}, 64, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 8, {9, 150}, 8, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    // One tile, of one result; paddings of all kinds.
    make_shape(1, 8, {3, 3}, 8, {3, 3}),
    make_shape(1, 8, {12, 13}, 16, {3, 3}, {1, 1}, {2, 0, 1, 3}),
    make_shape(1, 8, {2, 2}, 8, {3, 3}, {1, 1}, {9, 8, 7, 10}),
    make_shape(1, 8, {16, 19}, 8, {3, 3}, {1, 1}, {-2, -3, 1, -1}),
    // Several blocks of tiles, several chunks of channels; batches.
    make_shape(1, 296, {41, 41}, 72, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 8, {60, 61}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 800, {8, 8}, 40, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(5, 40, {7, 7}, 40, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    // Few tiles: five to nine of them.
    make_shape(1, 16, {3, 17}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 32, {8, 12}, 16, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 40, {4, 27}, 40, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(2, 56, {7, 7}, 72, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(1, 48, {12, 12}, 56, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    // Dilations: phases that are alike, that differ, that are empty; paddings of any phase.
    make_shape(1, 16, {16, 16}, 32, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}),
    make_shape(2, 24, {13, 18}, 40, {3, 3}, {1, 1}, {3, 3, 3, 3}, {3, 3}),
    make_shape(1, 8, {21, 30}, 8, {3, 3}, {1, 1}, {1, 0, 3, 2}, {2, 5}),
    make_shape(1, 8, {9, 11}, 8, {3, 3}, {1, 1}, {12, 12, 12, 12}, {12, 12}),
    make_shape(1, 104, {33, 33}, 72, {3, 3}, {1, 1}, {4, 4, 4, 4}, {4, 4}),
    // Groups, of one block and of several panels; with dilations.
    make_shape(2, 16, {13, 14}, 32, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 2),
    make_shape(1, 72, {9, 9}, 144, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3),
    make_shape(3, 80, {15, 7}, 80, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}, 10),
};

void convolve_by_winograd(const ConvShape& s, const std::vector<float>& weights, ConvArgs args,
                          ThreadPool& pool) {
  AlignedFloats packed(winograd_weights_bytes(s));
  pack_winograd_weights(s, weights.data(), packed.data(), pool);
  args.packed_weights = packed.data();
  blocked_winograd_conv(s, args, pool);
}

void convolve_winograd(const ConvShape& s, const std::vector<float>& weights,
                       const ConvArgs& args) {
  convolve_by_winograd(s, weights, args, test_pool());
}

TEST(BlockedF32, Winograd) { check(kWinogradShapes, true, convolve_winograd); }

// Images that leave each number of rows and of columns to their last tiles.
std::vector<ConvShape> ragged_shapes() {
  std::vector<ConvShape> shapes;
  for (std::int64_t h = 9; h <= 12; ++h) {
    for (std::int64_t w = 5; w <= 8; ++w)
      shapes.push_back(make_shape(2, 16, {h, w}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}));
  }
  return shapes;
}

TEST(BlockedF32, WinogradOfRaggedTiles) { check(ragged_shapes(), true, convolve_winograd); }

TEST(BlockedF32, TheThreadsDoNotShowInWinograd) {
  std::vector<ConvShape> shapes = ragged_shapes();
  shapes.push_back(make_shape(1, 296, {41, 41}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}));
  for (const ConvShape& s : shapes) {
    SCOPED_TRACE(to_string(s));
    const std::vector<float> x = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1);
    const std::vector<float> weights = random_floats(s.out_c * s.in_c * 9, 2);
    for_each_target([&] {
      std::vector<float> first;
      for (const int threads : {1, 2, 3, 8, 40}) {
        ThreadPool pool(threads);
        std::vector<float> y(static_cast<std::size_t>(s.batch * s.out_c * s.out_h * s.out_w));
        ConvArgs args{x.data()};
        args.y = y.data();
        convolve_by_winograd(s, weights, args, pool);
        if (first.empty()) first = y;
        ASSERT_EQ(y, first) << threads << " threads";
      }
    });
  }
}

const ConvShape kPhasedShapes[] = {
    // Rows of tiles that are whole, and not; blocks that fill a vector, and not; every number of
    // channels; the first layer of ResNets.
    make_shape(1, 3, {24, 24}, 16, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(2, 3, {31, 45}, 24, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(1, 1, {40, 17}, 8, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(1, 2, {9, 8}, 32, {7, 7}, {2, 2}, {0, 1, 0, 0}),
    make_shape(3, 4, {18, 26}, 40, {8, 8}, {2, 2}, {3, 3, 3, 3}),
    make_shape(1, 3, {20, 33}, 16, {8, 7}, {2, 2}, {2, 4, 3, 1}),
    make_shape(1, 3, {64, 64}, 64, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    // More tiles in a row than are taken at a time; images smaller than the window; crops.
    make_shape(1, 3, {11, 300}, 16, {7, 7}, {2, 2}, {3, 3, 3, 3}),
    make_shape(2, 1, {7, 589}, 8, {7, 8}, {2, 2}, {3, 3, 2, 4}),
    make_shape(1, 3, {1, 2}, 8, {7, 7}, {2, 2}, {3, 6, 4, 3}),
    make_shape(1, 3, {3, 40}, 8, {7, 7}, {2, 2}, {16, 3, 18, 3}),
    make_shape(1, 3, {25, 29}, 16, {7, 7}, {2, 2}, {-2, -3, -1, -4}),
};

void convolve_by_phases(const ConvShape& s, const std::vector<float>& weights, ConvArgs args) {
  ASSERT_TRUE(phased_winograd_applies(s));
  AlignedFloats packed(phased_winograd_weights_bytes(s));
  pack_phased_winograd_weights(s, weights.data(), packed.data(), test_pool());
  args.packed_weights = packed.data();
  phased_winograd_conv(s, args, test_pool());
}

TEST(BlockedF32, WinogradByPhases) { check(kPhasedShapes, true, convolve_by_phases); }

// Whatever is asked for of the stages behind a convolution, against arithmetic on its result.
template <class Convolve>
void check_stages(std::span<const ConvShape> shapes, const Convolve& convolve) {
  for (const ConvShape& s : shapes) {
    SCOPED_TRACE(to_string(s));
    const std::int64_t pixels = s.out_h * s.out_w, size = s.batch * s.out_c * pixels;
    const std::vector<float> plain = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1);
    const std::vector<float> weights =
        random_floats(s.out_c * (s.in_c / s.groups) * s.k_h * s.k_w, 2);
    const std::vector<float> bias = random_floats(s.out_c, 3), add = random_floats(size, 4),
                             scale = random_floats(s.out_c, 5), shift = random_floats(s.out_c, 6),
                             unscale = random_floats(s.out_c, 7);
    const Expected expected = reference(s, plain, weights);
    const double tolerance = 2 * winograd_tolerance(expected);
    const std::vector<float> x = blocked_conv_takes_blocked(s)
                                     ? blocked(s.batch, s.in_c, s.in_h * s.in_w, plain)
                                     : plain,
                             add_blocked = blocked(s.batch, s.out_c, pixels, add);
    for_each_target([&] {
      // Bits: shift, add, the four outputs, then scale and unscale.
      for (const int parts : {0b11111111, 0b10111101, 0b111110, 0b01000001, 0b000100, 0b100000,
                              0b01011011, 0b10100111, 0b000111}) {
        SCOPED_TRACE("parts " + std::to_string(parts));
        const auto has = [&](int bit) { return (parts >> bit & 1) != 0; };
        const std::size_t room = static_cast<std::size_t>(size) * sizeof(float) + 64;
        AlignedFloats outputs[] = {AlignedFloats(room), AlignedFloats(room), AlignedFloats(room),
                                   AlignedFloats(room)};
        float* at[4] = {};
        for (int i = 0; i < 4; ++i) {
          // One begins amid a line.
          if (has(i + 2)) at[i] = outputs[i].data() + (i == 1 ? 4 : 0);
          if (at[i] != nullptr) at[i][size] = kUntouched;
        }
        std::vector<float> y(static_cast<std::size_t>(size), kUntouched);
        ConvArgs args{x.data()};
        args.y = y.data();
        args.bias = bias.data();
        args.min = -0.5f;
        args.max = 0.75f;
        if (has(1)) args.add = add_blocked.data();
        args.stages = {has(6) ? scale.data() : nullptr,
                       has(7) ? unscale.data() : nullptr,
                       has(0) ? shift.data() : nullptr,
                       at[0],
                       has(0) ? at[1] : nullptr,
                       has(1) ? at[2] : nullptr,
                       at[3]};
        convolve(s, weights, args);
        for (std::int64_t i = 0; i < size; ++i) {
          const std::int64_t channel = i / pixels % s.out_c, pixel = i % pixels;
          const auto c = static_cast<std::size_t>(channel);
          const auto near = [&](const float* got, double value) {
            if (got == nullptr) return;
            ASSERT_NEAR(got[i], value, tolerance) << "element " << i;
          };
          const double sum = expected.values[static_cast<std::size_t>(i)];
          near(args.stages.conv, sum * (has(7) ? unscale[c] : 1) + bias[c]);
          double value = sum + bias[c];
          if (has(0)) value = sum * (has(6) ? scale[c] : 1) + shift[c];
          near(args.stages.scaled, value);
          if (has(1)) value += add[static_cast<std::size_t>(i)];
          near(args.stages.sum, value);
          value = std::clamp<double>(value, args.min, args.max);
          near(args.stages.result, value);
          const std::int64_t block = i / pixels / 8;
          ASSERT_NEAR(y[static_cast<std::size_t>((block * pixels + pixel) * 8 + channel % 8)],
                      value, tolerance);
        }
        for (const float* output : at) {
          if (output != nullptr) {
            ASSERT_EQ(output[size], kUntouched);
          }
        }
      }
    });
    if (testing::Test::HasFatalFailure()) return;
  }
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
  check_stages(shapes, [](const ConvShape& s, const std::vector<float>& weights, ConvArgs args) {
    AlignedFloats packed(blocked_weights_bytes(s)), scratch(blocked_scratch_bytes(s));
    pack_blocked_weights(s, weights.data(), packed.data(), test_pool());
    args.packed_weights = packed.data();
    blocked_conv(s, args, scratch.data(), test_pool());
  });
  check_stages(std::span(kWinogradShapes).first(4), convolve_winograd);
  check_stages(std::span(kShapes).first(7), convolve_bf16x3);
  check_stages(std::span(kShapes).subspan(12, 4), convolve_bf16x3);
  check_stages(std::span(kWinogradShapes).last(3), convolve_winograd);
  check_stages(std::span(kPhasedShapes).first(7), convolve_by_phases);
}

TEST(BlockedF32, RefusesWhatItDoesNotTake) {
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 8, {9, 9}, 12, {1, 1})));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 8, {9, 9}, 8, {1, 1}, {1, 3})));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 16, {9, 9}, 32, {1, 1}, {1, 1}, {}, {1, 1}, 16)));
  EXPECT_FALSE(blocked_conv_applies(make_shape(1, 16, {9, 9}, 16, {1, 1}, {1, 1}, {}, {1, 1}, 4)));
}

}  // namespace
}  // namespace mezzo::kernels
