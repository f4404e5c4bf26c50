#include "kernels/gemm_nbits_f32.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

// B' as a model stores it, and its panels.
struct Problem {
  NbitsMatrix b;
  std::vector<std::uint8_t> rows;    // [n, blocks, block * bits / 8]
  std::vector<float> scales, zeros;  // [n, blocks]
  std::vector<std::uint32_t> words;
  std::vector<float> scale_panels, zero_panels;

  Problem(std::int64_t n, std::int64_t k, std::int64_t block, int bits, bool with_zeros) {
    b.n = n;
    b.k = k;
    b.block = block;
    b.bits = bits;
    rows.resize(static_cast<std::size_t>(n * b.blocks() * block * bits / 8));
    for (std::size_t i = 0; i < rows.size(); ++i)
      rows[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);
    scales = random_floats(n * b.blocks(), 1, 0.5, 2);
    const auto panels = static_cast<std::size_t>(b.panels() * b.blocks() * kNbitsPanel);
    words.resize(panels * static_cast<std::size_t>(b.words_of_block()));
    scale_panels.resize(panels);
    pack_nbits(b, rows.data(), words.data());
    pack_nbits(b, scales.data(), scale_panels.data());
    b.words = words.data();
    b.scales = scale_panels.data();
    if (!with_zeros) return;
    zeros = random_floats(n * b.blocks(), 2, 0, static_cast<float>(1 << bits));
    zero_panels.resize(panels);
    pack_nbits(b, zeros.data(), zero_panels.data());
    b.zeros = zero_panels.data();
  }

  double element(std::int64_t p, std::int64_t j) const {
    const std::int64_t block = j * b.blocks() + p / b.block,
                       bit = (block * b.block + p % b.block) * b.bits;
    const int q = rows[static_cast<std::size_t>(bit / 8)] >> (bit % 8) & ((1 << b.bits) - 1);
    const auto at = static_cast<std::size_t>(block);
    const double zero = zeros.empty() ? 1 << (b.bits - 1) : static_cast<double>(zeros[at]);
    return (q - zero) * static_cast<double>(scales[at]);
  }

  // By how much element (row, j) may be off where each row is rounded to bytes in blocks.
  double rounding(const float* row, std::int64_t j) const {
    double bound = 0;
    for (std::int64_t p = 0; p < b.k;) {
      double largest = 0, weights = 0;
      for (const std::int64_t end = std::min(b.k, p + b.block); p < end; ++p) {
        largest = std::max(largest, std::abs(static_cast<double>(row[p])));
        weights += std::abs(element(p, j));
      }
      bound += largest / 254 * weights;
    }
    return bound;
  }

  void check(std::int64_t m, bool with_bias, bool in_bytes = false) const {
    const std::vector<float> a = random_floats(m * b.k, 3), bias = random_floats(b.n, 4);
    std::vector<float> c(static_cast<std::size_t>(m * b.n + 1), kUntouched);
    (in_bytes ? gemm_nbits_i8 : gemm_nbits)(m, a.data(), b, with_bias ? bias.data() : nullptr,
                                            c.data(), test_pool());
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < b.n; ++j) {
        double sum = with_bias ? static_cast<double>(bias[static_cast<std::size_t>(j)]) : 0,
               size = 1;
        for (std::int64_t p = 0; p < b.k; ++p) {
          const double x = a[static_cast<std::size_t>(i * b.k + p)];
          sum += x * element(p, j);
          size += std::abs(x) * (1 << b.bits);
        }
        const double bound = in_bytes ? rounding(a.data() + i * b.k, j) : 0;
        ASSERT_NEAR(c[static_cast<std::size_t>(i * b.n + j)], sum, 1e-6 * size + bound)
            << i << ", " << j;
      }
    }
    ASSERT_EQ(c.back(), kUntouched);
  }
};

TEST(GemmNbitsF32, RaggedSizes) {
  for_each_target([] {
    for (const int bits : {2, 4, 8}) {
      for (const std::int64_t block : {16, 32, 128}) {
        for (const auto& [n, k] :
             {std::pair<int, int>{1, 16}, {7, 5}, {32, 64}, {33, 300}, {97, 129}, {70, 520}}) {
          for (const bool with_zeros : {false, true}) {
            const Problem problem(n, k, block, bits, with_zeros);
            for (const std::int64_t m : {1, 2, 3, 4, 6, 8, 9, 21}) {
              SCOPED_TRACE("bits " + std::to_string(bits) + " block " + std::to_string(block) +
                           " n " + std::to_string(n) + " k " + std::to_string(k) + " m " +
                           std::to_string(m));
              problem.check(m, m % 2 == 1);
              if (has_gemm_nbits_i8(problem.b)) problem.check(m, m % 2 == 0, true);
            }
          }
        }
      }
    }
  });
}

// Whole numbers up to 127 are bytes as they are: then nothing is rounded but the sums.
TEST(GemmNbitsI8, ExactWhereBytesAre) {
  for_each_target([] {
    const Problem problem(40, 96, 32, 4, false);
    if (!has_gemm_nbits_i8(problem.b)) return;
    std::vector<float> a(96), exact(40), c(40);
    for (std::size_t p = 0; p < a.size(); ++p)
      a[p] = static_cast<float>(p % 32 == 5 ? 127 : static_cast<int>(p * 37 % 255) - 127);
    gemm_nbits(1, a.data(), problem.b, nullptr, exact.data(), test_pool());
    gemm_nbits_i8(1, a.data(), problem.b, nullptr, c.data(), test_pool());
    for (std::size_t j = 0; j < c.size(); ++j) ASSERT_NEAR(c[j], exact[j], 0.05) << j;
  });
}

// The largest products, all of one sign.
TEST(GemmNbitsI8, SumsOfTheLargest) {
  for_each_target([] {
    Problem problem(32, 256, 128, 4, true);
    if (!has_gemm_nbits_i8(problem.b)) return;
    std::fill(problem.rows.begin(), problem.rows.end(), std::uint8_t{0xff});
    pack_nbits(problem.b, problem.rows.data(), problem.words.data());
    for (const float x : {1.0F, -1.0F}) {
      const std::vector<float> a(256, x);
      std::vector<float> c(32);
      gemm_nbits_i8(1, a.data(), problem.b, nullptr, c.data(), test_pool());
      for (std::int64_t j = 0; j < 32; ++j) {
        double sum = 0;
        for (std::int64_t p = 0; p < 256; ++p) sum += x * problem.element(p, j);
        ASSERT_NEAR(c[static_cast<std::size_t>(j)], sum, 1e-5 * std::abs(sum)) << j;
      }
    }
  });
}

TEST(GemmNbitsI8, WhatIsNotFinite) {
  for_each_target([] {
    const Problem problem(40, 96, 32, 4, true);
    if (!has_gemm_nbits_i8(problem.b)) return;
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> a(2 * 96, 0.0F), c(2 * 40);
      a[70] = bad;
      gemm_nbits_i8(2, a.data(), problem.b, nullptr, c.data(), test_pool());
      for (std::size_t j = 0; j < 40; ++j) {
        ASSERT_TRUE(std::isnan(c[j])) << j;
        ASSERT_EQ(c[40 + j], 0) << j;
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
