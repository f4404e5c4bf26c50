// Small models made here, so that the laws can be tested without any file.
#pragma once

#include <string>
#include <vector>

#include "mezzo/mezzo.h"
#include "onnx/writer.h"

namespace mezzo::tests {

struct SmallModel {
  std::string name;
  Model model;
  Feeds feeds;
};

/// Builds graphs node by node. Weights come from a fixed sequence of pseudo-random numbers.
class GraphBuilder {
 public:
  using Attributes = std::vector<onnx::Attribute>;

  static onnx::Attribute ints(const std::string& name, std::vector<std::int64_t> values) {
    onnx::Attribute attribute;
    attribute.name = name;
    attribute.kind = onnx::Attribute::Kind::ints;
    attribute.ints = std::move(values);
    return attribute;
  }
  static onnx::Attribute number(const std::string& name, std::int64_t value) {
    onnx::Attribute attribute;
    attribute.name = name;
    attribute.kind = onnx::Attribute::Kind::int_;
    attribute.i = value;
    return attribute;
  }
  static onnx::Attribute body(const std::string& name, const GraphBuilder& builder) {
    onnx::Attribute attribute;
    attribute.name = name;
    attribute.kind = onnx::Attribute::Kind::graph;
    attribute.graphs.push_back(std::make_shared<onnx::Graph>(builder.graph_));
    return attribute;
  }

  GraphBuilder& input(const std::string& name, DType dtype, const Shape& shape) {
    graph_.inputs.push_back(info(name, dtype, shape));
    return *this;
  }
  GraphBuilder& output(const std::string& name) {
    onnx::ValueInfo info;
    info.name = name;
    graph_.outputs.push_back(info);
    return *this;
  }
  GraphBuilder& constant(const std::string& name, Tensor tensor) {
    onnx::NamedTensor named;
    named.name = name;
    named.tensor = std::move(tensor);
    graph_.initializers.push_back(std::move(named));
    return *this;
  }
  GraphBuilder& weight(const std::string& name, const Shape& shape) {
    return constant(name, random(shape, graph_.initializers.size() + 1));
  }
  GraphBuilder& node(const std::string& op, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs, Attributes attributes = {},
                     const std::string& domain = "") {
    onnx::Node node;
    node.domain = domain;
    node.op_type = op;
    node.name = op + "_" + outputs[0];
    node.inputs = inputs;
    node.outputs = outputs;
    node.attributes = std::move(attributes);
    graph_.nodes.push_back(std::move(node));
    return *this;
  }

  Model finish(int opset = 17) const {
    onnx::Model model;
    model.ir_version = 8;
    model.graph = graph_;
    model.opset_imports.push_back({"", opset});
    model.opset_imports.push_back({"mezzo", 1});
    const std::string bytes = onnx::write_memory(model);
    return Model::from_memory(bytes.data(), bytes.size());
  }

  /// Numbers in [-0.5, 0.5), the same for the same seed (a linear congruential generator, Knuth's
  /// MMIX constants).
  static Tensor random(const Shape& shape, std::uint64_t seed) {
    Tensor tensor(DType::f32, shape);
    std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
    for (float& value : tensor.mutable_values<float>()) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      value = static_cast<float>(state >> 40) / static_cast<float>(1 << 24) - 0.5F;
    }
    return tensor;
  }

 private:
  static onnx::ValueInfo info(const std::string& name, DType dtype, const Shape& shape) {
    onnx::ValueInfo info;
    info.name = name;
    info.type.kind = onnx::Type::Kind::tensor;
    info.type.dtype = dtype;
    info.type.shape.emplace();
    for (const std::int64_t extent : shape) {
      onnx::Dim dim;
      dim.value = extent;
      info.type.shape->push_back(dim);
    }
    return info;
  }

  onnx::Graph graph_;
};

