#include "kernels/gemm_f32.h"

#include <algorithm>

#include "kernels/gemm_bf16x3.h"
#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

struct Case {
  std::int64_t m, n, k;
};

// Ragged around the tiles of every target, blocks of k, vectors, and empty sums.
const Case kCases[] = {
    {1, 1, 1},      {1, 7, 5},     {1, 33, 64},   {1, 130, 300},  {7, 1, 30},    {29, 1, 513},
    {3, 5, 7},      {6, 16, 32},   {14, 32, 64},  {15, 33, 65},   {13, 31, 385}, {28, 64, 1},
    {5, 100, 900},  {64, 49, 256}, {100, 70, 80}, {129, 257, 97}, {2, 3, 0},     {17, 48, 770},
    {50, 2, 100},   {33, 3, 17},   {5, 4, 0},     {40, 7, 300},   {17, 8, 64},   {200, 300, 50},
    {2, 4000, 300}, {1, 2100, 70}, {2100, 1, 70},
};

constexpr std::int64_t kGap = 5;  // between rows of C

enum class Layout { row_major, column_major, gaps };
enum class Packing { none, a, b, both, b_in_parts };

struct Matrix {
  std::vector<float> memory;
  GemmOperand operand;
  float at(std::int64_t i, std::int64_t j) const {
    return memory[static_cast<std::size_t>(i * operand.row_stride + j * operand.col_stride)];
  }
};

Matrix make_matrix(std::int64_t rows, std::int64_t cols, Layout layout, std::uint32_t seed) {
  Matrix m;
  const std::int64_t column_step = layout == Layout::column_major ? rows + 3
                                   : layout == Layout::gaps       ? 2
                                                                  : 1;
  const std::int64_t row_step = layout == Layout::column_major ? 1 : cols * column_step + 1;
  // Exactly up to the last element, so that a sanitizer sees any read past it.
  m.memory = random_floats(
      rows * cols == 0 ? 0 : (rows - 1) * row_step + (cols - 1) * column_step + 1, seed);
  m.operand = {m.memory.data(), row_step, column_step, false};
  return m;
}

void check(const Case& c, Layout layout_a, Layout layout_b, Packing packing,
           const GemmEpilogue& epilogue, const std::string& what) {
  SCOPED_TRACE(what + " m=" + std::to_string(c.m) + " n=" + std::to_string(c.n) + " k=" +
               std::to_string(c.k) + " layouts " + std::to_string(static_cast<int>(layout_a)) +
               std::to_string(static_cast<int>(layout_b)) + " packing " +
               std::to_string(static_cast<int>(packing)));
  ThreadPool& pool = test_pool();
  const Matrix a = make_matrix(c.m, c.k, layout_a, 1), b = make_matrix(c.k, c.n, layout_b, 2);
  GemmOperand use_a = a.operand, use_b = b.operand;
  AlignedFloats packed_a(packed_a_bytes(c.m, c.k)), packed_b(packed_b_bytes(c.k, c.n));
  if (packing == Packing::a || packing == Packing::both) {
    pack_a(c.m, c.k, a.operand, packed_a.data(), pool);
    use_a = {packed_a.data(), 0, 0, true};
  }
  if (packing == Packing::b || packing == Packing::both) {
    pack_b(c.k, c.n, b.operand, packed_b.data(), pool);
    use_b = {packed_b.data(), 0, 0, true};
  }
  AlignedFloats parts_of_b(packed_b_bf16x3_bytes(c.k, c.n));
  if (packing == Packing::b_in_parts) {
    if (c.k == 0) return;
    pack_b_bf16x3(c.k, c.n, b.operand, parts_of_b.data(), pool);
    use_b = {parts_of_b.data(), 0, 0, true, true};
  }
  const std::int64_t ldc = c.n + kGap;
  std::vector<float> out(static_cast<std::size_t>(c.m * ldc), kUntouched);
  gemm(c.m, c.n, c.k, use_a, use_b, out.data(), ldc, epilogue, pool);

  for (std::int64_t i = 0; i < c.m; ++i) {
    for (std::int64_t j = 0; j < ldc; ++j) {
      const float got = out[static_cast<std::size_t>(i * ldc + j)];
      if (j >= c.n) {
        ASSERT_EQ(got, kUntouched) << "past the end of row " << i;
        continue;
      }
      double sum = 0, magnitudes = 0;
      for (std::int64_t p = 0; p < c.k; ++p) {
        const double product = static_cast<double>(a.at(i, p)) * b.at(p, j);
        sum += product;
        magnitudes += std::abs(product);
      }
      double start = 0;
      if (epilogue.row_bias != nullptr) start += epilogue.row_bias[i];
      if (epilogue.col_bias != nullptr) start += epilogue.col_bias[j];
      if (epilogue.add != nullptr) start += epilogue.add[i * epilogue.add_row_stride + j];
      const double expected = std::clamp<double>(epilogue.alpha * sum + epilogue.beta * start,
                                                 epilogue.min, epilogue.max);
      ASSERT_NEAR(
          got, expected,
          sum_tolerance(std::abs(epilogue.alpha) * magnitudes + std::abs(epilogue.beta * start)))
          << "at " << i << ", " << j;
    }
  }
}

