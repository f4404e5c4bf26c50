// What comparison with other runtimes cannot show of element-wise and quantised operators: old
// opsets, invalid nodes, contents that are errors, and what must not trap.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/build_model.h"
#include "mezzo/mezzo.h"
#include "onnx/writer.h"

namespace mezzo {
namespace {

using onnx::attribute;
using Attributes = std::vector<onnx::Attribute>;

constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Output 0 of one node; an input without a value is omitted.
Tensor run(const std::string& op_type, int opset, const std::vector<Tensor>& inputs,
           Attributes attributes = {}) {
  std::vector<std::string> names;
  std::vector<onnx::ValueInfo> infos;
  Feeds feeds;
  for (const Tensor& input : inputs) {
    names.push_back(input.has_value() ? "x" + std::to_string(names.size()) : "");
    if (!input.has_value()) continue;
    onnx::ValueInfo info = onnx::value(names.back(), input.dtype());
    for (const std::int64_t extent : input.shape()) {
      info.type.shape->emplace_back().value = extent;
    }
    infos.push_back(info);
    feeds.emplace_back(names.back(), input);
  }
  const onnx::Model model =
      onnx::model(onnx::graph({onnx::node(op_type, names, {"y"}, std::move(attributes))}, infos,
                              {onnx::value("y", DType::undefined)}),
                  opset);
  const std::string bytes = onnx::write_memory(model);
  const Session session(Model::from_memory(bytes.data(), bytes.size()), {.threads = 1});
  return session.run(feeds)[0];
}

template <class T>
std::vector<T> values(const Tensor& tensor) {
  const auto span = tensor.values<T>();
  return {span.begin(), span.end()};
}

template <class Fn>
ErrorCode code_of(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no Error was thrown";
  return ErrorCode::internal;
}

const Tensor kTwoByThree = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});

