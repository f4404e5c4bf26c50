#include "base/slabs.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "base/memory.h"
#include "mezzo/tensor.h"

namespace mezzo {
namespace {

constexpr std::size_t kSlab = std::size_t{1} << 20;

TEST(Slabs, PiecesLieApartAndOutliveThem) {
  std::vector<std::shared_ptr<void>> pieces;
  std::vector<std::size_t> sizes;
  {
    Slabs slabs(kSlab, 192);
    for (std::size_t bytes = 1; bytes <= slabs.most(); bytes = 3 * bytes + 1) {
      for (int i = 0; i < 3; ++i) {
        pieces.push_back(slabs.cut(bytes));
        sizes.push_back(bytes);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pieces.back().get()) % kAlignment, 0U);
        EXPECT_EQ(pieces.back().use_count(), 1);
      }
    }
  }
  for (std::size_t i = 0; i < pieces.size(); ++i)
    std::memset(pieces[i].get(), static_cast<int>(i), sizes[i]);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto* bytes = static_cast<const unsigned char*>(pieces[i].get());
    for (std::size_t at = 0; at < sizes[i]; ++at) ASSERT_EQ(bytes[at], i) << at;
  }
}

TEST(Slabs, AScopeServesTheSizesThatFitAndItsOwnThread) {
  Slabs slabs(kSlab), inner(kSlab / 4);
  EXPECT_EQ(SlabScope::of(kSlab / 8), nullptr);
  {
    const SlabScope scope(slabs);
    EXPECT_EQ(SlabScope::of(kSlab / 2), &slabs);
    EXPECT_EQ(SlabScope::of(kSlab / 2 + 1), nullptr);
    EXPECT_EQ(SlabScope::of(64), nullptr);
    std::thread([] { EXPECT_EQ(SlabScope::of(kSlab / 8), nullptr); }).join();
    {
      const SlabScope nested(inner);
      EXPECT_EQ(SlabScope::of(kSlab / 8), &inner);
    }
    EXPECT_EQ(SlabScope::of(kSlab / 8), &slabs);
    // One behind the other, and each tensor may write to its own.
    Tensor a = Tensor::uninitialized(DType::u8, {8192}),
           b = Tensor::uninitialized(DType::u8, {8192});
    EXPECT_EQ(static_cast<const char*>(b.data()) - static_cast<const char*>(a.data()), 8192);
    const void* before = a.data();
    EXPECT_EQ(a.mutable_data(), before);
  }
  EXPECT_EQ(SlabScope::of(kSlab / 8), nullptr);
}

}  // namespace
}  // namespace mezzo