inline SmallModel conv_net() {
  GraphBuilder g;
  g.input("x", DType::f32, {2, 3, 17, 19}).weight("w1", {8, 3, 3, 3}).weight("b1", {8});
  g.weight("scale", {8}).weight("shift", {8}).weight("mean", {8});
  g.constant("var", Tensor::of<float>({8}, {1, 2, 3, 4, 5, 6, 7, 8}));
  g.weight("w2", {8, 1, 3, 3}).weight("w3", {8, 8, 1, 1}).weight("w4", {10, 8}).weight("b4", {10});
  g.node("Conv", {"x", "w1", "b1"}, {"c1"}, {GraphBuilder::ints("pads", {1, 1, 1, 1})});
  g.node("BatchNormalization", {"c1", "scale", "shift", "mean", "var"}, {"n1"});
  g.node("Relu", {"n1"}, {"r1"});
  g.node("Conv", {"r1", "w2"}, {"c2"},
         {GraphBuilder::ints("pads", {1, 1, 1, 1}), GraphBuilder::number("group", 8)});
  g.node("Conv", {"c2", "w3"}, {"c3"});
  g.node("Add", {"c3", "r1"}, {"sum"}).node("Relu", {"sum"}, {"r2"});
  g.node("MaxPool", {"r2"}, {"p"},
         {GraphBuilder::ints("kernel_shape", {2, 2}), GraphBuilder::ints("strides", {2, 2})});
  g.node("GlobalAveragePool", {"p"}, {"pool"}).node("Flatten", {"pool"}, {"features"});
  g.node("Gemm", {"features", "w4", "b4"}, {"scores"}, {GraphBuilder::number("transB", 1)});
  g.node("Softmax", {"scores"}, {"probabilities"}).output("probabilities");
  return {"conv_net", g.finish(), {{"x", GraphBuilder::random({2, 3, 17, 19}, 99)}}};
}

// Of x [batch, tokens, width], a multiple of three wide.
inline SmallModel attention(const std::string& name, const Shape& shape) {
  const std::int64_t width = shape[2];
  GraphBuilder g;
  g.input("x", DType::f32, shape)
      .weight("wq", {width, width})
      .weight("wk", {width, width})
      .weight("gamma", {width});
  g.weight("beta", {width}).constant("three", Tensor::of<std::int64_t>({1}, {3}));
  g.constant("minus", Tensor::of<std::int64_t>({1}, {-1}))
      .constant("zero", Tensor::of<std::int64_t>({1}, {0}));
  g.constant("one", Tensor::of<std::int64_t>({1}, {1}));
  g.node("Shape", {"x"}, {"shape"}).node("Gather", {"shape", "zero"}, {"batch"});
  g.node("Gather", {"shape", "one"}, {"length"});
  g.node("Concat", {"batch", "length", "three", "minus"}, {"split"},
         {GraphBuilder::number("axis", 0)});
  g.node("LayerNormalization", {"x", "gamma", "beta"}, {"normed"});
  g.node("MatMul", {"normed", "wq"}, {"q"}).node("MatMul", {"normed", "wk"}, {"k"});
  g.node("Reshape", {"q", "split"}, {"q4"}).node("Reshape", {"k", "split"}, {"k4"});
  g.node("Transpose", {"q4"}, {"qt"}, {GraphBuilder::ints("perm", {0, 2, 1, 3})});
  g.node("Transpose", {"k4"}, {"kt"}, {GraphBuilder::ints("perm", {0, 2, 3, 1})});
  g.node("MatMul", {"qt", "kt"}, {"scores"}).node("Softmax", {"scores"}, {"weights"});
  g.node("MatMul", {"weights", "qt"}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"back"}, {GraphBuilder::ints("perm", {0, 2, 1, 3})});
  g.node("Reshape", {"back", "shape"}, {"flat"}).node("Add", {"flat", "x"}, {"residual"});
  g.node("LayerNormalization", {"residual", "gamma", "beta"}, {"y"}).output("y");
  return {name, g.finish(), {{"x", GraphBuilder::random(shape, 7)}}};
}

