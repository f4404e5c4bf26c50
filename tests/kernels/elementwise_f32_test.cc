#include "kernels/elementwise_f32.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <random>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// The formulas of elementwise_f32.h in double precision.
double reference(Unary op, double a, double b, double x) {
  switch (op) {
    case Unary::abs:
      return std::abs(x);
    case Unary::neg:
      return -x;
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::reciprocal:
      return 1 / x;
    case Unary::square:
      return x * x;
    case Unary::floor:
      return std::floor(x);
    case Unary::ceil:
      return std::ceil(x);
    case Unary::round:
      return std::nearbyint(x);
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return std::log(x);
    case Unary::tanh:
      return std::tanh(x);
    case Unary::sigmoid:
      return sigmoid(x);
    case Unary::erf:
      return std::erf(x);
    case Unary::sin:
      return std::sin(x);
    case Unary::cos:
      return std::cos(x);
    case Unary::atan:
      return std::atan(x);
    case Unary::gelu_erf:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case Unary::gelu_tanh:
      return x / 2 *
             (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Unary::relu:
      return x < 0 ? 0 : x;
    case Unary::leaky_relu:
      return x < 0 ? a * x : x;
    case Unary::thresholded_relu:
      return x <= a ? 0 : x;
    case Unary::clip:
      return x < a ? a : x > b ? b : x;
    case Unary::hard_sigmoid:
      return std::isnan(x) ? x : std::clamp(a * x + b, 0.0, 1.0);
    case Unary::hard_swish:
      return std::isnan(x) ? x : x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case Unary::swish:
      return x * sigmoid(static_cast<float>(a * x));  // the product is rounded
    case Unary::softplus:
      return std::isnan(x) ? x : softplus(x);
    case Unary::softsign:
      return x / (1 + std::abs(x));
    case Unary::elu:
      return x < 0 ? a * std::expm1(x) : x;
    case Unary::selu:
      return b * (x <= 0 ? a * std::expm1(x) : x);
    case Unary::celu:
      return std::isnan(x) ? x : std::max(0.0, x) + std::min(0.0, a * std::expm1(x / a));
    case Unary::mish:
      return x * std::tanh(softplus(x));
  }
  return 0;
}

struct Accuracy {
  Unary op;
  UnaryArgs args;
  const char* name;
  double ulps;      // of the result
  double absolute;  // and, where terms cancel, in units of 2^-24 times max(1, |x|)
};

const Accuracy kUnaries[] = {
    {Unary::abs, {}, "abs", 0, 0},
    {Unary::neg, {}, "neg", 0, 0},
    {Unary::sqrt, {}, "sqrt", 0.5, 0},
    {Unary::reciprocal, {}, "reciprocal", 0.5, 0},
    {Unary::square, {}, "square", 0.5, 0},
    {Unary::floor, {}, "floor", 0, 0},
    {Unary::ceil, {}, "ceil", 0, 0},
    {Unary::round, {}, "round", 0, 0},
    {Unary::exp, {}, "exp", 2, 0},
    {Unary::log, {}, "log", 2, 0},
    {Unary::tanh, {}, "tanh", 3, 0},
    {Unary::sigmoid, {}, "sigmoid", 4, 0},
    {Unary::erf, {}, "erf", 3, 0},
    {Unary::sin, {}, "sin", 3, 0},
    {Unary::cos, {}, "cos", 3, 0},
    {Unary::atan, {}, "atan", 3, 0},
    {Unary::gelu_erf, {}, "gelu_erf", 4, 3},
    {Unary::gelu_tanh, {}, "gelu_tanh", 4, 4},
    {Unary::relu, {}, "relu", 0, 0},
    {Unary::leaky_relu, {0.3f, 0}, "leaky_relu", 0.5, 0},
    {Unary::thresholded_relu, {0.7f, 0}, "thresholded_relu", 0, 0},
    {Unary::clip, {-0.5f, 3.25f}, "clip", 0, 0},
    {Unary::hard_sigmoid, {0.2f, 0.5f}, "hard_sigmoid", 1, 1},
    {Unary::hard_swish, {}, "hard_swish", 2, 1},
    {Unary::swish, {1, 0}, "swish", 6, 0},
    {Unary::swish, {1.7f, 0}, "swish 1.7", 6, 0},
    {Unary::softplus, {}, "softplus", 4, 0},
    {Unary::softsign, {}, "softsign", 1.5, 0},
    {Unary::elu, {1.5f, 0}, "elu", 3, 0},
    {Unary::selu, {1.6732632f, 1.0507010f}, "selu", 4, 0},
    {Unary::celu, {2, 0}, "celu", 3, 0},
    {Unary::celu, {-2, 0}, "celu with a negative alpha", 3, 1},
    {Unary::mish, {}, "mish", 8, 0},
};

// Every 2^k-th float of both signs, and the special ones.
std::vector<float> sample_floats() {
  std::vector<float> values = {0.0f,  -0.0f,     1.0f,      -1.0f,      0.5f,     1.5f,   2.5f,
                               -2.5f, 88.72283f, 88.72284f, -87.33655f, -103.97f, -104.5f};
  for (float v : {std::numeric_limits<float>::min(), std::numeric_limits<float>::denorm_min(),
                  std::numeric_limits<float>::max()}) {
    values.insert(values.end(), {v, -v});
  }
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 30011) {
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(std::bit_cast<float>(bits | 0x80000000u));
  }
  const std::vector<float> ordinary = random_floats(40001, 1, -12, 12);
  values.insert(values.end(), ordinary.begin(), ordinary.end());
  return values;
}

