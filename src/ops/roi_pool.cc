// RoiAlign (ai.onnx 10, 16, 22) and MaxRoiPool (1, 22): regions of a feature map, resampled to one
// size. Papers: He et al., "Mask R-CNN", 2017; Girshick, "Fast R-CNN", 2015.
// RoiAlign-10 had no half-pixel shift; since 16 it is the default.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

std::int64_t positive(std::int64_t value, const char* attribute) {
  if (value < 1) {
    throw invalid("an output without extent")
        .at("attribute '" + std::string(attribute) + "'")
        .expected("a positive number")
        .got(std::to_string(value));
  }
  return value;
}

void check_rois(const Op& op, std::int64_t columns) {
  require_rank(op, 0, 4, 4);
  require_rank(op, 1, 2, 2);
  if (op.in_shape(1)[1] != columns) {
    throw invalid("regions have the wrong number of columns")
        .at("input 'rois'")
        .expected(std::to_string(columns))
        .got(to_string(op.in_shape(1)));
  }
}

std::int64_t checked_image(std::int64_t image, std::int64_t batch, std::int64_t roi) {
  if (image < 0 || image >= batch) {
    throw Error(ErrorCode::runtime, "a region lies in an image that does not exist")
        .at("region " + std::to_string(roi))
        .expected("0 to " + std::to_string(batch - 1))
        .got(std::to_string(image));
  }
  return image;
}

// Four elements of a plane and their shares in an interpolated value.
struct Sample {
  std::array<std::int64_t, 4> at;
  std::array<double, 4> weight;
};

Sample sample_at(double y, double x, std::int64_t height, std::int64_t width) {
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  if (!(y >= -1 && y <= h && x >= -1 && x <= w)) return {{0, 0, 0, 0}, {0, 0, 0, 0}};
  y = std::clamp(y, 0.0, h - 1);
  x = std::clamp(x, 0.0, w - 1);
  const auto y0 = static_cast<std::int64_t>(y), x0 = static_cast<std::int64_t>(x);
  const std::int64_t y1 = std::min(y0 + 1, height - 1), x1 = std::min(x0 + 1, width - 1);
  const double dy = y - static_cast<double>(y0), dx = x - static_cast<double>(x0);
  return {{y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1},
          {(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx}};
}

struct RoiAlign {
  std::int64_t height, width;  // of the output
  std::int64_t sampling_ratio;
  double scale, shift;
  bool half_pixel, maximum;
};

RoiAlign roi_align_of(const Op& op) {
  check_rois(op, 4);
  const Shape rois = {op.in_shape(1)[0]};
  if (op.in_shape(2) != rois) {
    throw invalid("there must be an image for each region")
        .at("input 'batch_indices'")
        .expected(to_string(rois))
        .got(to_string(op.in_shape(2)));
  }
  const std::string mode = op.attr_string("mode");
  if (mode != "avg" && mode != "max") {
    throw invalid("an unknown mode").at("attribute 'mode'").expected("avg or max").got(mode);
  }
  bool half_pixel = false;
  if (op.row().versions().front() >= 16) {
    const std::string coordinates = op.attr_string("coordinate_transformation_mode");
    half_pixel = coordinates == "half_pixel";
    if (!half_pixel && coordinates != "output_half_pixel") {
      throw invalid("an unknown mode")
          .at("attribute 'coordinate_transformation_mode'")
          .expected("half_pixel or output_half_pixel")
          .got(coordinates);
    }
  }
  return {positive(op.attr_int("output_height"), "output_height"),
          positive(op.attr_int("output_width"), "output_width"),
          op.attr_int("sampling_ratio"),
          static_cast<double>(op.attr_float("spatial_scale")),
          half_pixel ? 0.5 : 0.0,
          half_pixel,
          mode == "max"};
}

void infer_align(Op& op) {
  const RoiAlign align = roi_align_of(op);
  op.set_out(0, op.in(0).dtype, {op.in_shape(1)[0], op.in_shape(0)[1], align.height, align.width});
}

// Samples along one axis of a bin: adaptive where the attribute is 0.
std::int64_t samples_of(const RoiAlign& align, double extent, std::int64_t bins) {
  constexpr double kMost = 65536;  // a region beyond any image would otherwise hang the program
  const double count = align.sampling_ratio > 0 ? static_cast<double>(align.sampling_ratio)
                                                : std::ceil(extent / static_cast<double>(bins));
  if (!(count <= kMost)) {
    throw Error(ErrorCode::runtime, "a region is beyond all bounds")
        .expected("at most 65536 samples along an axis of a bin")
        .got(std::to_string(count));
  }
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(count));
}

