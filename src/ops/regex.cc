#include "ops/regex.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "mezzo/error.h"
#include "ops/unicode.h"

namespace mezzo::ops {
namespace {

constexpr char32_t kLastCodePoint = 0x10FFFF;
// As in RE2.
constexpr int kMaxRepeat = 1000;
constexpr int kMaxDepth = 500;
constexpr std::size_t kMaxStates = 20000;

bool is_word(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

// The code point that ends at `text[at]`; 0 at the start.
char32_t code_point_before(std::string_view text, std::size_t at) {
  if (at == 0) return 0;
  std::size_t begin = at - 1;
  while (begin > 0 && at - begin < 4 && (text[begin] & 0xC0) == 0x80) --begin;
  std::size_t end = begin;
  const char32_t code_point = next_code_point(text, end);
  return end == at ? code_point : static_cast<unsigned char>(text[at - 1]);
}

}  // namespace

// Parses by recursive descent and builds the automaton from the end of the pattern to its start:
// each part is built knowing the state that follows it.
class RegexCompiler {
 public:
  using Ranges = std::vector<Regex::Range>;
  using Kind = Regex::Kind;

  RegexCompiler(std::string_view pattern, Regex& regex) : pattern_(pattern), regex_(regex) {}

  void compile() {
    const std::unique_ptr<Node> root = alternation(0);
    if (at_ < pattern_.size()) fail("an unmatched )");
    regex_.start_ = build(*root, add({Kind::accept}));
  }

 private:
  struct Node {
    enum class Type { empty, ranges, assertion, sequence, choice, repeat } type = Type::empty;
    Ranges ranges;
    Kind assertion = Kind::accept;
    std::vector<std::unique_ptr<Node>> parts;
    int least = 0, most = 0;  // repeat; most -1: without end
  };
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
    if (accept('^')) return assertion(flags_.multi_line ? Kind::line_begin : Kind::text_begin);
    if (accept('$')) return assertion(flags_.multi_line ? Kind::line_end : Kind::text_end);
    if (accept("\\A")) return assertion(Kind::text_begin);
    if (accept("\\z")) return assertion(Kind::text_end);
    if (accept("\\b")) return assertion(Kind::word_edge);
    if (accept("\\B")) return assertion(Kind::no_word_edge);
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

  NodePtr assertion(Kind kind) {
    NodePtr result = node(Node::Type::assertion);
    result->assertion = kind;
    return result;
  }

  NodePtr of_ranges(Ranges ranges) {
    NodePtr result = node(Node::Type::ranges);
    result->ranges = flags_.fold_case ? folded(std::move(ranges)) : std::move(ranges);
    return result;
  }

