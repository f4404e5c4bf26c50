#include "ops/einsum_equation.h"

#include <algorithm>
#include <array>

namespace mezzo::ops {
namespace {

Error bad(std::string problem, const std::string& equation) {
  return Error(ErrorCode::invalid_model, std::move(problem))
      .at("attribute 'equation'")
      .got("'" + equation + "'");
}

// The letters of a term, with a '.' where its ellipsis stands.
struct Reader {
  const std::string& equation;

  bool is_letter(char c) const { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  std::string term(const std::string& text) const {
    std::string letters;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text.compare(i, 3, "...") == 0) {
        if (letters.find('.') != std::string::npos) {
          throw bad("a term of the equation has two ellipses", equation);
        }
        letters += '.';
        i += 2;
      } else if (is_letter(text[i])) {
        letters += text[i];
      } else {
        throw bad("the equation has a character that is neither a letter nor '...'", equation);
      }
    }
    return letters;
  }
};

}  // namespace

Shape EinsumEquation::output_shape() const {
  Shape shape;
  for (const int index : output) shape.push_back(extents[static_cast<std::size_t>(index)]);
  return shape;
}

EinsumEquation read_einsum(const std::string& equation, const std::vector<Shape>& shapes) {
  std::string text = equation;
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const std::size_t arrow = text.find("->");
  const Reader reader{equation};

  std::vector<std::string> terms;
  std::string left = text.substr(0, arrow);
  for (std::size_t begin = 0; begin <= left.size();) {
    const std::size_t end = std::min(left.find(',', begin), left.size());
    terms.push_back(reader.term(left.substr(begin, end - begin)));
    begin = end + 1;
  }
  if (terms.size() != shapes.size()) {
    throw bad("the equation has another number of terms than the node has inputs", equation)
        .expected(std::to_string(shapes.size()) + " terms");
  }

  // The ellipsis stands for as many axes as the operand with the most has to spare; the others
  // have the last of them.
  std::size_t hidden = 0;
  bool has_ellipsis = false;
  std::vector<std::size_t> spare;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const bool here = terms[i].find('.') != std::string::npos;
    const std::size_t letters = terms[i].size() - (here ? 1 : 0);
    if (here ? letters > shapes[i].size() : letters != shapes[i].size()) {
      throw bad("a term of the equation has another number of axes than its input", equation)
          .at("input " + std::to_string(i))
          .expected(to_string(shapes[i]));
    }
    spare.push_back(shapes[i].size() - letters);
    hidden = std::max(hidden, spare.back());
    has_ellipsis |= here;
  }

  EinsumEquation result;
  result.extents.assign(hidden, 1);
  std::array<int, 128> index_of;
  index_of.fill(-1);
  std::array<int, 128> uses{};
  for (std::size_t i = 0; i < terms.size(); ++i) {
    std::vector<int> operand;
    for (const char c : terms[i]) {
      const auto letter = static_cast<std::size_t>(c);
      if (c == '.') {
        for (std::size_t k = hidden - spare[i]; k < hidden; ++k) {
          operand.push_back(static_cast<int>(k));
        }
        continue;
      }
      if (index_of[letter] < 0) {
        index_of[letter] = static_cast<int>(result.extents.size());
        result.extents.push_back(1);
      }
      ++uses[letter];
      operand.push_back(index_of[letter]);
    }
    for (std::size_t axis = 0; axis < operand.size(); ++axis) {
      std::int64_t& extent = result.extents[static_cast<std::size_t>(operand[axis])];
      const std::int64_t own = shapes[i][axis];
      if (own != extent && own != 1 && extent != 1) {
        throw bad("two axes with the same index have different extents", equation)
            .at("input " + std::to_string(i))
            .expected("extent " + std::to_string(extent) + " at axis " + std::to_string(axis));
      }
      if (extent == 1) extent = own;
    }
    result.operands.push_back(std::move(operand));
  }

  std::string output;
  if (arrow != std::string::npos) {
    output = reader.term(text.substr(arrow + 2));
  } else {
    if (has_ellipsis) output += '.';
    for (std::size_t c = 0; c < uses.size(); ++c) {
      if (uses[c] == 1) output += static_cast<char>(c);
    }
  }
  if (hidden > 0 && output.find('.') == std::string::npos) {
    throw bad("the inputs of the equation have an ellipsis, its output has none", equation);
  }
  for (std::size_t k = 0; k < output.size(); ++k) {
    const char c = output[k];
    if (c == '.') {
      for (std::size_t h = 0; h < hidden; ++h) result.output.push_back(static_cast<int>(h));
      continue;
    }
    const int index = index_of[static_cast<std::size_t>(c)];
    if (index < 0 || output.find(c) != k) {
      throw bad(std::string("the index '") + c + "' of the output " +
                    (index < 0 ? "is in no input" : "appears twice"),
                equation);
    }
    result.output.push_back(index);
  }
  return result;
}

}  // namespace mezzo::ops