TEST(OldBroadcast, FollowsTheAttributes) {
  const Tensor rows = Tensor::of<float>({2}, {10, 20}), columns = Tensor::of<float>({3}, {1, 2, 3});
  const auto add = [](int opset, const Tensor& b, Attributes attributes) {
    return values<float>(run("Add", opset, {kTwoByThree, b}, std::move(attributes)));
  };
  const std::vector<float> by_row = {11, 12, 13, 24, 25, 26}, by_column = {2, 4, 6, 5, 7, 9};
  EXPECT_EQ(
      add(6, rows, {attribute("broadcast", std::int64_t{1}), attribute("axis", std::int64_t{0})}),
      by_row);
  EXPECT_EQ(add(6, columns, {attribute("broadcast", std::int64_t{1})}), by_column);
  EXPECT_EQ(add(1, columns, {attribute("broadcast", std::int64_t{1})}), by_column);
  EXPECT_EQ(add(6, Tensor::of<float>({1, 1}, {1}), {attribute("broadcast", std::int64_t{1})}),
            (std::vector<float>{2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(add(7, columns, {}), by_column);
}

TEST(OldBroadcast, RefusesWhatItDoesNotAllow) {
  const Tensor rows = Tensor::of<float>({2}, {10, 20}), columns = Tensor::of<float>({3}, {1, 2, 3});
  const auto add = [](int opset, const Tensor& b, Attributes attributes) {
    return code_of([&] { run("Add", opset, {kTwoByThree, b}, attributes); });
  };
  EXPECT_EQ(add(6, columns, {}), ErrorCode::invalid_model);
  EXPECT_EQ(add(6, rows, {attribute("broadcast", std::int64_t{1})}), ErrorCode::invalid_model);
  EXPECT_EQ(add(6, columns,
                {attribute("broadcast", std::int64_t{1}), attribute("axis", std::int64_t{5})}),
            ErrorCode::invalid_model);
  EXPECT_EQ(add(7, columns, {attribute("broadcast", std::int64_t{1})}), ErrorCode::invalid_model);
}

TEST(IntegerDivision, ByZeroIsAnErrorAndOverflowWraps) {
  const auto ints = [](std::vector<std::int32_t> list) {
    const auto n = static_cast<std::int64_t>(list.size());
    return Tensor::of<std::int32_t>({n}, list);
  };
  for (const char* op : {"Div", "Mod"}) {
    EXPECT_EQ(code_of([&] { run(op, 14, {ints({1}), ints({0})}); }), ErrorCode::runtime) << op;
  }
  EXPECT_EQ(values<std::int32_t>(run("Div", 14, {ints({kLeast, -7, 7}), ints({-1, 2, -2})})),
            (std::vector<std::int32_t>{kLeast, -3, -3}));
  EXPECT_EQ(values<std::int32_t>(run("Mod", 14, {ints({kLeast, -7, 7}), ints({-1, 2, -2})})),
            (std::vector<std::int32_t>{0, 1, -1}));
  EXPECT_EQ(values<std::int32_t>(run("Neg", 13, {ints({kLeast})}))[0], kLeast);
  EXPECT_EQ(values<std::int32_t>(run("Abs", 13, {ints({kLeast})}))[0], kLeast);
  EXPECT_EQ(values<std::int32_t>(run("Pow", 15, {ints({2, -1, 5}), ints({-1, -3, 0})})),
            (std::vector<std::int32_t>{0, -1, 1}));
  EXPECT_EQ(code_of([&] { run("Pow", 15, {ints({0}), ints({-1})}); }), ErrorCode::runtime);
}

TEST(IntegerArithmetic, WrapsInTypesNarrowerThanInt) {
  const Tensor most = Tensor::of<std::uint16_t>({1}, {65535});
  EXPECT_EQ(values<std::uint16_t>(run("Mul", 14, {most, most}))[0], 1);  // 65535^2 mod 2^16
  EXPECT_EQ(values<std::uint16_t>(run("Add", 14, {most, most}))[0], 65534);
}

TEST(Booleans, AnyByteButZeroIsTrue) {
  // A file may hold such bytes; C++ may not read them as bool.
  const std::uint8_t bytes[] = {0, 1, 2, 0x80};
  const Tensor odd = Tensor::view(DType::boolean, {4}, bytes);
  const Tensor ones = Tensor::of<std::uint8_t>({4}, {1, 1, 1, 1});
  const Tensor yes = Tensor::view(DType::boolean, {4}, ones.data());
  const auto bits = [](const Tensor& tensor) {
    const auto* data = static_cast<const std::uint8_t*>(tensor.data());
    return std::vector<int>(data, data + tensor.size());
  };
  const std::vector<int> truth = {0, 1, 1, 1}, falsehood = {1, 0, 0, 0};
  EXPECT_EQ(bits(run("And", 7, {odd, yes})), truth);
  EXPECT_EQ(bits(run("Xor", 7, {odd, yes})), falsehood);
  EXPECT_EQ(bits(run("Not", 1, {odd})), falsehood);
  EXPECT_EQ(bits(run("Equal", 13, {odd, yes})), truth);
  const Tensor x = Tensor::of<std::int64_t>({}, {5}), y = Tensor::of<std::int64_t>({}, {6});
  EXPECT_EQ(values<std::int64_t>(run("Where", 16, {odd, x, y})),
            (std::vector<std::int64_t>{6, 5, 5, 5}));
}

TEST(Variadic, ScalarsFirstAndFullShapeLast) {
  // The first two inputs together are smaller than the output.
  const Tensor one = Tensor::of<float>({1}, {1}), two = Tensor::scalar(2.0F);
  const Tensor many = Tensor::of<float>({5}, {0, 1, 2, 3, 4});
  EXPECT_EQ(values<float>(run("Sum", 13, {one, two, many})), (std::vector<float>{3, 4, 5, 6, 7}));
  EXPECT_EQ(values<float>(run("Max", 13, {one, two, many})), (std::vector<float>{2, 2, 2, 3, 4}));
  EXPECT_EQ(code_of([&] { run("Sum", 13, {one, Tensor(), many}); }), ErrorCode::invalid_model);
}

// Far more elements than are taken at a time.
TEST(Variadic, LongRowsAndColumns) {
  constexpr int kRows = 3, kColumns = 50001;
  std::vector<float> full, row, column, mean, largest;
  for (int j = 0; j < kColumns; ++j) row.push_back(static_cast<float>(j % 5));
  for (int i = 0; i < kRows; ++i) {
    column.push_back(static_cast<float>(10 * i));
    for (int j = 0; j < kColumns; ++j) {
      full.push_back(static_cast<float>((i + j) % 7));
      const float a = full.back(), b = row[static_cast<std::size_t>(j)], c = column.back();
      mean.push_back((a + b + c) / 3);
      largest.push_back(std::max({a, b, c}));
    }
  }
  const std::vector<Tensor> inputs = {Tensor::of<float>({kRows, kColumns}, full),
                                      Tensor::of<float>({kColumns}, row),
                                      Tensor::of<float>({kRows, 1}, column)};
  EXPECT_EQ(values<float>(run("Mean", 13, inputs)), mean);
  EXPECT_EQ(values<float>(run("Max", 13, inputs)), largest);
}

TEST(Selu, HasFewerDigitsBeforeOpset6) {
  const Tensor x = Tensor::of<float>({2}, {1, -kInfinity});
  EXPECT_EQ(values<float>(run("Selu", 1, {x}))[0], 1.0507F);
  EXPECT_FLOAT_EQ(values<float>(run("Selu", 1, {x}))[1], -1.0507F * 1.6732F);
  EXPECT_EQ(values<float>(run("Selu", 6, {x}))[0], 1.05070102214813232421875F);
}

TEST(Clip, BoundsAreAttributesBeforeOpset11) {
  const Tensor x = Tensor::of<float>({3}, {-2, 0.5F, 2});
  EXPECT_EQ(values<float>(run("Clip", 1, {x}, {attribute("min", 0.0F)})),
            (std::vector<float>{0, 0.5F, 2}));
  EXPECT_EQ(values<float>(run("Clip", 6, {x}, {attribute("min", -1.0F), attribute("max", 1.0F)})),
            (std::vector<float>{-1, 0.5F, 1}));
  // "When min is greater than max, all values are set to max."
  EXPECT_EQ(values<float>(run("Clip", 13, {x, Tensor::scalar(3.0F), Tensor::scalar(1.0F)})),
            (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(code_of([&] { run("Clip", 13, {x, x}); }), ErrorCode::invalid_model);
}

TEST(PRelu, HasASlopePerChannelBeforeOpset7) {
  const Tensor x = Tensor::of<float>({1, 2, 2}, {-1, -1, -1, -1});
  const Tensor slope = Tensor::of<float>({2}, {2, 3});
  EXPECT_EQ(values<float>(run("PRelu", 6, {x, slope})), (std::vector<float>{-2, -2, -3, -3}));
  EXPECT_EQ(values<float>(run("PRelu", 7, {x, slope})), (std::vector<float>{-2, -3, -2, -3}));
  EXPECT_EQ(code_of([&] { run("PRelu", 7, {slope, x}); }), ErrorCode::invalid_model);
}

TEST(Cast, ReadsAndWritesStrings) {
  const auto strings = [](std::vector<std::string> list) {
    const auto n = static_cast<std::int64_t>(list.size());
    return Tensor::of<std::string>({n}, list);
  };
  const auto to = [](DType dtype) {
    return Attributes{attribute("to", static_cast<std::int64_t>(dtype))};
  };
  const auto floats = values<float>(run(
      "Cast", 19, {strings({"+INF", "-inf", "1e-5", "3.14", "1e99", "-1e-99"})}, to(DType::f32)));
  EXPECT_EQ(floats, (std::vector<float>{kInfinity, -kInfinity, 1e-5F, 3.14F, kInfinity, -0.0F}));
  EXPECT_TRUE(std::isnan(values<float>(run("Cast", 19, {strings({"NaN"})}, to(DType::f32)))[0]));
  EXPECT_EQ(values<std::int64_t>(run(
                "Cast", 19, {strings({"9223372036854775807", "100.5", " -3 "})}, to(DType::i64))),
            (std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::max(), 100, -3}));
  for (const char* bad : {"", "x", "1x", "+-1", "--1"}) {
    EXPECT_EQ(code_of([&] { run("Cast", 19, {strings({bad})}, to(DType::f32)); }),
              ErrorCode::runtime)
        << bad;
  }
  const Tensor numbers = Tensor::of<float>({5}, {314.15926F, -0.5F, kInfinity, 16777216, 1});
  EXPECT_EQ(values<std::string>(run("Cast", 19, {numbers}, to(DType::string))),
            (std::vector<std::string>{"314.15927", "-0.5", "INF", "16777216", "1"}));
}

TEST(Cast, RefusesTypesThatTheOpsetDoesNotKnow) {
  const auto to = [](std::int64_t number) {
    return code_of([&] { run("Cast", 13, {kTwoByThree}, {attribute("to", number)}); });
  };
  EXPECT_EQ(to(17), ErrorCode::invalid_model);  // float8e4m3fn came with opset 19
  EXPECT_EQ(to(0), ErrorCode::invalid_model);
  EXPECT_EQ(to(9999), ErrorCode::invalid_model);
  EXPECT_EQ(to(-1), ErrorCode::invalid_model);
  const Tensor as_named = run("Cast", 1, {kTwoByThree}, {attribute("to", std::string("INT32"))});
  EXPECT_EQ(values<std::int32_t>(as_named), (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
}

TEST(QuantizeLinear, TakesWhatIsNoNumberAndWhatIsTooLarge) {
  const Tensor x = Tensor::of<float>({5}, {std::nanf(""), kInfinity, -kInfinity, 1e30F, 2.5F});
  const Tensor y =
      run("QuantizeLinear", 13, {x, Tensor::scalar(1.0F), Tensor::scalar<std::uint8_t>(3)});
  // 2.5 rounds to 2. ONNX Runtime gives 0 for NaN as well.
  EXPECT_EQ(values<std::uint8_t>(y), (std::vector<std::uint8_t>{0, 255, 0, 255, 5}));
}

TEST(QuantizeLinear, RefusesParametersThatDoNotFit) {
  const auto code = [](const Tensor& scale, const Tensor& zero, Attributes attributes) {
    return code_of([&] {
      run("QuantizeLinear", 21, {kTwoByThree, scale, zero}, std::move(attributes));
    });
  };
  const Tensor two = Tensor::of<float>({2}, {1, 1}), zero = Tensor::of<std::int8_t>({2}, {0, 0});
  EXPECT_EQ(code(two, Tensor(), {}), ErrorCode::invalid_model);  // axis 1 has three
  EXPECT_EQ(code(two, Tensor::scalar<std::int8_t>(0), {attribute("axis", std::int64_t{0})}),
            ErrorCode::invalid_model);
  EXPECT_EQ(code(two, zero, {attribute("axis", std::int64_t{2})}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(two, zero, {attribute("block_size", std::int64_t{-2})}), ErrorCode::invalid_model);
  EXPECT_EQ(code(Tensor::scalar(1.0F), Tensor(), {attribute("output_dtype", std::int64_t{1})}),
            ErrorCode::invalid_model);
  EXPECT_EQ(code(Tensor::scalar(1.0F), Tensor::scalar<std::int8_t>(0),
                 {attribute("output_dtype", std::int64_t{2})}),
            ErrorCode::invalid_model);
}

TEST(QLinearConv, RefusesOperandsThatDoNotFit) {
  const Tensor scale = Tensor::scalar(1.0F), zero = Tensor::scalar<std::uint8_t>(0);
  const auto code = [&](const Shape& x, const Shape& w, std::int64_t group, const Tensor& w_scale) {
    return code_of([&] {
      run("QLinearConv", 10,
          {Tensor(DType::u8, x), scale, zero, Tensor(DType::u8, w), w_scale, zero, scale, zero},
          {attribute("group", group)});
    });
  };
  EXPECT_EQ(code({1, 4, 5, 5}, {4, 3, 3, 3}, 1, scale), ErrorCode::invalid_model);
  EXPECT_EQ(code({1, 4, 5, 5}, {4, 4, 3, 3}, 0, scale), ErrorCode::invalid_model);
  EXPECT_EQ(code({1, 4, 5, 5}, {3, 2, 3, 3}, 2, scale), ErrorCode::invalid_model);
  EXPECT_EQ(code({1, 4, 5, 5}, {4, 4, 6, 3}, 1, scale), ErrorCode::invalid_model);
  EXPECT_EQ(code({1, 4, 5, 5}, {4, 4, 3, 3}, 1, Tensor::of<float>({3}, {1, 1, 1})),
            ErrorCode::invalid_model);
}

TEST(BitShift, ByTooMuchLeavesTheSign) {
  const Tensor x = Tensor::of<std::int8_t>({4}, {-5, -5, 5, -5});
  const Tensor by = Tensor::of<std::int8_t>({4}, {1, 8, 8, -1});
  EXPECT_EQ(values<std::int8_t>(
                run("BitShift", 28, {x, by}, {attribute("direction", std::string("RIGHT"))})),
            (std::vector<std::int8_t>{-3, -1, 0, -1}));
  EXPECT_EQ(values<std::int8_t>(
                run("BitShift", 28, {x, by}, {attribute("direction", std::string("LEFT"))})),
            (std::vector<std::int8_t>{-10, 0, 0, 0}));
}

TEST(EmptyTensors, AreFine) {
  const Tensor none(DType::f32, {0, 3}), row = Tensor::of<float>({3}, {1, 2, 3});
  for (const char* op : {"Add", "Pow", "Max", "Sum"}) {
    EXPECT_EQ(run(op, 14, {none, row}).shape(), (Shape{0, 3})) << op;
  }
  for (const char* op : {"Relu", "Exp", "Clip", "Gelu"}) {
    EXPECT_EQ(run(op, 20, {none}).shape(), (Shape{0, 3})) << op;
  }
  EXPECT_EQ(run("QuantizeLinear", 13, {none, Tensor::scalar(1.0F)}).shape(), (Shape{0, 3}));
  EXPECT_EQ(
      run("MatMulInteger", 10, {Tensor(DType::u8, {0, 4}), Tensor(DType::u8, {4, 2})}).shape(),
      (Shape{0, 2}));
  EXPECT_EQ(values<std::int32_t>(
                run("MatMulInteger", 10, {Tensor(DType::u8, {1, 0}), Tensor(DType::u8, {0, 2})})),
            (std::vector<std::int32_t>{0, 0}));
}

}  // namespace
}  // namespace mezzo