// All samples of one region, bin by bin, and how many a bin has.
struct RoiSamples {
  std::int64_t per_bin = 0;
  std::vector<Sample> samples;
};

template <class T>
RoiSamples samples_of_roi(const RoiAlign& align, const T* roi, std::int64_t height,
                          std::int64_t width) {
  const auto corner = [&](int i) {
    return static_cast<double>(roi[i]) * align.scale - align.shift;
  };
  const double x = corner(0), y = corner(1);
  double roi_width = corner(2) - x, roi_height = corner(3) - y;
  if (!align.half_pixel) {
    roi_width = std::max(roi_width, 1.0);
    roi_height = std::max(roi_height, 1.0);
  }
  const std::int64_t rows = samples_of(align, roi_height, align.height);
  const std::int64_t columns = samples_of(align, roi_width, align.width);
  const double bin_height = roi_height / static_cast<double>(align.height);
  const double bin_width = roi_width / static_cast<double>(align.width);
  RoiSamples result;
  result.per_bin = rows * columns;
  for (std::int64_t bin = 0; bin < align.height * align.width; ++bin) {
    const auto bin_y = static_cast<double>(bin / align.width);
    const auto bin_x = static_cast<double>(bin % align.width);
    for (std::int64_t i = 0; i < result.per_bin; ++i) {
      const double dy = (static_cast<double>(i / columns) + 0.5) / static_cast<double>(rows);
      const double dx = (static_cast<double>(i % columns) + 0.5) / static_cast<double>(columns);
      result.samples.push_back(
          sample_at(y + (bin_y + dy) * bin_height, x + (bin_x + dx) * bin_width, height, width));
    }
  }
  return result;
}

template <class T>
double pooled(const RoiAlign& align, const Sample* samples, std::int64_t count, const T* plane) {
  double result = 0;
  for (std::int64_t s = 0; s < count; ++s) {
    double sum = 0, largest = -std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < 4; ++k) {
      const double part = samples[s].weight[k] * static_cast<double>(plane[samples[s].at[k]]);
      sum += part;
      largest = std::max(largest, part);
    }
    // The maximum is one of weighted elements, not of interpolated values: so it is defined by the
    // official tests.
    result = !align.maximum ? result + sum : s == 0 ? largest : std::max(result, largest);
  }
  return align.maximum || count == 0 ? result : result / static_cast<double>(count);
}

template <class T>
void align_run(const RoiAlign& align, Run& run) {
  const Shape& x = run.op().in_shape(0);
  const std::int64_t channels = x[1], plane = x[2] * x[3], bins = align.height * align.width;
  const std::int64_t rois = run.op().in_shape(1)[0];
  if (plane == 0) {
    std::fill_n(run.out<T>(0), rois * channels * bins, T{0});
    return;
  }
  run.pool().parallel_for(rois, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t image = checked_image(run.in<std::int64_t>(2)[r], x[0], r);
      const RoiSamples roi = samples_of_roi(align, run.in<T>(1) + r * 4, x[2], x[3]);
      for (std::int64_t c = 0; c < channels; ++c) {
        const T* from = run.in<T>(0) + (image * channels + c) * plane;
        T* to = run.out<T>(0) + (r * channels + c) * bins;
        for (std::int64_t bin = 0; bin < bins; ++bin) {
          to[bin] = static_cast<T>(
              pooled(align, roi.samples.data() + bin * roi.per_bin, roi.per_bin, from));
        }
      }
    }
  });
}

Choice align_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [align = roi_align_of(op)](Run& run) { align_run<T>(align, run); };
  });
  return choice;
}

struct MaxRoiPool {
  std::int64_t height, width;
  double scale;
};