TEST(GemmF32, EveryShapeLayoutAndPacking) {
  for_each_target([] {
    for (const Case& c : kCases) {
      for (Packing packing :
           {Packing::none, Packing::a, Packing::b, Packing::both, Packing::b_in_parts}) {
        check(c, Layout::row_major, Layout::row_major, packing, {}, "plain");
        check(c, Layout::row_major, Layout::column_major, packing, {}, "B transposed");
        check(c, Layout::column_major, Layout::row_major, packing, {}, "A transposed");
        if (c.m * c.n * c.k < 1000000) check(c, Layout::gaps, Layout::gaps, packing, {}, "strided");
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

// So deep that A is packed for some of its rows at a time.
TEST(GemmF32, RowsInChunks) {
  for_each_target([] {
    for (const Packing packing : {Packing::none, Packing::b})
      check({79, 33, 20001}, Layout::column_major, Layout::row_major, packing, {}, "deep");
  });
}

TEST(GemmF32, EpilogueInAllItsParts) {
  for_each_target([] {
    for (const Case& c : kCases) {
      if (c.m * c.n * c.k > 700000)
        continue;  // the reference is slow, and size changes nothing here
      const std::vector<float> row_bias = random_floats(c.m, 3), col_bias = random_floats(c.n, 4),
                               add = random_floats(c.m * (c.n + kGap), 5);
      for (int parts = 0; parts < 32; ++parts) {
        GemmEpilogue e;
        if ((parts & 1) != 0) e.row_bias = row_bias.data();
        if ((parts & 2) != 0) e.col_bias = col_bias.data();
        if ((parts & 4) != 0) {
          e.add = add.data();
          // Of rows that lie like C's it is added within tiles.
          e.add_row_stride = c.n + ((parts & 16) != 0 ? kGap : 2);
        }
        if ((parts & 8) != 0) {
          e.alpha = -1.5f;
          e.beta = 0.75f;
        }
        if ((parts & 16) != 0) {
          e.min = -0.25f;
          e.max = 0.5f;
        }
        check(c, Layout::row_major, Layout::row_major,
              parts % 3 == 0 ? Packing::both : Packing::none, e,
              "epilogue " + std::to_string(parts));
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(GemmF32, AddMayBeTheOutputItself) {
  for_each_target([] {
    for (const Case& c : kCases) {
      const std::vector<float> a = random_floats(c.m * c.k, 1), b = random_floats(c.k * c.n, 2),
                               before = random_floats(c.m * c.n, 3);
      std::vector<float> out = before, sums(before.size());
      gemm(c.m, c.n, c.k, {a.data(), c.k, 1}, {b.data(), c.n, 1}, sums.data(), c.n, {},
           test_pool());
      GemmEpilogue e;
      e.add = out.data();
      e.add_row_stride = c.n;
      gemm(c.m, c.n, c.k, {a.data(), c.k, 1}, {b.data(), c.n, 1}, out.data(), c.n, e, test_pool());
      for (std::size_t i = 0; i < out.size(); ++i)
        ASSERT_NEAR(out[i], sums[i] + before[i], 1e-4) << "at " << i;
    }
  });
}

TEST(GemmF32, NanAndInfinityReachTheirRowsAndColumnsOnly) {
  for_each_target([] {
    const std::int64_t m = 19, n = 37, k = 21;
    std::vector<float> a = random_floats(m * k, 1), b = random_floats(k * n, 2),
                       out(static_cast<std::size_t>(m * n));
    a[4 * k + 3] = std::nanf("");
    b[5 * n + 36] = std::numeric_limits<float>::infinity();
    GemmEpilogue e;
    e.min = 0;
    gemm(m, n, k, {a.data(), k, 1}, {b.data(), n, 1}, out.data(), n, e, test_pool());
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        const float v = out[static_cast<std::size_t>(i * n + j)];
        if (i == 4) {
          EXPECT_TRUE(std::isnan(v)) << i << ", " << j << " is " << v;
        } else if (j == 36) {
          EXPECT_EQ(v, a[static_cast<std::size_t>(i * k + 5)] > 0
                           ? std::numeric_limits<float>::infinity()
                           : 0.0f)
              << i;
        } else {
          EXPECT_TRUE(std::isfinite(v) && v >= 0) << i << ", " << j << " is " << v;
        }
      }
    }
  });
}

TEST(GemmF32, OneRepeatedRowAndColumn) {
  // Strides of zero: A's row and B's column stand for all.
  for_each_target([] {
    const std::int64_t m = 9, n = 40, k = 11;
    const std::vector<float> a = random_floats(k, 1), b = random_floats(k, 2);
    std::vector<float> out(static_cast<std::size_t>(m * n));
    gemm(m, n, k, {a.data(), 0, 1}, {b.data(), 1, 0}, out.data(), n, {}, test_pool());
    double expected = 0;
    for (std::size_t p = 0; p < static_cast<std::size_t>(k); ++p)
      expected += static_cast<double>(a[p]) * b[p];
    for (float v : out) ASSERT_NEAR(v, expected, 1e-5);
  });
}

}  // namespace
}  // namespace mezzo::kernels
