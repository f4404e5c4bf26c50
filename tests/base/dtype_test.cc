#include "mezzo/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>

#include "base/convert.h"
#include "mezzo/error.h"

namespace mezzo {
namespace {

TEST(DType, NamesAreNumPysAndLeadBack) {
  EXPECT_EQ(name_of(DType::f32), "float32");
  EXPECT_EQ(name_of(DType::f64), "float64");
  EXPECT_EQ(name_of(DType::boolean), "bool");
  EXPECT_EQ(name_of(DType::bf16), "bfloat16");
  EXPECT_EQ(name_of(DType::f8e4m3fn), "float8_e4m3fn");
  EXPECT_EQ(name_of(DType::f6e3m2), "float6_e3m2fn");
  EXPECT_EQ(onnx_name_of(DType::f32), "tensor(float)");
  EXPECT_EQ(onnx_name_of(DType::f64), "tensor(double)");
  EXPECT_EQ(onnx_name_of(DType::f6e2m3), "tensor(float6e2m3)");
  std::set<std::string_view> names;
  for (int i = 1; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_TRUE(names.insert(name_of(dtype)).second) << name_of(dtype);
    EXPECT_EQ(dtype_from_name(name_of(dtype)), dtype);
    EXPECT_EQ(dtype_from_name(onnx_name_of(dtype)), dtype);
  }
  EXPECT_EQ(dtype_from_name("double"), DType::f64);
  for (const char* name : {"", "float33", "tensor(", "undefined", "Float32", "tensor(undefined)"}) {
    EXPECT_EQ(dtype_from_name(name), DType::undefined) << name;
  }
}

TEST(DType, NumbersAreThoseOfTheSpec) {
  EXPECT_EQ(static_cast<int>(DType::string), 8);
  EXPECT_EQ(static_cast<int>(DType::f64), 11);
  EXPECT_EQ(static_cast<int>(DType::f8e5m2fnuz), 20);
  EXPECT_EQ(static_cast<int>(DType::f8e8m0), 24);
  EXPECT_EQ(static_cast<int>(DType::f6e3m2), kDTypeCount - 1);
}

TEST(DType, BytesOfPackedTypesAreRoundedUp) {
  EXPECT_EQ(bytes_of(DType::f32, 3), 12U);
  EXPECT_EQ(bytes_of(DType::c128, 2), 32U);
  EXPECT_EQ(bytes_of(DType::i4, 0), 0U);
  EXPECT_EQ(bytes_of(DType::i4, 1), 1U);
  EXPECT_EQ(bytes_of(DType::f4e2m1, 5), 3U);
  EXPECT_EQ(bytes_of(DType::u2, 4), 1U);
  EXPECT_EQ(bytes_of(DType::u2, 5), 2U);
  EXPECT_EQ(bytes_of(DType::f6e2m3, 5), 5U);
  EXPECT_EQ(bytes_of(DType::string, 2), 2 * sizeof(std::string));
  EXPECT_EQ(bytes_of(DType::undefined, 7), 0U);
  EXPECT_EQ(bytes_of(static_cast<DType>(200), 7), 0U);
}

// Every half there is: IEEE 754's formula in double arithmetic.
TEST(DType, EveryHalfWidensExactlyAndComesBack) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const Half half{static_cast<std::uint16_t>(bits)};
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const double fraction = static_cast<double>(bits & 1023) / 1024;
    const double magnitude = exponent == 0    ? std::ldexp(fraction, -14)
                             : exponent == 31 ? std::numeric_limits<double>::infinity()
                                              : std::ldexp(1 + fraction, exponent - 15);
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(to_float(half)));
      EXPECT_TRUE(std::isnan(to_float(to_half(to_float(half)))));
      continue;
    }
    ASSERT_EQ(to_float(half), (bits >> 15) != 0 ? -magnitude : magnitude) << bits;
    ASSERT_EQ(to_half(to_float(half)).bits, bits);
  }
}

TEST(DType, HalvesRoundToTheNearestEven) {
  EXPECT_EQ(to_half(65519.996F).bits, 0x7BFF);
  EXPECT_EQ(to_half(65520.0F).bits, 0x7C00);
  EXPECT_EQ(to_half(1 + 0x1p-11F).bits, 0x3C00);
  EXPECT_EQ(to_half(1 + 0x1.8p-10F).bits, 0x3C02);
  EXPECT_EQ(to_half(0x1p-25F).bits, 0);  // half of the smallest
  EXPECT_EQ(to_half(0x1.000002p-25F).bits, 1);
  EXPECT_EQ(to_half(-0.0F).bits, 0x8000);
}

TEST(DType, BFloat16RoundsToTheNearestEven) {
  EXPECT_EQ(to_bfloat16(1 + 0x1p-8F).bits, 0x3F80);
  EXPECT_EQ(to_bfloat16(1 + 0x1.8p-7F).bits, 0x3F82);
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()).bits, 0x7F80);
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::nanf("1")))));
  EXPECT_EQ(to_float(BFloat16{0xC040}), -3.0F);
}

TEST(DType, PackedElementsStandFromTheLowestBits) {
  std::uint8_t bytes[2] = {0x21, 0xF8};
  EXPECT_EQ(read_packed(DType::u4, bytes, 0), 1);
  EXPECT_EQ(read_packed(DType::u4, bytes, 1), 2);
  EXPECT_EQ(read_packed(DType::i4, bytes, 2), -8);
  EXPECT_EQ(read_packed(DType::i4, bytes, 3), -1);
  EXPECT_EQ(read_packed(DType::u2, bytes, 4), 0);
  EXPECT_EQ(read_packed(DType::i2, bytes, 5), -2);
  write_packed(DType::i4, bytes, 1, -3);
  EXPECT_EQ(bytes[0], 0xD1);
  write_packed(DType::u2, bytes, 7, 0);
  EXPECT_EQ(bytes[1], 0x38);
}

TEST(DType, WhatIsNoNumberIsNotConverted) {
  const float one = 1;
  double out = 0;
  for (const DType to : {DType::string, DType::undefined, DType::c64, DType::c128}) {
    EXPECT_THROW(convert(DType::f32, &one, to, &out, 1), Error);
  }
  const Complex64 pair{1, -2};
  Complex64 copy;
  convert(DType::c64, &pair, DType::c64, &copy, 1);
  EXPECT_EQ(copy.im, -2);
}

}  // namespace
}  // namespace mezzo
