// Slices of slices.
#include <limits>

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;
using Ints = std::vector<std::int64_t>;

// y = x[starts:ends:steps] along the axes.
void add_slice(G& g, const std::string& x, const std::string& y, const Ints& starts,
               const Ints& ends, const Ints& axes, const Ints& steps) {
  const auto constant = [&](const std::string& name, const Ints& values) {
    g.constant(y + name,
               Tensor::of<std::int64_t>({static_cast<std::int64_t>(values.size())}, values));
  };
  constant("_starts", starts);
  constant("_ends", ends);
  constant("_axes", axes);
  constant("_steps", steps);
  g.node("Slice", {x, y + "_starts", y + "_ends", y + "_axes", y + "_steps"}, {y});
}

constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
const Shape kShape = {2, 3, 9, 12};

TEST(SlicePass, OneSliceForEachAxis) {
  G g;
  g.input("x", DType::f32, kShape);
  add_slice(g, "x", "rows", {1}, {kAll}, {2}, {2});
  add_slice(g, "rows", "y", {0}, {kAll}, {3}, {2});
  g.output("y");
  expect_fusion({"slice", g.finish(), {{"x", G::random(kShape, 1)}}, "rows", 0});
}

TEST(SlicePass, TheSameAxisBackwardsAndThreeOfThem) {
  G g;
  g.input("x", DType::f32, kShape);
  add_slice(g, "x", "a", {10, 1}, {0, 8}, {3, 2}, {-3, 2});  // columns 10, 7, 4, 1; rows 1, 3, 5, 7
  add_slice(g, "a", "b", {-1, 1}, {-kAll, 3}, {3, 2}, {-2, 1});   // columns 1, 7; rows 3, 5
  add_slice(g, "b", "y", {1, -1}, {kAll, kAll}, {0, 2}, {5, 1});  // row 5 of the second image
  g.output("y");
  const Tensor x = G::random(kShape, 2);
  expect_fusion({"slice", g.finish(), {{"x", x}}, "b", 0});
  const Session session(g.finish(), {.threads = 1});
  const Outputs y = session.run({{"x", x}});
  ASSERT_EQ(y[0].shape(), (Shape{1, 3, 1, 2}));
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const std::size_t row = ((3 + channel) * 9 + 5) * 12;
    EXPECT_EQ(y[0].values<float>()[2 * channel], x.values<float>()[row + 1]);
    EXPECT_EQ(y[0].values<float>()[2 * channel + 1], x.values<float>()[row + 7]);
  }
}

TEST(SlicePass, NothingIsLeft) {
  G g;
  g.input("x", DType::f32, kShape);
  add_slice(g, "x", "a", {0}, {kAll}, {2}, {2});
  add_slice(g, "a", "y", {4}, {4}, {3}, {1});
  g.output("y");
  const Session session(g.finish(), {.threads = 1});
  const Feeds feeds = {{"x", G::random(kShape, 3)}};
  EXPECT_FALSE(is_by(session.explain(feeds), "slice"));
  EXPECT_EQ(session.run(feeds)[0].shape(), (Shape{2, 3, 5, 0}));
}

TEST(SlicePass, WhatLiesOutsideIsRefused) {
  const std::vector<std::vector<Ints>> wrong = {
      {{0, 0}, {1, 1}, {3, 2}},   // a count too many
      {{1, 0}, {2, 1}, {2, 1}},   // a step too far
      {{0, 0}, {-1, 1}, {2, 1}},  // ahead of the first
      {{0}, {1}, {2}},            // an axis missing
      {{2, 0}, {1, 1}, {1, 1}},   // a start behind the last
      {{0, 0}, {std::numeric_limits<std::int64_t>::min(), 1}, {2, 1}},
  };
  for (const std::vector<Ints>& attributes : wrong) {
    G g;
    g.input("x", DType::f32, {2, 2});
    g.node("StridedSlice", {"x"}, {"y"},
           {G::ints("starts", attributes[0]), G::ints("steps", attributes[1]),
            G::ints("counts", attributes[2])},
           "mezzo");
    g.output("y");
    try {
      Session(g.finish()).run({{"x", G::random({2, 2}, 4)}});
      ADD_FAILURE() << "no error for starts of " << attributes[0].size();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("do not lie in its input"), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace mezzo::tests
