// Softmax, layer normalisation and reductions.
#include <algorithm>
#include <functional>
#include <limits>

#include "kernels/kernel_test.h"
#include "kernels/layer_norm_f32.h"
#include "kernels/reduce_f32.h"
#include "kernels/softmax_f32.h"

namespace mezzo::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::int64_t kLengths[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 100, 384, 1000, 5000};

TEST(SoftmaxF32, MatchesTheFormula) {
  for_each_target([] {
    for (std::int64_t n : kLengths) {
      for (int variant = 0; variant < 8; ++variant) {
        SCOPED_TRACE("n " + std::to_string(n) + " variant " + std::to_string(variant));
        const std::int64_t rows = 6;
        std::vector<float> x = random_floats(rows * n, 1, -30, 30),
                           mask = random_floats(2 * n, 2, -5, 5), y(x.size() + 1, kUntouched);
        // A masked position, as attention has them.
        if (n > 1) mask[0] = -kInfinity;
        SoftmaxArgs args;
        args.log = (variant & 1) != 0;
        if ((variant & 2) != 0) args.scale = 0.125f;
        if ((variant & 4) != 0) {
          args.mask = mask.data();
          args.mask_rows = 2;
        }
        softmax_rows(args, x.data(), y.data(), rows, n, test_pool());
        for (std::int64_t r = 0; r < rows; ++r) {
          std::vector<double> v(static_cast<std::size_t>(n));
          for (std::size_t i = 0; i < v.size(); ++i) {
            const double added =
                args.mask == nullptr ? 0 : mask[static_cast<std::size_t>(r % 2 * n) + i];
            v[i] = static_cast<double>(args.scale) * x[static_cast<std::size_t>(r * n) + i] + added;
          }
          const double max = *std::max_element(v.begin(), v.end());
          double sum = 0;
          for (double e : v) sum += std::exp(e - max);
          for (std::size_t i = 0; i < v.size(); ++i) {
            const float got = y[static_cast<std::size_t>(r * n) + i];
            if (args.log) {
              const double expected = v[i] - max - std::log(sum);
              if (std::isinf(expected)) {
                ASSERT_EQ(got, expected);
              } else {
                ASSERT_NEAR(got, expected, 1e-5) << r << ", " << i;
              }
            } else {
              const double expected = std::exp(v[i] - max) / sum;
              // Arguments up to 70 are rounded before the exponential.
              ASSERT_NEAR(got, expected, 1.5e-5 * expected + 1e-37) << r << ", " << i;
            }
          }
        }
        ASSERT_EQ(y.back(), kUntouched);
        // In place.
        std::vector<float> same = x;
        softmax_rows(args, same.data(), same.data(), rows, n, test_pool());
        for (std::size_t i = 0; i < same.size(); ++i) ASSERT_EQ(same[i], y[i]);
      }
    }
  });
}

TEST(SoftmaxF32, NanAndInfinities) {
  for_each_target([] {
    for (std::int64_t n : {3, 16, 40}) {
      const auto at = static_cast<std::size_t>(n - 1);
      for (float bad : {kNan, kInfinity}) {
        std::vector<float> x(static_cast<std::size_t>(n), 1.0f), y(x.size());
        x[at] = bad;
        softmax_rows({}, x.data(), y.data(), 1, n, test_pool());
        EXPECT_TRUE(std::isnan(y[at])) << bad;
        EXPECT_TRUE(std::isnan(y[0]) || bad == kInfinity);
      }
      std::vector<float> x(static_cast<std::size_t>(n), -kInfinity), y(x.size());
      softmax_rows({}, x.data(), y.data(), 1, n, test_pool());
      EXPECT_TRUE(std::isnan(y[0]));
      x[at] = 5;
      softmax_rows({}, x.data(), y.data(), 1, n, test_pool());
      EXPECT_EQ(y[at], 1);
      EXPECT_EQ(y[0], 0);
    }
  });
}

