// Small models that run, one for each part of the format: what the tests damage, and what the
// fuzzers start from.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "../graph/build_model.h"
#include "onnx/writer.h"

namespace mezzo::onnx {

inline Tensor ramp(Shape shape) {
  Tensor tensor(DType::f32, std::move(shape));
  float next = -1;
  for (float& x : tensor.mutable_values<float>()) x = next += 0.25F;
  return tensor;
}

inline Tensor ints(std::vector<std::int64_t> values) {
  const Shape shape = {static_cast<std::int64_t>(values.size())};
  return Tensor::of<std::int64_t>(shape, values);
}

inline Model convolution_model() {
  using List = std::vector<std::int64_t>;
  return model(graph(
      {node("Conv", {"x", "w", "b"}, {"c"},
            {attribute("kernel_shape", List{3, 3}), attribute("pads", List{1, 1, 1, 1}),
             attribute("strides", List{1, 1}), attribute("group", std::int64_t{1})},
            "conv"),
       node("Relu", {"c"}, {"r"}, {}, "relu"),
       node("MaxPool", {"r"}, {"p"},
            {attribute("kernel_shape", List{2, 2}), attribute("strides", List{2, 2})}, "pool"),
       node("GlobalAveragePool", {"p"}, {"g"}), node("Flatten", {"g"}, {"f"}),
       node("Gemm", {"f", "fw", "fb"}, {"logits"}, {attribute("transB", std::int64_t{1})}, "fc"),
       node("Softmax", {"logits"}, {"y"}, {attribute("axis", std::int64_t{-1})})},
      {value("x", DType::f32, {-1, 1, 6, 6})}, {value("y", DType::f32, {-1, 3})},
      {initializer("w", ramp({2, 1, 3, 3})), initializer("b", ramp({2})),
       initializer("fw", ramp({3, 2})), initializer("fb", ramp({3}))}));
}

inline Model control_flow_model() {
  const Graph then = graph({node("Mul", {"x", "x"}, {"squared"})}, {},
                           {value("squared", DType::undefined)}, {}, "then");
  const Graph otherwise = graph({node("Neg", {"x"}, {"negated"})}, {},
                                {value("negated", DType::undefined)}, {}, "else");
  const Graph body =
      graph({node("Add", {"state", "z"}, {"sum"}, {}, "step"), node("Identity", {"go"}, {"on"}),
             node("Relu", {"sum"}, {"seen"})},
            {value("i", DType::i64), value("go", DType::boolean), value("state", DType::f32, {-1})},
            {value("on", DType::boolean), value("sum", DType::f32, {-1}),
             value("seen", DType::f32, {-1})},
            {}, "body");
  return model(
      graph({node("If", {"flag"}, {"z"},
                  {attribute("then_branch", then), attribute("else_branch", otherwise)}, "choice"),
             node("Loop", {"trips", "", "x"}, {"last", "all"}, {attribute("body", body)}, "loop")},
            {value("x", DType::f32, {2}), value("flag", DType::boolean, {})},
            {value("last", DType::f32, {2}), value("all", DType::f32, {-1, 2})},
            {initializer("trips", Tensor::scalar<std::int64_t>(3))}));
}

inline Model recurrent_model() {
  return model(graph(
      {node("LSTM", {"x", "w", "r", "b"}, {"y", "h", "c"},
            {attribute("hidden_size", std::int64_t{2}), attribute("direction", "forward")}, "lstm"),
       node("Squeeze", {"h", "axes"}, {"last"})},
      {value("x", DType::f32, {3, 1, 2})}, {value("y"), value("last")},
      {initializer("w", ramp({1, 8, 2})), initializer("r", ramp({1, 8, 2})),
       initializer("b", ramp({1, 16})), initializer("axes", ints({0}))}));
}

inline Model quantised_model() {
  return model(graph(
      {node("QuantizeLinear", {"x", "scale", "zero"}, {"q"}, {}, "quantise"),
       node("QLinearMatMul", {"q", "scale", "zero", "w", "scale", "wzero", "scale", "zero"}, {"m"}),
       node("DequantizeLinear", {"m", "scale", "zero"}, {"d"}),
       node("DequantizeLinear", {"packed", "scales"}, {"p"}, {attribute("axis", std::int64_t{0})}),
       node("Add", {"d", "p"}, {"y"})},
      {value("x", DType::f32, {2, 3})}, {value("y", DType::f32, {2, 2})},
      {initializer("scale", Tensor::scalar(0.1F)),
       initializer("zero", Tensor::scalar<std::uint8_t>(128)),
       initializer("w", Tensor::of<std::int8_t>({3, 2}, {1, -2, 3, -4, 5, -6})),
       initializer("wzero", Tensor::scalar<std::int8_t>(0)),
       initializer("packed", Tensor(DType::i4, {2, 2})), initializer("scales", ramp({2}))}));
}

inline Model sparse_model() {
  Model result = model(graph({node("Add", {"x", "s"}, {"y"})}, {value("x", DType::f32, {2, 3})},
                             {value("y", DType::f32, {2, 3})}));
  SparseTensor sparse;
  sparse.values = initializer("s", ramp({2}));
  sparse.indices = initializer("", Tensor::of<std::int64_t>({2, 2}, {0, 1, 1, 2}));
  sparse.dims = {2, 3};
  result.graph.sparse_initializers.push_back(std::move(sparse));
  return result;
}

inline Model function_model() {
  Model result = model(graph({node("Scaled", {"x", "k"}, {"t"}, {attribute("slope", 0.5F)}, "one"),
                              node("Scaled", {"t", "k"}, {"y"}, {}, "two")},
                             {value("x", DType::f32, {4})}, {value("y", DType::f32, {4})},
                             {initializer("k", Tensor::scalar(2.0F))}));
  for (Node& call : result.graph.nodes) call.domain = "local";
  result.opset_imports.push_back({"local", 1});
  Function function;
  function.name = "Scaled";
  function.domain = "local";
  function.inputs = {"a", "b"};
  function.outputs = {"c"};
  function.attributes = {"slope"};
  function.nodes = {
      node("Mul", {"a", "b"}, {"m"}, {}, "product"),
      node("LeakyRelu", {"m"}, {"c"}, {reference("alpha", "slope", Attribute::Kind::float_)})};
  function.opset_imports = {{"", 21}};
  result.functions.push_back(std::move(function));
  return result;
}

inline Model string_model() {
  return model(graph({node("Gather", {"words", "which"}, {"picked"}),
                      node("Cast", {"picked"}, {"y"}, {attribute("to", std::int64_t{1})})},
                     {value("which", DType::i64, {2})}, {value("y", DType::f32, {2})},
                     {initializer("words", Tensor::of<std::string>({3}, {"1.5", "-2", "3e1"}))}));
}

// Shapes computed from shapes and, behind NonZero, from contents.
inline Model shape_model() {
  return model(graph(
      {node("Shape", {"x"}, {"shape"}), node("Gather", {"shape", "zero"}, {"rows"}),
       node("Concat", {"rows", "minus_one"}, {"wanted"}, {attribute("axis", std::int64_t{0})}),
       node("Reshape", {"x", "wanted"}, {"flat"}),
       node("Slice", {"flat", "starts", "ends", "axes", "steps"}, {"part"}),
       node("Tile", {"part", "repeats"}, {"tiled"}), node("NonZero", {"tiled"}, {"places"}),
       node("Transpose", {"places"}, {"pairs"},
            {attribute("perm", std::vector<std::int64_t>{1, 0})}),
       node("GatherND", {"tiled", "pairs"}, {"y"}), node("Pad", {"tiled", "pads"}, {"padded"}),
       node("ReduceMean", {"padded", "axes"}, {"mean"}),
       node("TopK", {"tiled", "k"}, {"top", "where"})},
      {value("x", DType::f32, {2, 3, 2})}, {value("y"), value("mean"), value("top")},
      {initializer("zero", ints({0})), initializer("minus_one", ints({-1})),
       initializer("starts", ints({1})), initializer("ends", ints({5})),
       initializer("axes", ints({1})), initializer("steps", ints({2})),
       initializer("repeats", ints({1, 2})), initializer("pads", ints({0, 1, 1, 0})),
       initializer("k", ints({2}))}));
}

inline Model attention_model() {
  const Graph body =
      graph({node("Add", {"state", "item"}, {"next"}), node("Identity", {"next"}, {"scanned"})},
            {value("state", DType::f32, {3}), value("item", DType::f32, {})},
            {value("next", DType::f32, {3}), value("scanned", DType::f32, {3})}, {}, "body");
  return model(graph(
      {node("LayerNormalization", {"x", "gain"}, {"n"}), node("MatMul", {"n", "w"}, {"qk"}),
       node("Split", {"qk"}, {"q", "k"},
            {attribute("axis", std::int64_t{-1}), attribute("num_outputs", std::int64_t{2})}),
       node("Einsum", {"q", "k"}, {"scores"}, {attribute("equation", "bij,bkj->bik")}),
       node("Softmax", {"scores"}, {"weights"}),
       node("ReduceSum", {"weights", "axes"}, {"row"}, {attribute("keepdims", std::int64_t{0})}),
       node("Scan", {"start", "row"}, {"last", "y"},
            {attribute("body", body), attribute("num_scan_inputs", std::int64_t{1})})},
      {value("x", DType::f32, {2, 3, 4})}, {value("y"), value("last")},
      {initializer("gain", ramp({4})), initializer("w", ramp({4, 4})),
       initializer("axes", ints({0, 2})), initializer("start", ramp({3}))}));
}

/// By name.
inline std::vector<std::pair<std::string, Model>> valid_models() {
  return {{"convolution", convolution_model()}, {"control_flow", control_flow_model()},
          {"recurrent", recurrent_model()},     {"quantised", quantised_model()},
          {"sparse", sparse_model()},           {"function", function_model()},
          {"strings", string_model()},          {"shapes", shape_model()},
          {"attention", attention_model()}};
}

}  // namespace mezzo::onnx