TEST(ElementwiseF32, UnaryFunctionsAreAsAccurateAsTheySay) {
  const std::vector<float> x = sample_floats();
  for_each_target([&] {
    for (const Accuracy& f : kUnaries) {
      std::vector<float> y(x.size());
      unary(f.op, f.args, x.data(), y.data(), static_cast<std::int64_t>(x.size()), test_pool());
      double worst = 0;
      float worst_x = 0, worst_y = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double exact = reference(f.op, f.args.alpha, f.args.beta, x[i]);
        const auto nearest = static_cast<float>(exact);
        if (std::isnan(exact)) {
          ASSERT_TRUE(std::isnan(y[i])) << f.name << "(" << x[i] << ") = " << y[i];
          continue;
        }
        if (std::isinf(nearest) || std::isinf(y[i])) {
          // The largest finite numbers may be rounded to infinity a little early or late.
          if (nearest != y[i]) {
            ASSERT_GT(std::min(std::abs(nearest), std::abs(y[i])), 3.4e38)
                << f.name << "(" << x[i] << ") = " << y[i];
          }
          continue;
        }
        const double ulp =
            std::ldexp(1.0, std::max(std::ilogb(std::max(std::abs(exact), 1e-300)), -126) - 23);
        double allowed = f.ulps * ulp +
                         f.absolute * std::max(1.0, std::abs(static_cast<double>(x[i]))) * 0x1p-24;
        // A factor that falls below the normal numbers may be flushed.
        const double flushed = std::max(1.0, std::abs(static_cast<double>(x[i]))) * 0x1p-126;
        if (f.ulps > 0.5 && std::abs(exact) < 2 * flushed) allowed += flushed;
        const double error = std::abs(y[i] - exact) - allowed;
        if (error > worst) {
          worst = error;
          worst_x = x[i];
          worst_y = y[i];
        }
      }
      EXPECT_EQ(worst, 0) << f.name << "(" << worst_x << ") = " << worst_y << ", exact "
                          << reference(f.op, f.args.alpha, f.args.beta, worst_x);
    }
  });
}