MaxRoiPool max_roi_pool_of(const Op& op) {
  check_rois(op, 5);
  const auto shape = op.attr_ints("pooled_shape");
  if (shape.size() != 2) {
    throw invalid("the pooled shape must have two extents")
        .at("attribute 'pooled_shape'")
        .got(to_string(shape));
  }
  return {positive(shape[0], "pooled_shape"), positive(shape[1], "pooled_shape"),
          static_cast<double>(op.attr_float("spatial_scale"))};
}

void infer_max(Op& op) {
  const MaxRoiPool pool = max_roi_pool_of(op);
  op.set_out(0, op.in(0).dtype, {op.in_shape(1)[0], op.in_shape(0)[1], pool.height, pool.width});
}

// The pixels [begin, end) of an image axis that bin `bin` of a region covers.
std::array<std::int64_t, 2> bin_range(double first, double last, std::int64_t bin,
                                      std::int64_t bins, std::int64_t extent) {
  const double size = std::max(last - first + 1, 1.0) / static_cast<double>(bins);
  const auto limited = [&](double position) {
    return static_cast<std::int64_t>(std::clamp(position, 0.0, static_cast<double>(extent)));
  };
  return {limited(std::floor(static_cast<double>(bin) * size) + first),
          limited(std::ceil(static_cast<double>(bin + 1) * size) + first)};
}

template <class T>
void max_run(const MaxRoiPool& pool, Run& run) {
  const Shape& x = run.op().in_shape(0);
  const std::int64_t channels = x[1], plane = x[2] * x[3], bins = pool.height * pool.width;
  run.pool().parallel_for(run.op().in_shape(1)[0], 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::array<double, 5> roi;
      for (std::size_t i = 0; i < 5; ++i) {
        const auto value = static_cast<double>(run.in<T>(1)[r * 5 + static_cast<std::int64_t>(i)]);
        roi[i] = std::isnan(value) ? -1 : std::clamp(value, -1e15, 1e15);
        if (i > 0) roi[i] = std::round(roi[i] * pool.scale);
      }
      const std::int64_t image = checked_image(static_cast<std::int64_t>(roi[0]), x[0], r);
      for (std::int64_t at = 0; at < channels * bins; ++at) {
        const T* from = run.in<T>(0) + (image * channels + at / bins) * plane;
        const auto rows = bin_range(roi[2], roi[4], at % bins / pool.width, pool.height, x[2]);
        const auto columns = bin_range(roi[1], roi[3], at % pool.width, pool.width, x[3]);
        const bool is_empty = rows[0] >= rows[1] || columns[0] >= columns[1];
        T best = is_empty ? T{0} : from[rows[0] * x[3] + columns[0]];
        for (std::int64_t h = rows[0]; h < rows[1] && !is_empty; ++h) {
          for (std::int64_t w = columns[0]; w < columns[1]; ++w) {
            best = std::max(best, from[h * x[3] + w]);
          }
        }
        run.out<T>(0)[r * channels * bins + at] = best;
      }
    }
  });
}

Choice max_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [pool = max_roi_pool_of(op)](Run& run) { max_run<T>(pool, run); };
  });
  return choice;
}

Row& roi_align(Row& row, TypeSet types) {
  return row.attr("mode", "avg")
      .attr("output_height", 1)
      .attr("output_width", 1)
      .attr("sampling_ratio", 0)
      .attr("spatial_scale", 1.0F)
      .in("X", types)
      .in("rois", like(0))
      .in("batch_indices", DType::i64)
      .out("Y", like(0))
      .infer(infer_align)
      .kernel("reference", align_reference);
}

void max_roi_pool(Row& row, TypeSet types) {
  row.required("pooled_shape", Kind::ints)
      .attr("spatial_scale", 1.0F)
      .in("X", types)
      .in("rois", like(0))
      .out("Y", like(0))
      .infer(infer_max)
      .kernel("reference", max_reference);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(roi_pool) {
  roi_align(op("RoiAlign").since(10), kFloats);
  roi_align(op("RoiAlign").since(16), kFloats).attr("coordinate_transformation_mode", "half_pixel");
  roi_align(op("RoiAlign").since(22), kFloatsBf16)
      .attr("coordinate_transformation_mode", "half_pixel");
  max_roi_pool(op("MaxRoiPool").since(1), kFloats);
  max_roi_pool(op("MaxRoiPool").since(22), kFloatsBf16);
}
