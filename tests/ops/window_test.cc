#include "ops/window.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "mezzo/error.h"
#include "passes/program.h"

namespace mezzo::ops {
namespace {

// A node of that operator with integer-list attributes, and an Op for it.
class NodeUnderTest {
 public:
  NodeUnderTest(std::string op_type, int opset) {
    node_.op_type = std::move(op_type);
    node_.opset = opset;
  }
  template <class T>
  NodeUnderTest& with(std::string name, T value) {
    node_.attributes.push_back(passes::attribute(std::move(name), std::move(value)));
    return *this;
  }
  NodeUnderTest& ints(std::string name, std::vector<std::int64_t> values) {
    return with(std::move(name), std::move(values));
  }
  NodeUnderTest& integer(std::string name, std::int64_t value) {
    return with(std::move(name), value);
  }
  NodeUnderTest& text(std::string name, std::string value) {
    return with(std::move(name), std::move(value));
  }
  Windows windows(const Shape& x, bool allow_crop = false) const {
    return windows_of(op(), x, {}, allow_crop);
  }
  Windows transposed(const Shape& x, const std::vector<std::int64_t>& kernel) const {
    return transposed_windows_of(op(), x, kernel);
  }

 private:
  Op op() const {
    return Op(node_, *Registry::get().find("", node_.op_type, node_.opset), {}, nullptr, 1);
  }
  graph::Node node_;
};

WindowAxis one_axis(const NodeUnderTest& node, std::int64_t extent) {
  return node.windows({1, 1, extent}).at(0);
}

// floor and ceil((in + pads - dilation (kernel - 1) - 1) / stride + 1), MaxPool-22.
TEST(Window, ExplicitPadding) {
  NodeUnderTest node("MaxPool", 22);
  node.ints("kernel_shape", {3}).ints("strides", {2}).ints("dilations", {2}).ints("pads", {1, 2});
  EXPECT_EQ(one_axis(node, 8).out, 4);  // (8 + 3 - 5) / 2 + 1
  EXPECT_EQ(one_axis(node, 9).out, 4);
  node.integer("ceil_mode", 1);
  EXPECT_EQ(one_axis(node, 8).out, 4);
  EXPECT_EQ(one_axis(node, 9).out, 5);
}

// "Sliding windows that would start in the right padded region are ignored."
TEST(Window, CeilModeIgnoresWindowsThatStartInThePadding) {
  NodeUnderTest node("AveragePool", 22);
  node.ints("kernel_shape", {1}).ints("strides", {2}).ints("pads", {0, 1}).integer("ceil_mode", 1);
  EXPECT_EQ(one_axis(node, 2).out, 1);  // without the rule ceil((3 - 1) / 2 + 1) = 2, at position 2
  EXPECT_EQ(one_axis(node, 3).out, 2);
}

// ceil(in / stride); an odd padding has its extra element at the named end.
TEST(Window, SamePadding) {
  for (const auto& [mode, begin, end] :
       {std::tuple{"SAME_UPPER", 1, 2}, std::tuple{"SAME_LOWER", 2, 1}}) {
    NodeUnderTest node("MaxPool", 22);
    node.ints("kernel_shape", {4}).ints("strides", {2}).text("auto_pad", mode);
    const WindowAxis axis = one_axis(node, 5);
    EXPECT_EQ(axis.out, 3);  // padded to (3 - 1) * 2 + 4 = 8
    EXPECT_EQ(axis.pad_begin, begin);
    EXPECT_EQ(axis.pad_end, end);
  }
}

TEST(Window, SamePaddingIsNeverNegative) {
  NodeUnderTest node("MaxPool", 22);
  node.ints("kernel_shape", {1}).ints("strides", {3}).text("auto_pad", "SAME_UPPER");
  const WindowAxis axis = one_axis(node, 9);
  EXPECT_EQ(axis.out, 3);
  EXPECT_EQ(axis.pad_begin, 0);
}

// stride (in - 1) + output_padding + extent - pads, ConvTranspose-11.
TEST(Window, Transposed) {
  NodeUnderTest node("ConvTranspose", 11);
  node.ints("strides", {3}).ints("dilations", {2}).ints("pads", {1, 2}).ints("output_padding", {1});
  const WindowAxis axis = node.transposed({1, 1, 5}, {3}).at(0);
  EXPECT_EQ(axis.in, 15);  // 3 * 4 + 1 + 5 - 3
  EXPECT_EQ(axis.out, 5);
  EXPECT_EQ(axis.pad_begin, 1);
}

TEST(Window, TransposedToAGivenShape) {
  NodeUnderTest node("ConvTranspose", 11);
  node.ints("strides", {3}).ints("output_shape", {10});
  // total padding 3 * 4 + 3 - 10 = 5, more of it at the beginning unless SAME_UPPER.
  EXPECT_EQ(node.transposed({1, 1, 5}, {3}).at(0).pad_begin, 3);
  node.text("auto_pad", "SAME_UPPER");
  EXPECT_EQ(node.transposed({1, 1, 5}, {3}).at(0).pad_begin, 2);
}

TEST(Window, WhatDoesNotFitIsRefused) {
  const Shape x = {1, 1, 4, 4};
  const auto pool = [] {
    NodeUnderTest node("MaxPool", 22);
    node.ints("kernel_shape", {2, 2});
    return node;
  };
  EXPECT_NO_THROW(pool().windows(x));
  EXPECT_THROW(pool().windows({1, 4}), Error);
  EXPECT_THROW(pool().windows({1, 1, 1, 4}), Error);  // larger than the input
  EXPECT_THROW(pool().ints("strides", {0, 1}).windows(x), Error);
  EXPECT_THROW(pool().ints("strides", {1}).windows(x), Error);
  EXPECT_THROW(pool().ints("dilations", {1, -1}).windows(x), Error);
  EXPECT_THROW(pool().ints("pads", {0, 0, 0, -1}).windows(x), Error);
  EXPECT_NO_THROW(pool().ints("pads", {0, 0, 0, -1}).windows(x, true));
  EXPECT_THROW(pool().ints("pads", {0, 0, 0, std::int64_t{1} << 62}).windows(x), Error);
  EXPECT_THROW(pool().text("auto_pad", "SAME").windows(x), Error);
  EXPECT_THROW(NodeUnderTest("MaxPool", 22).windows(x), Error);  // no kernel_shape
}

// The ranges against their definition, over many windows.
TEST(Window, TapsInsideAndOutputsInside) {
  for (std::int64_t in = 0; in < 7; ++in) {
    for (std::int64_t kernel = 1; kernel < 5; ++kernel) {
      for (std::int64_t stride = 1; stride < 4; ++stride) {
        for (std::int64_t dilation = 1; dilation < 4; ++dilation) {
          for (std::int64_t pad = -2; pad < 6; ++pad) {
            const WindowAxis axis{in, 6, kernel, stride, dilation, pad, 0};
            const auto inside = [&](std::int64_t o, std::int64_t tap) {
              const std::int64_t at = o * stride - pad + tap * dilation;
              return at >= 0 && at < in;
            };
            for (std::int64_t o = 0; o < axis.out; ++o) {
              for (std::int64_t tap = 0; tap < kernel; ++tap) {
                const Taps taps = taps_inside(axis, o), outputs = outputs_inside(axis, tap);
                ASSERT_EQ(tap >= taps.begin && tap < taps.end, inside(o, tap));
                ASSERT_EQ(o >= outputs.begin && o < outputs.end, inside(o, tap));
              }
            }
          }
        }
      }
    }
  }
}

TEST(Window, ForEachTapVisitsTheInputInOrder) {
  // 3x3 windows, padded by 1, over 2x3: the one at the corner sees the corner's four elements.
  const WindowAxis rows{2, 2, 3, 1, 1, 1, 1}, columns{3, 3, 3, 1, 1, 1, 1};
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  for_each_tap({rows, columns}, 2, Position{0, 0},
               [&](std::int64_t in, std::int64_t tap) { seen.emplace_back(in, tap); });
  const std::vector<std::pair<std::int64_t, std::int64_t>> expected = {
      {0, 4}, {1, 5}, {3, 7}, {4, 8}};
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(input_index({rows, columns}, 2, Position{0, 0}, 5), 1);
  EXPECT_EQ(input_index({rows, columns}, 2, Position{0, 0}, 2), -1);
}

}  // namespace
}  // namespace mezzo::ops
