// One node that is wrong, of an operator that ONNX has not: one that passes make, or one of
// com.microsoft. Each must be an Error.
#include <gtest/gtest.h>

#include <limits>

#include "operator_cases.h"

namespace mezzo::malformed {
namespace {

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
  for (const In& image : {six_lanes, flat, In(Shape{2}), In(Shape{})})
    cases.push_back(of("BlockedFewConv", {image, ramp({3, 24, 1, 1})}));
  for (const Shape& weights : {Shape{8, 24, 1, 1}, Shape{13, 24, 1, 1}, Shape{3, 23, 1, 1},
                               Shape{3, 24, 1}, Shape{3, 24, 1, 1, 1}, Shape{3}, Shape{}})
    cases.push_back(of("BlockedFewConv", {x, ramp(weights)}));
  cases.push_back(of("BlockedFewConv", {x, ramp({3, 24, 1, 1}), ramp({4})}));
  cases.push_back(of("BlockedFewConv", {x, ramp({2, 12, 1, 1})}, {i("group", 2)}));
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

}  // namespace
}  // namespace mezzo::malformed
