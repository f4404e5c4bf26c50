// Operators that move elements: what they refuse, and what the conformance suites do not reach.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/convert.h"
#include "mezzo/error.h"
#include "ops/movement.h"
#include "ops/op.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using Ints = std::vector<std::int64_t>;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();

onnx::Attribute ints_attribute(std::string name, Ints values) {
  onnx::Attribute attribute;
  attribute.name = std::move(name);
  attribute.kind = Kind::ints;
  attribute.ints = std::move(values);
  return attribute;
}

onnx::Attribute int_attribute(std::string name, std::int64_t value) {
  onnx::Attribute attribute;
  attribute.name = std::move(name);
  attribute.kind = Kind::int_;
  attribute.i = value;
  return attribute;
}

onnx::Attribute string_attribute(std::string name, std::string value) {
  onnx::Attribute attribute;
  attribute.name = std::move(name);
  attribute.kind = Kind::string;
  attribute.s = std::move(value);
  return attribute;
}

Tensor list(const Ints& values) {
  return Tensor::of({static_cast<std::int64_t>(values.size())}, values);
}

// Runs an operator with one output, all of its inputs being constants.
Tensor run(const std::string& op_type, int opset, const std::vector<Tensor>& inputs,
           std::vector<onnx::Attribute> attributes = {}) {
  graph::Node node;
  node.op_type = op_type;
  node.opset = opset;
  for (onnx::Attribute& attribute : attributes)
    node.attributes.push_back(std::make_shared<onnx::Attribute>(std::move(attribute)));
  node.outputs = {100};
  std::vector<Operand> operands;
  std::vector<const void*> in;
  for (const Tensor& tensor : inputs) {
    Operand operand;
    if (tensor.has_value()) {
      operand = {static_cast<int>(operands.size()), tensor.dtype(), tensor.shape(), true, &tensor};
    }
    node.inputs.push_back(operand.value);
    operands.push_back(operand);
    in.push_back(tensor.has_value() ? tensor.data() : nullptr);
  }
  const Row* row = Registry::get().find("", op_type, opset);
  Op op(node, *row, operands, nullptr, 1);
  row->infer_outputs(op);
  const std::shared_ptr<const Chosen> chosen = choose(op);
  Tensor result = Tensor::uninitialized(op.out(0).dtype, op.out_shape(0));
  void* out = result.mutable_data();
  ThreadPool pool(1);
  Run call(op, in.data(), &out, nullptr, pool);
  chosen->kernel(call);
  return result;
}

const Tensor kMatrix = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});

