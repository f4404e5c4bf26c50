#include "kernels/compare.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

// Each element of `values` with each other, in arrays of every length up to 70, one operand or both
// of which may repeat; what lies behind stays as it is.
template <DType kType, class T>
void compare_all(const std::vector<T>& values) {
  const auto value = [&](std::int64_t i) {
    return values[static_cast<std::size_t>(i) % values.size()];
  };
  for (std::int64_t n = 0; n <= 70; ++n) {
    std::vector<T> a, b;
    for (std::int64_t i = 0; i <= n; ++i) {
      a.push_back(value(i));
      b.push_back(value(i + i / static_cast<std::int64_t>(values.size()) + n));
    }
    for (int repeats = 0; repeats < 4; ++repeats) {
      SCOPED_TRACE("n " + std::to_string(n) + " repeats " + std::to_string(repeats));
      const bool a_repeats = (repeats & 1) != 0, b_repeats = (repeats & 2) != 0;
      const auto expect = [&](Comparison comparison, auto truth) {
        const std::unique_ptr<bool[]> y(new bool[static_cast<std::size_t>(n) + 1]);
        for (const bool behind : {false, true}) {
          std::fill_n(y.get(), n + 1, behind);
          array_comparison(comparison, kType)(a.data(), a_repeats, b.data(), b_repeats, y.get(), n);
          for (std::int64_t i = 0; i < n; ++i) {
            const T left = a[static_cast<std::size_t>(a_repeats ? 0 : i)];
            const T right = b[static_cast<std::size_t>(b_repeats ? 0 : i)];
            ASSERT_EQ(y[static_cast<std::size_t>(i)], truth(left, right))
                << i << ": " << left << ", " << right;
          }
          ASSERT_EQ(y[static_cast<std::size_t>(n)], behind);
        }
      };
      expect(Comparison::equal, [](T l, T r) { return l == r; });
      expect(Comparison::less, [](T l, T r) { return l < r; });
      expect(Comparison::less_or_equal, [](T l, T r) { return l <= r; });
    }
  }
}

template <class T>
std::vector<T> limits() {
  using Limits = std::numeric_limits<T>;
  return {0, 1, static_cast<T>(-1), 7, Limits::lowest(), Limits::max(), Limits::max() / 2};
}

template <class T>
std::vector<T> floats() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values = limits<T>();
  values.insert(values.end(), {-T{0}, Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(),
                               Limits::denorm_min()});
  return values;
}

TEST(Compare, MatchesTheLanguage) {
  for_each_target([] {
    compare_all<DType::f32>(floats<float>());
    compare_all<DType::f64>(floats<double>());
    compare_all<DType::i32>(limits<std::int32_t>());
    compare_all<DType::i64>(limits<std::int64_t>());
    // Numbers that differ in either half alone.
    compare_all<DType::i64>(
        std::vector<std::int64_t>{5, 5 + (std::int64_t{1} << 32), 6, -5, -(std::int64_t{5} << 32)});
  });
}

TEST(Compare, KnowsNoOtherTypes) {
  for_each_target([] { EXPECT_EQ(array_comparison(Comparison::less, DType::u8), nullptr); });
}

}  // namespace
}  // namespace mezzo::kernels
