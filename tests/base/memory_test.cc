#include "base/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "mezzo/error.h"
#include "mezzo/tensor.h"

namespace mezzo {
namespace {

class Memory : public ::testing::Test {
 protected:
  void TearDown() override { set_allocation_limit(0); }
};

TEST_F(Memory, IsAlignedWhateverTheSize) {
  for (const std::size_t bytes : {0, 1, 63, 64, 65, 100'000}) {
    const std::shared_ptr<void> memory = allocate(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % kAlignment, 0U);
    std::memset(memory.get(), 1, bytes);
  }
}

TEST_F(Memory, ThereIsALimit) {
  EXPECT_GT(allocation_limit(), std::size_t{1} << 28);
  for (const std::size_t bytes : {allocation_limit() + 1, SIZE_MAX, SIZE_MAX - 63}) {
    try {
      allocate(bytes);
      ADD_FAILURE() << bytes << " bytes were given";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::limit);
      EXPECT_EQ(error.got_text(), std::to_string(bytes) + " bytes");
    }
  }
}

TEST_F(Memory, TheLimitCanBeSetAndTakenBack) {
  const std::size_t physical = allocation_limit();
  set_allocation_limit(1000);
  EXPECT_EQ(allocation_limit(), 1000U);
  EXPECT_NO_THROW(allocate(1000));
  EXPECT_THROW(allocate(1001), Error);
  EXPECT_THROW(Tensor(DType::f32, {251}), Error);
  EXPECT_THROW(Tensor(DType::string, {100}), Error);
  EXPECT_NO_THROW(Tensor(DType::f32, {250}));
  set_allocation_limit(0);
  EXPECT_EQ(allocation_limit(), physical);
}

}  // namespace
}  // namespace mezzo
