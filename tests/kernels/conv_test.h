// Shapes and expected values for the tests of all kernels that compute convolutions.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/conv_f32.h"
#include "kernels/kernel_test.h"

namespace mezzo::kernels {

struct Extents {
  std::int64_t h, w;
};

// Pads: top, left, bottom, right. The output's extents follow as in the ONNX spec (auto_pad
// NOTSET).
inline ConvShape make_shape(std::int64_t batch, std::int64_t in_c, Extents in, std::int64_t out_c,
                            Extents kernel, Extents stride = {1, 1},
                            std::array<std::int64_t, 4> pads = {0, 0, 0, 0},
                            Extents dilation = {1, 1}, std::int64_t groups = 1) {
  ConvShape s;
  s.batch = batch;
  s.in_c = in_c;
  s.in_h = in.h;
  s.in_w = in.w;
  s.out_c = out_c;
  s.k_h = kernel.h;
  s.k_w = kernel.w;
  s.stride_h = stride.h;
  s.stride_w = stride.w;
  s.pad_top = pads[0];
  s.pad_left = pads[1];
  s.dilation_h = dilation.h;
  s.dilation_w = dilation.w;
  s.groups = groups;
  s.out_h = (in.h + pads[0] + pads[2] - dilation.h * (kernel.h - 1) - 1) / stride.h + 1;
  s.out_w = (in.w + pads[1] + pads[3] - dilation.w * (kernel.w - 1) - 1) / stride.w + 1;
  return s;
}

inline std::string to_string(const ConvShape& s) {
  std::string text;
  for (std::int64_t v :
       {s.batch, s.in_c, s.in_h, s.in_w, s.out_c, s.out_h, s.out_w, s.k_h, s.k_w, s.stride_h,
        s.stride_w, s.pad_top, s.pad_left, s.dilation_h, s.dilation_w, s.groups}) {
    text += std::to_string(v) + " ";
  }
  return text;
}

/// [batch, channels, pixels] with channels in blocks, element by element.
inline std::vector<float> blocked(std::int64_t batch, std::int64_t channels, std::int64_t pixels,
                                  const std::vector<float>& x) {
  std::vector<float> y(x.size());
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t p = 0; p < pixels; ++p) {
        y[static_cast<std::size_t>(((n * channels / 8 + c / 8) * pixels + p) * 8 + c % 8)] =
            x[static_cast<std::size_t>((n * channels + c) * pixels + p)];
      }
    }
  }
  return y;
}

struct Expected {
  std::vector<double> values, magnitudes;
};

/// The sums of products in double, and the sums of their magnitudes.
inline Expected reference(const ConvShape& s, const std::vector<float>& x,
                          const std::vector<float>& weights) {
  Expected e;
  const std::int64_t group_in = s.in_c / s.groups, group_out = s.out_c / s.groups;
  for (std::int64_t n = 0; n < s.batch; ++n) {
    for (std::int64_t oc = 0; oc < s.out_c; ++oc) {
      for (std::int64_t oh = 0; oh < s.out_h; ++oh) {
        for (std::int64_t ow = 0; ow < s.out_w; ++ow) {
          double sum = 0, magnitudes = 0;
          for (std::int64_t c = 0; c < group_in; ++c) {
            for (std::int64_t kh = 0; kh < s.k_h; ++kh) {
              for (std::int64_t kw = 0; kw < s.k_w; ++kw) {
                const std::int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h,
                                   iw = ow * s.stride_w - s.pad_left + kw * s.dilation_w;
                if (ih < 0 || ih >= s.in_h || iw < 0 || iw >= s.in_w) continue;
                const std::int64_t channel = oc / group_out * group_in + c;
                const double product = static_cast<double>(x[static_cast<std::size_t>(
                                           ((n * s.in_c + channel) * s.in_h + ih) * s.in_w + iw)]) *
                                       weights[static_cast<std::size_t>(
                                           ((oc * group_in + c) * s.k_h + kh) * s.k_w + kw)];
                sum += product;
                magnitudes += std::abs(product);
              }
            }
          }
          e.values.push_back(sum);
          e.magnitudes.push_back(magnitudes);
        }
      }
    }
  }
  return e;
}

/// The standard deviation.
inline double spread(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
  }
  const auto n = static_cast<double>(values.size());
  return std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)));
}

/// The error that winograd_f32.h promises, against the spread of all results.
inline double winograd_tolerance(const Expected& expected) {
  return 1e-6 + 2e-5 * spread(expected.values);
}

// A convolution of x by one kernel, packing of the weights included.
using Convolution = std::function<void(const ConvShape& s, const std::vector<float>& weights,
                                       ConvArgs args, ThreadPool& pool)>;

// Holds a convolution on any number of threads against that on one, to the bit.
inline void check_threads(std::span<const ConvShape> shapes, const Convolution& convolve) {
  for (const ConvShape& s : shapes) {
    SCOPED_TRACE(to_string(s));
    const std::vector<float> x = random_floats(s.batch * s.in_c * s.in_h * s.in_w, 1);
    const std::vector<float> weights =
        random_floats(s.out_c * (s.in_c / s.groups) * s.k_h * s.k_w, 2);
    for_each_target([&] {
      std::vector<float> first;
      for (const int threads : {1, 2, 3, 8, 40}) {
        ThreadPool pool(threads);
        std::vector<float> y(static_cast<std::size_t>(s.batch * s.out_c * s.out_h * s.out_w));
        ConvArgs args{x.data()};
        args.y = y.data();
        convolve(s, weights, args, pool);
        if (first.empty()) first = y;
        ASSERT_EQ(y, first) << threads << " threads";
      }
    });
  }
}

}  // namespace mezzo::kernels