// A token behind four others: a norm and attention written out, keys and values from a cache that
// pairs of heads share, weights of 4 bits.
inline SmallModel decoder() {
  constexpr std::int64_t kWidth = 32, kHeads = 4, kGroups = 2, kSize = 8, kPast = 4;
  GraphBuilder g;
  g.input("x", DType::f32, {1, 1, kWidth});
  g.input("past_k", DType::f32, {1, kGroups, kPast, kSize});
  g.input("past_v", DType::f32, {1, kGroups, kPast, kSize});
  const auto shape = [&](const std::string& name, const std::vector<std::int64_t>& sizes) {
    g.constant(name, Tensor::of<std::int64_t>({static_cast<std::int64_t>(sizes.size())}, sizes));
  };
  shape("queries", {1, 1, kHeads, kSize});
  shape("groups", {1, 1, kGroups, kSize});
  shape("axis", {2});
  shape("repeats", {1, kGroups, kHeads / kGroups, kPast + 1, kSize});
  shape("heads", {1, kHeads, kPast + 1, kSize});
  shape("flat", {1, 1, kWidth});
  g.constant("two", Tensor::scalar(2.0F)).constant("epsilon", Tensor::scalar(1e-3F));
  g.constant("scale", Tensor::scalar(0.35F)).weight("gamma", {kWidth});
  g.node("Pow", {"x", "two"}, {"square"});
  g.node("ReduceMean", {"square", "last"}, {"mean"});
  shape("last", {-1});
  g.node("Add", {"mean", "epsilon"}, {"variance"}).node("Sqrt", {"variance"}, {"root"});
  g.node("Div", {"x", "root"}, {"normal"}).node("Mul", {"gamma", "normal"}, {"n"});
  const auto product = [&](const std::string& from, const std::string& to, std::int64_t columns) {
    Tensor q = Tensor::uninitialized(DType::i4, {kWidth, columns});
    auto* bytes = static_cast<std::uint8_t*>(q.mutable_data());
    for (std::size_t i = 0; i < q.bytes(); ++i)
      bytes[i] = static_cast<std::uint8_t>((i + to.size()) * 2654435761U >> 11);
    g.constant(to + "_q", std::move(q)).weight(to + "_s", {kWidth / 16, columns});
    g.node("DequantizeLinear", {to + "_q", to + "_s"}, {to + "_w"},
           {GraphBuilder::number("axis", 0), GraphBuilder::number("block_size", 16)});
    g.node("MatMul", {from, to + "_w"}, {to});
  };
  const auto by_heads = [&](const std::string& from, const std::string& sizes) {
    g.node("Reshape", {from, sizes}, {from + "4"});
    g.node("Transpose", {from + "4"}, {from + "h"}, {GraphBuilder::ints("perm", {0, 2, 1, 3})});
  };
  product("n", "q", kWidth);
  by_heads("q", "queries");
  for (const std::string name : {"k", "v"}) {
    product("n", name, kGroups * kSize);
    by_heads(name, "groups");
    g.node("Concat", {"past_" + name, name + "h"}, {"present_" + name},
           {GraphBuilder::number("axis", 2)});
    g.output("present_" + name);
    g.node("Unsqueeze", {"present_" + name, "axis"}, {name + "u"});
    g.node("Expand", {name + "u", "repeats"}, {name + "e"});
    g.node("Reshape", {name + "e", "heads"}, {name + "r"});
  }
  g.node("Transpose", {"kr"}, {"kt"}, {GraphBuilder::ints("perm", {0, 1, 3, 2})});
  g.node("MatMul", {"qh", "kt"}, {"scores"}).node("Mul", {"scores", "scale"}, {"scaled"});
  g.node("Softmax", {"scaled"}, {"weights"}, {GraphBuilder::number("axis", -1)});
  g.node("MatMul", {"weights", "vr"}, {"mixed"});
  g.node("Transpose", {"mixed"}, {"joined"}, {GraphBuilder::ints("perm", {0, 2, 1, 3})});
  g.node("Reshape", {"joined", "flat"}, {"rows"});
  product("rows", "o", kWidth);
  g.node("Add", {"o", "x"}, {"y"}).output("y");
  return {"decoder",
          g.finish(21),
          {{"x", GraphBuilder::random({1, 1, kWidth}, 51)},
           {"past_k", GraphBuilder::random({1, kGroups, kPast, kSize}, 52)},
           {"past_v", GraphBuilder::random({1, kGroups, kPast, kSize}, 53)}}};
}

