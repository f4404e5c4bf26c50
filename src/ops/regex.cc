#include "ops/regex.h"

#include <algorithm>

#include "mezzo/error.h"
#include "ops/unicode.h"

namespace mezzo::ops {
namespace {

constexpr std::size_t kMaxStates = 20000;

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

// Builds the automaton from the end of the pattern to its start: each part is built knowing the
// state that follows it.
class RegexBuilder {
 public:
  explicit RegexBuilder(Regex& regex) : regex_(regex) {}

  void build(const RegexNode& root) { regex_.start_ = build(root, add({Regex::Kind::accept})); }

 private:
  std::uint32_t add(const Regex::State& state) {
    if (regex_.states_.size() >= kMaxStates) {
      throw Error(ErrorCode::limit, "a regular expression is too large");
    }
    regex_.states_.push_back(state);
    return static_cast<std::uint32_t>(regex_.states_.size() - 1);
  }

  std::uint32_t add_split(std::uint32_t next, std::uint32_t other) {
    Regex::State state{Regex::Kind::split};
    state.next = next;
    state.other = other;
    return add(state);
  }

  // The state at which `part`, followed by the state `next`, starts.
  std::uint32_t build(const RegexNode& part, std::uint32_t next) {
    // Counted apart from the states, for repetitions of nothing make none.
    if (++parts_built_ > 10 * kMaxStates) {
      throw Error(ErrorCode::limit, "a regular expression is too large");
    }
    switch (part.type) {
      case RegexNode::Type::empty:
        return next;
      case RegexNode::Type::ranges: {
        Regex::State state{Regex::Kind::ranges};
        state.next = next;
        state.first = static_cast<std::uint32_t>(regex_.ranges_.size());
        regex_.ranges_.insert(regex_.ranges_.end(), part.ranges.begin(), part.ranges.end());
        state.last = static_cast<std::uint32_t>(regex_.ranges_.size());
        return add(state);
      }
      case RegexNode::Type::assertion: {
        Regex::State state{Regex::Kind::assertion};
        state.next = next;
        state.assertion = part.assertion;
        return add(state);
      }
      case RegexNode::Type::sequence:
        for (std::size_t i = part.parts.size(); i-- > 0;) next = build(*part.parts[i], next);
        return next;
      case RegexNode::Type::choice: {
        std::uint32_t start = build(*part.parts.back(), next);
        for (std::size_t i = part.parts.size() - 1; i-- > 0;) {
          start = add_split(build(*part.parts[i], next), start);
        }
        return start;
      }
      case RegexNode::Type::repeat:
        return build_repeat(part, next);
    }
    return next;
  }

  std::uint32_t build_repeat(const RegexNode& repeat, std::uint32_t next) {
    const RegexNode& part = *repeat.parts[0];
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

  Regex& regex_;
  std::size_t parts_built_ = 0;
};

Regex::Regex(std::string_view pattern) { RegexBuilder(*this).build(*parse_regex(pattern)); }

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
    const auto holds = [&](RegexAssertion assertion) {
      switch (assertion) {
        case RegexAssertion::line_begin:
          return at == 0 || before == '\n';
        case RegexAssertion::line_end:
          return at_end || after == '\n';
        case RegexAssertion::text_begin:
          return at == 0;
        case RegexAssertion::text_end:
          return at_end;
        case RegexAssertion::word_edge:
          return edge;
        case RegexAssertion::no_word_edge:
          return !edge;
      }
      return false;
    };
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
        case Kind::assertion:
          passes = holds(state.assertion);
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
                      [&](const RegexRange& range) { return c >= range.first && c <= range.last; });
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