TEST(ElementwiseF32, UnarySpecialValues) {
  struct Special {
    Unary op;
    float x, expected;
  };
  const Special kCases[] = {
      {Unary::exp, kInfinity, kInfinity},
      {Unary::exp, -kInfinity, 0},
      {Unary::log, 0, -kInfinity},
      {Unary::log, -0.0f, -kInfinity},
      {Unary::log, -1, kNan},
      {Unary::log, kInfinity, kInfinity},
      {Unary::log, -kInfinity, kNan},
      {Unary::log, 1, 0},
      {Unary::tanh, kInfinity, 1},
      {Unary::tanh, -kInfinity, -1},
      {Unary::sigmoid, kInfinity, 1},
      {Unary::sigmoid, -kInfinity, 0},
      {Unary::erf, kInfinity, 1},
      {Unary::erf, -kInfinity, -1},
      {Unary::sin, kInfinity, kNan},
      {Unary::cos, -kInfinity, kNan},
      {Unary::atan, -kInfinity, -1.5707964f},
      {Unary::sqrt, -1, kNan},
      {Unary::reciprocal, 0, kInfinity},
      {Unary::reciprocal, -0.0f, -kInfinity},
      {Unary::relu, -kInfinity, 0},
      {Unary::relu, kInfinity, kInfinity},
      {Unary::softplus, kInfinity, kInfinity},
      {Unary::softplus, -kInfinity, 0},
      {Unary::elu, -kInfinity, -2},
      {Unary::elu, kInfinity, kInfinity},
      {Unary::clip, -kInfinity, 2},
      {Unary::clip, kInfinity, 3},
      {Unary::mish, kInfinity, kInfinity},
      {Unary::gelu_erf, kInfinity, kInfinity},
      {Unary::gelu_erf, -kInfinity, 0},
      {Unary::gelu_erf, -7, 0},
      {Unary::round, 0.5f, 0},
      {Unary::round, 1.5f, 2},
      {Unary::round, -2.5f, -2},
      {Unary::exp, 0, 1},
  };
  for_each_target([&] {
    for (const Special& c : kCases) {
      float y = 0;
      unary(c.op, {2, 3}, &c.x, &y, 1, test_pool());
      if (std::isnan(c.expected)) {
        EXPECT_TRUE(std::isnan(y)) << static_cast<int>(c.op) << " of " << c.x << " is " << y;
      } else {
        EXPECT_EQ(y, c.expected) << static_cast<int>(c.op) << " of " << c.x;
      }
    }
    for (const Accuracy& f : kUnaries) {
      float y = 0;
      unary(f.op, f.args, &kNan, &y, 1, test_pool());
      EXPECT_TRUE(std::isnan(y)) << f.name << "(NaN) = " << y;
    }
  });
}

TEST(ElementwiseF32, UnaryTouchesExactlyItsRange) {
  for_each_target([] {
    for (std::int64_t n = 0; n < 70; ++n) {
      const std::vector<float> x = random_floats(n, 1);
      std::vector<float> y(static_cast<std::size_t>(n + 1), kUntouched);
      unary(Unary::neg, {}, x.data(), y.data(), n, test_pool());
      for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], -x[i]) << i << " of " << n;
      ASSERT_EQ(y.back(), kUntouched) << n;
    }
  });
}

float apply(Binary op, float a, float b) {
  switch (op) {
    case Binary::add:
      return a + b;
    case Binary::sub:
      return a - b;
    case Binary::mul:
      return a * b;
    case Binary::div:
      return a / b;
    case Binary::min:
      return std::isnan(a) || std::isnan(b) ? kNan : std::min(a, b);
    case Binary::max:
      return std::isnan(a) || std::isnan(b) ? kNan : std::max(a, b);
    case Binary::pow:
      return static_cast<float>(std::pow(double{a}, double{b}));
    case Binary::prelu:
      return a < 0 ? a * b : a;
  }
  return 0;
}

void expect_same(float got, float expected, Binary op) {
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(got)) << got;
  } else if (op == Binary::pow) {
    ASSERT_FLOAT_EQ(got, expected);
  } else {
    ASSERT_EQ(got, expected);
  }
}

