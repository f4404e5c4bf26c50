#include "ops/regex_classes.h"

#include <algorithm>
#include <string>
#include <utility>

#include "ops/unicode.h"

namespace mezzo::ops {

RegexRanges folded(RegexRanges ranges) {
  RegexRanges result = ranges;
  for (const RegexRange& range : ranges) {
    for (char32_t c = range.first; c <= std::min<char32_t>(range.last, range.first + 0x600); ++c) {
      std::string letter;
      append_utf8(c, letter);
      for (const std::string& other : {to_lower(letter), to_upper(letter)}) {
        std::size_t at = 0;
        const char32_t o = next_code_point(other, at);
        if (o != c) result.push_back({o, o});
      }
    }
  }
  return result;
}

RegexRanges negated(RegexRanges ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  RegexRanges result;
  char32_t next = 0;
  for (const RegexRange& range : ranges) {
    if (range.first > next) result.push_back({next, range.first - 1});
    next = std::max<char32_t>(next, range.last + 1);
  }
  if (next <= kLastCodePoint) result.push_back({next, kLastCodePoint});
  return result;
}

std::optional<RegexRanges> perl_class(char letter) {
  switch (letter) {
    case 'd':
      return RegexRanges{{'0', '9'}};
    case 'w':
      return RegexRanges{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    case 's':
      return RegexRanges{{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
    case 'D':
      return negated(*perl_class('d'));
    case 'W':
      return negated(*perl_class('w'));
    case 'S':
      return negated(*perl_class('s'));
    default:
      return std::nullopt;
  }
}

std::optional<RegexRanges> named_class(std::string_view name) {
  static const std::pair<std::string_view, RegexRanges> kClasses[] = {
      {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
      {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
      {"ascii", {{0, 0x7F}}},
      {"blank", {{'\t', '\t'}, {' ', ' '}}},
      {"cntrl", {{0, 0x1F}, {0x7F, 0x7F}}},
      {"digit", {{'0', '9'}}},
      {"graph", {{'!', '~'}}},
      {"lower", {{'a', 'z'}}},
      {"print", {{' ', '~'}}},
      {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
      {"space", {{'\t', '\r'}, {' ', ' '}}},
      {"upper", {{'A', 'Z'}}},
      {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
      {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
  };
  for (const auto& [known, ranges] : kClasses) {
    if (name == known) return ranges;
  }
  return std::nullopt;
}

}  // namespace mezzo::ops
