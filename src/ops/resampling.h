// Resampling along one axis: which input elements an output element is made of, and how much of
// each. Formulas: the documentation of ai.onnx Resize-19; kernels: R. Keys, "Cubic convolution
// interpolation for digital image processing", 1981.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/resample_f32.h"
#include "ops/op.h"

namespace mezzo::ops {

/// The attributes of Resize of the same names.
struct Resampling {
  enum class Mode { nearest, linear, cubic };
  enum class Coordinates {
    half_pixel,
    half_pixel_symmetric,
    pytorch_half_pixel,
    align_corners,
    asymmetric,
    tf_half_pixel_for_nn,
    tf_crop_and_resize,
  };
  enum class Nearest {
    round_prefer_floor,
    round_prefer_ceil,
    floor,
    ceil,
    simple,  ///< before opset 11: ceil when downsampling, else floor
  };
  Mode mode = Mode::nearest;
  Coordinates coordinates = Coordinates::asymmetric;
  Nearest nearest = Nearest::simple;
  bool antialias = false;
  bool exclude_outside = false;
  float cubic_a = -0.75F;
  float extrapolation_value = 0;
};

/// An axis to be resampled; in > 0.
struct ResampledAxis {
  std::int64_t in = 1, out = 1;
  double scale = 1;  ///< not always out / in, which is rounded
  double roi_begin = 0, roi_end = 1;

  bool is_identity(const Resampling& how) const;
};

/// For each output element the index of the nearest input element, or -1 where the extrapolation
/// value is to be taken.
std::vector<std::int64_t> nearest_indices(const Resampling& how, const ResampledAxis& axis);

/// Of a Resize or Upsample to the nearest pixels of images [N, C, H, W], whose first axes stay: of
/// which row of x each row of y is a copy, and of which column each column. No value for others.
struct NearestImage {
  std::vector<std::int64_t> rows, columns;
};
std::optional<NearestImage> nearest_image(const Op& op);

/// For each output element `taps` input indices and weights; linear and cubic.
template <class T>
struct WeightTable {
  std::int64_t taps = 0;  ///< even
  std::vector<std::int64_t> index;
  std::vector<T> weight;
  std::vector<char> outside;  ///< take the extrapolation value

  const std::int64_t* index_of(std::int64_t output) const { return index.data() + output * taps; }
  const T* weight_of(std::int64_t output) const { return weight.data() + output * taps; }
};
/// Resamples one axis. Immutable once made.
template <class T>
class AxisResampler {
 public:
  AxisResampler(const Resampling& how, const ResampledAxis& axis);

  /// x [outer, in, inner] -> y [outer, out, inner].
  void run(const T* x, T* y, std::int64_t outer, std::int64_t inner, ThreadPool& pool) const;

 private:
  // All sums, whatever lies outside.
  void combine(const T* x, T* y, std::int64_t outer, std::int64_t inner, ThreadPool& pool) const;

  std::int64_t in_, out_;
  T extrapolation_;
  WeightTable<T> table_;
  std::optional<kernels::Resample> vectors_;  // float32, where the machine has some
};

/// Elements before, and behind.
std::int64_t in_count(const std::vector<ResampledAxis>& axes);
std::int64_t out_count(const std::vector<ResampledAxis>& axes);

/// Resamples one axis after the other, those first that make the tensor smallest. `T` is the type
/// of the intermediate results as well. Immutable once made.
template <class T>
class Resampler {
 public:
  /// No axis may be empty, before or behind.
  Resampler(const Resampling& how, const std::vector<ResampledAxis>& axes);

  void run(const T* x, T* y, ThreadPool& pool) const;

 private:
  void run_image(std::size_t first, const T* x, T* y, std::array<std::vector<T>, 2>& buffers,
                 ThreadPool& pool) const;

  std::vector<ResampledAxis> axes_;
  std::vector<std::size_t> order_;  // the axes that change, in the order of the work
  std::vector<AxisResampler<T>> resamplers_;
};

}  // namespace mezzo::ops