TEST(LayerNormF32, MatchesTheFormula) {
  for_each_target([] {
    for (std::int64_t n : kLengths) {
      for (bool with_scale : {false, true}) {
        SCOPED_TRACE("n " + std::to_string(n));
        const std::int64_t rows = 5;
        // A mean far from zero, where a one-pass variance would lose its digits.
        const std::vector<float> x = random_floats(rows * n, 1, 99, 101),
                                 scale = random_floats(n, 2), bias = random_floats(n, 3);
        std::vector<float> y(x.size() + 1, kUntouched), means(5), factors(5),
            squares(x.size() + 1, kUntouched), rms_factors(5);
        LayerNormArgs args;
        args.epsilon = 1e-3f;
        if (with_scale) {
          args.scale = scale.data();
          args.bias = bias.data();
        }
        args.mean = means.data();
        args.inv_std = factors.data();
        layer_norm_rows(args, x.data(), y.data(), rows, n, test_pool());
        args.mean = nullptr;
        args.inv_std = rms_factors.data();
        rms_norm_rows(args, x.data(), squares.data(), rows, n, test_pool());
        for (std::int64_t r = 0; r < rows; ++r) {
          const float* row = x.data() + r * n;
          double mean = 0, variance = 0, square = 0;
          for (std::int64_t i = 0; i < n; ++i) mean += row[i];
          mean /= static_cast<double>(n);
          for (std::int64_t i = 0; i < n; ++i) {
            variance += (row[i] - mean) * (row[i] - mean);
            square += static_cast<double>(row[i]) * row[i];
          }
          const double factor = 1 / std::sqrt(variance / static_cast<double>(n) + 1e-3),
                       rms = 1 / std::sqrt(square / static_cast<double>(n) + 1e-3);
          const auto at = static_cast<std::size_t>(r);
          ASSERT_NEAR(means[at], mean, 1e-4);
          ASSERT_NEAR(factors[at], factor, 1e-4 * factor);
          ASSERT_NEAR(rms_factors[at], rms, 1e-5 * rms);
          for (std::int64_t i = 0; i < n; ++i) {
            const auto j = static_cast<std::size_t>(i);
            const double s = with_scale ? scale[j] : 1, b = with_scale ? bias[j] : 0;
            ASSERT_NEAR(y[static_cast<std::size_t>(r * n) + j], (row[i] - mean) * factor * s + b,
                        1e-3)
                << r << ", " << i;
            ASSERT_NEAR(squares[static_cast<std::size_t>(r * n) + j], row[i] * rms * s, 1e-5)
                << r << ", " << i;
          }
        }
        ASSERT_EQ(y.back(), kUntouched);
        ASSERT_EQ(squares.back(), kUntouched);
      }
    }
  });
}

double reduce_reference(Reduce op, const std::vector<float>& v) {
  double result = op == Reduce::prod  ? 1
                  : op == Reduce::max ? -kInfinity
                  : op == Reduce::min ? kInfinity
                                      : 0;
  for (float f : v) {
    const double e = f;
    switch (op) {
      case Reduce::sum:
      case Reduce::mean:
        result += e;
        break;
      case Reduce::max:
        result = std::max(result, e);
        break;
      case Reduce::min:
        result = std::min(result, e);
        break;
      case Reduce::sum_square:
        result += e * e;
        break;
      case Reduce::l1:
        result += std::abs(e);
        break;
      case Reduce::prod:
        result *= e;
        break;
      case Reduce::log_sum_exp:
        result += std::exp(e);
        break;
    }
  }
  if (op == Reduce::log_sum_exp) return std::log(result);
  return op == Reduce::mean ? result / static_cast<double>(v.size()) : result;
}

const Reduce kReduces[] = {Reduce::sum,        Reduce::mean, Reduce::max,  Reduce::min,
                           Reduce::sum_square, Reduce::l1,   Reduce::prod, Reduce::log_sum_exp};

TEST(ReduceF32, EveryAxisPosition) {
  for_each_target([] {
    for (Reduce op : kReduces) {
      for (std::int64_t n : {1, 2, 5, 16, 49, 130, 3000, 100000}) {
        for (std::int64_t inner : {1, 3, 16, 20, 33, 85}) {
          if (n == 100000 && inner > 3) continue;
          SCOPED_TRACE("op " + std::to_string(static_cast<int>(op)) + " n " + std::to_string(n) +
                       " inner " + std::to_string(inner));
          const std::int64_t outer = n == 100000 ? 1 : 4;
          std::vector<float> x = random_floats(outer * n * inner, 1, op == Reduce::prod ? 0.9f : -1,
                                               op == Reduce::prod ? 1.1f : 2);
          if (op == Reduce::prod && n > 200) continue;
          std::vector<float> y(static_cast<std::size_t>(outer * inner + 1), kUntouched);
          reduce(op, x.data(), y.data(), outer, n, inner, test_pool());
          for (std::int64_t o = 0; o < outer; ++o) {
            for (std::int64_t j = 0; j < inner; ++j) {
              std::vector<float> v;
              for (std::int64_t p = 0; p < n; ++p)
                v.push_back(x[static_cast<std::size_t>((o * n + p) * inner + j)]);
              const double expected = reduce_reference(op, v);
              const bool exact = op == Reduce::max || op == Reduce::min;
              // Partial sums keep the error far below n roundings.
              ASSERT_NEAR(y[static_cast<std::size_t>(o * inner + j)], expected,
                          exact ? 0 : 3e-6 * std::abs(expected) + 1e-6)
                  << o << ", " << j;
            }
          }
          ASSERT_EQ(y.back(), kUntouched);
        }
      }
    }
  });
}

TEST(ReduceF32, NanWinsWhereverItStands) {
  for_each_target([] {
    for (Reduce op : kReduces) {
      for (std::int64_t inner : {1, 5, 16, 85}) {
        const std::int64_t n = 37;
        for (std::int64_t position = 0; position < n; ++position) {
          std::vector<float> x = random_floats(n * inner, 1), y(static_cast<std::size_t>(inner));
          x[static_cast<std::size_t>(position * inner)] = kNan;
          reduce(op, x.data(), y.data(), 1, n, inner, test_pool());
          ASSERT_TRUE(std::isnan(y[0]))
              << "op " << static_cast<int>(op) << " position " << position << " inner " << inner;
          ASSERT_FALSE(inner > 1 && std::isnan(y[1]));
        }
      }
    }
  });
}

