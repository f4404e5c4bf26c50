#include "ops/einsum_equation.h"

#include <gtest/gtest.h>

#include "mezzo/error.h"

namespace mezzo::ops {
namespace {

TEST(EinsumEquation, NumbersTheEllipsisBeforeTheLetters) {
  const EinsumEquation equation = read_einsum("...ij, ...jk -> ...ik", {{2, 1, 3, 4}, {5, 4, 6}});
  EXPECT_EQ(equation.operands[0], (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(equation.operands[1], (std::vector<int>{1, 3, 4}));
  EXPECT_EQ(equation.output, (std::vector<int>{0, 1, 2, 4}));
  EXPECT_EQ(equation.output_shape(), (Shape{2, 5, 3, 6}));
}

// The spec: indices that appear once, in ASCII order, upper case first.
TEST(EinsumEquation, MakesTheImplicitOutput) {
  EXPECT_EQ(read_einsum("ba,aC", {{2, 3}, {3, 4}}).output_shape(), (Shape{4, 2}));
  EXPECT_EQ(read_einsum("ii", {{3, 3}}).output_shape(), Shape{});
  EXPECT_EQ(read_einsum("i...", {{2, 3, 4}}).output_shape(), (Shape{3, 4, 2}));
}

TEST(EinsumEquation, RefusesWhatIsNone) {
  const std::vector<std::pair<const char*, std::vector<Shape>>> bad = {
      {"ij,jk->ik", {{2, 3}}},          // a term without an input
      {"ij->i", {{2, 3}, {2, 3}}},      // an input without a term
      {"ij->i", {{2}}},                 // too many letters
      {"i->i", {{2, 3}}},               // too few
      {"...ij->i", {{2}}},              // too many around an ellipsis
      {"ij,jk->ik", {{2, 3}, {4, 5}}},  // extents that differ
      {"ij->ik", {{2, 3}}},             // an output index of no input
      {"ij->ii", {{2, 3}}},             // twice in the output
      {"...i->i", {{2, 3}}},            // the ellipsis is lost
      {"......->...", {{2, 3}}},        // two ellipses
      {"i..->i", {{2}}},                // half an ellipsis
      {"i1->i", {{2, 3}}},              // no letter
      {"ij->i->j", {{2, 3}}},           // two arrows
      {"\xC3\xA4->", {{2, 3}}},         // not ASCII
  };
  for (const auto& [equation, shapes] : bad) {
    try {
      read_einsum(equation, shapes);
      ADD_FAILURE() << equation << " was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_model) << equation;
    }
  }
}

}  // namespace
}  // namespace mezzo::ops
