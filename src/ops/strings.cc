// StringConcat, StringNormalizer, StringSplit, RegexFullMatch. Spec: StringConcat-20,
// StringNormalizer-10, StringSplit-20, RegexFullMatch-20.

#include <algorithm>
#include <limits>
#include <set>

#include "ops/regex.h"
#include "ops/shapes.h"
#include "ops/unicode.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

Choice concat(Op& op) {
  const Shape& out = op.out_shape(0);
  return [a = broadcast_strides(op.in_shape(0), out), b = broadcast_strides(op.in_shape(1), out),
          out](Run& run) {
    const std::int64_t count = product(out);
    std::vector<std::int64_t> index(out.size(), 0);
    std::int64_t at_a = 0, at_b = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      run.out<std::string>(0)[i] = run.in<std::string>(0)[at_a] + run.in<std::string>(1)[at_b];
      for (std::size_t axis = out.size(); axis-- > 0;) {
        at_a += a[axis];
        at_b += b[axis];
        if (++index[axis] < out[axis]) break;
        at_a -= index[axis] * a[axis];
        at_b -= index[axis] * b[axis];
        index[axis] = 0;
      }
    }
  };
}

enum class CaseChange { none, lower, upper };

CaseChange case_change_of(const Op& op) {
  const std::string name = op.attr_string("case_change_action");
  if (name == "NONE") return CaseChange::none;
  if (name == "LOWER") return CaseChange::lower;
  if (name == "UPPER") return CaseChange::upper;
  throw invalid("an unknown case_change_action").expected("NONE, LOWER or UPPER").got(name);
}

void infer_normalizer(Op& op) {
  require_rank(op, 0, 1, 2);
  if (op.in_rank(0) == 2 && op.in_shape(0)[0] != 1) {
    throw invalid("StringNormalizer takes [C] or [1, C]").got(to_string(op.in_shape(0)));
  }
  case_change_of(op);
  op.set_out_unknown(0, DType::string);
}

Choice normalize(Op& op) {
  const bool case_sensitive = op.attr_int("is_case_sensitive") != 0;
  std::set<std::string> stopwords;
  for (const std::string& word : op.attr_strings("stopwords")) {
    stopwords.insert(case_sensitive ? word : to_lower(word));
  }
  return [=, change = case_change_of(op), count = product(op.in_shape(0))](Run& run) {
    std::vector<std::string> kept;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::string& word = run.in<std::string>(0)[i];
      if (stopwords.contains(case_sensitive ? word : to_lower(word))) continue;
      kept.push_back(change == CaseChange::lower   ? to_lower(word)
                     : change == CaseChange::upper ? to_upper(word)
                                                   : word);
    }
    if (kept.empty()) kept.emplace_back();
    Shape shape(run.op().in_shape(0).size(), 1);
    shape.back() = static_cast<std::int64_t>(kept.size());
    run.give(0, Tensor::of(std::move(shape), kept));
  };
}

// The pieces between delimiters, of which at most `splits` count.
std::vector<std::string> split_at(const std::string& text, const std::string& delimiter,
                                  std::int64_t splits) {
  std::vector<std::string> pieces;
  std::size_t begin = 0;
  for (; splits > 0; --splits) {
    const std::size_t end = text.find(delimiter, begin);
    if (end == std::string::npos) break;
    pieces.push_back(text.substr(begin, end - begin));
    begin = end + delimiter.size();
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

// The words between runs of white space. After the last split that counts, the rest is one word,
// without the space before it.
std::vector<std::string> split_words(const std::string& text, std::int64_t splits) {
  static constexpr const char* kSpace = " \t\n\v\f\r";
  std::vector<std::string> words;
  std::size_t begin = text.find_first_not_of(kSpace);
  for (; begin != std::string::npos; --splits) {
    const std::size_t end = splits > 0 ? text.find_first_of(kSpace, begin) : std::string::npos;
    words.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
    if (end == std::string::npos) break;
    begin = text.find_first_not_of(kSpace, end);
  }
  return words;
}

void infer_split(Op& op) {
  op.set_out_unknown(0, DType::string);
  op.set_out(1, DType::i64, op.in_shape(0));
}

Choice split(Op& op) {
  const std::int64_t given = op.has_attr("maxsplit") ? op.attr_int("maxsplit") : -1;
  const std::int64_t splits = given < 0 ? std::numeric_limits<std::int64_t>::max() : given;
  return [splits, delimiter = op.attr_string("delimiter"), shape = op.in_shape(0)](Run& run) {
    const std::int64_t count = product(shape);
    std::vector<std::vector<std::string>> pieces;
    std::size_t most = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::string& text = run.in<std::string>(0)[i];
      pieces.push_back(delimiter.empty() ? split_words(text, splits)
                                         : split_at(text, delimiter, splits));
      most = std::max(most, pieces.back().size());
      if (auto* lengths = run.out<std::int64_t>(1)) {
        lengths[i] = static_cast<std::int64_t>(pieces.back().size());
      }
    }
    if (!run.op().has_out(0)) return;
    Shape out = shape;
    out.push_back(static_cast<std::int64_t>(most));
    auto* target = static_cast<std::string*>(run.allocate(0, DType::string, std::move(out)));
    for (auto& list : pieces) {
      std::move(list.begin(), list.end(), target);
      target += most;
    }
  };
}

void infer_match(Op& op) { op.set_out(0, DType::boolean, op.in_shape(0)); }

Choice full_match(Op& op) {
  return [regex = Regex(op.attr_string("pattern")), count = product(op.in_shape(0))](Run& run) {
    for (std::int64_t i = 0; i < count; ++i) {
      run.out<bool>(0)[i] = regex.matches(run.in<std::string>(0)[i]);
    }
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(strings) {
  op("StringConcat")
      .since(20)
      .in("X", DType::string)
      .in("Y", like(0))
      .out("Z", like(0))
      .infer(broadcast_shape)
      .kernel("reference", concat);
  op("StringNormalizer")
      .since(10)
      .attr("case_change_action", "NONE")
      .attr("is_case_sensitive", 0)
      .attr("locale", Kind::string)
      .attr("stopwords", Kind::strings)
      .in("X", DType::string)
      .out("Y", DType::string)
      .infer(infer_normalizer)
      .kernel("reference", normalize);
  op("StringSplit")
      .since(20)
      .attr("delimiter", Kind::string)
      .attr("maxsplit", Kind::int_)
      .in("X", DType::string)
      .out("Y", DType::string)
      .out("Z", DType::i64)
      .infer(infer_split)
      .kernel("reference", split);
  op("RegexFullMatch")
      .since(20)
      .attr("pattern", Kind::string)
      .in("X", DType::string)
      .out("Y", DType::boolean)
      .infer(infer_match)
      .kernel("reference", full_match);
}
