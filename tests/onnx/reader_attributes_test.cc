// Attributes of every kind, and what is refused of them.
#include <gtest/gtest.h>

#include "bytes.h"

namespace mezzo::onnx {
namespace {

using Kind = Attribute::Kind;

Attribute read_attribute(const std::string& attribute) {
  const std::string node = message([&](Writer& w) { w.add_message(5, attribute); });
  return read(model_with_graph(message([&](Writer& w) { w.add_message(1, node); })))
      .graph.nodes.at(0)
      .attributes.at(0);
}

// An attribute of that type whose fields `fill` adds.
template <class Fill>
Attribute attribute(std::int32_t type, Fill&& fill) {
  return read_attribute(message([&](Writer& w) {
    w.add_string(1, "a");
    fill(w);
    w.add_int32(20, type);
  }));
}

TEST(ReadAttribute, Scalars) {
  const Attribute f = attribute(1, [](Writer& w) {
    w.add_float(2, -0.5F);
    w.add_string(13, "doc");
  });
  EXPECT_EQ(f.kind, Kind::float_);
  EXPECT_EQ(f.name, "a");
  EXPECT_EQ(f.f, -0.5F);
  EXPECT_EQ(f.doc_string, "doc");
  const Attribute i = attribute(2, [](Writer& w) { w.add_int64(3, -(1LL << 40)); });
  EXPECT_EQ(i.kind, Kind::int_);
  EXPECT_EQ(i.i, -(1LL << 40));
  const Attribute s = attribute(3, [](Writer& w) { w.add_bytes(4, std::string("a\0b", 3)); });
  EXPECT_EQ(s.kind, Kind::string);
  EXPECT_EQ(s.s, std::string("a\0b", 3));
  // proto3 writers leave out what is 0.
  EXPECT_EQ(attribute(2, [](Writer&) {}).i, 0);
}

TEST(ReadAttribute, ListsPackedOrNot) {
  const std::vector<float> floats = {1, -2};
  const std::vector<std::int64_t> ints = {3, -4};
  EXPECT_EQ(attribute(6,
                      [&](Writer& w) {
                        w.add_float(7, 1);
                        w.add_float(7, -2);
                      })
                .floats,
            floats);
  EXPECT_EQ(
      attribute(6, [&](Writer& w) { w.add_packed_float(7, floats.begin(), floats.end()); }).floats,
      floats);
  EXPECT_EQ(attribute(7,
                      [&](Writer& w) {
                        w.add_int64(8, 3);
                        w.add_int64(8, -4);
                      })
                .ints,
            ints);
  EXPECT_EQ(attribute(7, [&](Writer& w) { w.add_packed_int64(8, ints.begin(), ints.end()); }).ints,
            ints);
  const Attribute strings = attribute(8, [](Writer& w) {
    w.add_bytes(9, "x");
    w.add_bytes(9, "");
  });
  EXPECT_EQ(strings.kind, Kind::strings);
  EXPECT_EQ(strings.strings, (std::vector<std::string>{"x", ""}));
  EXPECT_TRUE(attribute(7, [](Writer&) {}).ints.empty());
}

TEST(ReadAttribute, Messages) {
  const std::string graph = message([](Writer& w) { w.add_string(2, "body"); });
  const std::string type =
      message([](Writer& w) { w.add_message(1, message([](Writer& t) { t.add_int32(1, 7); })); });
  const std::string sparse = message([](Writer& w) {
    w.add_message(1, kTensor);
    w.add_message(2, tensor_header({1}, 7) + raw_field(raw<std::int64_t>({0})));
    w.add_int64(3, 4);
  });
  EXPECT_EQ(attribute(4, [](Writer& w) { w.add_message(5, kTensor); }).t.name, "t");
  EXPECT_EQ(attribute(5, [&](Writer& w) { w.add_message(6, graph); }).graphs.at(0)->name, "body");
  EXPECT_EQ(attribute(11, [&](Writer& w) { w.add_message(22, sparse); }).sparse_tensors.at(0).dims,
            (Shape{4}));
  EXPECT_EQ(attribute(13, [&](Writer& w) { w.add_message(14, type); }).types.at(0).dtype,
            DType::i64);
  const auto twice = [](std::uint32_t field, const std::string& value) {
    return [field, value](Writer& w) {
      w.add_message(field, value);
      w.add_message(field, value);
    };
  };
  EXPECT_EQ(attribute(9, twice(10, kTensor)).tensors.size(), 2U);
  EXPECT_EQ(attribute(10, twice(11, graph)).graphs.size(), 2U);
  EXPECT_EQ(attribute(12, twice(23, sparse)).sparse_tensors.size(), 2U);
  EXPECT_EQ(attribute(14, twice(15, type)).types.size(), 2U);
  EXPECT_EQ(attribute(5, twice(6, graph)).graphs.size(), 1U);
}

TEST(ReadAttribute, TheKindIsInferredWhereItIsNotGiven) {
  EXPECT_EQ(read_attribute(message([](Writer& w) { w.add_float(2, 1); })).kind, Kind::float_);
  const Attribute ints = read_attribute(message([](Writer& w) {
    w.add_int64(8, 1);
    w.add_int64(8, 2);
  }));
  EXPECT_EQ(ints.kind, Kind::ints);
  EXPECT_EQ(ints.ints.size(), 2U);
  EXPECT_EQ(read_attribute(message([](Writer& w) { w.add_string(1, "a"); })).kind, Kind::undefined);
}

TEST(ReadAttribute, ValuesOfOtherKindsAreKeptUnread) {
  const Attribute attribute_ = attribute(2, [](Writer& w) {
    w.add_int64(3, 4);
    w.add_float(2, 5);
  });
  EXPECT_EQ(attribute_.i, 4);
  EXPECT_EQ(attribute_.f, 0);
  EXPECT_EQ(attribute_.unknown, message([](Writer& w) { w.add_float(2, 5); }));
}

TEST(ReadAttribute, References) {
  const Attribute reference = attribute(5, [](Writer& w) { w.add_string(21, "outer"); });
  EXPECT_EQ(reference.ref_attr_name, "outer");
  EXPECT_EQ(reference.kind, Kind::graph);
}

TEST(ReadAttribute, Refuses) {
  const auto refuse = [](std::string_view text, std::int32_t type, auto fill) {
    expect_error(ErrorCode::damaged_file, text, [&] { attribute(type, fill); });
  };
  const auto nothing = [](Writer&) {};
  refuse("unknown attribute type", 15, nothing);
  refuse("unknown attribute type", -1, nothing);
  for (const std::int32_t type : {4, 5, 11, 13}) refuse("attribute 'a'", type, nothing);
  refuse("expected varint, got fixed32", 2, [](Writer& w) { w.add_float(3, 1); });
  refuse("expected fixed32, got varint", 1, [](Writer& w) { w.add_int64(2, 1); });
  refuse("expected length-delimited, got varint", 3, [](Writer& w) { w.add_int64(4, 1); });
  refuse("expected varint, got fixed64", 7, [](Writer& w) { w.add_fixed64(8, 1); });
}

}  // namespace
}  // namespace mezzo::onnx
