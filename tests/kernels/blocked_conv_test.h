// What tests of convolutions in the blocked layout share.
#pragma once

#include <algorithm>
#include <span>

#include "kernels/blocked_f32.h"
#include "kernels/conv_test.h"

namespace mezzo::kernels {

// Holds a convolution with every epilogue against the sums in double.
inline void check(std::span<const ConvShape> shapes, bool winograd, const Convolution& convolve) {
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
        convolve(s, weights, args, test_pool());
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

// Whatever is asked for of the stages behind a convolution, against arithmetic on its result.
inline void check_stages(std::span<const ConvShape> shapes, const Convolution& convolve) {
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
        convolve(s, weights, args, test_pool());
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

}  // namespace mezzo::kernels
