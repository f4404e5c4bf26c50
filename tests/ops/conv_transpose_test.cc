// ConvTranspose with the steps and sizes at which its kernel goes other ways, against the sum of
// its definition.
#include <gtest/gtest.h>

#include <vector>

#include "laws/small_models.h"
#include "mezzo/mezzo.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

struct Case {
  std::int64_t in_c, out_c, groups, height, width;
  std::int64_t k_h, k_w, stride_h, stride_w, dilation;
  std::vector<std::int64_t> pads;
};

const Case kCases[] = {
    // Steps of 2, 4 and 8, whose taps go together: one group of them, several, and a part of one.
    {3, 2, 1, 1, 20, 1, 2, 1, 2, 1, {0, 0, 0, 0}},
    {4, 3, 1, 5, 9, 4, 4, 2, 2, 1, {1, 1, 1, 1}},
    {2, 3, 1, 4, 11, 3, 5, 2, 2, 1, {1, 2, 1, 0}},
    {4, 2, 2, 1, 33, 1, 8, 1, 4, 1, {0, 2, 0, 2}},
    {2, 2, 1, 3, 7, 1, 7, 1, 4, 1, {0, 3, 0, 3}},
    {2, 1, 1, 1, 40, 1, 16, 1, 8, 1, {0, 4, 0, 4}},
    {2, 2, 1, 2, 19, 2, 8, 2, 8, 1, {0, 1, 0, 5}},
    {1, 2, 1, 1, 6, 1, 20, 1, 8, 1, {0, 11, 0, 2}},
    // Those that do not.
    {2, 2, 1, 1, 15, 1, 3, 1, 4, 1, {0, 0, 0, 0}},
    {2, 2, 1, 1, 15, 1, 6, 1, 3, 1, {0, 1, 0, 1}},
    {2, 2, 1, 1, 15, 1, 8, 1, 4, 2, {0, 3, 0, 3}},
    // Rows that are cut: where nothing is added up twice, and where it is.
    {8, 16, 1, 1, 3001, 1, 16, 1, 8, 1, {0, 4, 0, 4}},
    {8, 24, 1, 1, 4099, 1, 8, 1, 8, 1, {0, 0, 0, 0}},
    {4, 33, 1, 2, 2500, 2, 3, 1, 2, 1, {0, 1, 0, 1}},
};

TEST(ConvTranspose, EqualsItsDefinition) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(std::to_string(c.width) + " wide, kernel " + std::to_string(c.k_w) + ", step " +
                 std::to_string(c.stride_w));
    const std::int64_t group_in = c.in_c / c.groups, out_c = c.out_c * c.groups;
    const std::int64_t height = c.stride_h * (c.height - 1) + c.dilation * (c.k_h - 1) + 1 -
                                c.pads[0] - c.pads[2],
                       width = c.stride_w * (c.width - 1) + c.dilation * (c.k_w - 1) + 1 -
                               c.pads[1] - c.pads[3];
    const Tensor x = G::random({2, c.in_c, c.height, c.width}, 1),
                 w = G::random({c.in_c, c.out_c, c.k_h, c.k_w}, 2), b = G::random({out_c}, 3);
    std::vector<double> expected(static_cast<std::size_t>(2 * out_c * height * width));
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(expected.size()); ++i)
      expected[at(i)] = b.values<float>()[at(i / (height * width) % out_c)];
    for (std::int64_t i = 0; i < 2 * c.in_c * c.height * c.width; ++i) {
      const std::int64_t column = i % c.width, row = i / c.width % c.height,
                         channel = i / (c.width * c.height) % c.in_c,
                         n = i / (c.width * c.height * c.in_c);
      for (std::int64_t j = 0; j < c.out_c * c.k_h * c.k_w; ++j) {
        const std::int64_t y = row * c.stride_h + j / c.k_w % c.k_h * c.dilation - c.pads[0],
                           to = column * c.stride_w + j % c.k_w * c.dilation - c.pads[1],
                           m = channel / group_in * c.out_c + j / (c.k_w * c.k_h);
        if (y < 0 || y >= height || to < 0 || to >= width) continue;
        expected[at(((n * out_c + m) * height + y) * width + to)] +=
            static_cast<double>(x.values<float>()[at(i)]) *
            w.values<float>()[at(channel * c.out_c * c.k_h * c.k_w + j)];
      }
    }
    G g;
    g.input("x", DType::f32, x.shape()).constant("w", w).constant("b", b);
    g.node("ConvTranspose", {"x", "w", "b"}, {"y"},
           {G::ints("strides", {c.stride_h, c.stride_w}),
            G::ints("dilations", {c.dilation, c.dilation}), G::ints("pads", c.pads),
            G::number("group", c.groups)});
    g.output("y");
    const Model model = g.finish(11);
    for (const int threads : {1, 3}) {
      const Tensor y = Session(model, {.threads = threads}).run({{"x", x}})[0];
      ASSERT_EQ(y.shape(), (Shape{2, out_c, height, width}));
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(y.values<float>()[i], expected[i], 1e-4) << "element " << i;
    }
  }
}

}  // namespace
}  // namespace mezzo::tests