// Infinities of both signs have a sum that is NaN, but extremes that are not.
TEST(ReduceF32, InfinitiesAreNumbers) {
  for_each_target([] {
    for (std::int64_t inner : {1, 5, 16, 85}) {
      for (std::int64_t n : {2, 5, 37, 300}) {
        std::vector<float> x = random_floats(n * inner, 1), y(static_cast<std::size_t>(inner));
        x[0] = kInfinity;
        x[static_cast<std::size_t>((n - 1) * inner)] = -kInfinity;
        reduce(Reduce::max, x.data(), y.data(), 1, n, inner, test_pool());
        ASSERT_EQ(y[0], kInfinity) << "n " << n << " inner " << inner;
        reduce(Reduce::min, x.data(), y.data(), 1, n, inner, test_pool());
        ASSERT_EQ(y[0], -kInfinity) << "n " << n << " inner " << inner;
      }
    }
  });
}

// The first column has large elements, the others what has no finite result and what vanishes.
TEST(ReduceF32, LogSumExpOfAnyElements) {
  const std::int64_t n = 40, inner = 5;
  const float columns[inner][2] = {
      {300, 299}, {kInfinity, 1}, {-kInfinity, -kInfinity}, {-kInfinity, 5}, {-200, -500}};
  const double expected[inner] = {300 + std::log(20 + 20 * std::exp(-1)), kInfinity, -kInfinity,
                                  5 + std::log(20), -200 + std::log(20)};
  for_each_target([&] {
    std::vector<float> x(static_cast<std::size_t>(n * inner)), y(inner), row(n);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < inner; ++j)
        x[static_cast<std::size_t>(i * inner + j)] = columns[j][i % 2];
    }
    reduce(Reduce::log_sum_exp, x.data(), y.data(), 1, n, inner, test_pool());
    for (std::size_t j = 0; j < std::size(columns); ++j) {
      EXPECT_FLOAT_EQ(y[j], static_cast<float>(expected[j])) << "column " << j;
      for (std::size_t i = 0; i < row.size(); ++i) row[i] = columns[j][i % 2];
      float of_row = 0;
      reduce(Reduce::log_sum_exp, row.data(), &of_row, 1, n, 1, test_pool());
      EXPECT_FLOAT_EQ(of_row, static_cast<float>(expected[j])) << "row " << j;
    }
  });
}

// What `give(x, y, pool)` makes of n floats of x with one thread, and with three.
void expect_no_thread_seen(std::int64_t n,
                           const std::function<void(const float*, float*, ThreadPool&)>& give) {
  const std::vector<float> x = random_floats(n, 1, 0.5f, 2);
  std::vector<float> alone(x.size()), shared(x.size());
  ThreadPool one(1);
  give(x.data(), alone.data(), one);
  give(x.data(), shared.data(), test_pool());
  EXPECT_EQ(alone, shared);
}

// One thread more or less is what a run has beside another run of its session, or without it.
TEST(RowsF32, ThreadsChangeNoBit) {
  for_each_target([] {
    for (const std::int64_t rows : {2, 3, 5, 197, 1001}) {
      const std::int64_t n = 768;
      SCOPED_TRACE("rows " + std::to_string(rows));
      expect_no_thread_seen(rows * n, [&](const float* x, float* y, ThreadPool& pool) {
        softmax_rows({}, x, y, rows, n, pool);
      });
      expect_no_thread_seen(rows * n, [&](const float* x, float* y, ThreadPool& pool) {
        layer_norm_rows({}, x, y, rows, n, pool);
      });
      expect_no_thread_seen(rows * n, [&](const float* x, float* y, ThreadPool& pool) {
        rms_norm_rows({}, x, y, rows, n, pool);
      });
      for (const Reduce op : kReduces) {
        for (const std::int64_t inner : {1, 16, 256}) {
          SCOPED_TRACE("op " + std::to_string(static_cast<int>(op)) + " inner " +
                       std::to_string(inner));
          expect_no_thread_seen(rows * n, [&](const float* x, float* y, ThreadPool& pool) {
            reduce(op, x, y, rows, n / inner, inner, pool);
            reduce(op, x, y + rows * inner, 1, rows * n / inner, inner, pool);
          });
        }
      }
    }
  });
}

// Nor do the rows beside a row, which a run may have split otherwise.
TEST(LayerNormF32, ARowDoesNotSeeTheOthers) {
  for_each_target([] {
    for (const std::int64_t n : kLengths) {
      const std::int64_t rows = 7;
      const std::vector<float> x = random_floats(rows * n, 1);
      std::vector<float> together(x.size()), alone(x.size());
      for (const auto norm : {layer_norm_rows, rms_norm_rows}) {
        norm({}, x.data(), together.data(), rows, n, test_pool());
        for (std::int64_t r = 0; r < rows; ++r)
          norm({}, x.data() + r * n, alone.data() + r * n, 1, n, test_pool());
        ASSERT_EQ(together, alone) << "n " << n;
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
