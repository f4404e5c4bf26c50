#include "store/npy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mezzo/error.h"
#include "store/npy_header.h"
#include "store/utf8.h"

namespace mezzo::store {
namespace {

ErrorCode code_of(const std::string& bytes, DType expected = DType::undefined) {
  try {
    decode_npy(bytes, expected);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no Error";
  return ErrorCode::internal;
}

// np.save(file, np.array([[1, 2, 3], [4, 5, 6]], dtype, order)), NumPy 2.4.
std::string file_of(const std::string& descr, bool fortran, const std::string& shape,
                    const std::string& data) {
  std::string text = "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
                     ", 'shape': " + shape + ", }";
  text.append(117 - text.size(), ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + text + '\n' + data;
}

std::string encoded(const Tensor& tensor) {
  const NpyEncoding encoding = encode_npy(tensor);
  return encoding.header + std::string(encoding.data);
}

TEST(Npy, WritesTheBytesThatNumPyWrites) {
  const Tensor tensor = Tensor::of<std::int16_t>({2, 3}, {1, 2, 3, 4, 5, -2});
  EXPECT_EQ(encoded(tensor),
            file_of("<i2", false, "(2, 3)", std::string("\1\0\2\0\3\0\4\0\5\0\xFE\xFF", 12)));
}

TEST(Npy, WritesShapesAsPythonTuples) {
  EXPECT_EQ(encoded(Tensor::scalar<std::uint8_t>(7)), file_of("|u1", false, "()", "\7"));
  EXPECT_EQ(encoded(Tensor::of<std::uint8_t>({1}, {7})), file_of("|u1", false, "(1,)", "\7"));
  EXPECT_EQ(encoded(Tensor(DType::u8, {0, 2})), file_of("|u1", false, "(0, 2)", ""));
}

TEST(Npy, ReadsColumnMajorElements) {
  const Tensor tensor = decode_npy(file_of("|i1", true, "(2, 3)", "\1\4\2\5\3\6"));
  EXPECT_EQ(tensor.shape(), (Shape{2, 3}));
  const std::vector<std::int8_t> expected = {1, 2, 3, 4, 5, 6};
  EXPECT_TRUE(std::ranges::equal(tensor.values<std::int8_t>(), expected));
}

TEST(Npy, ReadsBigEndianElements) {
  const Tensor tensor = decode_npy(file_of(">f4", false, "(1,)", std::string("\x3F\x80\0\0", 4)));
  EXPECT_EQ(tensor.values<float>()[0], 1.0f);
}

TEST(Npy, MakesBoolsOfAnyBytes) {
  const Tensor tensor = decode_npy(file_of("|b1", false, "(3,)", std::string("\0\2\xFF", 3)));
  const auto* bytes = static_cast<const unsigned char*>(tensor.data());
  EXPECT_EQ(bytes[0], 0);
  EXPECT_EQ(bytes[1], 1);
  EXPECT_EQ(bytes[2], 1);
}

TEST(Npy, PacksInt4LowHalfFirst) {
  const std::string file = file_of("|i1", false, "(3,)", "\7\xF8\xFF");
  const Tensor tensor = decode_npy(file, DType::i4);
  ASSERT_EQ(tensor.dtype(), DType::i4);
  const auto* bytes = static_cast<const unsigned char*>(tensor.data());
  EXPECT_EQ(bytes[0], 0x87);  // 7, then -8
  EXPECT_EQ(bytes[1], 0x0F);  // -1 and nothing
  EXPECT_EQ(encoded(tensor), file);
}

TEST(Npy, RawBytesNeedTheCallersType) {
  const std::string file = file_of("<V2", false, "(1,)", "\x80\x3F");
  const Tensor tensor = decode_npy(file, DType::bf16);
  EXPECT_EQ(tensor.values<BFloat16>()[0].bits, 0x3F80);
  EXPECT_EQ(code_of(file), ErrorCode::unsupported);
  EXPECT_EQ(code_of(file, DType::f32), ErrorCode::invalid_argument);
}

TEST(Npy, KeepsTheFilesTypeWhereItSaysOne) {
  EXPECT_EQ(decode_npy(file_of("<i2", false, "(1,)", "\1\1"), DType::bf16).dtype(), DType::i16);
}

TEST(Npy, StringsAreUtf8) {
  const Tensor tensor = Tensor::of<std::string>({2}, {"\xC3\xA9", "ab"});
  EXPECT_EQ(encoded(tensor),
            file_of("<U2", false, "(2,)", std::string("\xE9\0\0\0\0\0\0\0a\0\0\0b\0\0\0", 16)));
  const Tensor decoded = decode_npy(encoded(tensor));
  EXPECT_EQ(decoded.values<std::string>()[0], "\xC3\xA9");
  EXPECT_EQ(decoded.values<std::string>()[1], "ab");
}

TEST(Npy, RefusesStringsThatTheFormatWouldCut) {
  EXPECT_THROW(encode_npy(Tensor::of<std::string>({1}, {std::string("a\0", 2)})), Error);
  EXPECT_THROW(encode_npy(Tensor()), Error);
}

TEST(Npy, SaysWhatKindOfErrorItIs) {
  EXPECT_EQ(code_of(""), ErrorCode::file_error);
  EXPECT_EQ(code_of("\x93NUMPY\x01"), ErrorCode::file_error);
  EXPECT_EQ(code_of(std::string("\x93NUMPY\x04\0\0\0", 10)), ErrorCode::unsupported);
  EXPECT_EQ(code_of(file_of("<f4", false, "(2,)", "1234567")), ErrorCode::file_error);
  EXPECT_EQ(code_of(file_of("|O", false, "(1,)", "")), ErrorCode::unsupported);
  EXPECT_EQ(code_of(file_of("<f4", false, "(4294967296, 4294967296)", "")), ErrorCode::limit);
}

TEST(Npy, WritesAFileWholeOrNotAtAll) {
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / "mezzo_npy_test.npy";
  const Tensor tensor = Tensor::of<float>({3}, {1, 2, 3});
  write_npy(path.string(), tensor);
  const Tensor read = read_npy(path.string());
  EXPECT_TRUE(std::ranges::equal(read.values<float>(), tensor.values<float>()));
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".partial"));
  std::filesystem::remove(path);
  EXPECT_THROW(write_npy((path / "no/such/folder.npy").string(), tensor), Error);
  EXPECT_THROW(read_npy(path.string()), Error);
}

TEST(NpyHeader, LongShapesNeedVersion2) {
  const std::string header = make_npy_header("<f4", Shape(8000, 1000000));
  EXPECT_EQ(header[6], 2);
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(header.back(), '\n');
  EXPECT_EQ(make_npy_header("<f4", Shape(64, INT64_MAX))[6], 1);
}

TEST(Utf8, KnowsTheRange) {
  EXPECT_EQ(to_utf32("\xF4\x8F\xBF\xBF"), std::u32string(1, 0x10FFFF));
  EXPECT_EQ(to_utf32("\xEF\xBF\xBF"), std::u32string(1, 0xFFFF));
  EXPECT_FALSE(to_utf32("\xF4\x90\x80\x80"));
  EXPECT_FALSE(to_utf32("\xC0\xAF"));
  EXPECT_FALSE(to_utf32("\xED\xBF\xBF"));
  EXPECT_FALSE(to_utf32("\xE2\x82"));
  std::string text;
  for (const char32_t code : {U'a', U'\u00DF', U'\u20AC', U'\U0001F408'}) append_utf8(text, code);
  EXPECT_EQ(text, "a\xC3\x9F\xE2\x82\xAC\xF0\x9F\x90\x88");
}

TEST(Utf8, QuotesWhatIsNoText) {
  EXPECT_EQ(quoted("caf\xC3\xA9"), "'caf\xC3\xA9'");
  EXPECT_EQ(quoted("a\n\xFF\xC3\xA9"), "'a\\x0a\\xff\\xc3\\xa9'");
}

}  // namespace
}  // namespace mezzo::store
