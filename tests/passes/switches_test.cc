// The switches of passes.

#include <gtest/gtest.h>

#include "passes/passes.h"

namespace mezzo::passes {
namespace {

std::vector<std::string> names(const std::vector<Pass>& list) {
  std::vector<std::string> result;
  for (const Pass& pass : list) result.emplace_back(pass.name);
  return result;
}

TEST(PassSwitches, AllByDefault) {
  EXPECT_EQ(names(enabled({}, "")), names(all()));
  EXPECT_EQ(names(enabled({}, "all")), names(all()));
  EXPECT_GE(all().size(), 3U);
}

TEST(PassSwitches, AreReadFromLeftToRight) {
  EXPECT_TRUE(enabled({}, "none").empty());
  EXPECT_TRUE(enabled({"all"}, "").empty());
  EXPECT_EQ(names(enabled({}, "none,conv_scale")), std::vector<std::string>{"conv_scale"});
  EXPECT_EQ(names(enabled({}, "conv_scale,none")), std::vector<std::string>{});
  EXPECT_EQ(enabled({"conv_scale"}, "-conv_add").size(), all().size() - 2);
  // What the options disable, the environment does not bring back.
  EXPECT_EQ(enabled({"conv_scale"}, "conv_scale").size(), all().size() - 1);
}

TEST(PassSwitches, KeepTheOrder) {
  EXPECT_EQ(names(enabled({}, "none,conv_activation,conv_scale")),
            (std::vector<std::string>{"conv_scale", "conv_activation"}));
}

TEST(PassSwitches, RefuseUnknownNames) {
  for (const char* wrong : {"conv", "-conv", "-", "conv_scale conv_add"}) {
    SCOPED_TRACE(wrong);
    EXPECT_THROW(enabled({}, wrong), Error);
  }
  EXPECT_THROW(enabled({"convolution"}, ""), Error);
}

}  // namespace
}  // namespace mezzo::passes