// Branches within branches, with values of outer graphs, decided by what the input contains.
inline SmallModel branches() {
  GraphBuilder inner_then, inner_else, then_body, else_body, g;
  inner_then.node("Mul", {"doubled", "x"}, {"t2"}).output("t2");
  inner_else.node("Neg", {"doubled"}, {"e2"}).output("e2");
  then_body.node("Add", {"x", "x"}, {"doubled"})
      .node("ReduceMin", {"doubled"}, {"least"}, {GraphBuilder::number("keepdims", 0)});
  then_body.constant("limit", Tensor::scalar(-10.0F))
      .node("Greater", {"least", "limit"}, {"inside"});
  then_body.node("If", {"inside"}, {"chosen"},
                 {GraphBuilder::body("then_branch", inner_then),
                  GraphBuilder::body("else_branch", inner_else)});
  then_body.output("chosen");
  else_body.node("Abs", {"x"}, {"e1"}).output("e1");
  g.input("x", DType::f32, {4}).constant("zero", Tensor::scalar(0.0F));
  g.node("ReduceSum", {"x"}, {"sum"}, {GraphBuilder::number("keepdims", 0)});
  g.node("Greater", {"sum", "zero"}, {"positive"});
  g.node(
      "If", {"positive"}, {"y"},
      {GraphBuilder::body("then_branch", then_body), GraphBuilder::body("else_branch", else_body)});
  g.node("Exp", {"y"}, {"z"}).output("z");
  return {"branches", g.finish(), {{"x", Tensor::of<float>({4}, {1, -0.25F, 0.5F, 2})}}};
}

// Shapes that depend on data, and shape arithmetic on them.
inline SmallModel data_dependent() {
  GraphBuilder g;
  g.input("x", DType::f32, {3, 4}).constant("limit", Tensor::scalar(0.0F));
  g.constant("flat", Tensor::of<std::int64_t>({1}, {-1})).weight("w", {2, 5});
  g.node("Greater", {"x", "limit"}, {"mask"}).node("NonZero", {"mask"}, {"where"});
  g.node("Transpose", {"where"}, {"points"}, {GraphBuilder::ints("perm", {1, 0})});
  g.node("GatherND", {"x", "points"}, {"kept"}).node("Shape", {"kept"}, {"count"});
  g.node("ConstantOfShape", {"count"}, {"zeros"}).node("Add", {"kept", "zeros"}, {"same"});
  g.node("Cast", {"points"}, {"coordinates"}, {GraphBuilder::number("to", 1)});
  g.node("MatMul", {"coordinates", "w"}, {"projected"})
      .node("Reshape", {"projected", "flat"}, {"line"});
  g.node("Concat", {"line", "same"}, {"all"}, {GraphBuilder::number("axis", 0)});
  g.node("Relu", {"all"}, {"y"}).output("y").output("kept");
  return {"data_dependent", g.finish(), {{"x", GraphBuilder::random({3, 4}, 5)}}};
}

inline SmallModel recurrent() {
  GraphBuilder g;
  g.input("x", DType::f32, {6, 2, 5})
      .weight("w", {1, 16, 5})
      .weight("r", {1, 16, 4})
      .weight("b", {1, 32});
  g.node("LSTM", {"x", "w", "r", "b"}, {"all", "last", "cell"},
         {GraphBuilder::number("hidden_size", 4)});
  g.constant("axis", Tensor::of<std::int64_t>({1}, {1}))
      .node("Squeeze", {"all", "axis"}, {"steps"});
  g.node("Tanh", {"steps"}, {"y"}).output("y").output("cell");
  return {"recurrent", g.finish(), {{"x", GraphBuilder::random({6, 2, 5}, 3)}}};
}

