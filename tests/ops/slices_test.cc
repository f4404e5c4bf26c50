// Convolutions and pools along three axes, slice by slice, against those that take no slices.

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/target.h"
#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;
using Ints = std::vector<std::int64_t>;

struct Case {
  Shape x, w;  // of a pool only the kernel's part of w is used
  Ints strides = {1, 1, 1}, pads = {0, 0, 0, 0, 0, 0}, dilations = {1, 1, 1};
  std::int64_t groups = 1;
};

const std::vector<Case> kCases = {
    {{1, 3, 5, 6, 7}, {4, 3, 3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}},
    {{2, 4, 6, 9, 8}, {6, 2, 2, 3, 1}, {2, 1, 2}, {1, 0, 2, 0, 1, 0}, {1, 1, 1}, 2},
    {{2, 4, 9, 7, 7}, {4, 1, 3, 3, 3}, {1, 2, 1}, {2, 1, 1, 2, 1, 1}, {2, 1, 1}, 4},
    {{1, 2, 4, 1, 9}, {3, 2, 4, 1, 3}, {1, 1, 1}, {3, 0, 1, 3, 0, 1}},
    {{1, 2, 1, 5, 5}, {3, 2, 3, 1, 1}, {1, 1, 1}, {1, 0, 0, 1, 0, 0}},
    {{3, 1, 8, 3, 3}, {2, 1, 1, 1, 1}, {3, 2, 1}},
    // By Winograd's method.
    {{2, 16, 5, 16, 16}, {16, 16, 3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}},
};

std::vector<onnx::Attribute> attributes_of(const Case& c) {
  return {G::ints("strides", c.strides), G::ints("pads", c.pads),
          G::ints("dilations", c.dilations)};
}

// y = Relu(Conv(x, w, b) + z); the weights are fed, or constants: then slices are taken.
Model convolution(const Case& c, const Shape& z, bool constant) {
  G g;
  g.input("x", DType::f32, c.x).input("z", DType::f32, z).weight("b", {c.w[0]});
  if (constant) {
    g.constant("w", G::random(c.w, 8));
  } else {
    g.input("w", DType::f32, c.w);
  }
  std::vector<onnx::Attribute> attributes = attributes_of(c);
  attributes.push_back(G::number("group", c.groups));
  g.node("Conv", {"x", "w", "b"}, {"c"}, attributes);
  g.node("Add", {"c", "z"}, {"s"}).node("Relu", {"s"}, {"y"}).output("y");
  return g.finish(19);
}

// The extents of what windows give.
Shape result_of(const Case& c) {
  Shape y = {c.x[0], c.w[0]};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t extent = (c.w[i + 2] - 1) * c.dilations[i] + 1;
    y.push_back((c.x[i + 2] + c.pads[i] + c.pads[i + 3] - extent) / c.strides[i] + 1);
  }
  return y;
}

bool takes_slices(const std::string& plan) { return plan.find(") by slices") != std::string::npos; }

TEST(Slices, Convolutions) {
  if (!kernels::simd_enabled()) GTEST_SKIP() << "MEZZO_TARGET=scalar";
  for (const Case& c : kCases) {
    SCOPED_TRACE(to_string(c.x) + " by " + to_string(c.w));
    const Shape z = result_of(c);
    const Feeds feeds = {{"x", G::random(c.x, 7)}, {"z", G::random(z, 9)}};
    Feeds with_weights = feeds;
    with_weights.emplace_back("w", G::random(c.w, 8));
    const Session reference(convolution(c, z, false),
                            {.threads = 1, .disabled_passes = {"conv_add", "conv_activation"}});
    EXPECT_FALSE(takes_slices(reference.explain(with_weights)));
    const Outputs expected = reference.run(with_weights, {"y", "c"});
    for (const int threads : {1, 2, 5}) {
      const Session session(convolution(c, z, true), {.threads = threads});
      EXPECT_TRUE(takes_slices(session.explain(feeds))) << session.explain(feeds);
      expect_near(session.run(feeds)[0], expected[0], 1e-5);
      expect_near(session.run(feeds, {"c"})[0], expected[1], 1e-5);
    }
  }
}

// Indices come from the plain loop alone; and so do means in float64.
TEST(Slices, Pools) {
  if (!kernels::simd_enabled()) GTEST_SKIP() << "MEZZO_TARGET=scalar";
  for (const Case& c : kCases) {
    SCOPED_TRACE(to_string(c.x) + " by " + to_string(c.w));
    std::vector<onnx::Attribute> attributes = attributes_of(c);
    attributes.push_back(G::ints("kernel_shape", {c.w[2], c.w[3], c.w[4]}));
    const Tensor x = G::random(c.x, 7);
    const Feeds feeds = {{"x", x}};
    G max;
    max.input("x", DType::f32, c.x).node("MaxPool", {"x"}, {"y"}, attributes).output("y");
    G with_indices;
    with_indices.input("x", DType::f32, c.x).node("MaxPool", {"x"}, {"y", "i"}, attributes);
    with_indices.output("y").output("i");
    const Session session(max.finish(19), {.threads = 2});
    EXPECT_TRUE(takes_slices(session.explain(feeds)));
    const Outputs got = session.run(feeds),
                  expected = Session(with_indices.finish(19), {.threads = 2}).run(feeds);
    EXPECT_EQ(got[0].shape(), expected[0].shape());
    EXPECT_TRUE(std::ranges::equal(got[0].values<float>(), expected[0].values<float>()));
    for (const bool include : {false, true}) {
      attributes.push_back(G::number("count_include_pad", include ? 1 : 0));
      const auto mean = [&](DType type) {
        G g;
        g.input("x", type, c.x).node("AveragePool", {"x"}, {"y"}, attributes).output("y");
        return Session(g.finish(19), {.threads = 2}).run({{"x", x.to(type)}})[0].to(DType::f32);
      };
      expect_near(mean(DType::f32), mean(DType::f64), 1e-6);
      attributes.pop_back();
    }
  }
}

}  // namespace
}  // namespace mezzo::tests
