#include "ops/resampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>

#include "base/shape.h"

namespace mezzo::ops {
namespace {

using Mode = Resampling::Mode;
using Coordinates = Resampling::Coordinates;
using Nearest = Resampling::Nearest;

// Where output element `x` lies in the input, in elements. F is the type it is computed in.
template <class F>
F source_position(Coordinates coordinates, const ResampledAxis& axis, std::int64_t at) {
  const F x = static_cast<F>(at), in = static_cast<F>(axis.in), out = static_cast<F>(axis.out);
  const F scale = static_cast<F>(axis.scale);
  const F half = static_cast<F>(0.5);
  switch (coordinates) {
    case Coordinates::half_pixel:
      return (x + half) / scale - half;
    case Coordinates::half_pixel_symmetric: {
      const F adjustment = out / (scale * in);
      return in / 2 * (1 - adjustment) + (x + half) / scale - half;
    }
    case Coordinates::pytorch_half_pixel:
      return axis.out > 1 ? (x + half) / scale - half : F{0};
    case Coordinates::align_corners:
      // The official tests take the unrounded output length here.
      return scale * in == 1 ? F{0} : x * (in - 1) / (scale * in - 1);
    case Coordinates::asymmetric:
      return x / scale;
    case Coordinates::tf_half_pixel_for_nn:
      return (x + half) / scale;
    case Coordinates::tf_crop_and_resize: {
      const F begin = static_cast<F>(axis.roi_begin), end = static_cast<F>(axis.roi_end);
      return axis.out > 1 ? begin * (in - 1) + x * (end - begin) * (in - 1) / (out - 1)
                          : half * (begin + end) * (in - 1);
    }
  }
  return x;
}

template <class F>
bool is_outside(const Resampling& how, const ResampledAxis& axis, F position) {
  return how.coordinates == Coordinates::tf_crop_and_resize &&
         !(position >= 0 && position <= static_cast<F>(axis.in - 1));
}

// Positions farther outside than this are all the same: the edge. It keeps them in range of
// integers, whatever the scale.
template <class F>
F bounded(F position, const ResampledAxis& axis) {
  const F in = static_cast<F>(axis.in);
  return std::isnan(position) ? F{0} : std::clamp(position, -in - 2, 2 * in + 2);
}

float round_position(Nearest nearest, const ResampledAxis& axis, float position) {
  switch (nearest) {
    case Nearest::round_prefer_floor:
      return std::ceil(position - 0.5F);
    case Nearest::round_prefer_ceil:
      return std::floor(position + 0.5F);
    case Nearest::floor:
      return std::floor(position);
    case Nearest::ceil:
      return std::ceil(position);
    case Nearest::simple:
      return axis.scale < 1 ? std::ceil(position) : std::floor(position);
  }
  return position;
}

// The interpolation kernel at distance t.
double kernel_at(const Resampling& how, double t) {
  t = std::abs(t);
  if (how.mode == Mode::linear) return std::max(0.0, 1 - t);
  const auto a = static_cast<double>(how.cubic_a);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

// Rows [begin, end) along the innermost axis.
template <class T>
void resample_rows(const WeightTable<T>& table, std::int64_t in, std::int64_t out, const T* x, T* y,
                   std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    const T* source = x + row * in;
    for (std::int64_t j = 0; j < out; ++j) {
      const std::int64_t* index = table.index_of(j);
      const T* weight = table.weight_of(j);
      T sum = weight[0] * source[index[0]] + weight[1] * source[index[1]];
      for (std::int64_t t = 2; t < table.taps; ++t) sum += weight[t] * source[index[t]];
      y[row * out + j] = sum;
    }
  }
}

// Rows [begin, end) of y [outer, out, inner], each made of rows of x [outer, in, inner].
template <class T>
void combine_rows(const WeightTable<T>& table, std::int64_t in, std::int64_t out,
                  std::int64_t inner, const T* x, T* y, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t j = row % out;
    const T* source = x + row / out * in * inner;
    T* target = y + row * inner;
    for (std::int64_t t = 0; t < table.taps; t += 2) {  // the number of taps is even
      const T a = table.weight_of(j)[t], b = table.weight_of(j)[t + 1];
      const T* from_a = source + table.index_of(j)[t] * inner;
      const T* from_b = source + table.index_of(j)[t + 1] * inner;
      for (std::int64_t i = 0; i < inner; ++i) {
        const T sum = a * from_a[i] + b * from_b[i];
        target[i] = t == 0 ? sum : target[i] + sum;
      }
    }
  }
}

}  // namespace

