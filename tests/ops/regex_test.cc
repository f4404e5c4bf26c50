#include "ops/regex.h"

#include <gtest/gtest.h>

#include "mezzo/error.h"

namespace mezzo::ops {
namespace {

struct Case {
  const char* pattern;
  const char* text;
  bool matches;
};

// The answers are those of Python's re.fullmatch, whose meaning RE2 shares for these patterns.
TEST(Regex, FullMatch) {
  static constexpr Case kCases[] = {
      {"", "", true},
      {"", "a", false},
      {"abc", "abc", true},
      {"abc", "abcd", false},
      {"abc", "ab", false},
      {"a|ab", "ab", true},
      {"(a|ab)(c|bcd)", "abcd", true},
      {"a*", "", true},
      {"a*", "aaaa", true},
      {"a*?b", "aaab", true},
      {"a+", "", false},
      {"a?a", "a", true},
      {"a{3}", "aaa", true},
      {"a{3}", "aaaa", false},
      {"a{2,}", "a", false},
      {"a{2,}", "aaaaa", true},
      {"a{1,3}", "aaaa", false},
      {"a{,3}", "a{,3}", true},
      {"(?:ab){2}", "abab", true},
      {"(?P<name>x)y", "xy", true},
      {".", "\n", false},
      {"(?s).", "\n", true},
      {".", "\xC3\xA9", true},
      {"[a-c]+", "abcabc", true},
      {"[^a-c]+", "xyz", true},
      {"[^a-c]+", "xaz", false},
      {"[]a]+", "]a]", true},
      {"[a\\]]+", "]a", true},
      {"[a-]+", "a-", true},
      {"[\\d_]+", "12_3", true},
      {"\\d+\\.\\d*", "3.14", true},
      {"\\w+@[\\w.]+", "who@example.com", true},
      {"\\S+\\s\\S+", "two words", true},
      {"[[:alpha:]]+", "abc", true},
      {"[[:^alpha:]]+", "123", true},
      {"\\x41\\x{42}", "AB", true},
      {"(?i)straSSe", "STRASSE", true},
      {"(?i:a)b", "Ab", true},
      {"(?i:a)b", "AB", false},
      {"(?i)\xC3\xA9", "\xC3\x89", true},
      {"^ab$", "ab", true},
      {"a^b", "ab", false},
      {"(?m)a$\n^b", "a\nb", true},
      {"a\\b b", "a b", true},
      {"a\\bb", "ab", false},
      {"a\\Bb", "ab", true},
      {"\\Qa.b\\E+", "a.bbb", true},
      {"\\Qa.b\\E", "axb", false},
      {"(a*)*", "aaaa", true},
      {"(a|b)*c|", "ababc", true},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(Regex(c.pattern).matches(c.text), c.matches) << c.pattern << " on " << c.text;
  }
}

TEST(Regex, MalformedPatterns) {
  for (const char* pattern : {"(", ")", "a)", "[a", "[z-a]", "*a", "a**", "a{2,1}", "a{1001}", "\\",
                              "\\k", "(?x)", "(?P<n", "[[:no:]]", "\\xZ1", "\\x{110000}"}) {
    EXPECT_THROW(Regex{pattern}, Error) << pattern;
  }
}

// Backtracking would take 2^30 steps and more.
TEST(Regex, NoPatternIsSlow) {
  EXPECT_FALSE(Regex("(a*)*b").matches(std::string(1000, 'a')));
  EXPECT_FALSE(Regex("(a|a|b)*c").matches(std::string(1000, 'a')));
  EXPECT_THROW(Regex("((((((){1000}){1000}){1000}){1000}){1000})"), Error);
  EXPECT_THROW(Regex("((a{1000}){1000}){1000}"), Error);
  EXPECT_THROW(Regex(std::string(100000, '(')), Error);
}

}  // namespace
}  // namespace mezzo::ops
