#include "runtime/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/memory.h"
#include "mezzo/error.h"

namespace mezzo::runtime {
namespace {

using Buffer = std::pair<std::shared_ptr<void>, std::size_t>;

unsigned char* bytes_of(const Buffer& buffer) {
  return static_cast<unsigned char*>(buffer.first.get());
}

// Small and large ones and what is cut from larger pieces, for more than one piece.
TEST(BufferPool, BuffersAreAlignedAndTheirOwn) {
  BufferPool pool(std::size_t{1} << 30);
  std::vector<Buffer> buffers;
  for (const std::size_t bytes : {1, 64, 65, 72, 73, 100, 65535, 65536, 70001, 1 << 20,
                                  (5 << 20) + 4, 16 << 20, (16 << 20) + 1, 12 << 20, 12 << 20}) {
    buffers.emplace_back(pool.take(bytes), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes_of(buffers.back())) % kAlignment, 0U);
  }
  for (std::size_t i = 0; i < buffers.size(); ++i)
    std::memset(bytes_of(buffers[i]), static_cast<int>(i + 1), buffers[i].second);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_EQ(bytes_of(buffers[i])[0], i + 1);
    EXPECT_EQ(bytes_of(buffers[i])[buffers[i].second - 1], i + 1);
  }
}

TEST(BufferPool, WhatIsGivenBackIsHandedOutAgain) {
  BufferPool pool(std::size_t{1} << 30);
  const void* first = pool.take(200000).get();
  EXPECT_EQ(pool.take(197000).get(), first) << "they differ by less than an eighth";
  EXPECT_NE(pool.take(100000).get(), first) << "half of it would be wasted";
}

// Fresh pages cost more than what is written to them, and memory that nobody uses costs others.
TEST(BufferPool, AllPoolsTogetherKeepSoMuch) {
  constexpr std::size_t kLarge = 40 << 20;
  const std::size_t before = BufferPool::kept_bytes();
  {
    BufferPool first(before + kLarge), second(before + kLarge);
    std::shared_ptr<void> buffer = first.take(kLarge), other = second.take(kLarge);
    EXPECT_EQ(BufferPool::kept_bytes(), before) << "both are out";
    buffer.reset();
    EXPECT_EQ(BufferPool::kept_bytes(), before + kLarge);
    other.reset();
    EXPECT_EQ(BufferPool::kept_bytes(), before + kLarge) << "there is no room for both";
    buffer = first.take(kLarge);
    EXPECT_EQ(BufferPool::kept_bytes(), before);
    second.take(kLarge).reset();
    EXPECT_EQ(BufferPool::kept_bytes(), before + kLarge);
  }
  EXPECT_EQ(BufferPool::kept_bytes(), before);
}

TEST(BufferPool, TheOneThatWasUsedLastComesFirst) {
  BufferPool pool(std::size_t{1} << 30);
  std::shared_ptr<void> first = pool.take(1000), last = pool.take(1000);
  const void* const memory = last.get();
  first.reset();
  last.reset();
  EXPECT_EQ(pool.take(1000).get(), memory);
}

TEST(BufferPool, AnySizeIsAnswered) {
  BufferPool pool(std::size_t{1} << 30);
  EXPECT_NE(pool.take(0), nullptr);
  for (const std::size_t bytes : {SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX})
    EXPECT_THROW(pool.take(bytes), Error);
}

TEST(BufferPool, BuffersOutliveThePool) {
  std::vector<Buffer> kept;
  {
    BufferPool pool(std::size_t{1} << 30);
    for (const std::size_t bytes : {100, 100000, 40 << 20})
      kept.emplace_back(pool.take(bytes), bytes);
  }
  for (const Buffer& buffer : kept) std::memset(bytes_of(buffer), 1, buffer.second);
}

// Pieces are larger than what is asked for, which must not count.
TEST(BufferPool, ALimitHoldsForWhatIsAskedFor) {
  set_allocation_limit(std::size_t{1} << 20);
  BufferPool pool(std::size_t{1} << 30);
  EXPECT_NE(pool.take(100000), nullptr);
  EXPECT_THROW(pool.take((1 << 20) + 1), Error);
  set_allocation_limit(0);
}

}  // namespace
}  // namespace mezzo::runtime
