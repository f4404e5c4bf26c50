// Regular expressions for the string operators: RE2's syntax, matched in time linear in the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/regex_tree.h"

namespace mezzo::ops {

/// A pattern in the syntax of RE2 (https://github.com/google/re2/wiki/Syntax), over code points of
/// UTF-8: literals and escapes, `.`, classes (also \d \w \s and [[:alpha:]]), groups, alternation,
/// repetition with * + ? {m,n} (greedy or not: it makes no difference to whether a text matches),
/// anchors and \b, the flags i, m, s, U. Not \p{...} and not \C, which throw Error(unsupported).
/// It is a nondeterministic automaton, simulated breadth first (Thompson, "Regular expression
/// search algorithm", CACM 1968), so no pattern can make it slow. Immutable; free to be shared by
/// threads.
class Regex {
 public:
  /// Throws Error(invalid_model) where the pattern is malformed, Error(limit) where it is too
  /// large.
  explicit Regex(std::string_view pattern);

  /// Whether all of `text` matches.
  bool matches(std::string_view text) const;

  /// The bytes [begin, end) of `text`.
  struct Match {
    std::size_t begin, end;
  };
  /// The longest of the matches that begin first, at `from` or behind it. What is before `from`
  /// counts for anchors and \b only. Linear in the text for each place where a match is tried.
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  friend class RegexBuilder;
  /// The end of the longest match that begins at `begin`, before which is the code point `before`.
  std::optional<std::size_t> longest_from(std::string_view text, std::size_t begin,
                                          char32_t before) const;
  enum class Kind : std::uint8_t {
    ranges,     // consumes one code point that is in ranges_[first, last)
    split,      // goes on at both next and other
    assertion,  // consumes nothing; goes on at next where it holds
    accept,
  };
  struct State {
    Kind kind;
    std::uint32_t next = 0, other = 0;  // states
    std::uint32_t first = 0, last = 0;  // ranges
    RegexAssertion assertion = RegexAssertion::line_begin;
  };

  std::vector<State> states_;
  RegexRanges ranges_;
  std::uint32_t start_ = 0;
};

}  // namespace mezzo::ops
