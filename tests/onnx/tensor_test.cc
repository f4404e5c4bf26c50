// TensorProto in every encoding. Bit patterns are those of the spec's own examples (onnx.proto,
// TensorProto) and of IEEE 754.
#include <gtest/gtest.h>

#include <limits>

#include "bytes.h"

namespace mezzo::onnx {
namespace {

// TensorProto.DataType.
enum : std::int32_t {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBfloat16 = 16,
  kFloat8e4m3fn = 17,
  kUint4 = 21,
  kInt4 = 22,
  kFloat4e2m1 = 23,
  kFloat8e8m0 = 24,
  kUint2 = 25,
  kInt2 = 26,
  kFloat6e2m3 = 27,
  kFloat6e3m2 = 28
};

std::string packed_int32(std::initializer_list<std::int32_t> values) {
  return message([&](Writer& w) { w.add_packed_int32(5, values.begin(), values.end()); });
}

TEST(ReadTensor, RawDataIsAViewOfTheGivenMemory) {
  const std::string bytes = model_with_graph(graph_with_initializer(
      tensor_header({2, 2}, kFloat) + raw_field(raw<float>({1, 2, 3, -4.5F}))));
  const Model model = read_memory(bytes.data(), bytes.size());
  const Tensor& tensor = model.graph.initializers.at(0).tensor;
  EXPECT_EQ(tensor.shape(), (Shape{2, 2}));
  EXPECT_EQ(values_of<float>(tensor), (std::vector<float>{1, 2, 3, -4.5F}));
  const auto* data = static_cast<const char*>(tensor.data());
  EXPECT_GE(data, bytes.data());
  EXPECT_LE(data + tensor.bytes(), bytes.data() + bytes.size());
  EXPECT_FALSE(tensor.owns_data());
}

TEST(ReadTensor, TensorsKeepTheOwnerAlive) {
  NamedTensor tensor;
  { tensor = read_one(tensor_header({3}, kInt16) + raw_field(raw<std::int16_t>({1, -2, 300}))); }
  EXPECT_EQ(values_of<std::int16_t>(tensor.tensor), (std::vector<std::int16_t>{1, -2, 300}));
  EXPECT_TRUE(tensor.tensor.owns_data());
}

TEST(ReadTensor, NameDocumentationAndMetadata) {
  const NamedTensor tensor =
      read_one(tensor_header({}, kUint8, "scale") + raw_field("\x07") + message([](Writer& w) {
                 w.add_string(12, "why");
                 w.add_message(16, entry("k", "v"));
               }));
  EXPECT_EQ(tensor.name, "scale");
  EXPECT_EQ(tensor.doc_string, "why");
  EXPECT_EQ(tensor.metadata, (StringPairs{{"k", "v"}}));
  EXPECT_EQ(tensor.tensor.rank(), 0);
  EXPECT_EQ(values_of<std::uint8_t>(tensor.tensor), (std::vector<std::uint8_t>{7}));
}

TEST(ReadTensor, DimsMayBePacked) {
  const std::vector<std::int64_t> dims = {2, 1};
  const NamedTensor tensor = read_one(message([&](Writer& w) {
    w.add_packed_int64(1, dims.begin(), dims.end());
    w.add_int32(2, kUint8);
    w.add_bytes(9, "ab");
  }));
  EXPECT_EQ(tensor.tensor.shape(), dims);
}

TEST(ReadTensor, FloatDataPackedUnpackedAndInPieces) {
  const std::vector<float> a = {1, 2}, b = {3};
  const std::vector<float> all = {1, 2, 3};
  const std::string header = tensor_header({3}, kFloat);
  const std::string packed =
      message([&](Writer& w) { w.add_packed_float(4, all.begin(), all.end()); });
  const std::string pieces = message([&](Writer& w) {
    w.add_packed_float(4, a.begin(), a.end());
    w.add_packed_float(4, b.begin(), b.end());
  });
  const std::string mixed = message([&](Writer& w) {
    w.add_float(4, 1);
    w.add_float(4, 2);
    w.add_packed_float(4, b.begin(), b.end());
  });
  for (const std::string& data : {packed, pieces, mixed}) {
    EXPECT_EQ(values_of<float>(read_one(header + data).tensor), all);
    EXPECT_EQ(values_of<float>(read_one(data + header).tensor), all) << "data before dims";
  }
}

TEST(ReadTensor, PackedFloatsAreNotCopied) {
  const std::vector<float> values = {1, 2, 3};
  const std::string bytes =
      model_with_graph(graph_with_initializer(tensor_header({3}, kFloat) + message([&](Writer& w) {
                                                w.add_packed_float(4, values.begin(), values.end());
                                              })));
  const Model model = read_memory(bytes.data(), bytes.size());
  const auto* data = static_cast<const char*>(model.graph.initializers.at(0).tensor.data());
  EXPECT_TRUE(data > bytes.data() && data < bytes.data() + bytes.size());
}

TEST(ReadTensor, DoubleAndComplexData) {
  const std::vector<double> doubles = {0.1, -2, 1e300, 4};
  const std::string double_data =
      message([&](Writer& w) { w.add_packed_double(10, doubles.begin(), doubles.end()); });
  EXPECT_EQ(values_of<double>(read_one(tensor_header({4}, kDouble) + double_data).tensor), doubles);
  const auto c128 =
      values_of<Complex128>(read_one(tensor_header({2}, kComplex128) + double_data).tensor);
  EXPECT_EQ(c128[1].re, 1e300);
  EXPECT_EQ(c128[1].im, 4);
  const std::string float_data = message([&](Writer& w) {
    for (const float value : {1.F, 2.F, 3.F, 4.F}) w.add_float(4, value);
  });
  const auto c64 =
      values_of<Complex64>(read_one(tensor_header({2}, kComplex64) + float_data).tensor);
  EXPECT_EQ(c64[0].im, 2);
  EXPECT_EQ(c64[1].re, 3);
}

TEST(ReadTensor, IntegerData) {
  const std::vector<std::int64_t> i64 = {-1, std::numeric_limits<std::int64_t>::min(), 7};
  for (const bool is_packed : {true, false}) {
    const std::string data = message([&](Writer& w) {
      if (is_packed) w.add_packed_int64(7, i64.begin(), i64.end());
      if (!is_packed) {
        for (const std::int64_t value : i64) w.add_int64(7, value);
      }
    });
    EXPECT_EQ(values_of<std::int64_t>(read_one(tensor_header({3}, kInt64) + data).tensor), i64);
  }
  const std::vector<std::uint64_t> u64 = {std::numeric_limits<std::uint64_t>::max(), 1};
  EXPECT_EQ(values_of<std::uint64_t>(read_one(tensor_header({2}, kUint64) + message([&](Writer& w) {
                                                w.add_packed_uint64(11, u64.begin(), u64.end());
                                              }))
                                         .tensor),
            u64);
  const std::vector<std::uint64_t> u32 = {4294967295U, 5};
  EXPECT_EQ(values_of<std::uint32_t>(read_one(tensor_header({2}, kUint32) + message([&](Writer& w) {
                                                w.add_packed_uint64(11, u32.begin(), u32.end());
                                              }))
                                         .tensor),
            (std::vector<std::uint32_t>{4294967295U, 5}));
}

TEST(ReadTensor, Int32DataOfEveryType) {
  const auto bytes = [](std::int32_t type, std::initializer_list<std::int64_t> dims,
                        std::initializer_list<std::int32_t> values) {
    return bytes_of_tensor(read_one(tensor_header(dims, type) + packed_int32(values)).tensor);
  };
  using Bytes = std::vector<std::uint8_t>;
  EXPECT_EQ(bytes(kInt32, {2}, {-2, 0x01020304}), (Bytes{0xFE, 0xFF, 0xFF, 0xFF, 4, 3, 2, 1}));
  EXPECT_EQ(bytes(kInt16, {2}, {-2, 0x0102}), (Bytes{0xFE, 0xFF, 2, 1}));
  EXPECT_EQ(bytes(kUint16, {2}, {65535, 1}), (Bytes{0xFF, 0xFF, 1, 0}));
  EXPECT_EQ(bytes(kInt8, {3}, {-128, -1, 127}), (Bytes{0x80, 0xFF, 0x7F}));
  EXPECT_EQ(bytes(kUint8, {2}, {0, 255}), (Bytes{0, 255}));
  EXPECT_EQ(bytes(kBool, {3}, {0, 1, 2}), (Bytes{0, 1, 1}));
  EXPECT_EQ(bytes(kFloat16, {2}, {0x3C00, 0xC000}), (Bytes{0x00, 0x3C, 0x00, 0xC0}));
  EXPECT_EQ(bytes(kBfloat16, {1}, {0x3F80}), (Bytes{0x80, 0x3F}));
  EXPECT_EQ(bytes(kFloat8e4m3fn, {2}, {0x38, 0xB8}), (Bytes{0x38, 0xB8}));
  EXPECT_EQ(bytes(kFloat8e8m0, {1}, {127}), (Bytes{127}));
  // Packed types: an int32 holds a byte of two or four elements.
  EXPECT_EQ(bytes(kUint4, {3}, {0x21, 0x03}), (Bytes{0x21, 0x03}));
  EXPECT_EQ(bytes(kInt4, {2}, {0x8F}), (Bytes{0x8F}));
  EXPECT_EQ(bytes(kFloat4e2m1, {5}, {1, 2, 3}), (Bytes{1, 2, 3}));
  EXPECT_EQ(bytes(kUint2, {5}, {0xE4, 0x03}), (Bytes{0xE4, 0x03}));
  EXPECT_EQ(bytes(kInt2, {4}, {0xE4}), (Bytes{0xE4}));
}

TEST(ReadTensor, UnpackedInt32Data) {
  const NamedTensor tensor = read_one(tensor_header({2}, kInt8) + message([](Writer& w) {
                                        w.add_int32(5, -3);
                                        w.add_int32(5, 4);
                                      }));
  EXPECT_EQ(values_of<std::int8_t>(tensor.tensor), (std::vector<std::int8_t>{-3, 4}));
}

TEST(ReadTensor, RawBytesThatArePackedElements) {
  EXPECT_EQ(read_one(tensor_header({5}, kInt4) + raw_field("abc")).tensor.bytes(), 3U);
  EXPECT_EQ(read_one(tensor_header({5}, kUint2) + raw_field("ab")).tensor.bytes(), 2U);
}

// onnx.proto: byte0 = x0 | ((x1 & 0x3) << 6); byte1 = (x1 >> 2) | ((x2 & 0xF) << 4); byte2 = (x2 >>
// 4) | (x3 << 2); the last group is filled up with zeros.
TEST(ReadTensor, SixBitFloatsAreUnpacked) {
  const std::vector<std::uint8_t> elements = {0x01, 0x3F, 0x2A, 0x15, 0x3E};
  const std::string packed("\xC1\xAF\x56\x3E", 4);
  for (const std::int32_t type : {kFloat6e2m3, kFloat6e3m2}) {
    for (std::size_t count = 0; count <= elements.size(); ++count) {
      const std::size_t length = (6 * count + 7) / 8;
      std::string bytes = packed.substr(0, length);
      if (count % 4 == 2) bytes.back() = '\x0F';  // without x2
      if (count % 4 == 3) bytes.back() = '\x02';  // without x3
      if (count == 1) bytes = "\x01";
      const auto n = static_cast<std::int64_t>(count);
      EXPECT_EQ(bytes_of_tensor(read_one(tensor_header({n}, type) + raw_field(bytes)).tensor),
                std::vector<std::uint8_t>(elements.begin(),
                                          elements.begin() + static_cast<std::ptrdiff_t>(count)));
    }
    const auto typed = read_one(tensor_header({2}, type) + packed_int32({0x3F, 0})).tensor;
    EXPECT_EQ(bytes_of_tensor(typed), (std::vector<std::uint8_t>{0x3F, 0}));
    expect_error(ErrorCode::damaged_file, "expected 2 bytes",
                 [&] { read_one(tensor_header({2}, type) + raw_field("123")); });
    for (const std::int32_t value : {0x40, -1}) {
      expect_error(ErrorCode::damaged_file, "out of range",
                   [&] { read_one(tensor_header({1}, type) + packed_int32({value})); });
    }
  }
}

TEST(ReadTensor, BoolsAreOnlyEverZeroAndOne) {
  const std::string bytes("\x00\x01\x02\xFF", 4);
  EXPECT_EQ(bytes_of_tensor(read_one(tensor_header({4}, kBool) + raw_field(bytes)).tensor),
            (std::vector<std::uint8_t>{0, 1, 1, 1}));
}

TEST(ReadTensor, Strings) {
  const NamedTensor tensor = read_one(tensor_header({2, 2}, kString) + message([](Writer& w) {
                                        w.add_bytes(6, "a");
                                        w.add_bytes(6, "");
                                        w.add_bytes(6, std::string("b\0c", 3));
                                        w.add_bytes(6, std::string(1000, 'x'));
                                      }));
  const auto strings = tensor.tensor.values<std::string>();
  EXPECT_EQ(std::vector<std::string>(strings.begin(), strings.end()),
            (std::vector<std::string>{"a", "", std::string("b\0c", 3), std::string(1000, 'x')}));
}

TEST(ReadTensor, EmptyTensorsNeedNoData) {
  EXPECT_EQ(read_one(tensor_header({0}, kFloat)).tensor.size(), 0);
  EXPECT_EQ(read_one(tensor_header({3, 0}, kInt64) + raw_field("")).tensor.shape(), (Shape{3, 0}));
  EXPECT_EQ(read_one(tensor_header({0}, kString)).tensor.size(), 0);
  EXPECT_TRUE(read_one(tensor_header({0}, kFloat)).tensor.has_value());
}

TEST(ReadTensor, UnknownFieldsAreKept) {
  const std::string extra = message([](Writer& w) { w.add_string(99, "new"); });
  EXPECT_EQ(read_one(tensor_header({0}, kFloat) + extra).unknown, extra);
}

TEST(ReadTensor, RefusesDataThatDoesNotFitTheShape) {
  const auto refuse = [](std::string_view text, const std::string& tensor) {
    expect_error(ErrorCode::damaged_file, text, [&] { read_one(tensor); });
    expect_error(ErrorCode::damaged_file, "tensor 'w'", [&] { read_one(tensor); });
  };
  const std::string floats = tensor_header({2}, kFloat);
  refuse("expected 8 bytes for float32[2], got 7", floats + raw_field("1234567"));
  refuse("expected 8 bytes for float32[2], got 9", floats + raw_field("123456789"));
  refuse("expected 8 bytes for float32[2], got 0", floats);
  refuse("expected 2 values for float32[2], got 1",
         floats + message([](Writer& w) { w.add_float(4, 1); }));
  refuse("got 3", tensor_header({2}, kInt64) + message([](Writer& w) {
                    for (int i = 0; i < 3; ++i) w.add_int64(7, i);
                  }));
  refuse("got 1", tensor_header({2}, kInt64) + message([](Writer& w) { w.add_int64(7, 1000); }));
  refuse("expected 2 values", tensor_header({4}, kInt4) + packed_int32({1, 2, 3}));
  refuse("expected 2 values",
         tensor_header({2}, kString) + message([](Writer& w) { w.add_bytes(6, "only"); }));
  refuse("without string_data", tensor_header({1}, kString) + raw_field("x"));
  refuse("expected 0 values",
         tensor_header({0}, kFloat) + message([](Writer& w) { w.add_float(4, 1); }));
  const std::vector<char> odd(5, 1);
  refuse("multiple of 4 bytes",
         floats + message([&](Writer& w) { w.add_bytes(4, odd.data(), odd.size()); }));
}

TEST(ReadTensor, RefusesShapesThatNoDataCouldFit) {
  const auto refuse = [](std::string_view text, std::initializer_list<std::int64_t> dims) {
    expect_error(ErrorCode::damaged_file, text, [&] { read_one(tensor_header(dims, kFloat)); });
  };
  refuse("negative extent", {2, -1});
  refuse("does not fit 64 bits", {1LL << 40, 1LL << 40});
  refuse("does not fit 64 bits", {0, 1LL << 40, 1LL << 40});
  refuse("does not fit 64 bits", {1LL << 62});
  // Half an exabyte: refused for want of data, before anything is allocated.
  refuse("a tensor without data", {1LL << 57});
}

TEST(ReadTensor, RefusesOtherFieldsThanTheTypes) {
  const auto refuse = [](std::string_view text, const std::string& tensor) {
    expect_error(ErrorCode::damaged_file, text, [&] { read_one(tensor); });
  };
  const std::string one_float = message([](Writer& w) { w.add_float(4, 1); });
  refuse("expected int64_data for int64, got float_data", tensor_header({1}, kInt64) + one_float);
  refuse("data in two fields", tensor_header({1}, kFloat) + one_float + packed_int32({1}));
  refuse("data in two places", tensor_header({1}, kFloat) + one_float + raw_field("1234"));
  refuse("wrong wire type",
         tensor_header({1}, kFloat) + message([](Writer& w) { w.add_fixed64(4, 1); }));
  refuse("out of range for uint8", tensor_header({1}, kUint8) + packed_int32({256}));
  refuse("out of range for int8", tensor_header({1}, kInt8) + packed_int32({-129}));
  refuse("out of range for float16", tensor_header({1}, kFloat16) + packed_int32({0x10000}));
  refuse("out of range for uint32",
         tensor_header({1}, kUint32) + message([](Writer& w) { w.add_uint64(11, 1LL << 32); }));
}

TEST(ReadTensor, RefusesTypesAndForms) {
  const auto refuse = [](ErrorCode code, std::string_view text, const std::string& tensor) {
    expect_error(code, text, [&] { read_one(tensor); });
  };
  refuse(ErrorCode::damaged_file, "without a data type", raw_field("1"));
  refuse(ErrorCode::damaged_file, "without a data type", tensor_header({1}, 0) + raw_field("1"));
  refuse(ErrorCode::damaged_file, "unknown element type", tensor_header({1}, 99));
  refuse(ErrorCode::damaged_file, "unknown element type", tensor_header({1}, -1));
  refuse(ErrorCode::damaged_file, "unknown element type", tensor_header({1}, 29));
  refuse(ErrorCode::unsupported, "segments",
         tensor_header({1}, kUint8) + message([](Writer& w) { w.add_message(3, entry("", "")); }));
  refuse(ErrorCode::damaged_file, "data_location",
         tensor_header({1}, kUint8) + message([](Writer& w) { w.add_int32(14, 2); }));
}

TEST(ReadTensorFile, CopiesTheData) {
  const TemporaryFolder folder;
  const std::string path = folder.write(
      "input_0.pb", tensor_header({2}, kFloat, "x") + raw_field(raw<float>({1.5F, 2})));
  const NamedTensor tensor = read_tensor_file(path);
  folder.write("input_0.pb", "");
  EXPECT_EQ(tensor.name, "x");
  EXPECT_EQ(values_of<float>(tensor.tensor), (std::vector<float>{1.5F, 2}));
  expect_error(ErrorCode::file_error, "none.pb", [&] { read_tensor_file(folder / "none.pb"); });
  expect_error(ErrorCode::damaged_file, "input_0.pb", [&] { read_tensor_file(path); });
}

}  // namespace
}  // namespace mezzo::onnx
