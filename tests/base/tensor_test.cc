#include "mezzo/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>

#include "base/memory.h"

namespace mezzo {
namespace {

ErrorCode code_of(const auto& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::internal;
}

std::vector<float> list(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

TEST(Tensor, StartsAsZeros) {
  const Tensor tensor(DType::f32, {2, 3});
  EXPECT_EQ(list(tensor), std::vector<float>(6));
  EXPECT_EQ(tensor.rank(), 2);
  EXPECT_EQ(tensor.bytes(), 24U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data()) % kAlignment, 0U);
  const Tensor strings(DType::string, {2});
  EXPECT_EQ(strings.values<std::string>()[1], "");
  EXPECT_FALSE(Tensor().has_value());
  EXPECT_FALSE(Tensor().clone().has_value());
}

TEST(Tensor, HoldsWhatItIsGiven) {
  const Tensor tensor = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(list(tensor), (std::vector<float>{1, 2, 3, 4}));
  const Tensor scalar = Tensor::scalar(7.0);
  EXPECT_EQ(scalar.values<double>()[0], 7.0);
  EXPECT_EQ(scalar.shape(), Shape{});
  EXPECT_EQ(code_of([] { Tensor::of<float>({3}, {1, 2}); }), ErrorCode::invalid_argument);
}

TEST(Tensor, CopiesShareUntilOneIsWritten) {
  Tensor a = Tensor::of<float>({2}, {1, 2});
  Tensor b = a;
  EXPECT_EQ(a.data(), b.data());
  b.mutable_values<float>()[0] = 9;
  EXPECT_NE(a.data(), b.data());
  EXPECT_EQ(list(a), (std::vector<float>{1, 2}));
  EXPECT_EQ(list(b), (std::vector<float>{9, 2}));
  const void* const place = b.data();
  b.mutable_values<float>()[1] = 8;  // now alone: no copy any more
  EXPECT_EQ(b.data(), place);

  Tensor text = Tensor::of<std::string>({2}, {"x", "y"});
  Tensor other = text;
  other.mutable_values<std::string>()[0] = "z";
  EXPECT_EQ(text.values<std::string>()[0], "x");
  EXPECT_EQ(other.values<std::string>()[0], "z");
}

TEST(Tensor, AReshapedTensorSharesToo) {
  const Tensor a = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  Tensor b = a.reshaped({3, 2});
  EXPECT_EQ(a.data(), b.data());
  EXPECT_EQ(b.shape(), (Shape{3, 2}));
  b.mutable_values<float>()[0] = 0;
  EXPECT_EQ(list(a)[0], 1);
  EXPECT_EQ(code_of([&] { a.reshaped({4}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { a.reshaped({-6}); }), ErrorCode::invalid_argument);
}

TEST(Tensor, AViewIsNeverWritten) {
  const float memory[2] = {1, 2};
  Tensor view = Tensor::view(DType::f32, {2}, memory);
  EXPECT_EQ(view.data(), memory);
  EXPECT_FALSE(view.owns_data());
  view.mutable_values<float>()[0] = 5;
  EXPECT_EQ(memory[0], 1);
  EXPECT_EQ(list(view), (std::vector<float>{5, 2}));
  EXPECT_TRUE(view.owns_data());
}

TEST(Tensor, AViewMayBeOfStrings) {
  const std::string words[2] = {"a", "b"};
  Tensor view = Tensor::view(DType::string, {2}, words);
  view.mutable_values<std::string>()[0] = "changed";
  EXPECT_EQ(words[0], "a");
  EXPECT_EQ(view.values<std::string>()[0], "changed");
}

TEST(Tensor, ASequenceHoldsTensors) {
  const float memory[2] = {1, 2};
  const Tensor owned = Tensor::of<float>({1}, {3});
  Tensor sequence = Tensor::sequence({owned, Tensor::view(DType::f32, {2}, memory)});
  EXPECT_EQ(sequence.dtype(), DType::sequence);
  EXPECT_EQ(sequence.shape(), Shape{2});
  EXPECT_EQ(sequence.values<Tensor>()[0].data(), owned.data());
  EXPECT_FALSE(sequence.owns_data());  // the second element is the caller's
  const Tensor kept = sequence.owned();
  EXPECT_TRUE(kept.owns_data());
  EXPECT_NE(kept.values<Tensor>()[1].data(), memory);
  EXPECT_EQ(list(kept.values<Tensor>()[1]), (std::vector<float>{1, 2}));
  sequence.mutable_values<Tensor>()[0] = Tensor();
  EXPECT_TRUE(kept.values<Tensor>()[0].has_value());
  EXPECT_EQ(Tensor::sequence({}).size(), 0);
}

TEST(Tensor, AMapHasAValueForEachKey) {
  const Tensor keys = Tensor::of<std::string>({2}, {"a", "b"});
  const Tensor map = Tensor::map(keys, Tensor::of<float>({2}, {1, 2}));
  EXPECT_EQ(map.dtype(), DType::map);
  EXPECT_EQ(code_of([&] { Tensor::map(keys, Tensor::of<float>({1}, {1})); }),
            ErrorCode::invalid_argument);
  EXPECT_TRUE(Tensor::none().has_value());
  EXPECT_EQ(Tensor::none().bytes(), 0U);
}

TEST(Tensor, AViewKeepsItsOwnerAlive) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{3, 4});
  const std::weak_ptr<std::vector<float>> watched = owner;
  {
    const Tensor view = Tensor::view(DType::f32, {2}, owner->data(), owner);
    EXPECT_TRUE(view.owns_data());
    owner.reset();
    EXPECT_FALSE(watched.expired());
    EXPECT_EQ(list(view), (std::vector<float>{3, 4}));
  }
  EXPECT_TRUE(watched.expired());
}

TEST(Tensor, TakesOverMemory) {
  const std::shared_ptr<void> memory = allocate(8);
  static_cast<float*>(memory.get())[0] = 1;
  static_cast<float*>(memory.get())[1] = 2;
  const Tensor tensor = Tensor::adopt(DType::f32, {2}, memory);
  EXPECT_EQ(tensor.data(), memory.get());
  EXPECT_EQ(list(tensor), (std::vector<float>{1, 2}));
}

TEST(Tensor, KnowsItsType) {
  Tensor tensor(DType::i32, {2});
  EXPECT_EQ(code_of([&] { tensor.values<float>(); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { tensor.mutable_values<std::int64_t>(); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] {
              Tensor nothing;
              static_cast<void>(nothing.mutable_values<float>());
            }),
            ErrorCode::invalid_argument);
}

TEST(Tensor, Converts) {
  const Tensor tensor = Tensor::of<float>({3}, {1.75F, -2.5F, 300});
  const Tensor bytes = tensor.to(DType::i8);
  EXPECT_EQ(bytes.dtype(), DType::i8);
  EXPECT_EQ(bytes.values<std::int8_t>()[0], 1);
  EXPECT_EQ(bytes.values<std::int8_t>()[1], -2);
  EXPECT_EQ(bytes.values<std::int8_t>()[2], 44);
  EXPECT_EQ(tensor.to(DType::f32).data(), tensor.data());
  EXPECT_EQ(code_of([&] { tensor.to(DType::string); }), ErrorCode::unsupported);
}

TEST(Tensor, RefusesImpossibleSizes) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(code_of([] { Tensor(DType::f32, {-1}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { Tensor(DType::f32, {kMost}); }), ErrorCode::limit);
  EXPECT_EQ(code_of([] { Tensor(DType::f32, {1LL << 40, 1LL << 40}); }), ErrorCode::limit);
  EXPECT_EQ(code_of([] { Tensor(DType::u8, {1LL << 50}); }), ErrorCode::limit);
  EXPECT_EQ(code_of([] { Tensor(DType::string, {1LL << 45}); }), ErrorCode::limit);
  EXPECT_EQ(Tensor(DType::f32, {0, 1LL << 20}).size(), 0);
}

}  // namespace
}  // namespace mezzo
