// Winograd's convolutions of images in blocks: of 3x3, of first layers, and along one axis.
#include "kernels/axis_winograd_f32.h"
#include "kernels/blocked_conv_test.h"
#include "kernels/phased_winograd_f32.h"
#include "kernels/winograd_f32.h"

namespace mezzo::kernels {
namespace {

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
    make_shape(1, 16, {4, 5}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}),
    make_shape(3, 16, {6, 7}, 16, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 2),
    make_shape(1, 24, {6, 5}, 16, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}),
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

void convolve_winograd(const ConvShape& s, const std::vector<float>& weights, ConvArgs args,
                       ThreadPool& pool) {
  AlignedFloats packed(blocked_winograd_weights_bytes(s));
  pack_blocked_winograd_weights(s, weights.data(), packed.data(), pool);
  args.packed_weights = packed.data();
  blocked_winograd_conv(s, args, pool);
}

TEST(BlockedWinogradF32, EveryShapeAndEpilogue) { check(kWinogradShapes, true, convolve_winograd); }

// Images that leave each number of rows and of columns to their last tiles.
std::vector<ConvShape> ragged_shapes() {
  std::vector<ConvShape> shapes;
  for (std::int64_t h = 9; h <= 12; ++h) {
    for (std::int64_t w = 5; w <= 8; ++w)
      shapes.push_back(make_shape(2, 16, {h, w}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}));
  }
  return shapes;
}

TEST(BlockedWinogradF32, RaggedTiles) { check(ragged_shapes(), true, convolve_winograd); }

// One copy serves all plans.
TEST(BlockedWinogradF32, PackedWeightsAreThoseOfAnImage) {
  const ConvShape image = make_shape(1, 16, {14, 14}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1});
  ConvShape images = image, band = image;
  images.batch = 8;
  band.in_h = 9;
  band.out_h = 8;
  band.x_rows = band.y_rows = band.stage_rows = 14;
  for_each_target([&] {
    for (const ConvShape& s : {images, band}) {
      EXPECT_EQ(blocked_winograd_tiles(s).ahead, blocked_winograd_tiles(image).ahead);
      EXPECT_EQ(blocked_winograd_weights_bytes(s), blocked_winograd_weights_bytes(image));
    }
  });
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

void convolve_by_phases(const ConvShape& s, const std::vector<float>& weights, ConvArgs args,
                        ThreadPool& pool) {
  ASSERT_TRUE(phased_winograd_applies(s));
  AlignedFloats packed(phased_winograd_weights_bytes(s));
  pack_phased_winograd_weights(s, weights.data(), packed.data(), pool);
  args.packed_weights = packed.data();
  phased_winograd_conv(s, args, pool);
}

TEST(BlockedWinogradF32, Phases) { check(kPhasedShapes, true, convolve_by_phases); }

const ConvShape kAxisShapes[] = {
    // Windows of one part and of several, whose last has one tap, two or three.
    make_shape(1, 8, {1, 40}, 8, {1, 3}, {1, 1}, {0, 1, 0, 1}),
    make_shape(2, 16, {1, 33}, 24, {1, 4}, {1, 1}, {0, 1, 0, 2}),
    make_shape(1, 24, {1, 50}, 40, {1, 5}, {1, 1}, {0, 2, 0, 2}),
    make_shape(1, 16, {5, 21}, 32, {1, 7}, {1, 1}, {0, 3, 0, 3}),
    make_shape(2, 8, {3, 30}, 56, {1, 11}, {1, 1}, {0, 5, 0, 5}),
    // Down the columns; rows and columns of one tile, cut.
    make_shape(1, 8, {40, 1}, 8, {3, 1}, {1, 1}, {1, 0, 1, 0}),
    make_shape(2, 16, {17, 17}, 32, {7, 1}, {1, 1}, {3, 0, 3, 0}),
    make_shape(1, 40, {8, 9}, 48, {3, 1}, {1, 1}, {1, 0, 1, 0}),
    make_shape(1, 8, {3, 7}, 8, {3, 1}),
    make_shape(1, 8, {1, 3}, 16, {1, 3}),
    // Paddings: none, unequal, wider than the image, negative (a crop).
    make_shape(1, 16, {4, 19}, 16, {1, 5}),
    make_shape(1, 8, {12, 6}, 16, {5, 1}, {1, 1}, {4, 0, 1, 0}),
    make_shape(1, 8, {2, 3}, 8, {1, 3}, {1, 1}, {0, 11, 0, 9}),
    make_shape(1, 8, {19, 5}, 8, {3, 1}, {1, 1}, {-3, 0, -2, 0}),
    // Dilations: phases that are alike, that differ, that are empty.
    make_shape(1, 16, {1, 64}, 32, {1, 3}, {1, 1}, {0, 2, 0, 2}, {1, 2}),
    make_shape(2, 24, {3, 50}, 24, {1, 7}, {1, 1}, {0, 9, 0, 9}, {1, 3}),
    make_shape(1, 8, {29, 6}, 16, {5, 1}, {1, 1}, {6, 0, 2, 0}, {4, 1}),
    make_shape(1, 8, {1, 5}, 8, {1, 3}, {1, 1}, {0, 12, 0, 12}, {1, 12}),
    // Several blocks of tiles, several chunks of channels.
    make_shape(1, 16, {1, 3000}, 24, {1, 3}, {1, 1}, {0, 1, 0, 1}),
    make_shape(1, 304, {6, 20}, 72, {1, 5}, {1, 1}, {0, 2, 0, 2}),
    make_shape(1, 800, {60, 8}, 40, {3, 1}, {1, 1}, {1, 0, 1, 0}),
};

