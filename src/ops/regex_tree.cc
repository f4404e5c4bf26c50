#include "ops/regex_tree.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "mezzo/error.h"
#include "ops/regex_classes.h"
#include "ops/unicode.h"

namespace mezzo::ops {
namespace {

// As in RE2.
constexpr int kMaxRepeat = 1000;
constexpr int kMaxDepth = 500;

class RegexParser {
 public:
  explicit RegexParser(std::string_view pattern) : pattern_(pattern) {}

  std::unique_ptr<RegexNode> parse() {
    NodePtr root = alternation(0);
    if (at_ < pattern_.size()) fail("an unmatched )");
    return root;
  }

 private:
  using Ranges = RegexRanges;
  using Node = RegexNode;
  using NodePtr = std::unique_ptr<Node>;

  struct Flags {
    bool fold_case = false, multi_line = false, dot_all = false;
  };

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::invalid_model, "a malformed regular expression: " + problem)
        .at("pattern '" + std::string(pattern_) + "', byte " + std::to_string(at_));
  }

  bool accept(char c) {
    if (at_ >= pattern_.size() || pattern_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool accept(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  bool more() const { return at_ < pattern_.size(); }

  static NodePtr node(Node::Type type) {
    auto result = std::make_unique<Node>();
    result->type = type;
    return result;
  }

  NodePtr alternation(int depth) {
    if (depth > kMaxDepth) throw Error(ErrorCode::limit, "a regular expression is nested too deep");
    const Flags outer = flags_;
    NodePtr choice = node(Node::Type::choice);
    do choice->parts.push_back(sequence(depth));
    while (accept('|'));
    flags_ = outer;
    return choice;
  }

  NodePtr sequence(int depth) {
    NodePtr result = node(Node::Type::sequence);
    while (more() && pattern_[at_] != '|' && pattern_[at_] != ')') {
      if (accept("\\Q")) {
        quote(result->parts);
      } else {
        result->parts.push_back(repeated(atom(depth)));
      }
    }
    return result;
  }

  // `part` with what repetition follows it.
  NodePtr repeated(NodePtr part) {
    bool was_repeated = false;
    for (;;) {
      int least = 0, most = -1;
      if (accept('+')) {
        least = 1;
      } else if (accept('?')) {
        most = 1;
      } else if (!accept('*') && !accept_counts(least, most)) {
        return part;
      }
      if (was_repeated) fail("a repetition of a repetition");
      was_repeated = true;
      accept('?');  // not greedy
      NodePtr repeat = node(Node::Type::repeat);
      repeat->least = least;
      repeat->most = most;
      repeat->parts.push_back(std::move(part));
      part = std::move(repeat);
    }
  }

  // {m}, {m,} or {m,n}; anything else after a brace is literal.
  bool accept_counts(int& least, int& most) {
    const std::size_t begin = at_;
    if (accept('{')) {
      const std::optional<int> first = number();
      if (first && accept('}')) {
        least = most = *first;
        return true;
      }
      if (first && accept(',')) {
        const std::optional<int> second = number();
        if (accept('}')) {
          least = *first;
          most = second.value_or(-1);
          if (second && most < least) fail("a repetition whose bounds are in the wrong order");
          return true;
        }
      }
    }
    at_ = begin;
    return false;
  }

  std::optional<int> number() {
    std::optional<int> value;
    while (more() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
      value = value.value_or(0) * 10 + (pattern_[at_++] - '0');
      if (*value > kMaxRepeat) fail("a repetition of more than 1000");
    }
    return value;
  }

  NodePtr atom(int depth) {
    if (accept('(')) return group(depth);
    if (accept('[')) return of_ranges(char_class());
    if (accept('.')) {
      return of_ranges(flags_.dot_all ? Ranges{{0, kLastCodePoint}}
                                      : Ranges{{0, '\n' - 1}, {'\n' + 1, kLastCodePoint}});
    }
    if (accept('^'))
      return assertion(flags_.multi_line ? RegexAssertion::line_begin : RegexAssertion::text_begin);
    if (accept('$'))
      return assertion(flags_.multi_line ? RegexAssertion::line_end : RegexAssertion::text_end);
    if (accept("\\A")) return assertion(RegexAssertion::text_begin);
    if (accept("\\z")) return assertion(RegexAssertion::text_end);
    if (accept("\\b")) return assertion(RegexAssertion::word_edge);
    if (accept("\\B")) return assertion(RegexAssertion::no_word_edge);
    if (pattern_[at_] == '*' || pattern_[at_] == '+' || pattern_[at_] == '?') {
      fail("nothing to repeat");
    }
    if (pattern_[at_] == '\\') return of_ranges(escape());
    const char32_t c = next_code_point(pattern_, at_);
    return of_ranges({{c, c}});
  }

  // Literals up to \E or the end; a repetition behind them is that of the last.
  void quote(std::vector<NodePtr>& parts) {
    while (more()) {
      if (accept("\\E")) return;
      const char32_t c = next_code_point(pattern_, at_);
      const bool last = accept("\\E");
      NodePtr part = of_ranges({{c, c}});
      parts.push_back(last ? repeated(std::move(part)) : std::move(part));
      if (last) return;
    }
  }

  NodePtr group(int depth) {
    const Flags outer = flags_;
    if (accept("?P<") || accept("?<")) {
      while (more() && is_word(static_cast<unsigned char>(pattern_[at_]))) ++at_;
      if (!accept('>')) fail("a malformed group name");
    } else if (accept('?')) {
      bool value = true;
      for (; more() && pattern_[at_] != ':' && pattern_[at_] != ')'; ++at_) {
        switch (pattern_[at_]) {
          case '-':
            value = false;
            break;
          case 'i':
            flags_.fold_case = value;
            break;
          case 'm':
            flags_.multi_line = value;
            break;
          case 's':
            flags_.dot_all = value;
            break;
          case 'U':
            break;  // swaps greedy and not
          default:
            fail("an unknown group flag");
        }
      }
      if (accept(')')) return node(Node::Type::empty);  // holds to the end of the group around it
      accept(':');
    }
    NodePtr inner = alternation(depth + 1);
    if (!accept(')')) fail("a missing )");
    flags_ = outer;
    return inner;
  }

  NodePtr assertion(RegexAssertion kind) {
    NodePtr result = node(Node::Type::assertion);
    result->assertion = kind;
    return result;
  }

  NodePtr of_ranges(Ranges ranges) {
    NodePtr result = node(Node::Type::ranges);
    result->ranges = flags_.fold_case ? folded(std::move(ranges)) : std::move(ranges);
    return result;
  }

  // What a backslash introduces, where it stands for characters.
  Ranges escape() {
    ++at_;
    if (!more()) fail("a backslash at the end");
    const char letter = pattern_[at_];
    if (const std::optional<Ranges> ranges = perl_class(letter)) {
      ++at_;
      return *ranges;
    }
    const char32_t c = escaped_character();
    return {{c, c}};
  }

  char32_t escaped_character() {
    const char letter = pattern_[at_++];
    switch (letter) {
      case 'a':
        return '\a';
      case 'f':
        return '\f';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'v':
        return '\v';
      case 'x':
        return hexadecimal();
      case 'p':
      case 'P':
      case 'C':
        throw Error(ErrorCode::unsupported, "this escape of regular expressions is not supported")
            .got(std::string("\\") + letter);
      default:
        break;
    }
    const auto c = static_cast<unsigned char>(letter);
    if (c >= 0x80 || is_word(c)) fail("an unknown escape");
    return c;
  }

  char32_t hexadecimal() {
    const bool braces = accept('{');
    char32_t value = 0;
    int digits = 0;
    for (; more() && (braces ? digits < 8 : digits < 2); ++digits, ++at_) {
      const char c = pattern_[at_];
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<char32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        value = value * 16 + static_cast<char32_t>((c | 0x20) - 'a' + 10);
      } else {
        break;
      }
    }
    if (digits == 0 || (!braces && digits != 2) || value > kLastCodePoint ||
        (braces && !accept('}'))) {
      fail("a malformed \\x escape");
    }
    return value;
  }

  Ranges char_class() {
    const bool negative = accept('^');
    Ranges ranges;
    // A ] that comes first is literal.
    for (bool first = true; first || !accept(']'); first = false) {
      if (!more()) fail("a missing ]");
      if (accept("[:")) {
        append(ranges, posix_class());
        continue;
      }
      if (pattern_[at_] == '\\') {
        const Ranges escaped = escape();
        if (escaped.size() > 1 || escaped[0].first != escaped[0].last) {
          append(ranges, escaped);
          continue;
        }
        ranges.push_back({escaped[0].first, range_end(escaped[0].first)});
        continue;
      }
      const char32_t c = next_code_point(pattern_, at_);
      ranges.push_back({c, range_end(c)});
    }
    return negative ? negated(flags_.fold_case ? folded(ranges) : ranges) : ranges;
  }

  // After the first character of a class's range: its last one.
  char32_t range_end(char32_t first) {
    if (at_ + 1 >= pattern_.size() || pattern_[at_] != '-' || pattern_[at_ + 1] == ']') {
      return first;
    }
    ++at_;
    char32_t last;
    if (pattern_[at_] == '\\') {
      ++at_;
      if (!more()) fail("a backslash at the end");
      last = escaped_character();
    } else {
      last = next_code_point(pattern_, at_);
    }
    if (last < first) fail("a range whose ends are in the wrong order");
    return last;
  }

  static void append(Ranges& ranges, const Ranges& others) {
    ranges.insert(ranges.end(), others.begin(), others.end());
  }

  Ranges posix_class() {
    const bool negative = accept('^');
    const std::size_t end = pattern_.find(":]", at_);
    const std::optional<Ranges> ranges =
        end == std::string_view::npos ? std::nullopt : named_class(pattern_.substr(at_, end - at_));
    if (!ranges) fail("an unknown class name");
    at_ = end + 2;
    return negative ? negated(*ranges) : *ranges;
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  Flags flags_;
};

}  // namespace

std::unique_ptr<RegexNode> parse_regex(std::string_view pattern) {
  return RegexParser(pattern).parse();
}

}  // namespace mezzo::ops