  // With the other case of all letters. Wide ranges are folded in ASCII and Latin to Cyrillic only.
  static Ranges folded(Ranges ranges) {
    Ranges result = ranges;
    for (const Regex::Range& range : ranges) {
      for (char32_t c = range.first; c <= std::min<char32_t>(range.last, range.first + 0x600);
           ++c) {
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

  static Ranges negated(Ranges ranges) {
    std::sort(ranges.begin(), ranges.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    Ranges result;
    char32_t next = 0;
    for (const Regex::Range& range : ranges) {
      if (range.first > next) result.push_back({next, range.first - 1});
      next = std::max<char32_t>(next, range.last + 1);
    }
    if (next <= kLastCodePoint) result.push_back({next, kLastCodePoint});
    return result;
  }

  static std::optional<Ranges> perl_class(char letter) {
    switch (letter) {
      case 'd':
        return Ranges{{'0', '9'}};
      case 'w':
        return Ranges{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
      case 's':
        return Ranges{{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
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
    static const std::pair<const char*, Ranges> kClasses[] = {
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
    const bool negative = accept('^');
    for (const auto& [name, ranges] : kClasses) {
      if (accept(std::string(name) + ":]")) return negative ? negated(ranges) : ranges;
    }
    fail("an unknown class name");
  }

  std::uint32_t add(const Regex::State& state) {
    if (regex_.states_.size() >= kMaxStates) {
      throw Error(ErrorCode::limit, "a regular expression is too large");
    }
    regex_.states_.push_back(state);
    return static_cast<std::uint32_t>(regex_.states_.size() - 1);
  }

  std::uint32_t add_split(std::uint32_t next, std::uint32_t other) {
    Regex::State state{Kind::split};
    state.next = next;
    state.other = other;
    return add(state);
  }

  // The state at which `part`, followed by the state `next`, starts.
  std::uint32_t build(const Node& part, std::uint32_t next) {
    // Counted apart from the states, for repetitions of nothing make none.
    if (++parts_built_ > 10 * kMaxStates) {
      throw Error(ErrorCode::limit, "a regular expression is too large");
    }
    switch (part.type) {
      case Node::Type::empty:
        return next;
      case Node::Type::ranges: {
        Regex::State state{Kind::ranges};
        state.next = next;
        state.first = static_cast<std::uint32_t>(regex_.ranges_.size());
        regex_.ranges_.insert(regex_.ranges_.end(), part.ranges.begin(), part.ranges.end());
        state.last = static_cast<std::uint32_t>(regex_.ranges_.size());
        return add(state);
      }
      case Node::Type::assertion: {
        Regex::State state{part.assertion};
        state.next = next;
        return add(state);
      }
      case Node::Type::sequence:
        for (std::size_t i = part.parts.size(); i-- > 0;) next = build(*part.parts[i], next);
        return next;
      case Node::Type::choice: {
        std::uint32_t start = build(*part.parts.back(), next);
        for (std::size_t i = part.parts.size() - 1; i-- > 0;) {
          start = add_split(build(*part.parts[i], next), start);
        }
        return start;
      }
      case Node::Type::repeat:
        return build_repeat(part, next);
    }
    return next;
  }

  std::uint32_t build_repeat(const Node& repeat, std::uint32_t next) {
    const Node& part = *repeat.parts[0];
    const std::uint32_t end = next;
    if (repeat.most < 0) {
      const std::uint32_t loop = add_split(0, end);
      const std::uint32_t start = build(part, loop);
      regex_.states_[loop].next = start;
      next = loop;
    } else {
      for (int i = repeat.least; i < repeat.most; ++i) next = add_split(build(part, next), end);
    }
    for (int i = 0; i < repeat.least; ++i) next = build(part, next);
    return next;
  }

  std::string_view pattern_;
  Regex& regex_;
  std::size_t at_ = 0, parts_built_ = 0;
  Flags flags_;
};

Regex::Regex(std::string_view pattern) { RegexCompiler(pattern, *this).compile(); }

bool Regex::matches(std::string_view text) const { return longest_from(text, 0, 0) == text.size(); }

std::optional<Regex::Match> Regex::find(std::string_view text, std::size_t from) const {
  char32_t before = code_point_before(text, from);
  for (std::size_t begin = from; begin <= text.size();) {
    if (const auto end = longest_from(text, begin, before)) return Match{begin, *end};
    if (begin == text.size()) break;
    before = next_code_point(text, begin);
  }
  return std::nullopt;
}

std::optional<std::size_t> Regex::longest_from(std::string_view text, std::size_t begin,
                                               char32_t before) const {
  // Reached and not yet gone through, by position in the text: each state at most once.
  std::vector<std::uint32_t> current, next, pending = {start_};
  std::vector<std::size_t> seen(states_.size(), 0);
  std::size_t generation = 1;
  bool accepted = false;
  // Puts all that `pending` leads to without consuming anything into `list`.
  const auto expand = [&](std::vector<std::uint32_t>& list, std::size_t at) {
    std::size_t behind = at;
    const bool at_end = at == text.size();
    const char32_t after = at_end ? 0 : next_code_point(text, behind);
    const bool edge = (at > 0 && is_word(before)) != (!at_end && is_word(after));
    accepted = false;
    while (!pending.empty()) {
      const std::uint32_t index = pending.back();
      pending.pop_back();
      if (seen[index] == generation) continue;
      seen[index] = generation;
      const State& state = states_[index];
      bool passes = true;
      switch (state.kind) {
        case Kind::ranges:
          list.push_back(index);
          continue;
        case Kind::accept:
          accepted = true;
          continue;
        case Kind::split:
          pending.push_back(state.other);
          break;
        case Kind::line_begin:
          passes = at == 0 || before == '\n';
          break;
        case Kind::line_end:
          passes = at_end || after == '\n';
          break;
        case Kind::text_begin:
          passes = at == 0;
          break;
        case Kind::text_end:
          passes = at_end;
          break;
        case Kind::word_edge:
          passes = edge;
          break;
        case Kind::no_word_edge:
          passes = !edge;
          break;
      }
      if (passes) pending.push_back(state.next);
    }
  };
  std::optional<std::size_t> longest;
  expand(current, begin);
  if (accepted) longest = begin;
  for (std::size_t at = begin; at < text.size() && !current.empty();) {
    const char32_t c = next_code_point(text, at);
    for (const std::uint32_t index : current) {
      const State& state = states_[index];
      const bool consumed =
          std::any_of(ranges_.begin() + state.first, ranges_.begin() + state.last,
                      [&](const Range& range) { return c >= range.first && c <= range.last; });
      if (consumed) pending.push_back(state.next);
    }
    before = c;
    ++generation;
    next.clear();
    expand(next, at);
    std::swap(current, next);
    if (accepted) longest = at;
  }
  return longest;
}

}  // namespace mezzo::ops
