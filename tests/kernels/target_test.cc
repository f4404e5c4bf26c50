#include "kernels/target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "mezzo/error.h"

namespace mezzo::kernels {
namespace {

TEST(Target, ScalarIsAlwaysAvailableAndSwitchesSimdOff) {
  const Target before = active_target();
  ASSERT_FALSE(available_targets().empty());
  EXPECT_EQ(available_targets().front(), Target::scalar);
  set_active_target(Target::scalar);
  EXPECT_FALSE(simd_enabled());
  for (Target target : available_targets()) {
    set_active_target(target);
    EXPECT_EQ(active_target(), target);
    EXPECT_EQ(simd_enabled(), target != Target::scalar);
  }
  set_active_target(before);
}

TEST(Target, AnUnavailableOneIsRefusedWithTheChoices) {
  const auto available = available_targets();
  for (Target target : {Target::sse4, Target::avx2, Target::avx512, Target::amx, Target::neon}) {
    if (std::find(available.begin(), available.end(), target) != available.end()) continue;
    std::cout << "[ no kernel is tested on " << name_of(target)
              << ": this machine does not have it ]\n";
    const Target before = active_target();
    try {
      set_active_target(target);
      ADD_FAILURE() << name_of(target) << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(error.expected_text().find("scalar"), std::string::npos) << error.what();
      EXPECT_NE(error.got_text().find(name_of(target)), std::string::npos) << error.what();
    }
    EXPECT_EQ(active_target(), before);
  }
}

TEST(Target, TheEnvironmentChoosesOrIsRefused) {
  // The variable is read once in a process, so each value gets its own.
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (Target target : available_targets()) {
    const std::string wanted(name_of(target));
    EXPECT_EXIT(
        {
          // The tests before this one in the new process are not run: the choice is still open.
          setenv("MEZZO_TARGET", wanted.c_str(), 1);
          std::exit(active_target() == target ? 0 : 1);
        },
        testing::ExitedWithCode(0), "");
  }
  EXPECT_EXIT(
      {
        setenv("MEZZO_TARGET", "abacus", 1);
        for (int call = 0; call < 2; ++call) {
          try {
            active_target();
            std::exit(1);
          } catch (const Error& error) {
            std::cerr << error.what() << "\n";
          }
        }
        std::exit(0);
      },
      testing::ExitedWithCode(0), "MEZZO_TARGET.*scalar.*abacus");
}

}  // namespace
}  // namespace mezzo::kernels
