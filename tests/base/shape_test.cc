#include "base/shape.h"

#include <gtest/gtest.h>

#include <limits>

namespace mezzo {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

ErrorCode code_of(const auto& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::internal;
}

TEST(Shape, CountsElements) {
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({3, 4}), 12);
  EXPECT_EQ(element_count({3, 0, 4}), 0);
  EXPECT_EQ(element_count({kMost}), kMost);
  EXPECT_EQ(code_of([] { element_count({2, -1}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { element_count({kMost, 2}); }), ErrorCode::limit);
  // Strides are computed from the other extents even where one is 0.
  EXPECT_EQ(code_of([] { element_count({0, kMost, kMost}); }), ErrorCode::limit);
}

TEST(Shape, ChecksSums) {
  EXPECT_EQ(checked_mul(kMost, 1), kMost);
  EXPECT_EQ(checked_add(kMost - 1, 1), kMost);
  EXPECT_EQ(code_of([] { checked_mul(1LL << 32, 1LL << 31); }), ErrorCode::limit);
  EXPECT_EQ(code_of([] { checked_add(kMost, 1); }), ErrorCode::limit);
}

TEST(Shape, ProductsAndStrides) {
  EXPECT_EQ(product({2, 3, 4}), 24);
  EXPECT_EQ(product({2, 3, 4}, 1, 3), 12);
  EXPECT_EQ(product({2, 3, 4}, 1, 1), 1);
  EXPECT_EQ(strides_of({2, 3, 4}), (std::vector<std::int64_t>{12, 4, 1}));
  EXPECT_TRUE(strides_of({}).empty());
  EXPECT_EQ(to_string(Shape{1, 3}), "[1, 3]");
  EXPECT_EQ(to_string(Shape{}), "[]");
}

// The examples of NumPy's page on broadcasting.
TEST(Shape, Broadcasts) {
  EXPECT_EQ(broadcast({256, 256, 3}, {3}), (Shape{256, 256, 3}));
  EXPECT_EQ(broadcast({8, 1, 6, 1}, {7, 1, 5}), (Shape{8, 7, 6, 5}));
  EXPECT_EQ(broadcast({}, {5, 4}), (Shape{5, 4}));
  EXPECT_EQ(broadcast({1}, {0}), (Shape{0}));
  EXPECT_EQ(code_of([] { broadcast({3}, {4}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { broadcast({2, 1}, {8, 4, 3}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { broadcast({0}, {2}); }), ErrorCode::invalid_argument);
}

TEST(Shape, BroadcastsOneWay) {
  EXPECT_TRUE(broadcasts_to({3, 1}, {2, 3, 4}));
  EXPECT_TRUE(broadcasts_to({}, {}));
  EXPECT_FALSE(broadcasts_to({2, 3}, {3}));
  EXPECT_FALSE(broadcasts_to({2}, {1}));
  EXPECT_EQ(broadcast_strides({3, 1}, {2, 3, 4}), (std::vector<std::int64_t>{0, 1, 0}));
  EXPECT_EQ(broadcast_strides({2, 3, 4}, {2, 3, 4}), strides_of({2, 3, 4}));
}

TEST(Shape, AxesCountFromEitherEnd) {
  EXPECT_EQ(normalize_axis(1, 3), 1);
  EXPECT_EQ(normalize_axis(-3, 3), 0);
  EXPECT_EQ(code_of([] { normalize_axis(3, 3); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { normalize_axis(-4, 3); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { normalize_axis(0, 0); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([] { normalize_axis(1LL << 32, 3); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace mezzo
