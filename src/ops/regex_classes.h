// Classes of characters in regular expressions.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace mezzo::ops {

/// Code points, the last of them included.
struct RegexRange {
  char32_t first, last;
};
using RegexRanges = std::vector<RegexRange>;

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

/// Whether \w takes it.
constexpr bool is_word(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/// With the other case of all letters. Wide ranges are folded in ASCII and Latin to Cyrillic only.
RegexRanges folded(RegexRanges ranges);

/// All other code points.
RegexRanges negated(RegexRanges ranges);

/// What a letter behind a backslash stands for (d, w, s, D, W, S), or nullopt.
std::optional<RegexRanges> perl_class(char letter);

/// The class of a name as in [[:alpha:]], or nullopt.
std::optional<RegexRanges> named_class(std::string_view name);

}  // namespace mezzo::ops
