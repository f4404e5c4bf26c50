// set_random_seed, which is for the whole process.
#include "mezzo/random.h"

#include <gtest/gtest.h>

#include "laws/small_models.h"
#include "mezzo/session.h"

namespace mezzo::tests {
namespace {

std::vector<float> draw(const Session& session) {
  const Tensor numbers = session.run({})["y"];
  const auto values = numbers.values<float>();
  return {values.begin(), values.end()};
}

Model normal() {
  GraphBuilder g;
  g.node("RandomNormal", {}, {"y"}, {GraphBuilder::ints("shape", {8})}).output("y");
  return g.finish();
}

TEST(RandomSeed, StartsOneSequenceForTheProcess) {
  const Session session(normal());
  EXPECT_NE(draw(session), draw(session));
  set_random_seed(7);
  const auto first = draw(session), second = draw(session);
  EXPECT_NE(first, second);
  set_random_seed(7);
  const Session other(normal());
  EXPECT_EQ(draw(other), first);
  EXPECT_EQ(draw(session), second);
  set_random_seed(8);
  EXPECT_NE(draw(session), first);
}

}  // namespace
}  // namespace mezzo::tests