std::vector<float> floats(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

TEST(Slice, ExtremePositions) {
  const auto sliced = [](Ints start, Ints end, Ints step) {
    return floats(run("Slice", 13, {kMatrix, list(start), list(end), list({1}), list(step)}));
  };
  EXPECT_EQ(sliced({kLeast}, {kMost}, {1}), floats(kMatrix));
  EXPECT_EQ(sliced({kMost}, {kLeast}, {-1}), (std::vector<float>{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(sliced({0}, {kMost}, {kMost}), (std::vector<float>{1, 4}));
  EXPECT_EQ(sliced({-1}, {kLeast}, {kLeast}), (std::vector<float>{3, 6}));
  EXPECT_EQ(sliced({2}, {1}, {1}), std::vector<float>{});
}

TEST(Slice, Refuses) {
  EXPECT_THROW(run("Slice", 13, {kMatrix, list({0}), list({1}), list({1}), list({0})}), Error);
  EXPECT_THROW(run("Slice", 13, {kMatrix, list({0}), list({1}), list({2})}), Error);
  EXPECT_THROW(run("Slice", 13, {kMatrix, list({0, 0}), list({1, 1}), list({1, -1})}), Error);
  EXPECT_THROW(run("Slice", 13, {kMatrix, list({0, 0, 0}), list({1, 1, 1})}), Error);
}

TEST(Pad, CropsBeforeItMirrors) {
  const Tensor row = Tensor::of<float>({5}, {1, 2, 3, 4, 5});
  const auto padded = [&](Ints pads, const char* mode) {
    return floats(run("Pad", 19, {row, list(pads)}, {string_attribute("mode", mode)}));
  };
  EXPECT_EQ(padded({-1, 2}, "reflect"), (std::vector<float>{2, 3, 4, 5, 4, 3}));
  EXPECT_EQ(padded({2, -3}, "edge"), (std::vector<float>{1, 1, 1, 2}));
  EXPECT_EQ(padded({3, -3}, "wrap"), (std::vector<float>{2, 1, 2, 1, 2}));
  EXPECT_EQ(padded({-2, -1}, "constant"), (std::vector<float>{3, 4}));
  // Everything is cropped, and what is left lies in the padding.
  EXPECT_EQ(padded({-6, 3}, "constant"), (std::vector<float>{0, 0}));
  // Mirrored more than once.
  EXPECT_EQ(padded({0, 9}, "reflect"),
            (std::vector<float>{1, 2, 3, 4, 5, 4, 3, 2, 1, 2, 3, 4, 5, 4}));
}

TEST(Pad, Refuses) {
  const Tensor row = Tensor::of<float>({2}, {1, 2});
  for (const Ints& pads : {Ints{-3, 0}, Ints{kMost, kMost}, Ints{kLeast, 0}, Ints{kLeast, kLeast},
                           Ints{kMost, 0}, Ints{1}, Ints{1, 1, 1}}) {
    EXPECT_THROW(run("Pad", 19, {row, list(pads)}), Error) << to_string(pads);
  }
  EXPECT_THROW(run("Pad", 19, {row, list({-2, 1})}, {string_attribute("mode", "edge")}), Error);
  EXPECT_THROW(run("Pad", 18, {row, list({1, 1})}, {string_attribute("mode", "wrap")}), Error);
}

TEST(Reshape, Refuses) {
  for (const Ints& shape : {Ints{-1, -1}, Ints{4, -1}, Ints{7}, Ints{-2, -3}, Ints{2, 3, 0},
                            Ints{kMost, kMost}, Ints{kLeast}}) {
    EXPECT_THROW(run("Reshape", 13, {kMatrix, list(shape)}), Error) << to_string(shape);
  }
  EXPECT_THROW(run("Reshape", 14, {kMatrix, list({0, -1})}, {int_attribute("allowzero", 1)}),
               Error);
}

TEST(Sizes, AreCheckedBeforeMemoryIsTaken) {
  EXPECT_THROW(run("Tile", 13, {kMatrix, list({kMost, kMost})}), Error);
  EXPECT_THROW(run("Tile", 13, {kMatrix, list({-1, 1})}), Error);
  EXPECT_THROW(run("Expand", 13, {kMatrix, list({kMost, 2, 3})}), Error);
  EXPECT_THROW(run("ConstantOfShape", 9, {list({kMost, kMost})}), Error);
  EXPECT_THROW(run("ConstantOfShape", 9, {list({-1})}), Error);
  EXPECT_THROW(run("RandomNormal", 1, {}, {ints_attribute("shape", {kMost, 3})}), Error);
  EXPECT_THROW(run("DepthToSpace", 13, {Tensor(DType::f32, {1, 4, 1, 1})},
                   {int_attribute("blocksize", kMost)}),
               Error);
  EXPECT_THROW(
      run("SpaceToDepth", 13, {Tensor(DType::f32, {1, 4, 1, 1})}, {int_attribute("blocksize", 0)}),
      Error);
}

TEST(Range, Refuses) {
  const auto range = [](double start, double limit, double delta) {
    return run("Range", 11, {Tensor::scalar(start), Tensor::scalar(limit), Tensor::scalar(delta)});
  };
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_THROW(range(0, 1, 0), Error);
  EXPECT_THROW(range(0, infinity, 1), Error);
  EXPECT_THROW(range(std::nan(""), 1, 1), Error);
  EXPECT_THROW(range(infinity, infinity, 1), Error);
  EXPECT_THROW(range(0, 1e300, 1e-300), Error);
  EXPECT_EQ(range(0, -infinity, 1).size(), 0);
  EXPECT_THROW(
      run("Range", 11,
          {Tensor::scalar(kLeast), Tensor::scalar(kMost), Tensor::scalar<std::int64_t>(1)}),
      Error);
}

TEST(Indices, OutOfRange) {
  for (const std::int64_t index : {std::int64_t{2}, std::int64_t{-3}, kMost, kLeast}) {
    const auto fails = [&](const char* op_type, int opset, const std::vector<Tensor>& inputs) {
      try {
        run(op_type, opset, inputs);
        ADD_FAILURE() << op_type << " took the index " << index;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::runtime) << op_type;
      }
    };
    const Tensor one = Tensor::of<std::int64_t>({1, 1}, {index});
    fails("Gather", 13, {kMatrix, one});
    fails("GatherElements", 13, {kMatrix, one});
    fails("GatherND", 13, {kMatrix, one});
    fails("ScatterElements", 18, {kMatrix, one, Tensor(DType::f32, {1, 1})});
    fails("ScatterND", 18, {kMatrix, one, Tensor(DType::f32, {1, 3})});
  }
}

TEST(Transpose, RefusesWhatIsNoPermutation) {
  for (const Ints& perm : {Ints{0, 0}, Ints{0}, Ints{0, 2}, Ints{0, 1, 2}, Ints{kLeast, 0}}) {
    EXPECT_THROW(run("Transpose", 13, {kMatrix}, {ints_attribute("perm", perm)}), Error);
  }
}

// Types whose elements share bytes: i4 in [3, 5], element (r, c) having the value r + c - 3.
TEST(Packed, TransposeAndPad) {
  Tensor packed(DType::i4, {3, 5});
  for (int i = 0; i < 15; ++i) write_packed(DType::i4, packed.mutable_data(), i, i / 5 + i % 5 - 3);
  const Tensor transposed = run("Transpose", 21, {packed});
  ASSERT_EQ(transposed.shape(), (Shape{5, 3}));
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(read_packed(DType::i4, transposed.data(), i), i / 3 + i % 3 - 3);
  }
  const Tensor padded = run("Pad", 21, {packed, list({0, 1, 0, 1})});
  ASSERT_EQ(padded.shape(), (Shape{3, 7}));
  for (int i = 0; i < 21; ++i) {
    const int column = i % 7 - 1;
    const int wanted = column < 0 || column > 4 ? 0 : i / 7 + column - 3;
    EXPECT_EQ(read_packed(DType::i4, padded.data(), i), wanted);
  }
}

// The same seed gives the same numbers; they lie where they should.
TEST(Random, SeedsAndMoments) {
  onnx::Attribute seed;
  seed.name = "seed";
  seed.kind = Kind::float_;
  seed.f = 7;
  const std::vector<onnx::Attribute> attributes = {ints_attribute("shape", {100000}), seed};
  const Tensor normal = run("RandomNormal", 22, {}, attributes);
  EXPECT_EQ(floats(normal), floats(run("RandomNormal", 22, {}, attributes)));
  double sum = 0, squares = 0;
  for (const float x : normal.values<float>()) {
    sum += x;
    squares += double{x} * x;
  }
  // Six standard errors.
  EXPECT_NEAR(sum / 1e5, 0, 6 / std::sqrt(1e5));
  EXPECT_NEAR(squares / 1e5, 1, 6 * std::sqrt(2 / 1e5));
  const Tensor uniform = run("RandomUniform", 22, {}, attributes);
  sum = 0;
  for (const float x : uniform.values<float>()) {
    ASSERT_TRUE(x >= 0 && x < 1);
    sum += x;
  }
  EXPECT_NEAR(sum / 1e5, 0.5, 6 * std::sqrt(1 / 12.0 / 1e5));
}

}  // namespace
}  // namespace mezzo::ops
