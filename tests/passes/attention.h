// What holds for attention that the pass recognises, however it is written out.
#pragma once

#include <algorithm>
#include <cstring>

#include "passes/fusion.h"

namespace mezzo::tests {

// Attention is one step, of so many of the plan, whichever of its values are fetched, and gives the
// same then; patched and observed they are seen whole. The plan's text.
inline std::string expect_attention(const Model& model, const Feeds& feeds,
                                    const std::vector<std::string>& inner, int steps = 1) {
  const Session fused(model, {.threads = 2});
  const Session plain(model, {.threads = 2, .disabled_passes = {"attention"}});
  const std::string plan = fused.explain(feeds);
  EXPECT_TRUE(is_by(plan, "attention")) << plan;
  EXPECT_EQ(plan.rfind(std::to_string(steps) + " steps", 0), 0U) << plan;
  EXPECT_FALSE(is_by(plain.explain(feeds), "attention"));
  std::vector<std::string> all = {"y"};
  all.insert(all.end(), inner.begin(), inner.end());
  const Outputs expected = plain.run(feeds, all);
  const Tensor y = fused.run(feeds)[0];
  expect_near(y, expected[0], 1e-5);
  std::vector<std::vector<std::string>> sets = {all};
  for (const std::string& value : inner) sets.push_back({"y", value});
  for (const std::vector<std::string>& set : sets) {
    SCOPED_TRACE(set.back());
    const std::string tapped = fused.explain(feeds, set);
    EXPECT_TRUE(is_by(tapped, "attention")) << tapped;
    const Outputs got = fused.run(feeds, set);
    EXPECT_EQ(std::memcmp(got[0].data(), y.data(), y.bytes()), 0);
    for (std::size_t i = 0; i < set.size(); ++i) {
      const auto at = std::find(all.begin(), all.end(), set[i]) - all.begin();
      expect_near(got[i], expected[static_cast<std::size_t>(at)], 1e-5);
    }
  }
  for (std::size_t i = 1; i < all.size(); ++i)
    expect_seen_whole(fused, feeds, all[i], expected[i], expected[0]);
  EXPECT_EQ(fused.explain(feeds), plan);
  return plan;
}

}  // namespace mezzo::tests