void convolve_along_axis(const ConvShape& s, const std::vector<float>& weights, ConvArgs args,
                         ThreadPool& pool) {
  ASSERT_TRUE(axis_winograd_applies(s));
  AlignedFloats packed(axis_winograd_weights_bytes(s));
  pack_axis_winograd_weights(s, weights.data(), packed.data(), pool);
  args.packed_weights = packed.data();
  axis_winograd_conv(s, args, pool);
}

TEST(BlockedWinogradF32, OneAxis) { check(kAxisShapes, true, convolve_along_axis); }

TEST(BlockedWinogradF32, TheThreadsDoNotShow) {
  std::vector<ConvShape> shapes = ragged_shapes();
  for (const ConvShape& s : {make_shape(1, 296, {41, 41}, 24, {3, 3}, {1, 1}, {1, 1, 1, 1}),
                             make_shape(1, 48, {33, 33}, 32, {3, 3}, {1, 1}, {1, 1, 1, 1}),
                             make_shape(3, 24, {14, 14}, 104, {3, 3}, {1, 1}, {1, 1, 1, 1})})
    shapes.push_back(s);
  check_threads(shapes, convolve_winograd);
  const ConvShape phased[] = {make_shape(2, 3, {70, 61}, 24, {7, 7}, {2, 2}, {3, 3, 3, 3})};
  check_threads(phased, convolve_by_phases);
  check_threads(kAxisShapes, convolve_along_axis);
}

TEST(BlockedWinogradF32, PaysAlongAnAxisOfManyPixels) {
  EXPECT_TRUE(axis_winograd_pays(make_shape(1, 64, {1, 400}, 64, {1, 3})));
  EXPECT_TRUE(axis_winograd_pays(make_shape(1, 64, {17, 17}, 64, {7, 1}, {1, 1}, {3, 0, 3, 0})));
  EXPECT_FALSE(axis_winograd_pays(make_shape(1, 64, {1, 8}, 64, {1, 3})));
  EXPECT_FALSE(axis_winograd_pays(make_shape(1, 512, {1, 4000}, 64, {1, 101})));
}

TEST(BlockedWinogradF32, AppliesAlongOneAxisAlone) {
  EXPECT_FALSE(axis_winograd_applies(make_shape(1, 8, {9, 9}, 8, {3, 3})));
  EXPECT_FALSE(axis_winograd_applies(make_shape(1, 8, {9, 9}, 8, {1, 2})));
  EXPECT_FALSE(axis_winograd_applies(make_shape(1, 8, {9, 9}, 8, {1, 3}, {1, 2})));
  EXPECT_FALSE(axis_winograd_applies(make_shape(1, 8, {9, 9}, 8, {1, 3}, {2, 1})));
  EXPECT_FALSE(axis_winograd_applies(make_shape(1, 8, {9, 9}, 8, {1, 3}, {1, 1}, {1, 1, 1, 1})));
  EXPECT_FALSE(axis_winograd_applies(make_shape(1, 12, {9, 9}, 8, {1, 3})));
  EXPECT_FALSE(axis_winograd_applies(make_shape(1, 8, {9, 9}, 12, {1, 3})));
  EXPECT_FALSE(axis_winograd_applies(
      make_shape(1, 16, {9, 9}, 16, {1, 3}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2)));
}

TEST(BlockedWinogradF32, Stages) {
  check_stages(std::span(kWinogradShapes).first(4), convolve_winograd);
  check_stages(std::span(kWinogradShapes).last(3), convolve_winograd);
  check_stages(std::span(kPhasedShapes).first(7), convolve_by_phases);
  check_stages(std::span(kAxisShapes).first(7), convolve_along_axis);
}

}  // namespace
}  // namespace mezzo::kernels
