#include "plan/shape_arithmetic.h"

#include <algorithm>

namespace mezzo::plan {
namespace {

// Of answers: when there are more, they are those of shapes that will not come back.
constexpr std::size_t kMost = 4096;

template <class T>
void append(std::string& text, const T& number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void append(std::string& text, const std::string& word) {
  append(text, word.size());
  text += word;
}

template <class T>
void append(std::string& text, const std::vector<T>& list) {
  append(text, list.size());
  for (const T& item : list) append(text, item);
}

// False: it has more than is written.
bool append(std::string& text, const onnx::Attribute& attribute) {
  using Kind = onnx::Attribute::Kind;
  append(text, attribute.name);
  append(text, attribute.kind);
  append(text, attribute.f);
  append(text, attribute.i);
  append(text, attribute.s);
  append(text, attribute.floats);
  append(text, attribute.ints);
  append(text, attribute.strings);
  return attribute.kind == Kind::float_ || attribute.kind == Kind::int_ ||
         attribute.kind == Kind::string || attribute.kind == Kind::floats ||
         attribute.kind == Kind::ints || attribute.kind == Kind::strings;
}

// All of a node that its results may depend on besides its inputs.
std::string kind_of(const graph::Node& node, graph::NodeId number) {
  std::string kind;
  append(kind, node.op_type);
  append(kind, node.domain);
  append(kind, node.opset);
  for (const auto* values : {&node.inputs, &node.outputs}) {
    append(kind, values->size());
    for (const graph::ValueId value : *values) append(kind, value != graph::kNone);
  }
  for (const graph::AttributePointer& attribute : node.attributes) {
    if (!append(kind, *attribute)) append(kind, number);  // like no other
  }
  return kind;
}

}  // namespace

void ShapeArithmetic::add_node(std::string& question, graph::NodeId node) {
  int& kind = kinds_[static_cast<std::size_t>(node)];
  if (kind < 0) {
    const auto next = static_cast<int>(known_kinds_.size());
    kind = known_kinds_.try_emplace(kind_of(graph_.node(node), node), next).first->second;
  }
  append(question, kind);
}

bool ShapeArithmetic::add_input(std::string& question, DType dtype, const Shape& shape,
                                const Tensor* contents) {
  append(question, dtype);
  append(question, shape);
  append(question, contents != nullptr);
  if (contents == nullptr) return true;
  if (!is_plain(dtype) || contents->bytes() > kFewBytes) return false;
  question.append(static_cast<const char*>(contents->data()), contents->bytes());
  return true;
}

const ShapeArithmetic::Results* ShapeArithmetic::find(const std::string& question) const {
  const auto found = answers_.find(question);
  return found != answers_.end() ? &found->second : nullptr;
}

void ShapeArithmetic::keep(std::string question, const Results& results) {
  const auto is_small = [](const std::shared_ptr<const Tensor>& result) {
    return result == nullptr || (is_plain(result->dtype()) && result->bytes() <= kFewBytes);
  };
  if (!std::all_of(results.begin(), results.end(), is_small)) return;
  if (answers_.size() >= kMost) answers_.clear();
  answers_.try_emplace(std::move(question), results);
}

}  // namespace mezzo::plan
