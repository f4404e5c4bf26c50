// What holds for every pass: it applies where its pattern stands, not where a value inside is asked
// for, and it changes the result by rounding only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "laws/small_models.h"

namespace mezzo::tests {

inline onnx::Attribute real(const std::string& name, float value) {
  onnx::Attribute attribute;
  attribute.name = name;
  attribute.kind = onnx::Attribute::Kind::float_;
  attribute.f = value;
  return attribute;
}

/// A BatchNormalization of inference with constants of its own.
inline void add_norm(GraphBuilder& g, const std::string& x, const std::string& y,
                     std::int64_t channels, std::vector<onnx::Attribute> attributes = {}) {
  std::vector<float> variance(static_cast<std::size_t>(channels));
  for (std::size_t c = 0; c < variance.size(); ++c) variance[c] = 0.25F + static_cast<float>(c % 5);
  for (const char* name : {"scale", "shift", "mean"}) g.weight(y + name, {channels});
  g.constant(y + "variance", Tensor::of<float>({channels}, variance));
  g.node("BatchNormalization", {x, y + "scale", y + "shift", y + "mean", y + "variance"}, {y},
         std::move(attributes));
}

/// Elements differ by at most `tolerance` of the largest, and none is NaN.
inline void expect_near(const Tensor& got, const Tensor& expected, double tolerance) {
  ASSERT_EQ(got.dtype(), expected.dtype());
  ASSERT_EQ(got.shape(), expected.shape());
  const Tensor a = got.to(DType::f64), b = expected.to(DType::f64);
  double largest = 0, difference = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double gap = std::abs(a.values<double>()[at] - b.values<double>()[at]);
    ASSERT_FALSE(std::isnan(gap)) << "element " << i;
    largest = std::max(largest, std::abs(b.values<double>()[at]));
    difference = std::max(difference, gap);
  }
  EXPECT_GT(largest, 0);
  EXPECT_LE(difference, tolerance * largest);
}

/// A patch and an observer of `name` see all of its `value`, and the first output stays `y`.
inline void expect_seen_whole(const Session& session, const Feeds& feeds, const std::string& name,
                              const Tensor& value, const Tensor& y) {
  int calls = 0;
  const auto see = [&](const std::string& /*name*/, const Tensor& tensor) {
    ++calls;
    expect_near(tensor, value, 1e-5);
  };
  const auto replace = [&](const Tensor& tensor) {
    see("", tensor);
    return tensor;
  };
  const Outputs outputs =
      session.run(feeds, {}, {.patches = {{name, replace}}, .observers = {{name, see}}});
  EXPECT_EQ(calls, 2);
  expect_near(outputs[0], y, 1e-5);
}

/// The values, of which the first is "y", each with that alone, and all at once.
template <class Tensors>
void expect_values(const Session& session, const Feeds& feeds,
                   const std::vector<std::string>& values, const Tensors& expected) {
  for (std::size_t i = 1; i < values.size(); ++i) {
    SCOPED_TRACE(values[i]);
    const Outputs got = session.run(feeds, {"y", values[i]});
    expect_near(got[0], expected[0], 1e-5);
    expect_near(got[1], expected[i], 1e-5);
  }
  const Outputs all = session.run(feeds, values);
  for (std::size_t i = 0; i < values.size(); ++i) expect_near(all[i], expected[i], 1e-5);
}

/// How often a text has that part.
inline int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

inline bool is_by(const std::string& plan, const std::string& pass) {
  const std::size_t line = plan.find(", by ");
  for (std::size_t at = line; at != std::string::npos; at = plan.find(", by ", at + 1)) {
    const std::string names = plan.substr(at + 4, plan.find('\n', at) - at - 4) + " ";
    if (names.find(" " + pass + " ") != std::string::npos) return true;
  }
  return false;
}

struct Fusion {
  std::string pass;
  Model model;
  Feeds feeds;
  std::string inner;  ///< a value that the pass makes vanish
  double tolerance = 1e-6;
};

/// The plan's text, with the pass.
inline std::string expect_fusion(const Fusion& fusion) {
  SCOPED_TRACE(fusion.pass);
  const Session fused(fusion.model, {.threads = 2});
  const Session plain(fusion.model, {.threads = 2, .disabled_passes = {fusion.pass}});
  const std::string plan = fused.explain(fusion.feeds);
  EXPECT_TRUE(is_by(plan, fusion.pass)) << plan;
  EXPECT_FALSE(is_by(plain.explain(fusion.feeds), fusion.pass));
  RunStats fused_stats, plain_stats;
  const Outputs got = fused.run(fusion.feeds, {}, {.stats = &fused_stats});
  const Outputs expected = plain.run(fusion.feeds, {}, {.stats = &plain_stats});
  // Nodes are counted, not kernels.
  EXPECT_EQ(fused_stats.nodes_executed, plain_stats.nodes_executed);
  for (std::size_t i = 0; i < got.size(); ++i) {
    expect_near(got[i], expected[i], fusion.tolerance);
  }
  // A tap in the middle: the same session, another plan, in which the value exists.
  const std::vector<std::string> both = {fusion.model.outputs()[0].name, fusion.inner};
  const std::string tapped = fused.explain(fusion.feeds, both);
  EXPECT_NE(tapped.find("not " + fusion.pass + ": '" + fusion.inner + "' is fetched"),
            std::string::npos)
      << tapped;
  const Outputs taps = fused.run(fusion.feeds, both);
  const Outputs plain_taps = plain.run(fusion.feeds, both);
  expect_near(taps[0], plain_taps[0], fusion.tolerance);
  expect_near(taps[1], plain_taps[1], fusion.tolerance);
  // A patch and an observer are barriers as well.
  int calls = 0;
  const Outputs patched =
      fused.run(fusion.feeds, {},
                {.patches = {{fusion.inner,
                              [&](const Tensor& tensor) {
                                ++calls;
                                return tensor;
                              }}},
                 .observers = {{fusion.inner, [&](const auto&, const auto&) { ++calls; }}}});
  EXPECT_EQ(calls, 2);
  expect_near(patched[0], expected[0], fusion.tolerance);
  // The plan without taps is still the fused one.
  EXPECT_EQ(fused.explain(fusion.feeds), plan);
  return plan;
}

}  // namespace mezzo::tests
