// Attributes of the nodes that passes make.
#include "passes/program.h"

namespace mezzo::passes {
namespace {

// An attribute whose `member` is `value`.
template <class T>
graph::AttributePointer made(std::string name, onnx::Attribute::Kind kind,
                             T onnx::Attribute::*member, T value) {
  auto result = std::make_shared<onnx::Attribute>();
  result->name = std::move(name);
  result->kind = kind;
  (*result).*member = std::move(value);
  return result;
}

using Kind = onnx::Attribute::Kind;

}  // namespace

graph::AttributePointer attribute(std::string name, std::int64_t value) {
  return made(std::move(name), Kind::int_, &onnx::Attribute::i, value);
}

graph::AttributePointer attribute(std::string name, float value) {
  return made(std::move(name), Kind::float_, &onnx::Attribute::f, value);
}

graph::AttributePointer attribute(std::string name, std::string value) {
  return made(std::move(name), Kind::string, &onnx::Attribute::s, std::move(value));
}

graph::AttributePointer attribute(std::string name, std::vector<std::int64_t> values) {
  return made(std::move(name), Kind::ints, &onnx::Attribute::ints, std::move(values));
}

graph::AttributePointer attribute(std::string name, std::vector<float> values) {
  return made(std::move(name), Kind::floats, &onnx::Attribute::floats, std::move(values));
}

}  // namespace mezzo::passes
