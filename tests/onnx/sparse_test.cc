// SparseTensor::dense, against the definition in onnx.proto (SparseTensorProto).
#include <gtest/gtest.h>

#include "bytes.h"

namespace mezzo::onnx {
namespace {

SparseTensor sparse(Tensor values, Tensor indices, Shape dims) {
  SparseTensor result;
  result.values.name = "s";
  result.values.tensor = std::move(values);
  result.indices.tensor = std::move(indices);
  result.dims = std::move(dims);
  return result;
}

Tensor indices(Shape shape, const std::vector<std::int64_t>& values) {
  return Tensor::of<std::int64_t>(std::move(shape), values);
}

TEST(SparseTensor, LinearIndices) {
  const Tensor dense = sparse(Tensor::of<float>({2}, {5, 7}), indices({2}, {1, 5}), {2, 3}).dense();
  EXPECT_EQ(dense.shape(), (Shape{2, 3}));
  EXPECT_EQ(values_of<float>(dense), (std::vector<float>{0, 5, 0, 0, 0, 7}));
}

TEST(SparseTensor, IndexTuples) {
  const Tensor dense =
      sparse(Tensor::of<std::int64_t>({3}, {5, 7, 9}), indices({3, 2}, {0, 2, 1, 0, 1, 2}), {2, 3})
          .dense();
  EXPECT_EQ(values_of<std::int64_t>(dense), (std::vector<std::int64_t>{0, 0, 5, 7, 0, 9}));
}

TEST(SparseTensor, NoValuesAtAll) {
  const Tensor dense = sparse(Tensor::of<float>({0}, {}), indices({0}, {}), {2}).dense();
  EXPECT_EQ(values_of<float>(dense), (std::vector<float>{0, 0}));
}

TEST(SparseTensor, StringsAndPackedTypes) {
  const Tensor strings =
      sparse(Tensor::of<std::string>({1}, {"x"}), indices({1}, {1}), {3}).dense();
  EXPECT_EQ(strings.values<std::string>()[1], "x");
  EXPECT_EQ(strings.values<std::string>()[2], "");
  const std::uint8_t packed[] = {0x7F};  // -1, 7
  const Tensor int4 =
      sparse(Tensor::view(DType::i4, {2}, packed), indices({2}, {1, 4}), {5}).dense();
  EXPECT_EQ(bytes_of_tensor(int4), (std::vector<std::uint8_t>{0xF0, 0x00, 0x07}));
}

TEST(SparseTensor, RefusesIndicesThatAreNoPositions) {
  const auto refuse = [](std::string_view text, const SparseTensor& tensor) {
    expect_error(ErrorCode::invalid_model, text, [&] { tensor.dense(); });
    expect_error(ErrorCode::invalid_model, "sparse tensor 's'", [&] { tensor.dense(); });
  };
  const Tensor two = Tensor::of<float>({2}, {1, 2});
  refuse("out of range", sparse(two, indices({2}, {0, 6}), {2, 3}));
  refuse("out of range", sparse(two, indices({2}, {-1, 0}), {2, 3}));
  refuse("out of range", sparse(two, indices({2, 2}, {0, 0, 0, 3}), {2, 3}));
  refuse("ascending", sparse(two, indices({2}, {3, 1}), {2, 3}));
  refuse("ascending", sparse(two, indices({2}, {3, 3}), {2, 3}));
  refuse("ascending", sparse(two, indices({2, 2}, {1, 0, 0, 2}), {2, 3}));
  refuse("do not fit", sparse(two, indices({3}, {0, 1, 2}), {2, 3}));
  refuse("do not fit", sparse(two, indices({2, 3}, {0, 0, 0, 1, 1, 1}), {2, 3}));
  refuse("wrong type", sparse(two, Tensor::of<std::int32_t>({2}, {0, 1}), {2, 3}));
  refuse("no list", sparse(two.reshaped({1, 2}), indices({2}, {0, 1}), {2, 3}));
  refuse("negative extent", sparse(two, indices({2}, {0, 1}), {-2}));
  refuse("missing", sparse(two, Tensor(), {2}));
}

TEST(SparseTensor, RefusesToFillTheMemory) {
  const auto dims = [](Shape shape) {
    return sparse(Tensor::of<float>({1}, {1}), indices({1}, {0}), std::move(shape));
  };
  expect_error(ErrorCode::limit, "too large", [&] { dims({1LL << 33}).dense(); });
  expect_error(ErrorCode::limit, "64 bits", [&] { dims({1LL << 40, 1LL << 40}).dense(); });
}

TEST(SparseTensor, IsReadFromAnInitializer) {
  const std::string values = tensor_header({2}, 1, "s") + raw_field(raw<float>({5, 7}));
  const std::string index = tensor_header({2}, 7, "") + raw_field(raw<std::int64_t>({1, 5}));
  const std::string bytes = message([&](Writer& w) {
    w.add_message(15, message([&](Writer& s) {
                    s.add_message(1, values);
                    s.add_message(2, index);
                    s.add_int64(3, 2);
                    s.add_int64(3, 3);
                  }));
  });
  const Model model = read(model_with_graph(bytes));
  const SparseTensor& tensor = model.graph.sparse_initializers.at(0);
  EXPECT_EQ(tensor.values.name, "s");
  EXPECT_EQ(values_of<float>(tensor.dense()), (std::vector<float>{0, 5, 0, 0, 0, 7}));
  expect_error(ErrorCode::damaged_file, "without values or indices", [&] {
    read(model_with_graph(message([&](Writer& w) {
      w.add_message(15, message([&](Writer& s) { s.add_message(1, values); }));
    })));
  });
}

}  // namespace
}  // namespace mezzo::onnx
