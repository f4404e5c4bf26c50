// What the operators of images in blocks share.
#pragma once

#include <cstdint>
#include <optional>

#include "base/shape.h"
#include "kernels/blocked_f32.h"
#include "ops/op.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {

inline constexpr std::int64_t kBlock = kernels::kBlockChannels;

/// [N, C, H, W] of a tensor in blocks. Throws Error(invalid_model) where it is none.
inline Shape plain_shape(const Shape& blocked) {
  if (blocked.size() != 5 || blocked[4] != kBlock) {
    throw invalid("the input is not in blocks")
        .expected("[N, C / 8, H, W, 8]")
        .got(to_string(blocked));
  }
  return {blocked[0], checked_mul(blocked[1], kBlock), blocked[2], blocked[3]};
}

/// [N, C, L] of an image of one row, [N, C, 1, L].
inline Shape without_rows(const Shape& image) { return {image[0], image[1], image[3]}; }

/// The shape of a tensor in blocks as an operator of so many spatial axes sees it: one with one
/// axis sees an image of one row as [N, C, L]. Throws Error(invalid_model) as well where it has
/// more.
inline Shape plain_shape(const Shape& blocked, std::int64_t axes) {
  const Shape image = plain_shape(blocked);
  if (axes != 1) return image;
  if (image[2] != 1) throw invalid("an image of one row is expected").got(to_string(image));
  return without_rows(image);
}

/// The rows that windows see. Nothing for images of one column, which kernels take as those of one
/// row.
inline std::optional<RowWindow> row_window(const Windows& windows) {
  if (windows.size() != 2 || windows[1].in == 1) return std::nullopt;
  const WindowAxis& rows = windows[0];
  return RowWindow{rows.in, rows.out, rows.extent(), rows.stride, rows.pad_begin};
}

/// The rows that an operator sees which leaves the height as it is.
inline std::optional<RowWindow> rows_of_image(const Op& op) {
  const std::int64_t rows = plain_shape(op.in_shape(0))[2];
  return RowWindow{rows, rows};
}

/// The shape of what `op` is to compute: `whole`, or that of a band of rows.
template <class WindowShape>
WindowShape banded_shape(const Op& op, WindowShape whole) {
  if (!op.band()) return whole;
  const Band& band = *op.band();
  whole.pad_top += band.in_begin - band.begin * whole.stride_h;
  whole.in_h = band.in_end - band.in_begin;
  whole.out_h = band.end - band.begin;
  whole.x_rows = band.in_rows;
  whole.y_rows = band.out_rows;
  return whole;
}

}  // namespace mezzo::ops
