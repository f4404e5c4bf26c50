#include "ops/stacking.h"

#include <gtest/gtest.h>

#include "base/convert.h"

namespace mezzo::ops {
namespace {

// 0, 1, 2, ... in the shape [2, 3, 2].
Tensor counted() { return Tensor::of<float>({2, 3, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}); }

template <class T>
std::vector<T> list(const Tensor& tensor) {
  const auto values = tensor.values<T>();
  return {values.begin(), values.end()};
}

TEST(Stacking, SlicesAlongAnyAxis) {
  const Tensor middle = slice_at(counted(), 1, 2);
  EXPECT_EQ(middle.shape(), (Shape{2, 2}));
  EXPECT_EQ(list<float>(middle), (std::vector<float>{4, 5, 10, 11}));
  EXPECT_EQ(list<float>(slice_at(counted(), 2, 1)), (std::vector<float>{1, 3, 5, 7, 9, 11}));
}

TEST(Stacking, StackUndoesSlice) {
  for (int axis = 0; axis < 3; ++axis) {
    std::vector<Tensor> slices;
    for (std::int64_t i = 0; i < counted().shape()[static_cast<std::size_t>(axis)]; ++i) {
      slices.push_back(slice_at(counted(), axis, i));
    }
    for (const int counted_from : {axis, axis - 3}) {
      const Tensor again = stack(slices, counted_from);
      EXPECT_EQ(again.shape(), counted().shape());
      EXPECT_EQ(list<float>(again), list<float>(counted()));
    }
  }
}

TEST(Stacking, HandlesStringsAndPackedTypes) {
  const Tensor words = Tensor::of<std::string>({2, 2}, {"a", "b", "c", "d"});
  EXPECT_EQ(list<std::string>(slice_at(words, 1, 1)), (std::vector<std::string>{"b", "d"}));

  Tensor odd(DType::i4, {3});  // three elements end in the middle of a byte
  for (int i = 0; i < 3; ++i) write_packed(DType::i4, odd.mutable_data(), i, i - 2);
  const Tensor both = stack({odd, odd}, 0);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(read_packed(DType::i4, both.data(), i), i % 3 - 2);
}

TEST(Stacking, PadsWithZeros) {
  const Tensor longer = padded(Tensor::of<float>({1, 2}, {1, 2}), 3);
  EXPECT_EQ(longer.shape(), (Shape{3, 2}));
  EXPECT_EQ(list<float>(longer), (std::vector<float>{1, 2, 0, 0, 0, 0}));
}

TEST(Stacking, RefusesSlicesThatDiffer) {
  const auto code_of = [](const std::vector<Tensor>& slices) {
    try {
      stack(slices, 0);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  const Tensor two = Tensor::of<float>({2}, {1, 2});
  EXPECT_EQ(code_of({two, Tensor::of<float>({1}, {1})}), ErrorCode::runtime);
  EXPECT_EQ(code_of({two, Tensor::of<double>({2}, {1, 2})}), ErrorCode::runtime);
}

}  // namespace
}  // namespace mezzo::ops