TEST(ElementwiseF32, BinaryInEveryForm) {
  for_each_target([] {
    for (Binary op : {Binary::add, Binary::sub, Binary::mul, Binary::div, Binary::min, Binary::max,
                      Binary::pow, Binary::prelu}) {
      for (std::int64_t n : {1, 3, 8, 16, 17, 33, 100, 70000}) {
        const std::int64_t rows = n == 70000 ? 2 : 6, period = n == 70000 ? 2 : 3;
        SCOPED_TRACE("op " + std::to_string(static_cast<int>(op)) + " n " + std::to_string(n));
        std::vector<float> a = random_floats(rows * n, 1),
                           b = random_floats(std::max(rows * n, period), 2);
        a[0] = kNan;
        b[static_cast<std::size_t>(n / 2)] = kNan;
        b[static_cast<std::size_t>(n - 1)] = kInfinity;
        const auto size = static_cast<std::size_t>(rows * n);
        std::vector<float> y(size + 1, kUntouched);
        const auto check = [&](const auto& expected) {
          for (std::size_t i = 0; i < size; ++i) {
            ASSERT_NO_FATAL_FAILURE(expect_same(y[i], expected(i), op)) << "at " << i;
          }
          ASSERT_EQ(y[size], kUntouched);
        };
        const auto width = static_cast<std::size_t>(n), turn = static_cast<std::size_t>(period);
        using Form = Broadcast::Form;
        const auto run = [&](Form form, bool swapped) {
          const Broadcast how{form, swapped, n, period};
          binary(op, how, swapped ? b.data() : a.data(), swapped ? a.data() : b.data(), y.data(),
                 rows * n, test_pool());
        };
        run(Form::none, false);
        check([&](std::size_t i) { return apply(op, a[i], b[i]); });
        for (bool swapped : {false, true}) {
          const auto other = [&](float x, float repeated) {
            return swapped ? apply(op, repeated, x) : apply(op, x, repeated);
          };
          run(Form::scalar, swapped);
          check([&](std::size_t i) { return other(a[i], b[0]); });
          run(Form::row, swapped);
          check([&](std::size_t i) { return other(a[i], b[i % width]); });
          run(Form::column, swapped);
          check([&](std::size_t i) { return other(a[i], b[i / width % turn]); });
        }
        std::vector<float> in_place = a;
        binary(op, {}, in_place.data(), b.data(), in_place.data(), rows * n, test_pool());
        std::copy(in_place.begin(), in_place.end(), y.begin());
        check([&](std::size_t i) { return apply(op, a[i], b[i]); });
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

// Against powers in doubles: of all sizes, near 1 with large exponents, negative with integers.
TEST(ElementwiseF32, PowersAreRoundedOnce) {
  constexpr std::int64_t kCount = 10007;
  std::mt19937 random(3);
  const auto uniform = [&](double from, double to) {
    return std::uniform_real_distribution<double>(from, to)(random);
  };
  std::vector<float> a, b;
  for (std::int64_t i = 0; i < kCount; ++i) {
    const bool wide = i % 3 == 0, near = i % 3 == 1;
    a.push_back(static_cast<float>(wide   ? std::exp(uniform(-100, 88))
                                   : near ? 1 + uniform(-0.02, 0.02)
                                          : uniform(-6, 6)));
    b.push_back(static_cast<float>(wide   ? uniform(-3, 3)
                                   : near ? uniform(-9000, 9000)
                                          : std::floor(uniform(-9, 10))));
  }
  for_each_target([&] {
    std::vector<float> y(kCount);
    binary(Binary::pow, {}, a.data(), b.data(), y.data(), kCount, test_pool());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double exact = std::pow(double{a[i]}, double{b[i]});
      const float rounded = static_cast<float>(exact);
      if (!std::isfinite(rounded)) {
        ASSERT_EQ(y[i], rounded) << a[i] << " ^ " << b[i];
        continue;
      }
      const float next = std::nextafter(std::abs(rounded), kInfinity);
      const double unit = double{next} - std::abs(double{rounded});
      ASSERT_LE(std::abs(y[i] - exact), 0.501 * unit) << a[i] << " ^ " << b[i];
    }
  });
}

TEST(ElementwiseF32, SpecialPowers) {
  const std::vector<float> values = {0,      -0.0F,       1,     -1,     2,         -2,
                                     3,      0.5F,        -2.5F, 1e-45F, -1e-45F,   3e38F,
                                     -3e38F, 16777216.0F, 1e10F, kNan,   kInfinity, -kInfinity};
  for_each_target([&] {
    for (const float exponent : values) {
      std::vector<float> y(values.size());
      binary(Binary::pow, {Broadcast::Form::scalar}, values.data(), &exponent, y.data(),
             static_cast<std::int64_t>(values.size()), test_pool());
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double exact = std::pow(double{values[i]}, double{exponent});
        SCOPED_TRACE(std::to_string(values[i]) + " ^ " + std::to_string(exponent));
        expect_same(y[i], static_cast<float>(exact), Binary::pow);
        EXPECT_TRUE(std::isnan(exact) || std::signbit(y[i]) == std::signbit(exact));
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
