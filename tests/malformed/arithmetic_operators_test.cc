// One node that is wrong, of an operator that computes or of none at all: attributes of the wrong
// kind, length or size, operands that do not fit. Each must be an Error.
#include <gtest/gtest.h>

#include "operator_cases.h"

namespace mezzo::malformed {
namespace {

TEST(MalformedOperators, Convolution) {
  const In x = Shape{1, 2, 5, 5}, w = ramp({4, 2, 3, 3}), b = ramp({4});
  std::vector<Case> cases;
  for (const Attributes& attributes : std::vector<Attributes>{
           {l("pads", {1, 1})},
           {l("pads", {1, 1, 1, 1, 1})},
           {l("pads", {kHuge, kHuge, kHuge, kHuge})},
           {l("pads", {-9, -9, 0, 0})},
           {l("pads", {INT64_MAX, 0, 1, 0})},
           {l("strides", {0, 1})},
           {l("strides", {-1, 1})},
           {l("strides", {1})},
           {l("strides", {1, 1, 1})},
           {l("dilations", {0, 1})},
           {l("dilations", {-1, 1})},
           {l("dilations", {kHuge, 1})},
           {l("dilations", {3, 3})},
           {l("kernel_shape", {3})},
           {l("kernel_shape", {2, 2})},
           {l("kernel_shape", {-3, 3})},
           {l("kernel_shape", {0, 0})},
           {i("group", 0)},
           {i("group", -1)},
           {i("group", 3)},
           {i("group", kHuge)},
           {s("auto_pad", "SIDEWAYS")},
           {s("group", "1")},
           {i("pads", 1)},
           {s("strides", "1")},
           {i("no_such_attribute", 1)},
       }) {
    cases.push_back({"Conv", {x, w, b}, attributes});
  }
  cases.insert(cases.end(),
               {
                   {"Conv", {x}},
                   {"Conv", {x, kOmitted, b}},
                   {"Conv", {x, w, b, b}},
                   {"Conv", {x, In(ramp({4, 3, 3, 3}))}},
                   {"Conv", {x, In(ramp({4, 2, 3}))}},
                   {"Conv", {x, w, In(ramp({3}))}},
                   {"Conv", {x, w, In(ramp({4, 1}))}},
                   {"Conv", {Shape{2, 5}, In(ramp({4, 2}))}},
                   {"Conv", {Shape{}, w}},
                   {"Conv", {x, In(Tensor(DType::f64, {4, 2, 3, 3}))}},
                   {"Conv", {In({1, 2, 5, 5}, DType::i32), w}},
                   {"Conv", {Shape{1, 2, 2, 2}, w}},
                   {"ConvTranspose", {x, In(ramp({3, 4, 3, 3}))}},
                   {"ConvTranspose", {x, In(ramp({2, 4, 3, 3}))}, {i("group", 0)}},
                   {"ConvTranspose", {x, In(ramp({2, 4, 3, 3}))}, {l("output_padding", {-5, 0})}},
                   {"ConvTranspose", {x, In(ramp({2, 4, 3, 3}))}, {l("output_shape", {9})}},
                   {"ConvTranspose", {x, In(ramp({2, 4, 3, 3}))}, {l("strides", {kTera, kTera})}},
                   {"ConvTranspose", {x, In(ramp({2, 4, 3, 3}))}, {l("strides", {0, 0})}},
                   {"ConvInteger", {x, w}},
               });
  expect_errors(cases);
}

TEST(MalformedOperators, Pooling) {
  const In x = Shape{1, 2, 5, 5};
  std::vector<Case> cases = {{"MaxPool", {x}}, {"AveragePool", {x}}, {"GlobalAveragePool", {}}};
  for (const char* op : {"MaxPool", "AveragePool", "LpPool"}) {
    for (const Attributes& attributes : std::vector<Attributes>{
             {l("kernel_shape", {0, 0})},
             {l("kernel_shape", {2})},
             {l("kernel_shape", {2, 2, 2})},
             {l("kernel_shape", {-2, 2})},
             {l("kernel_shape", {kHuge, kHuge})},
             {l("kernel_shape", {2, 2}), l("strides", {0, 0})},
             {l("kernel_shape", {2, 2}), l("strides", {-1, -1})},
             {l("kernel_shape", {2, 2}), l("pads", {1, 1})},
             {l("kernel_shape", {2, 2}), l("pads", {-6, 0, 0, 0})},
             {l("kernel_shape", {2, 2}), l("pads", {kHuge, kHuge, kHuge, kHuge})},
             {l("kernel_shape", {2, 2}), s("auto_pad", "?")},
             {i("kernel_shape", 2)},
             {l("kernel_shape", {2, 2}), l("dilations", {0, 0})},
             {l("kernel_shape", {2, 2}), l("dilations", {kHuge, kHuge})},
         }) {
      cases.push_back({op, {x}, attributes});
    }
    cases.push_back({op, {Shape{5, 5}}, {l("kernel_shape", {2, 2})}});
    cases.push_back({op, {In({1, 2, 5, 5}, DType::string)}, {l("kernel_shape", {2, 2})}});
  }
  expect_errors(cases);
}

TEST(MalformedOperators, Products) {
  expect_errors({
      {"MatMul", {Shape{2, 3}, Shape{4, 2}}},
      {"MatMul", {Shape{}, Shape{2, 2}}},
      {"MatMul", {Shape{2, 2, 3}, Shape{3, 3, 2}}},
      {"MatMul", {Shape{2, 3}}},
      {"MatMul", {Shape{2, 3}, In({3, 2}, DType::f64)}},
      {"MatMul", {In({2, 3}, DType::string), In({3, 2}, DType::string)}},
      {"Gemm", {Shape{2, 3}, Shape{4, 2}}},
      {"Gemm", {Shape{2, 3, 1}, Shape{3, 2}}},
      {"Gemm", {Shape{2, 3}, Shape{3, 2}, Shape{5}}},
      {"Gemm", {Shape{2, 3}, Shape{3, 2}, Shape{1, 2, 2}}},
      {"Gemm", {Shape{2, 3}, Shape{3, 2}}, {s("transA", "yes")}},
      {"Gemm", {Shape{2, 3}, Shape{3, 2}}, {i("transA", 1)}},
      {"Einsum", {Shape{2, 3}, Shape{3, 2}}, {s("equation", "ij,jk")}, 2},
      {"Einsum", {Shape{2, 3}, Shape{4, 2}}, {s("equation", "ij,jk->ik")}},
      {"Einsum", {Shape{2, 3}}, {s("equation", "ij,jk->ik")}},
      {"Einsum", {Shape{2, 3}, Shape{3, 2}}, {s("equation", "i,j->ij")}},
      {"Einsum", {Shape{2, 3}}, {s("equation", "i->->j")}},
      {"Einsum", {Shape{2, 3}}, {s("equation", "ij->k")}},
      {"Einsum", {Shape{2, 3}}, {s("equation", "i!->i")}},
      {"Einsum", {Shape{2, 3}}, {s("equation", "")}},
      {"Einsum", {Shape{2, 3}}},
      {"Einsum", {Shape{2, 3}}, {s("equation", "ii->i")}},
      {"Einsum",
       {Shape{64, 64}, Shape{64, 64}, Shape{64, 64}, Shape{64, 64}},
       {s("equation", "ab,cd,ef,gh->abcdefgh")}},
      {"Det", {Shape{2, 3}}},
      {"Det", {Shape{2}}},
      {"MatMulInteger", {In({2, 3}, DType::u8), In({4, 2}, DType::u8)}},
      {"QLinearMatMul", {In({2, 3}, DType::u8)}},
  });
}

TEST(MalformedOperators, Elementwise) {
  expect_errors({
      {"Add", {Shape{2, 3}, Shape{4}}},
      {"Add", {Shape{2}, In({2}, DType::i64)}},
      {"Add", {Shape{2}}},
      {"Add", {}},
      {"Add", {Shape{2}, Shape{2}, Shape{2}}},
      {"Add", {In({2}, DType::boolean), In({2}, DType::boolean)}},
      {"Add", {Shape{1, 64, 1, 64, 1, 64}, Shape{64, 1, 64, 1, 64, 1}}},
      {"Div",
       {In(Tensor::of<std::int32_t>({1}, {1})), In(Tensor::of<std::int32_t>({2}, {1, 2})),
        Shape{1}}},
      {"Where", {In({2}, DType::boolean), Shape{3}, Shape{2}}},
      {"Where", {Shape{2}, Shape{2}, Shape{2}}},
      {"Sum", {Shape{2}, Shape{3}}},
      {"Sum", {}},
      {"Relu", {Shape{2}, Shape{2}}},
      {"Relu", {Shape{2}}, {i("alpha", 1)}},
      {"Clip", {Shape{2}, In(ramp({2}))}},
      {"PRelu", {Shape{2, 3}, Shape{4}}},
      {"LeakyRelu", {Shape{2}}, {i("alpha", 1)}},
      {"Cast", {Shape{2}}},
      {"Cast", {Shape{2}}, {i("to", 0)}},
      {"Cast", {Shape{2}}, {i("to", 99)}},
      {"Cast", {Shape{2}}, {i("to", -1)}},
      {"Cast", {Shape{2}}, {i("to", kHuge + 1)}},
      {"Cast", {In(Tensor::of<std::string>({1}, {"one"}))}, {i("to", 1)}},
      {"Cast", {In({2}, DType::string)}, {i("to", 1)}},
      {"Cast", {Shape{2}}, {i("to", 24), s("round_mode", "sideways")}, 1, 24},
      {"BitShift", {In({2}, DType::u8), In({2}, DType::u8)}, {s("direction", "UP")}},
      {"BitShift", {In({2}, DType::u8), In({2}, DType::u8)}},
      {"Identity", {}},
      {"Identity", {Shape{2}}, {}, 2},
      {"Dropout", {Shape{2}, In(ramp({2}))}},
  });
}

TEST(MalformedOperators, Normalisation) {
  const In x = Shape{1, 4, 3};
  const In c = ramp({4}), wrong = ramp({3});
  expect_errors({
      {"BatchNormalization", {x, c, c, c, wrong}},
      {"BatchNormalization", {x, wrong, c, c, c}},
      {"BatchNormalization", {x, c, c, c}},
      {"BatchNormalization", {Shape{}, c, c, c, c}},
      {"InstanceNormalization", {x, wrong, c}},
      {"InstanceNormalization", {Shape{2}, c, c}},
      {"GroupNormalization", {x, c, c}, {i("num_groups", 0)}},
      {"GroupNormalization", {x, c, c}, {i("num_groups", 3)}},
      {"GroupNormalization", {x, c, c}, {i("num_groups", -2)}},
      {"GroupNormalization", {x, c, c}},
      {"LayerNormalization", {x, In(ramp({5}))}},
      {"LayerNormalization", {x}},
      {"LayerNormalization", {Shape{}, In(ramp({1}))}},
      {"RMSNormalization", {x, In(ramp({5}))}, {}, 1, 23},
      {"LpNormalization", {x}, {i("p", 7)}},
      {"LRN", {x}, {i("size", 0)}},
      {"LRN", {x}, {i("size", -1)}},
      {"LRN", {x}},
  });
}

TEST(MalformedOperators, Quantisation) {
  const In x = Shape{2, 3}, q = In({2, 3}, DType::u8);
  const In one = fscalar(1), two = ramp({2}), three = ramp({3});
  expect_errors({
      {"QuantizeLinear", {x, two}},
      {"QuantizeLinear", {x, three}, {i("axis", 0)}},
      {"QuantizeLinear", {x, three}, {i("axis", 9)}},
      {"QuantizeLinear", {x, one, In(Tensor(DType::u8, {4}))}},
      {"QuantizeLinear", {x, one}, {i("output_dtype", 1)}},
      {"QuantizeLinear", {x, one}, {i("output_dtype", 99)}},
      {"QuantizeLinear", {x, In(ramp({1, 3}))}, {i("axis", 0), i("block_size", -1)}},
      {"QuantizeLinear", {x, In(ramp({2, 3}))}, {i("axis", 0), i("block_size", kHuge)}},
      {"DequantizeLinear", {q, two}},
      {"DequantizeLinear", {q, three, In(Tensor(DType::i8, {3}))}},
      {"DequantizeLinear", {q, three, In(Tensor(DType::u8, {2}))}},
      {"DequantizeLinear", {x, one}},
      {"QLinearConv",
       {In({1, 1, 3, 3}, DType::u8), one, In(Tensor::scalar<std::uint8_t>(0)),
        In(Tensor(DType::u8, {1, 2, 2, 2})), one, In(Tensor::scalar<std::uint8_t>(0)), one,
        In(Tensor::scalar<std::uint8_t>(0))}},
      {"QLinearConv",
       {In({1, 1, 3, 3}, DType::u8), two, In(Tensor::scalar<std::uint8_t>(0)),
        In(Tensor(DType::u8, {1, 1, 2, 2})), one, In(Tensor::scalar<std::uint8_t>(0)), one,
        In(Tensor::scalar<std::uint8_t>(0))}},
      {"DynamicQuantizeLinear", {q}},
  });
}

TEST(MalformedOperators, Recurrence) {
  const In x = Shape{3, 1, 2}, w = ramp({1, 8, 2}), r = ramp({1, 8, 2});
  const auto hidden = i("hidden_size", 2);
  std::vector<Case> cases = {
      {"LSTM", {x, w, r}, {i("hidden_size", -2)}},
      {"LSTM", {x, w, r}, {i("hidden_size", kHuge)}},
      {"LSTM", {x, w, r}, {i("hidden_size", 3)}},
      {"LSTM", {x, w, r}, {hidden, s("direction", "up")}},
      {"LSTM", {x, w, r}, {hidden, s("direction", "bidirectional")}},
      {"LSTM", {x, w, r, In(ramp({1, 15}))}, {hidden}},
      {"LSTM", {x, In(ramp({1, 8, 3})), r}, {hidden}},
      {"LSTM", {x, In(ramp({8, 2})), r}, {hidden}},
      {"LSTM", {x, w, In(ramp({1, 8, 3}))}, {hidden}},
      {"LSTM", {Shape{3, 2}, w, r}, {hidden}},
      {"LSTM", {x, w}, {hidden}},
      {"LSTM", {x, w, r, kOmitted, In(Tensor::of<std::int32_t>({1}, {9}))}, {hidden}},
      {"LSTM", {x, w, r, kOmitted, In(Tensor::of<std::int32_t>({1}, {-1}))}, {hidden}},
      {"LSTM", {x, w, r, kOmitted, In(Tensor::of<std::int32_t>({2}, {1, 1}))}, {hidden}},
      {"LSTM", {x, w, r, kOmitted, kOmitted, In(ramp({1, 1, 3}))}, {hidden}},
      {"GRU", {x, w, r}, {hidden}},
      {"GRU", {x, In(ramp({1, 6, 2})), In(ramp({1, 6, 2}))}, {hidden, s("direction", "?")}},
      {"RNN", {x, w, r}, {hidden}},
  };
  onnx::Attribute activations = s("activations", "");
  activations.kind = onnx::Attribute::Kind::strings;
  activations.strings = {"Sigmoid", "Nonsense", "Tanh"};
  cases.push_back({"LSTM", {x, w, r}, {hidden, activations}});
  activations.strings = {"Sigmoid"};
  cases.push_back({"LSTM", {x, w, r}, {hidden, activations}});
  expect_errors(cases);
}

TEST(MalformedOperators, UnknownOnes) {
  std::vector<Case> cases = {
      {"NoSuchOperator", {Shape{2}}},
      {"", {Shape{2}}},
      {"relu", {Shape{2}}},
      {"Relu", {Shape{2}}, {}, 1, 0},
      {"LayerNormalization", {Shape{2}, Shape{2}}, {}, 1, 16},
      {"Scan", {Shape{2}}},
      {"If", {}},
      {"Constant", {}},
      {"Constant", {}, {i("value_int", 1), i("value_float", 1)}},
      {"Constant", {}, {i("value", 1)}},
  };
  expect_errors(cases);
  onnx::Model foreign = model_of({"Relu", {Shape{2}}});
  foreign.graph.nodes[0].domain = "org.example";
  expect_error("another domain", attempt_model("another domain", foreign), "not supported");
}

}  // namespace
}  // namespace mezzo::malformed
