// What a regular expression says, as a tree.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "ops/regex_classes.h"

namespace mezzo::ops {

/// What consumes nothing, and is passed where it holds.
enum class RegexAssertion : std::uint8_t {
  line_begin,
  line_end,
  text_begin,
  text_end,
  word_edge,
  no_word_edge,
};

struct RegexNode {
  enum class Type : std::uint8_t { empty, ranges, assertion, sequence, choice, repeat };

  Type type = Type::empty;
  RegexRanges ranges;  ///< one code point of these
  RegexAssertion assertion = RegexAssertion::line_begin;
  std::vector<std::unique_ptr<RegexNode>> parts;  ///< of a sequence or choice; what is repeated
  int least = 0, most = 0;                        ///< repeat; most -1: without end
};

/// Parses by recursive descent what regex.h says of a pattern. Throws Error(invalid_model) where it
/// is malformed, Error(unsupported) for \p and \C, Error(limit) where it is nested too deep.
std::unique_ptr<RegexNode> parse_regex(std::string_view pattern);

}  // namespace mezzo::ops
