// com.microsoft Tokenizer (1): strings to their tokens, which are what lies between separators,
// what matches an expression, or the characters. Spec: ONNX Runtime's docs/ContribOperators.md.
// Both kinds of expressions are RE2's; of the matches at a place the longest counts.

#include <algorithm>

#include "ops/regex.h"
#include "ops/shapes.h"
#include "ops/unicode.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using Tokens = std::vector<std::string_view>;

void infer(Op& op) {
  require_rank(op, 0, 1, 2);
  const bool by_expression = !op.attr_string("tokenexp").empty();
  if (by_expression == op.has_attr("separators")) {
    throw invalid("a tokenizer goes by separators or by tokenexp")
        .at("attributes 'separators', 'tokenexp'")
        .expected("one of the two")
        .got(by_expression ? "both" : "none");
  }
  if (op.attr_int("mincharnum") <= 0) {
    throw invalid("a token must have a character")
        .at("attribute 'mincharnum'")
        .expected("1 or more")
        .got(std::to_string(op.attr_int("mincharnum")));
  }
  op.set_out_unknown(0, DType::string);
}

std::int64_t characters(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) next_code_point(text, at);
  return count;
}

struct Splitter {
  std::vector<Regex> separators;
  std::vector<Regex> expression;  // one or none
  std::int64_t least = 1;         // characters of a token
  bool by_character = false;

  void keep(std::string_view token, Tokens& tokens) const {
    if (characters(token) >= least) tokens.push_back(token);
  }

  Tokens operator()(std::string_view text) const {
    Tokens tokens;
    if (by_character) {
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        next_code_point(text, at);
        keep(text.substr(begin, at - begin), tokens);
      }
      return tokens;
    }
    if (!expression.empty()) {
      each_match(expression[0], text, [&](std::size_t, std::size_t begin, std::size_t end) {
        keep(text.substr(begin, end - begin), tokens);
      });
      return tokens;
    }
    tokens.push_back(text);
    for (const Regex& separator : separators) {
      Tokens pieces;
      for (const std::string_view piece : tokens) {
        const std::size_t rest =
            each_match(separator, piece, [&](std::size_t from, std::size_t begin, std::size_t) {
              keep(piece.substr(from, begin - from), pieces);
            });
        keep(piece.substr(rest), pieces);
      }
      tokens = std::move(pieces);
    }
    return tokens;
  }

  // Calls body(end of the match before, begin, end); gives the end of the last. An empty match
  // takes the character behind it along.
  template <class Body>
  static std::size_t each_match(const Regex& regex, std::string_view text, Body body) {
    std::size_t from = 0;
    while (from < text.size()) {
      const auto match = regex.find(text, from);
      if (!match) break;
      body(from, match->begin, match->end);
      from = match->end;
      if (match->begin != match->end) continue;
      if (from == text.size()) break;
      next_code_point(text, from);
    }
    return from;
  }
};

Splitter splitter_of(const Op& op) {
  Splitter splitter;
  splitter.least = op.attr_int("mincharnum");
  const std::string expression = op.attr_string("tokenexp");
  const std::vector<std::string> separators = op.attr_strings("separators");
  splitter.by_character = separators == std::vector<std::string>{""};
  if (!expression.empty()) {
    splitter.expression.emplace_back(expression);
  } else if (!splitter.by_character) {
    for (const std::string& separator : separators) splitter.separators.emplace_back(separator);
  }
  return splitter;
}

Choice tokenize(Op& op) {
  return Kernel([splitter = splitter_of(op), pad = op.attr_string("pad_value"),
                 mark = op.attr_int("mark") != 0](Run& run) {
    Shape shape = run.op().in_shape(0);
    const std::int64_t count = product(shape);
    std::vector<Tokens> rows;
    std::size_t most = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      rows.push_back(splitter(run.in<std::string>(0)[i]));
      most = std::max(most, rows.back().size());
    }
    if (mark && most > 0) most += 2;  // where there is no token, there are no marks
    shape.push_back(static_cast<std::int64_t>(most));
    auto* y = static_cast<std::string*>(run.allocate(0, DType::string, std::move(shape)));
    for (std::size_t i = 0; most > 0 && i < rows.size(); ++i) {
      std::string* const end = y + most;
      if (mark) *y++ = "\x02";
      for (const std::string_view token : rows[i]) *y++ = token;
      if (mark) *y++ = "\x03";
      while (y != end) *y++ = pad;
    }
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(tokenizer) {
  op("Tokenizer", "com.microsoft")
      .since(1)
      .required("mark", Kind::int_)
      .required("mincharnum", Kind::int_)
      .required("pad_value", Kind::string)
      .attr("separators", Kind::strings)
      .attr("tokenexp", Kind::string)
      .in("X", DType::string)
      .out("Y", DType::string)
      .infer(infer)
      .kernel("reference", tokenize);
}
