// What the estimates of Winograd's convolutions count: tiles, points, and the work of direct sums.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/shape.h"
#include "kernels/conv_f32.h"
#include "kernels/winograd_f32.h"

namespace mezzo::kernels {

/// Packed weights of a channel of x and one of y.
inline std::int64_t weights_of_pair(const WinogradTiles& tiles) {
  return tiles.ahead ? (tiles.rows + 2) * (tiles.rows + 2) : 9;
}

/// Images of the whole batch.
inline std::int64_t images_of(const ConvShape& s) { return std::max(s.batch, s.whole_batch); }

/// Multiply-adds of the convolution by direct sums, of the whole batch.
inline double direct_work(const ConvShape& s) {
  double product = 1;
  for (const std::int64_t extent :
       {images_of(s), s.out_h, s.out_w, s.k_h, s.k_w, s.in_c / s.groups, s.out_c})
    product *= static_cast<double>(extent);
  return product;
}

/// Tiles of so many outputs along an axis, those of all phases of its dilation.
inline std::int64_t tiles_along(std::int64_t out, std::int64_t dilation,
                                std::int64_t tile = kWinogradRows) {
  return ceil_div(ceil_div(out, dilation), tile) * dilation;
}

/// Tiles of an image, not of a band of its rows.
inline std::int64_t tiles_of_image(const ConvShape& s) {
  return tiles_along(s.stage_rows != 0 ? s.stage_rows : s.out_h, s.dilation_h) *
         tiles_along(s.out_w, s.dilation_w);
}

/// Points of all of them. `ragged`: last tiles are no larger than what the image has left.
inline std::int64_t points_along(std::int64_t out, std::int64_t dilation, bool ragged,
                                 std::int64_t tile = kWinogradRows) {
  const std::int64_t tiles = tiles_along(out, dilation, tile);
  return (ragged && dilation == 1 ? out : tile * tiles) + 2 * tiles;
}

}  // namespace mezzo::kernels