// A network in QDQ form. Scales are powers of two and weights are small, so that sums are exact in
// float32 in whatever order, and every kernel gives the same bits.
inline SmallModel quantized(DType dtype) {
  GraphBuilder g;
  const bool is_signed = dtype == DType::i8;
  const auto byte = [&](int value) { return Tensor::scalar<std::int32_t>(value).to(dtype); };
  g.constant("zero", byte(is_signed ? -128 : 0)).constant("middle", byte(is_signed ? 5 : 131));
  g.constant("s5", Tensor::scalar(0.03125F)).constant("s3", Tensor::scalar(0.125F));
  g.constant("ws", Tensor::scalar(0.0625F)).constant("wz", Tensor::scalar<std::int8_t>(0));
  const std::int64_t batch = is_signed ? 2 : 1;
  g.input("x", DType::f32, {batch, 3, 34, 35});
  const auto dequantized = [&](const std::string& from, const std::string& scale,
                               const std::string& zero) {
    g.node("QuantizeLinear", {from, scale, zero}, {from + "_q"});
    g.node("DequantizeLinear", {from + "_q", scale, zero}, {from + "_d"});
    return from + "_d";
  };
  // Weights from -7 to 7.
  const auto weights = [&](const std::string& name, const Shape& shape) {
    std::vector<std::int8_t> values(static_cast<std::size_t>(element_count(shape)));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<std::int8_t>(static_cast<int>((i * 7 + i / 5 * 3) % 15) - 7);
    std::vector<float> scales(static_cast<std::size_t>(shape[0]));
    for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = i % 2 == 0 ? 0.0625F : 0.03125F;
    g.constant(name, Tensor::of<std::int8_t>(shape, values));
    g.constant(name + "_s", Tensor::of<float>({shape[0]}, scales));
    g.constant(name + "_z", Tensor(DType::i8, {shape[0]}));
    g.node("DequantizeLinear", {name, name + "_s", name + "_z"}, {name + "_d"},
           {GraphBuilder::number("axis", 0)});
    return name + "_d";
  };
  const auto pads = GraphBuilder::ints("pads", {1, 1, 1, 1}),
             strides = GraphBuilder::ints("strides", {2, 2}),
             window = GraphBuilder::ints("kernel_shape", {3, 3});
  const std::string x = dequantized("x", "s5", "middle");
  std::vector<float> bias(16, 0.25F);
  bias[3] = -1;
  g.constant("b0", Tensor::of<float>({16}, bias));
  g.node("Conv", {x, weights("w0", {16, 3, 3, 3}), "b0"}, {"c0"}, {pads, strides});
  g.node("Relu", {"c0"}, {"r0"});
  g.node("MaxPool", {dequantized("r0", "s3", "zero")}, {"m0"}, {window, pads});
  const std::string m0 = dequantized("m0", "s3", "zero");
  g.node("Conv", {m0, weights("w1", {16, 1, 3, 3})}, {"c1"},
         {pads, GraphBuilder::number("group", 16)});
  g.constant("six", Tensor::scalar(6.0F)).constant("none", Tensor::scalar(0.0F));
  g.node("Clip", {"c1", "none", "six"}, {"k1"});
  g.node("Conv", {dequantized("k1", "s5", "middle"), weights("w2", {16, 16, 1, 1})}, {"c2"});
  g.node("Add", {dequantized("c2", "s3", "middle"), m0}, {"a2"}).node("Relu", {"a2"}, {"r2"});
  const std::string r2 = dequantized("r2", "s3", "zero");
  // A function of r2 in two parts, which becomes a table.
  g.node("HardSigmoid", {r2}, {"h2"});
  g.node("Mul", {r2, dequantized("h2", "s5", "middle")}, {"g2"});
  const std::string g2 = dequantized("g2", "s3", "zero");
  // Not 3x3: Winograd's kernel rounds.
  g.node("Conv", {g2, weights("w3", {24, 16, 3, 2})}, {"c3"},
         {GraphBuilder::ints("pads", {1, 1, 1, 0})});
  g.node("Concat", {r2, dequantized("c3", "s5", "middle")}, {"j3"},
         {GraphBuilder::number("axis", 1)});
  g.node("Conv", {dequantized("j3", "s3", "middle"), weights("w4", {8, 40, 1, 1})}, {"c4"});
  g.node("AveragePool", {dequantized("c4", "s3", "middle")}, {"y"},
         {GraphBuilder::ints("kernel_shape", {1, 2}), GraphBuilder::ints("strides", {1, 2})});
  g.output("y");
  return {is_signed ? "quantized int8" : "quantized uint8",
          g.finish(),
          {{"x", GraphBuilder::random({batch, 3, 34, 35}, 71)}}};
}

inline std::vector<SmallModel> small_models() {
  std::vector<SmallModel> models;
  models.push_back(conv_net());
  models.push_back(attention("attention", {2, 5, 12}));
  // Rows that threads share, which do not come out even.
  models.push_back(attention("attention_of_many", {1, 203, 384}));
  models.push_back(decoder());
  models.push_back(branches());
  models.push_back(data_dependent());
  models.push_back(recurrent());
  models.push_back(quantized(DType::u8));
  models.push_back(quantized(DType::i8));
  return models;
}

}  // namespace mezzo::tests
