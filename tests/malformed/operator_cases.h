// Models of one node that is wrong, in short form: what the tests of operators share.
#pragma once

#include <cstdint>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "attempt.h"
#include "valid_models.h"

namespace mezzo::malformed {

using onnx::attribute;
using onnx::ints;
using onnx::ramp;
using Ints = std::vector<std::int64_t>;
using Attributes = std::vector<onnx::Attribute>;
constexpr std::int64_t kHuge = std::int64_t{1} << 62;
constexpr std::int64_t kTera = std::int64_t{1} << 40;

inline onnx::Attribute i(std::string name, std::int64_t number) {
  return attribute(std::move(name), number);
}
inline onnx::Attribute l(std::string name, Ints numbers) {
  return attribute(std::move(name), std::move(numbers));
}
inline onnx::Attribute s(std::string name, std::string text) {
  return attribute(std::move(name), std::move(text));
}

/// An operand: fed (when running, in zeros), in the file, or omitted.
struct In {
  In(Shape fed, DType type = DType::f32) : shape(std::move(fed)), dtype(type) {}
  In(Tensor constant) : tensor(std::move(constant)) {}
  Shape shape;
  DType dtype = DType::undefined;  // undefined: a constant
  Tensor tensor;
};
inline const In kOmitted{Tensor()};

struct Case {
  std::string op;
  std::vector<In> in = {};
  Attributes attributes = {};
  int outputs = 1;
  int opset = 21;
  std::string domain = "";
};

inline onnx::Model model_of(const Case& c) {
  onnx::Graph main;
  onnx::Node node = onnx::node(c.op, {}, {}, c.attributes);
  node.domain = c.domain;
  for (std::size_t k = 0; k < c.in.size(); ++k) {
    const In& in = c.in[k];
    const std::string name = "x" + std::to_string(k);
    if (in.dtype != DType::undefined) {
      onnx::ValueInfo info = onnx::value(name, in.dtype);
      for (const std::int64_t extent : in.shape) info.type.shape->push_back({extent, "", "", ""});
      main.inputs.push_back(info);
    } else if (in.tensor.has_value()) {
      main.initializers.push_back(onnx::initializer(name, in.tensor));
    }
    node.inputs.push_back(in.dtype == DType::undefined && !in.tensor.has_value() ? "" : name);
  }
  for (int k = 0; k < c.outputs; ++k) {
    node.outputs.push_back("y" + std::to_string(k));
    main.outputs.push_back(onnx::value(node.outputs.back(), DType::undefined));
  }
  main.nodes.push_back(std::move(node));
  onnx::Model model = onnx::model(std::move(main), c.opset);
  if (!c.domain.empty()) model.opset_imports.push_back({c.domain, 1});
  return model;
}

inline void expect_errors(const std::vector<Case>& cases) {
  int number = 0;
  for (const Case& c : cases) {
    const std::string name = c.op + ", case " + std::to_string(number++);
    expect_error(name, attempt_model(name, model_of(c)));
  }
  std::cout << cases.size() << " models\n";
}

inline Tensor scalar(std::int64_t value) { return Tensor::scalar(value); }
inline Tensor fscalar(float value) { return Tensor::scalar(value); }

}  // namespace mezzo::malformed
