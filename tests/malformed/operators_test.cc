// One node that is wrong: attributes of the wrong kind, length or size, impossible shapes, indices
// out of range, outputs of terabytes. Each must be an Error.
#include <gtest/gtest.h>

#include <iostream>
#include <limits>

#include "attempt.h"
#include "valid_models.h"

namespace mezzo::malformed {
namespace {

using onnx::attribute;
using onnx::ints;
using onnx::ramp;
using Ints = std::vector<std::int64_t>;
using Attributes = std::vector<onnx::Attribute>;
constexpr std::int64_t kHuge = std::int64_t{1} << 62;
constexpr std::int64_t kTera = std::int64_t{1} << 40;

onnx::Attribute i(std::string name, std::int64_t number) {
  return attribute(std::move(name), number);
}
onnx::Attribute l(std::string name, Ints numbers) {
  return attribute(std::move(name), std::move(numbers));
}
onnx::Attribute s(std::string name, std::string text) {
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
const In kOmitted{Tensor()};

struct Case {
  std::string op;
  std::vector<In> in = {};
  Attributes attributes = {};
  int outputs = 1;
  int opset = 21;
  std::string domain = "";
};

onnx::Model model_of(const Case& c) {
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

void expect_errors(const std::vector<Case>& cases) {
  int number = 0;
  for (const Case& c : cases) {
    const std::string name = c.op + ", case " + std::to_string(number++);
    expect_error(name, attempt_model(name, model_of(c)));
  }
  std::cout << cases.size() << " models\n";
}

Tensor scalar(std::int64_t value) { return Tensor::scalar(value); }
Tensor fscalar(float value) { return Tensor::scalar(value); }

// Passes make such nodes, but a file may have them as well. The function 8 is Exp, 31 is Add.
TEST(MalformedOperators, ChainsOfFunctions) {
  const In x = Shape{2, 3}, row = Shape{3};
  const auto chain = [](Ints functions, Ints operands, Ints results, std::vector<In> in,
                        std::size_t parameters, int outputs = 1) {
    Ints streamed(results.size());
    onnx::Attribute floats;
    floats.name = "parameters";
    floats.kind = onnx::Attribute::Kind::floats;
    floats.floats.resize(parameters);
    return Case{"Pointwise",
                std::move(in),
                {l("functions", std::move(functions)), l("operands", std::move(operands)),
                 l("results", std::move(results)), l("streamed", std::move(streamed)), floats},
                outputs,
                21,
                "mezzo"};
  };
  expect_errors({
      chain({}, {}, {}, {x}, 0),
      chain({8}, {0, -1}, {0}, {}, 2),
      chain({99}, {0, -1}, {0}, {x}, 2),
      chain({-1}, {0, -1}, {0}, {x}, 2),
      chain({8}, {1, -1}, {0}, {x}, 2),
      chain({8}, {-1, 0}, {0}, {x}, 2),
      chain({8}, {0}, {0}, {x}, 2),
      chain({8}, {0, -1}, {0}, {x}, 1),
      chain({8}, {0, -1}, {1}, {x}, 2),
      chain({8}, {0, -1}, {0, 0}, {x}, 2),
      chain({8}, {0, -1}, {0, 0}, {x}, 2, 2),
      chain({8}, {1, -1}, {0}, {x, row}, 2),
      chain({31}, {0, -1}, {0}, {x}, 2),
      chain({31}, {0, 1}, {0}, {row, x}, 2),
      chain({31}, {0, 1}, {0}, {x, In(Shape{2, 2})}, 2),
      chain({8, 31}, {0, -1, 1, 2}, {1}, {x}, 4),
      chain({8, 8}, {0, -1, 1, -1}, {0}, {x}, 4),
      chain({8}, {kHuge, -1}, {0}, {x}, 2),
  });
}

TEST(MalformedOperators, FusedAttention) {
  const auto of = [](std::vector<In> in, Attributes attributes, int outputs = 1) {
    attributes.push_back(attribute("scale", 0.5F));
    return Case{"FusedAttention", std::move(in), std::move(attributes), outputs, 21, "mezzo"};
  };
  const In rows = Shape{2, 5, 24}, none = kOmitted;
  const auto two = i("num_heads", 2);
  expect_errors({of({rows}, {}), of({rows}, {i("num_heads", 0)}), of({rows}, {i("num_heads", 3)}),
                 of({rows}, {i("num_heads", -2)}), of({rows}, {i("num_heads", kHuge)}),
                 of({Shape{2, 5}}, {two}), of({Shape{2, 5, 2, 3, 4}}, {two}),
                 of({Shape{2, 5, 25}}, {two}), of({Shape{2, 5, 0}}, {two}),
                 of({rows, none, none, Shape{5, 5}}, {two}),
                 of({rows, none, none, Shape{2, 2, 5, 6}}, {two}, 5), of({rows, rows}, {two}),
                 of({rows, none, rows}, {two}), of({rows, rows, Shape{2, 4, 24}}, {two}),
                 of({rows, rows, Shape{2, 5, 25}}, {two}), of({rows, Shape{2, 5, 22}, rows}, {two}),
                 of({rows, Shape{1, 5, 24}, rows}, {two}), of({rows, Shape{5, 24}, rows}, {two}),
                 of({rows, rows, Shape{24}}, {two})});
  const In heads = Shape{2, 4, 5, 6}, pair = Shape{2, 2, 5, 6};
  const auto four = i("num_heads", 4);
  expect_errors({of({heads, heads, pair}, {four}), of({heads, pair, pair}, {four}),
                 of({heads, pair, pair}, {four, i("kv_num_heads", 0)}),
                 of({heads, pair, pair}, {four, i("kv_num_heads", 3)}),
                 of({heads, pair, pair}, {four, i("kv_num_heads", kHuge)}),
                 of({heads, Shape{2, 2, 5, 7}, pair}, {four, i("kv_num_heads", 2)}),
                 of({heads, Shape{2, 2, 4, 6}, pair}, {four, i("kv_num_heads", 2)}),
                 of({heads, Shape{1, 2, 5, 6}, pair}, {four, i("kv_num_heads", 2)}),
                 of({heads}, {four})});
}

TEST(MalformedOperators, GatherBlockQuantized) {
  const auto of = [](std::vector<In> in, Attributes attributes = {}) {
    return Case{"GatherBlockQuantized", std::move(in), std::move(attributes), 1, 21,
                "com.microsoft"};
  };
  const In data(Shape{7, 32}, DType::u8), words(Shape{2}, DType::i64), scales = Shape{7, 2};
  const auto block = i("block_size", 32);
  expect_errors({of({data, words, scales}), of({data, words, scales}, {i("block_size", 24)}),
                 of({data, words, scales}, {i("block_size", 8)}),
                 of({data, words, scales}, {i("block_size", 0)}),
                 of({data, words, scales}, {i("block_size", kHuge)}),
                 of({data, words, scales}, {block, i("bits", 3)}),
                 of({data, words, scales}, {block, i("bits", 8)}),
                 of({data, words, scales}, {block, i("gather_axis", 2)}),
                 of({data, words, scales}, {block, i("quantize_axis", -3)}),
                 of({data, words, scales}, {block, i("quantize_axis", kHuge)}),
                 of({data, words, Shape{7, 3}}, {block}), of({data, words, Shape{2}}, {block}),
                 of({data, words, scales, In(Shape{7, 2}, DType::u8)}, {block}),
                 of({In(Shape{}, DType::u8), words, scales}, {block})});
}

// Two tokens, or one behind a past, of four heads of 16 that share two keys and values.
TEST(MalformedOperators, GroupQueryAttention) {
  const In prompt = Shape{1, 2, 128}, step = Shape{1, 1, 128}, past = Shape{1, 2, 4, 16};
  const In none = kOmitted, cache = Shape{8, 8};
  const auto numbers = [](const std::vector<std::int32_t>& values) {
    return In(Tensor::of<std::int32_t>({static_cast<std::int64_t>(values.size())}, values));
  };
  const auto of = [](std::vector<In> in, Attributes more = {}, std::int64_t heads = 4,
                     std::int64_t groups = 2, int outputs = 3) {
    more.push_back(i("num_heads", heads));
    more.push_back(i("kv_num_heads", groups));
    return Case{"GroupQueryAttention", std::move(in), std::move(more), outputs, 21,
                "com.microsoft"};
  };
  const auto turns = i("do_rotary", 1);
  const In far = Tensor::of<std::int64_t>({1, 1}, {99});
  expect_errors({
      of({prompt, none, none, none, none, numbers({1}), numbers({2})}, {}, 0),
      of({Shape{1, 0, 128}, none, none, past, past, numbers({3}), numbers({4})}),
      of({prompt, none, none, none, none, numbers({1}), numbers({2})}, {}, 4, 3),
      of({prompt, none, none, none, none, numbers({1}), numbers({2})}, {}, kHuge, kHuge),
      of({prompt, none, none, none, none, numbers({1}), numbers({1})}),
      of({prompt, none, none, none, none, numbers({1}), numbers({2, 2})}),
      of({prompt, none, none, none, none, numbers({1, 1}), numbers({2})}),
      of({prompt, none, none, none, none, numbers({2}), numbers({2})}),
      of({prompt, none, none, none, none, numbers({-1}), numbers({2})}),
      of({prompt, none, none, none, none, numbers({1}), numbers({2})},
         {attribute("softcap", 1.0F)}),
      of({prompt, none, none, none, none, numbers({1}), numbers({2})}, {turns}),
      of({prompt, none, none, none, none, numbers({1}), numbers({2})}, {i("local_window_size", 0)}),
      of({prompt, none, none, none, none, numbers({1}), numbers({2})}, {}, 4, 2, 4),
      of({prompt, Shape{1, 2, 32}, none, none, none, numbers({1}), numbers({2})}),
      of({prompt, Shape{1, 2, 64}, Shape{1, 2, 60}, none, none, numbers({1}), numbers({2})}),
      of({step, none, none, past, none, numbers({4}), numbers({5})}),
      of({step, none, none, past, Shape{1, 2, 3, 16}, numbers({4}), numbers({5})}),
      of({step, none, none, Shape{2, 4, 16}, past, numbers({4}), numbers({5})}),
      of({step, none, none, past, past, numbers({5}), numbers({6})}),
      of({step, none, none, past, past, numbers({2147483647}), numbers({5})}),
      of({step, none, none, none, none, numbers({4}), numbers({5})}),
      of({step, none, none, past, past, numbers({4}), numbers({5}), Shape{8, 9}, cache}, {turns}),
      of({step, none, none, past, past, numbers({4}), numbers({5}), cache, Shape{8, 7}}, {turns}),
      of({step, none, none, past, past, numbers({4}), numbers({5}), Shape{3, 8}, Shape{3, 8}},
         {turns}),
      of({step, none, none, past, past, numbers({4}), numbers({5}), cache, cache, far}, {turns}),
      of({step, none, none, past, past, numbers({4}), numbers({5}), none, none, none,
          Shape{1, 1, 1, 4}}),
  });
  const In x = Shape{1, 2, 2, 16};
  const auto rotary = [](std::vector<In> in, Attributes attributes = {}) {
    return Case{"RotaryEmbedding", std::move(in), std::move(attributes), 1, 21, "com.microsoft"};
  };
  const In first = Tensor::of<std::int64_t>({1}, {0}), last = Tensor::of<std::int64_t>({1}, {7});
  expect_errors(
      {rotary({x, last, cache, cache}), rotary({x, first, cache, Shape{8, 7}}),
       rotary({x, first, cache, cache}, {i("is_packed_batching", 1)}),
       rotary({x, Tensor::of<std::int64_t>({1}, {-1}), cache, cache}),
       rotary({x, Tensor::of<std::int64_t>({1}, {std::numeric_limits<std::int64_t>::max()}), cache,
               cache}),
       rotary({x, Tensor::of<std::int64_t>({2}, {0, 1}), cache, cache}),
       rotary({Shape{1, 2, 30}, first, cache, cache}),
       rotary({Shape{1, 2, 32}, first, Shape{8, 0}, Shape{8, 0}})});
}

// So with operators of the blocked layout.
TEST(MalformedOperators, ImagesInBlocks) {
  const In x = Shape{2, 3, 4, 5, 8}, six_lanes = Shape{2, 3, 4, 5, 6}, flat = Shape{2, 3, 4, 5};
  const auto of = [](const char* op, std::vector<In> in, Attributes attributes = {}) {
    return Case{op, std::move(in), std::move(attributes), 1, 21, "mezzo"};
  };
  std::vector<Case> cases;
  for (const In& image : {six_lanes, flat, In(Shape{2}), In(Shape{})}) {
    cases.push_back(of("BlockedScaleShift", {image, Shape{24}, Shape{24}}));
    cases.push_back(of("BlockedChannelMul", {image, Shape{2, 24, 1, 1}}));
    cases.push_back(of("BlockedChannelAdd", {image, Shape{2, 24, 1, 1}}));
    cases.push_back(of("BlockedPRelu", {image, Shape{24, 1, 1}}));
    cases.push_back(of("BlockedSlice", {image}, {i("begin", 0), i("blocks", 1)}));
    cases.push_back(of("BlockedNearest", {image}, {l("rows", {0}), l("columns", {0})}));
    cases.push_back(of("BlockedAveragePool", {image}, {l("kernel_shape", {2, 2})}));
  }
  for (const In& numbers : {In(Shape{3}), In(Shape{2, 3, 1, 1}), In(Shape{}), In(Shape{25})}) {
    cases.push_back(of("BlockedScaleShift", {x, numbers, Shape{24}}));
    cases.push_back(of("BlockedScaleShift", {x, Shape{24}, numbers}));
    cases.push_back(of("ScaleShift", {flat, numbers, Shape{4}}));
    cases.push_back(of("BlockedChannelMul", {x, numbers}));
    cases.push_back(of("BlockedChannelAdd", {x, numbers}));
    cases.push_back(of("BlockedPRelu", {x, numbers}));
  }
  for (const auto& [begin, blocks] : {std::pair<std::int64_t, std::int64_t>{-1, 1},
                                      {0, 4},
                                      {3, 1},
                                      {0, -1},
                                      {kHuge, kHuge},
                                      {INT64_MAX, 1},
                                      {1, INT64_MAX}}) {
    cases.push_back(of("BlockedSlice", {x}, {i("begin", begin), i("blocks", blocks)}));
  }
  for (const Ints& indices : {Ints{4, 0}, Ints{-1}, Ints{kHuge}})
    cases.push_back(of("BlockedNearest", {x}, {l("rows", indices), l("columns", {0})}));
  cases.push_back(of("BlockedNearest", {x}, {l("rows", {0}), l("columns", {0, 5})}));
  expect_errors(cases);
}

TEST(MalformedOperators, QuantizedConvolution) {
  const In scale = Tensor::scalar(0.5F), two_scales = ramp({2}),
           byte = Tensor::scalar<std::uint8_t>(3);
  const In zero = Tensor::scalar<std::int8_t>(0), word = Tensor::scalar<std::int32_t>(0);
  const In x = {Shape{1, 8, 5, 5}, DType::u8}, blocks = {Shape{1, 1, 5, 5, 8}, DType::u8};
  const In w = Tensor(DType::i8, {16, 8, 3, 3}), small = Tensor(DType::i8, {16, 7, 3, 3});
  const In fed = {Shape{16, 8, 3, 3}, DType::i8}, bias = Tensor(DType::i32, {15});
  std::vector<Case> cases;
  const auto add = [&](const char* op, std::vector<In> in, Attributes attributes = {}) {
    cases.push_back({op, std::move(in), std::move(attributes), 1, 21, "mezzo"});
  };
  for (const auto& [op, image] :
       {std::pair("QuantizedConv", x), {"BlockedQuantizedConv", blocks}}) {
    add(op, {image, two_scales, byte, w, scale, zero, scale, byte});
    add(op, {image, scale, zero, w, scale, zero, scale, byte});
    add(op, {image, scale, word, w, scale, zero, scale, byte});
    add(op, {image, scale, byte, small, scale, zero, scale, byte});
    add(op, {image, scale, byte, w, two_scales, zero, scale, byte});
    add(op, {image, scale, byte, w, scale, byte, scale, byte});
    add(op, {image, scale, byte, w, scale, zero, two_scales, byte});
    add(op, {image, scale, byte, w, scale, zero, scale, word});
    add(op, {image, scale, byte, w, scale, zero, scale, byte, bias});
    add(op, {image, scale, byte, w, scale, zero, scale, byte}, {l("pads", {-9, -9, 0, 0})});
    add(op, {image, scale, byte, w, scale, zero, scale, byte}, {i("group", 3)});
    add(op, {image, scale, byte, w, scale});
  }
  // In blocks: what only they refuse.
  const char* op = "BlockedQuantizedConv";
  const In zeros = Tensor(DType::i8, {3}), other = {Shape{1, 1, 5, 5, 6}, DType::u8};
  add(op, {blocks, scale, byte, fed, scale, zero, scale, byte});
  add(op, {blocks, In(Shape{}), byte, w, scale, zero, scale, byte});
  add(op, {blocks, scale, byte, w, scale, zeros, scale, byte});
  add(op, {x, scale, byte, w, scale, zero, scale, byte});
  add(op, {other, scale, byte, w, scale, zero, scale, byte});
  add(op, {In(Shape{1, 8, 5}, DType::u8), scale, byte, w, scale, zero, scale, byte});
  add(op, {blocks, scale, byte, w, scale, zero, scale, byte}, {l("strides", {1, 3})});
  add("QuantizedAdd", {x, scale, byte, In(Shape{1, 8, 5, 4}, DType::u8), scale, byte, scale, byte});
  add("QuantizedAdd", {x, scale, byte, In(Shape{1, 8, 5, 5}, DType::i8), scale, byte, scale, byte});
  Ints numbers(256, 7);
  add("ByteTable", {x}, {l("table", {1, 2, 3})});
  add("ByteTable", {x});
  numbers[9] = 256;
  add("ByteTable", {x}, {l("table", numbers)});
  numbers[9] = 128;
  add("ByteTable", {x}, {l("table", numbers), i("is_signed", 1)});
  add("QuantizedAdd", {x, two_scales, byte, x, scale, byte, scale, byte});
  expect_errors(cases);
}

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

TEST(MalformedOperators, ShapesAndMovement) {
  const In x = Shape{2, 3, 4};
  std::vector<Case> cases;
  for (const Ints& shape : std::vector<Ints>{{7},
                                             {-1, -1},
                                             {-2, 12},
                                             {2, 3, 4, 0},
                                             {5, -1},
                                             {kHuge, 4},
                                             {kHuge, kHuge, -1},
                                             {INT64_MIN},
                                             {},
                                             {24, -1, 0, 0}}) {
    cases.push_back({"Reshape", {x, In(ints(shape))}});
  }
  for (const Ints& perm : std::vector<Ints>{{0, 0, 1}, {0, 1, 5}, {-4, 0, 1}, {0}, {0, 1, 2, 3}}) {
    cases.push_back({"Transpose", {x}, {l("perm", perm)}});
  }
  for (const std::int64_t axis : {std::int64_t{9}, std::int64_t{-9}, INT64_MAX, INT64_MIN, kTera}) {
    cases.push_back({"Concat", {x, x}, {i("axis", axis)}});
    cases.push_back({"Split", {x}, {i("axis", axis), i("num_outputs", 2)}, 2});
    cases.push_back({"Gather", {x, In(ints({0}))}, {i("axis", axis)}});
    cases.push_back({"GatherElements", {x, In(Tensor(DType::i64, {1, 1, 1}))}, {i("axis", axis)}});
    cases.push_back({"Flatten", {x}, {i("axis", axis)}});
    cases.push_back({"Softmax", {x}, {i("axis", axis)}});
    cases.push_back({"LogSoftmax", {x}, {i("axis", axis)}, 1, 11});
    cases.push_back({"ArgMax", {x}, {i("axis", axis)}});
    cases.push_back({"CumSum", {x, In(scalar(axis))}});
    cases.push_back({"ReduceSum", {x, In(ints({axis}))}});
    cases.push_back({"ReduceMean", {x}, {l("axes", {axis})}, 1, 13});
    cases.push_back({"Squeeze", {x, In(ints({axis}))}});
    cases.push_back({"Unsqueeze", {x, In(ints({axis}))}});
    cases.push_back({"Unique", {x}, {i("axis", axis)}});
    cases.push_back({"TopK", {x, In(ints({1}))}, {i("axis", axis)}, 2});
    cases.push_back({"OneHot", {In(ints({1})), In(scalar(3)), In(ramp({2}))}, {i("axis", axis)}});
    cases.push_back({"LayerNormalization", {x, In(ramp({4}))}, {i("axis", axis)}});
    cases.push_back({"Compress", {x, In(Tensor(DType::boolean, {2}))}, {i("axis", axis)}});
    cases.push_back({"ScatterElements",
                     {x, In(Tensor(DType::i64, {1, 1, 1})), In(ramp({1, 1, 1}))},
                     {i("axis", axis)}});
    cases.push_back({"Slice", {x, In(ints({0})), In(ints({1})), In(ints({axis}))}});
    cases.push_back({"Hardmax", {x}, {i("axis", axis)}});
  }
  expect_errors(cases);
  expect_errors({
      {"Reshape", {x, x}},
      {"Reshape", {x, In(Tensor(DType::i64, {1, 1}))}},
      {"Reshape", {x}},
      {"Reshape", {x}, {l("shape", {5})}, 1, 1},
      {"Concat", {x, x}},
      {"Concat", {}, {i("axis", 0)}},
      {"Concat", {x, Shape{2, 3}}, {i("axis", 0)}},
      {"Concat", {x, Shape{2, 3, 5}}, {i("axis", 0)}},
      {"Concat", {x, In({2, 3, 4}, DType::i32)}, {i("axis", 0)}},
      {"Split", {x, In(ints({1, 2}))}, {i("axis", 0)}, 2},
      {"Split", {x, In(ints({3, -1}))}, {i("axis", 0)}, 2},
      {"Split", {x, In(ints({1}))}, {i("axis", 0)}, 2},
      {"Split", {x, In(ints({INT64_MAX, INT64_MAX}))}, {i("axis", 0)}, 2},
      {"Split", {x}, {i("num_outputs", 0)}, 2},
      {"Split", {x}, {i("num_outputs", -1)}, 2},
      {"Split", {x}, {i("num_outputs", 3)}, 2},
      {"Slice", {x, In(ints({0})), In(ints({1, 2}))}},
      {"Slice", {x, In(ints({0})), In(ints({1})), In(ints({0})), In(ints({0}))}},
      {"Slice", {x, In(ints({0, 0})), In(ints({1, 1})), In(ints({0, 0}))}},
      {"Slice", {x, In(ints({0, 0, 0, 0})), In(ints({1, 1, 1, 1}))}},
      {"Slice", {x, In(ramp({1})), In(ramp({1}))}},
      {"Gather", {x, In(ints({2}))}},
      {"Gather", {x, In(ints({-3}))}},
      {"Gather", {x, In(ints({INT64_MIN}))}},
      {"Gather", {Shape{}, In(ints({0}))}},
      {"Gather", {x, x}},
      {"GatherElements", {x, In(Tensor::of<std::int64_t>({1, 1, 1}, {2}))}},
      {"GatherElements", {x, In(ints({0}))}},
      {"GatherND", {x, In(ints({2}))}},
      {"GatherND", {x, In(ints({0, 0, 0, 0}))}},
      {"GatherND", {x, In(ints({0}))}, {i("batch_dims", 7)}},
      {"GatherND", {x, In(ints({0}))}, {i("batch_dims", -1)}},
      {"GatherND", {x, In(scalar(0))}},
      {"ScatterND", {x, In(Tensor::of<std::int64_t>({1, 1}, {2})), In(ramp({1, 3, 4}))}},
      {"ScatterND", {x, In(Tensor::of<std::int64_t>({1, 1}, {0})), In(ramp({1, 3}))}},
      {"ScatterND", {x, In(Tensor(DType::i64, {1, 9})), In(ramp({1}))}},
      {"ScatterElements", {x, In(Tensor::of<std::int64_t>({1, 1, 1}, {5})), In(ramp({1, 1, 1}))}},
      {"ScatterElements", {x, In(Tensor(DType::i64, {1, 1, 1})), In(ramp({1, 1, 2}))}},
      {"ScatterElements", {x, In(Tensor(DType::i64, {3, 3, 4})), In(ramp({3, 3, 5}))}},
      {"Pad", {x, In(ints({0, 0}))}},
      {"Pad", {x, In(ints({0, 0, 0, 0, 0, 0}))}, {s("mode", "bend")}},
      {"Pad", {x, In(ints({kHuge, 0, 0, kHuge, 0, 0}))}},
      {"Pad", {x, In(ints({0, 0, -9, 0, 0, 0}))}},
      {"Pad", {x, In(ints({kTera, 0, 0, 0, 0, 0}))}},
      {"Pad", {x, In(ints({INT64_MIN, 0, 0, 0, 0, 0}))}},
      {"Pad", {Shape{0}, In(ints({1, 1}))}, {s("mode", "edge")}},
      {"Squeeze", {x, In(ints({0}))}},
      {"Unsqueeze", {x, In(ints({0, 0}))}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", 0)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", -2)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", 3)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", kTera)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", 2), s("mode", "ABC")}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}},
      {"SpaceToDepth", {Shape{1, 1, 3, 3}}, {i("blocksize", 2)}},
      {"ReverseSequence", {Shape{4, 4}, In(ints({9, 1, 1, 1}))}},
      {"ReverseSequence", {Shape{4, 4}, In(ints({1}))}},
      {"ReverseSequence", {Shape{4, 4}, In(ints({1, 1, 1, 1}))}, {i("time_axis", 5)}},
      {"TopK", {x, In(ints({99}))}, {}, 2},
      {"TopK", {x, In(ints({-1}))}, {}, 2},
      {"TopK", {x, In(ints({1, 1}))}, {}, 2},
      {"Trilu", {Shape{3}}},
      {"Compress", {x, In(Tensor(DType::f32, {2}))}},
      {"Shape", {}},
      {"EyeLike", {Shape{3}}},
      {"NonZero", {}},
  });
}

TEST(MalformedOperators, OutputsOfTerabytes) {
  const In x = Shape{2};
  expect_errors({
      {"Tile", {x, In(ints({kTera}))}},
      {"Tile", {x, In(ints({kHuge}))}},
      {"Tile", {x, In(ints({-1}))}},
      {"Tile", {x, In(ints({1, 1}))}},
      {"Tile", {x, In(ramp({1}))}},
      {"Expand", {x, In(ints({kTera, 2}))}},
      {"Expand", {x, In(ints({kHuge, kHuge, 2}))}},
      {"Expand", {x, In(ints({3}))}},
      {"Expand", {x, In(ints({-1}))}},
      {"ConstantOfShape", {In(ints({kTera}))}},
      {"ConstantOfShape", {In(ints({kTera, kTera}))}},
      {"ConstantOfShape", {In(ints({-5}))}},
      {"ConstantOfShape", {In(ints({1}))}, {attribute("value", ramp({2}))}},
      {"ConstantOfShape", {In(Tensor(DType::i64, {1, 1}))}},
      {"Range", {In(scalar(0)), In(scalar(kTera)), In(scalar(1))}},
      {"Range", {In(scalar(INT64_MIN)), In(scalar(INT64_MAX)), In(scalar(1))}},
      {"Range", {In(scalar(0)), In(scalar(10)), In(scalar(0))}},
      {"Range", {In(fscalar(0)), In(fscalar(1e30F)), In(fscalar(1e-30F))}},
      {"Range",
       {In(fscalar(0)), In(fscalar(std::numeric_limits<float>::infinity())), In(fscalar(1))}},
      {"Range",
       {In(fscalar(0)), In(fscalar(std::numeric_limits<float>::quiet_NaN())), In(fscalar(1))}},
      {"Range", {In(ints({0, 1})), In(scalar(10)), In(scalar(1))}},
      {"OneHot", {In(ints({1})), In(scalar(kTera)), In(ramp({2}))}},
      {"OneHot", {In(ints({1})), In(scalar(-1)), In(ramp({2}))}},
      {"OneHot", {In(ints({1})), In(scalar(3)), In(ramp({3}))}},
      {"OneHot", {In(ints({1})), In(ints({3, 4})), In(ramp({2}))}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, In(ramp({4}))}},
      {"Resize", {Shape{1, 1, 2, 2}}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1, kTera, 1}))}},
      {"Resize",
       {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1, kTera, 1}))},
       {s("mode", "linear")}},
      {"Resize",
       {In({1, 1, 2, 2}, DType::i32), kOmitted, kOmitted, In(ints({1, 1, kHuge, kHuge}))},
       {s("mode", "cubic")}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1, -2, 1}))}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1}))}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, In(Tensor::of<float>({4}, {1, 1, 1e18F, 1e18F}))}},
      {"Resize",
       {Shape{1, 1, 2, 2}, kOmitted,
        In(Tensor::of<float>({4}, {1, 1, std::numeric_limits<float>::quiet_NaN(), 1}))}},
      {"Resize",
       {Shape{1, 1, 2, 2}, kOmitted, In(Tensor::of<float>({4}, {1, 1, 2, 2}))},
       {s("mode", "guess")}},
      {"Upsample", {Shape{1, 1, 2, 2}, In(Tensor::of<float>({4}, {1, 1, 1e18F, 1e18F}))}, {}, 1, 9},
      {"HannWindow", {In(scalar(kTera))}},
      {"HannWindow", {In(scalar(-3))}},
      {"RandomNormal", {}, {l("shape", {kTera, kTera})}},
      {"RandomNormal", {}, {l("shape", {-1})}},
      {"RandomUniform", {}, {l("shape", {kTera})}},
      {"Multinomial", {Shape{1, 2}}, {i("sample_size", kTera)}},
      {"Multinomial", {Shape{1, 2}}, {i("sample_size", -1)}},
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
