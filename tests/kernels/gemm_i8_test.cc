#include "kernels/gemm_i8.h"

#include <array>

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

struct Case {
  std::int64_t m, n, k;
};
const Case kCases[] = {{1, 1, 1},     {1, 40, 7},    {6, 32, 64}, {7, 33, 65},
                       {100, 17, 30}, {3, 130, 513}, {65, 65, 2}, {5, 9, 0},
                       {1, 150, 515}, {17, 20, 40},  {1, 70, 0}};

std::vector<std::uint8_t> random_bytes(std::int64_t n, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n));
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
  // The extremes, where a 16-bit intermediate would saturate.
  for (std::size_t i = 0; i < bytes.size(); i += 3) bytes[i] = i % 2 == 0 ? 0x80 : 0xff;
  return bytes;
}

int value(const std::vector<std::uint8_t>& bytes, bool is_signed, std::int64_t at) {
  const std::uint8_t b = bytes[static_cast<std::size_t>(at)];
  return is_signed ? static_cast<std::int8_t>(b) : b;
}

TEST(GemmI8, EverySignLayoutAndZeroPoint) {
  for_each_target([] {
    for (const Case& c : kCases) {
      for (int variant = 0; variant < 72; ++variant) {
        SCOPED_TRACE(std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) +
                     " variant " + std::to_string(variant));
        const std::vector<std::uint8_t> a = random_bytes(c.m * c.k, 1),
                                        b = random_bytes(c.k * c.n, 2);
        std::vector<std::int32_t> zeros_a, zeros_b;
        for (std::int64_t i = 0; i < c.m; ++i)
          zeros_a.push_back(static_cast<std::int32_t>(i * 7 % 100));
        for (std::int64_t j = 0; j < c.n; ++j)
          zeros_b.push_back(static_cast<std::int32_t>(j * 5 % 100));
        GemmI8Operand oa{a.data(), (variant & 1) != 0, c.k, 1},
            ob{b.data(), (variant & 2) != 0, c.n, 1};
        if ((variant & 4) != 0) oa = {a.data(), oa.is_signed, 1, c.m};
        if ((variant & 8) != 0) ob = {b.data(), ob.is_signed, 1, c.k};
        if ((variant & 16) != 0) {
          oa.zero_point = 20;
          ob.zero_point = ob.is_signed ? -28 : 28;
        }
        if ((variant & 32) != 0) {
          oa.zero_points = zeros_a.data();
          ob.zero_points = zeros_b.data();
        }
        // The last ones: uint8 around 128, and zero points at the ends of the types.
        if (variant >= 64) {
          oa.zero_points = ob.zero_points = nullptr;
          ob.zero_point = std::array{128, 255, 0, -128}[static_cast<std::size_t>(variant - 64) / 2];
          ob.is_signed = ob.zero_point < 0;
        }
        const std::int64_t ldc = c.n + 2;
        std::vector<std::int32_t> plain(static_cast<std::size_t>(c.m * ldc), -77);
        std::vector<std::int32_t> with_a = plain, with_b = plain;
        gemm_i8(c.m, c.n, c.k, oa, ob, plain.data(), ldc, test_pool());
        AlignedFloats memory_a(packed_a_i8_bytes(c.m, c.k) + 4);
        Packed memory_b;
        pack_a_i8(c.m, c.k, oa, memory_a.data(), test_pool());
        pack_b_i8(c.k, c.n, ob, memory_b.allocate(), test_pool());
        ASSERT_TRUE(memory_b.is_whole());
        GemmI8Operand ahead_a, ahead_b;
        ahead_a.data = memory_a.data();
        ahead_b.data = memory_b.data();
        ahead_a.packed = ahead_b.packed = true;
        gemm_i8(c.m, c.n, c.k, ahead_a, ob, with_a.data(), ldc, test_pool());
        gemm_i8(c.m, c.n, c.k, oa, ahead_b, with_b.data(), ldc, test_pool());
        for (std::int64_t i = 0; i < c.m; ++i) {
          for (std::int64_t j = 0; j < ldc; ++j) {
            std::int64_t expected = 0;
            for (std::int64_t p = 0; j < c.n && p < c.k; ++p) {
              std::int64_t u =
                  value(a, oa.is_signed, i * oa.row_stride + p * oa.col_stride) - oa.zero_point;
              std::int64_t v =
                  value(b, ob.is_signed, p * ob.row_stride + j * ob.col_stride) - ob.zero_point;
              if (oa.zero_points != nullptr) u -= zeros_a[static_cast<std::size_t>(i)];
              if (ob.zero_points != nullptr) v -= zeros_b[static_cast<std::size_t>(j)];
              expected += u * v;
            }
            if (j >= c.n) expected = -77;
            ASSERT_EQ(plain[static_cast<std::size_t>(i * ldc + j)], expected) << i << ", " << j;
            ASSERT_EQ(with_a[static_cast<std::size_t>(i * ldc + j)], expected)
                << i << ", " << j << ", A packed";
            ASSERT_EQ(with_b[static_cast<std::size_t>(i * ldc + j)], expected)
                << i << ", " << j << ", B packed";
          }
        }
      }
    }
  });
}

// All that packing parts from weights has room, and no sum on the way is too large: of the largest
// bytes, and of weights of which the most is parted, in every second step, in all, in turns of
// sign.
TEST(GemmI8, LargestNumbers) {
  for_each_target([] {
    const std::int64_t n = 19;
    for (const std::int64_t k : {6, 32, 37}) {
      for (const std::int32_t zero : {-128, 0, 127}) {
        for (int pattern = 0; pattern < 5; ++pattern) {
          SCOPED_TRACE(std::to_string(k) + ", zero point " + std::to_string(zero) + ", pattern " +
                       std::to_string(pattern));
          std::vector<std::int8_t> b;
          for (std::int64_t i = 0; i < k * n; ++i) {
            const std::int64_t p = i / n;
            const bool high[] = {true, false, p % 2 == 0, p / 4 % 2 == 0, p % 8 < 5};
            b.push_back(high[pattern] ? 127 : -128);
          }
          const std::vector<std::uint8_t> a(static_cast<std::size_t>(5 * k), 255);
          const GemmI8Operand ob{b.data(), true, n, 1, zero};
          Packed packed;
          pack_b_i8(k, n, ob, packed.allocate(), test_pool());
          ASSERT_TRUE(packed.is_whole());
          // Eight times each weight is enough for the largest, and what is parted besides is less.
          ASSERT_LE(packed.bytes(), 64 + 32 * (4 + 9 * (k + 8)));
          GemmI8Operand ahead;
          ahead.data = packed.data();
          ahead.packed = true;
          for (const std::int64_t m : {1, 5}) {
            std::vector<std::int32_t> c(static_cast<std::size_t>(m * n));
            gemm_i8(m, n, k, {a.data(), false, k, 1}, ahead, c.data(), n, test_pool());
            for (std::int64_t i = 0; i < m * n; ++i) {
              std::int32_t sum = 0;
              for (std::int64_t p = 0; p < k; ++p)
                sum += 255 * (b[static_cast<std::size_t>(p * n + i % n)] - zero);
              ASSERT_EQ(c[static_cast<std::size_t>(i)], sum) << m << ", " << i;
            }
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