bool ResampledAxis::is_identity(const Resampling& how) const {
  if (in != out || scale != 1) return false;
  return how.coordinates != Coordinates::tf_crop_and_resize || (roi_begin == 0 && roi_end == 1);
}

// Positions are computed in float32, as runtimes do, since with scales given in float32 exact
// integers and halves come out exact there: 1.5 / 0.6 is 2.5, in float64 it is 2.4999999.
std::vector<std::int64_t> nearest_indices(const Resampling& how, const ResampledAxis& axis) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(axis.out));
  if (axis.is_identity(how)) {
    std::iota(indices.begin(), indices.end(), std::int64_t{0});
    return indices;
  }
  for (std::int64_t x = 0; x < axis.out; ++x) {
    const auto position = source_position<float>(how.coordinates, axis, x);
    const float rounded = round_position(how.nearest, axis, bounded(position, axis));
    indices[static_cast<std::size_t>(x)] =
        is_outside(how, axis, position)
            ? -1
            : std::clamp<std::int64_t>(static_cast<std::int64_t>(rounded), 0, axis.in - 1);
  }
  return indices;
}

namespace {

template <class T>
WeightTable<T> weight_table(const Resampling& how, const ResampledAxis& axis) {
  // When downsampling with antialiasing, the kernel is stretched to cover all input elements.
  const double stretch = how.antialias ? std::min(axis.scale, 1.0) : 1.0;
  const double support = how.mode == Mode::linear ? 1 : 2;
  const auto first = static_cast<std::int64_t>(std::floor(-support / stretch)) + 1;
  WeightTable<T> table;
  table.taps = 2 - 2 * first;
  const auto out = static_cast<std::size_t>(axis.out), taps = static_cast<std::size_t>(table.taps);
  table.index.resize(out * taps);
  table.weight.resize(out * taps);
  table.outside.resize(out);
  std::vector<double> weights(taps);
  for (std::size_t x = 0; x < out; ++x) {
    const auto at = static_cast<std::int64_t>(x);
    // A crop's borders are compared with the image's, so they must come out as in float32: 0.2 +
    // 0.8 is 1 there, and more than 1 with the same numbers widened.
    const double position = how.coordinates == Coordinates::tf_crop_and_resize
                                ? source_position<float>(how.coordinates, axis, at)
                                : source_position<double>(how.coordinates, axis, at);
    table.outside[x] = is_outside(how, axis, position);
    const double near = bounded(position, axis), base = std::floor(near);
    double sum = 0;
    for (std::size_t t = 0; t < taps; ++t) {
      const double offset = static_cast<double>(first + static_cast<std::int64_t>(t));
      const auto index = static_cast<std::int64_t>(base + offset);
      const bool inside = index >= 0 && index < axis.in;
      table.index[x * taps + t] = std::clamp<std::int64_t>(index, 0, axis.in - 1);
      weights[t] =
          how.exclude_outside && !inside ? 0 : kernel_at(how, (base + offset - near) * stretch);
      sum += weights[t];
    }
    const bool normalize = (how.antialias || how.exclude_outside) && sum != 0;
    for (std::size_t t = 0; t < taps; ++t) {
      table.weight[x * taps + t] = static_cast<T>(normalize ? weights[t] / sum : weights[t]);
    }
  }
  return table;
}

}  // namespace

template <class T>
AxisResampler<T>::AxisResampler(const Resampling& how, const ResampledAxis& axis)
    : in_(axis.in),
      out_(axis.out),
      extrapolation_(static_cast<T>(how.extrapolation_value)),
      table_(weight_table<T>(how, axis)) {
  if constexpr (std::is_same_v<T, float>) {
    if (simd_allowed() && in_ <= std::numeric_limits<std::int32_t>::max())
      vectors_.emplace(in_, out_, table_.taps, table_.index.data(), table_.weight.data());
  }
}

template <class T>
void AxisResampler<T>::run(const T* x, T* y, std::int64_t outer, std::int64_t inner,
                           ThreadPool& pool) const {
  combine(x, y, outer, inner, pool);
  for (std::int64_t j = 0; j < out_; ++j) {
    if (!table_.outside[static_cast<std::size_t>(j)]) continue;
    for (std::int64_t i = 0; i < outer; ++i)
      std::fill_n(y + (i * out_ + j) * inner, inner, extrapolation_);
  }
}

template <class T>
void AxisResampler<T>::combine(const T* x, T* y, std::int64_t outer, std::int64_t inner,
                               ThreadPool& pool) const {
  if constexpr (std::is_same_v<T, float>) {
    if (vectors_) return vectors_->run(x, y, outer, inner, pool);
  }
  const std::int64_t rows = inner == 1 ? outer : outer * out_, length = inner == 1 ? out_ : inner;
  pool.parallel_for(rows, 1 + 8192 / (length * table_.taps + 1),
                    [&](std::int64_t begin, std::int64_t end) {
                      if (inner == 1) return resample_rows(table_, in_, out_, x, y, begin, end);
                      combine_rows(table_, in_, out_, inner, x, y, begin, end);
                    });
}

std::int64_t in_count(const std::vector<ResampledAxis>& axes) {
  std::int64_t count = 1;
  for (const ResampledAxis& axis : axes) count *= axis.in;
  return count;
}

std::int64_t out_count(const std::vector<ResampledAxis>& axes) {
  std::int64_t count = 1;
  for (const ResampledAxis& axis : axes) count *= axis.out;
  return count;
}

template <class T>
Resampler<T>::Resampler(const Resampling& how, const std::vector<ResampledAxis>& axes)
    : axes_(axes) {
  for (std::size_t d = 0; d < axes.size(); ++d) {
    if (!axes[d].is_identity(how)) order_.push_back(d);
  }
  const auto growth = [&](std::size_t d) {
    return static_cast<double>(axes[d].out) / static_cast<double>(axes[d].in);
  };
  // The innermost axis is the slowest (it has no whole rows to add): of equals it comes last where
  // they shrink the tensor, first where they enlarge it.
  std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
    if (growth(a) != growth(b)) return growth(a) < growth(b);
    return growth(a) < 1 ? a < b : a > b;
  });
  for (const std::size_t d : order_) resamplers_.emplace_back(how, axes[d]);
}

template <class T>
void Resampler<T>::run(const T* x, T* y, ThreadPool& pool) const {
  if (order_.empty()) {
    std::copy(x, x + in_count(axes_), y);
    return;
  }
  // What lies before the first axis that changes: images, which are taken one by one so that the
  // intermediate results stay in the cache.
  const std::size_t first = *std::min_element(order_.begin(), order_.end());
  const std::vector<ResampledAxis> image(axes_.begin() + static_cast<std::ptrdiff_t>(first),
                                         axes_.end());
  std::int64_t images = 1;
  for (std::size_t d = 0; d < first; ++d) images *= axes_[d].in;
  const std::int64_t in = in_count(image), out = out_count(image);
  const auto each = [&](std::int64_t begin, std::int64_t end) {
    std::array<std::vector<T>, 2> buffers;
    for (std::int64_t i = begin; i < end; ++i) {
      run_image(first, x + i * in, y + i * out, buffers, pool);
    }
  };
  if (images >= pool.available()) {
    pool.parallel_for(images, 1 + 4096 / (out + 1), each);
  } else {
    each(0, images);
  }
}

template <class T>
void Resampler<T>::run_image(std::size_t first, const T* x, T* y,
                             std::array<std::vector<T>, 2>& buffers, ThreadPool& pool) const {
  std::vector<std::int64_t> extents;
  for (const ResampledAxis& axis : axes_) extents.push_back(axis.in);
  for (std::size_t step = 0; step < order_.size(); ++step) {
    const std::size_t d = order_[step];
    const auto from = static_cast<int>(first), at = static_cast<int>(d);
    const std::int64_t outer = product(extents, from, at);
    const std::int64_t inner = product(extents, at + 1, static_cast<int>(extents.size()));
    T* target = y;
    if (step + 1 < order_.size()) {
      std::vector<T>& buffer = buffers[step % 2];
      buffer.resize(static_cast<std::size_t>(outer * axes_[d].out * inner));
      target = buffer.data();
    }
    resamplers_[step].run(x, target, outer, inner, pool);
    extents[d] = axes_[d].out;
    x = target;
  }
}

template class AxisResampler<float>;
template class AxisResampler<double>;
template class Resampler<float>;
template class Resampler<double>;

}  // namespace mezzo::ops
