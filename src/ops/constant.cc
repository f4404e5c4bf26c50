// Constant, ConstantOfShape, EyeLike, Range: tensors out of nothing.
// Spec: Constant-1, -9 (value), -11 (sparse_value), -12 (value_int ... value_strings), -13 ... -25;
// ConstantOfShape-9, -20 ... -25; EyeLike-9, -22; Range-11, -27 (16-bit floats).

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/convert.h"
#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

Tensor constant_value(const Op& op) {
  if (op.node().attributes.size() != 1) {
    throw invalid("Constant must have exactly one attribute")
        .got(std::to_string(op.node().attributes.size()));
  }
  const std::string& name = op.node().attributes.front()->name;
  if (name == "value") return *op.attr_tensor(name);
  if (name == "sparse_value") {
    const onnx::SparseTensor* sparse = op.attr_sparse(name);
    if (sparse == nullptr) throw invalid("sparse_value holds no tensor");
    return sparse->dense();
  }
  if (name == "value_int") return Tensor::scalar(op.attr_int(name));
  if (name == "value_float") return Tensor::scalar(op.attr_float(name));
  if (name == "value_string") return Tensor::scalar(op.attr_string(name));
  const auto list = [](const auto& values) {
    return Tensor::of({static_cast<std::int64_t>(values.size())}, values);
  };
  if (name == "value_ints") return list(op.attr_ints(name));
  if (name == "value_floats") return list(op.attr_floats(name));
  return list(op.attr_strings(name));
}

void infer_constant(Op& op) {
  const Tensor value = constant_value(op);
  op.set_out(0, value.dtype(), value.shape());
}

Choice copy_constant(Op& op) {
  return [value = constant_value(op)](Run& run) {
    copy_all(value.dtype(), value.data(), run.out_data(0), value.size(), run.pool());
  };
}

// The one element of ConstantOfShape's attribute; float32 0 without it.
Tensor fill_value(const Op& op) {
  const Tensor* value = op.attr_tensor("value");
  if (value == nullptr) return Tensor(DType::f32, {1});
  if (value->size() != 1) {
    throw invalid("ConstantOfShape's value must have one element").got(to_string(value->shape()));
  }
  return *value;
}

void infer_constant_of_shape(Op& op) {
  require_rank(op, 0, 1, 1);
  op.set_out(0, fill_value(op).dtype(), op.ints(0));
}

Choice fill(Op& op) {
  const Tensor value = fill_value(op);
  const DType dtype = value.dtype();
  const std::int64_t count = product(op.out_shape(0));
  if (!is_packed(dtype)) {
    const Shape extents = {count};
    return [mover = Mover(dtype, extents, {0}, {1}), value](Run& run) {
      mover.run(value.data(), run.out_data(0), run.pool());
    };
  }
  // A byte full of the element.
  const std::uint8_t element = unpack(dtype, value.data(), 1)[0];
  const std::vector<std::uint8_t> elements(static_cast<std::size_t>(8 / bits_of(dtype)), element);
  std::uint8_t byte = 0;
  pack(dtype, elements.data(), &byte, static_cast<std::int64_t>(elements.size()));
  return [dtype, byte, count](Run& run) {
    if (count > 0) std::memset(run.out_data(0), byte, bytes_of(dtype, count));
  };
}

DType dtype_attribute(const Op& op, DType without) {
  if (!op.has_attr("dtype")) return without;
  const std::int64_t number = op.attr_int("dtype");
  const DType dtype =
      number > 0 && number < kDTypeCount ? static_cast<DType>(number) : DType::undefined;
  if (!op.row().outputs()[0].types.contains(dtype)) {
    throw invalid("'dtype' is no type that this operator can give").got(std::to_string(number));
  }
  return dtype;
}

void infer_eye_like(Op& op) {
  require_rank(op, 0, 2, 2);
  op.set_out(0, dtype_attribute(op, op.in(0).dtype), op.in_shape(0));
}

Choice eye_like(Op& op) {
  const DType dtype = op.out(0).dtype;
  const std::int64_t rows = op.out_shape(0)[0], columns = op.out_shape(0)[1];
  // Beyond the corners there is no diagonal.
  const std::int64_t k = std::clamp(op.attr_int("k"), -rows, columns);
  std::uint64_t one = 0;
  const float value = 1;
  convert(DType::f32, &value, dtype, &one, 1);
  return [=](Run& run) {
    if (rows * columns == 0) return;
    auto* out = run.out<char>(0);
    std::memset(out, 0, bytes_of(dtype, rows * columns));
    const std::int64_t bytes = moved_bytes(dtype);
    for (std::int64_t row = std::max<std::int64_t>(0, -k); row < rows && row + k < columns; ++row) {
      std::memcpy(out + (row * columns + row + k) * bytes, &one, static_cast<std::size_t>(bytes));
    }
  };
}

// max(ceil((limit - start) / delta), 0).
std::int64_t range_length(const Op& op) {
  for (int i = 0; i < 3; ++i) {
    if (element_count(op.in_shape(i)) != 1) {
      throw invalid("Range's inputs must be scalars").got(to_string(op.in_shape(i)));
    }
  }
  const auto zero_step = [] { return Error(ErrorCode::runtime, "Range with a delta of 0"); };
  const auto too_long = [] { return Error(ErrorCode::limit, "Range is too long"); };
  if (kInts.contains(op.in(0).dtype)) {
    const __int128 start = op.ints(0)[0], limit = op.ints(1)[0], delta = op.ints(2)[0];
    if (delta == 0) throw zero_step();
    const __int128 way = delta > 0 ? limit - start : start - limit;
    const __int128 step = delta > 0 ? delta : -delta;
    const __int128 length = way <= 0 ? 0 : (way - 1) / step + 1;
    if (length > INT64_MAX) throw too_long();
    return static_cast<std::int64_t>(length);
  }
  double values[3];
  for (int i = 0; i < 3; ++i) {
    const Tensor wide = op.value(i).to(DType::f64);
    values[i] = wide.values<double>()[0];
  }
  const auto [start, limit, delta] = values;
  if (delta == 0) throw zero_step();
  const double length = std::ceil((limit - start) / delta);
  if (std::isnan(length)) {
    throw Error(ErrorCode::runtime, "Range's inputs make no sequence")
        .got(std::to_string(start) + ", " + std::to_string(limit) + ", " + std::to_string(delta));
  }
  if (length >= 0x1p63) throw too_long();
  return length <= 0 ? 0 : static_cast<std::int64_t>(length);
}

void infer_range(Op& op) { op.set_out(0, op.in(0).dtype, {range_length(op)}); }

// Output i is start + i * delta: of floats in float64, of integers modulo 2^bits.
Choice range(Op& op) {
  Choice choice = refuse("not a type of Range");
  with_type(Types<float, double, std::int16_t, std::int32_t, std::int64_t>{}, op.in(0).dtype,
            [&](auto type) {
              using T = decltype(type);
              using Wide = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;
              choice = [count = op.out_shape(0)[0]](Run& run) {
                const auto start = static_cast<Wide>(*run.in<T>(0));
                const auto delta = static_cast<Wide>(*run.in<T>(2));
                T* out = run.out<T>(0);
                for (std::int64_t i = 0; i < count; ++i) {
                  out[i] = static_cast<T>(start + static_cast<Wide>(i) * delta);
                }
              };
            });
  return choice;
}

void infer_range_27(Op& op) {
  const std::int64_t stash = op.attr_int("stash_type");
  if (stash != static_cast<std::int64_t>(DType::f32) &&
      stash != static_cast<std::int64_t>(DType::f64)) {
    throw invalid("stash_type must be float or double").got(std::to_string(stash));
  }
  infer_range(op);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(constant) {
  op("Constant")
      .since(1, 9)
      .required("value", Kind::tensor)
      .out("output", kAllNoBf16)
      .infer(infer_constant)
      .kernel("copy", copy_constant);
  op("Constant")
      .since(11)
      .attr("sparse_value", Kind::sparse_tensor)
      .attr("value", Kind::tensor)
      .out("output", kAllNoBf16)
      .infer(infer_constant)
      .kernel("copy", copy_constant);
  op("Constant")
      .since(12, 13, 19, 21, 23, 24, 25)
      .attr("sparse_value", Kind::sparse_tensor)
      .attr("value", Kind::tensor)
      .attr("value_float", Kind::float_)
      .attr("value_floats", Kind::floats)
      .attr("value_int", Kind::int_)
      .attr("value_ints", Kind::ints)
      .attr("value_string", Kind::string)
      .attr("value_strings", Kind::strings)
      .out("output", kAllIr13)
      .infer(infer_constant)
      .kernel("copy", copy_constant);

  constexpr TypeSet kFills =
      kNumbers | kFloat8 | TypeSet{DType::boolean, DType::u4, DType::i4, DType::f4e2m1,
                                   DType::f8e8m0,  DType::u2, DType::i2};
  op("ConstantOfShape")
      .since(9, 20, 21, 23, 24, 25)
      .attr("value", Kind::tensor)
      .in("input", DType::i64)
      .out("output", kFills)
      .infer(infer_constant_of_shape)
      .kernel("fill", fill);

  op("EyeLike")
      .since(9, 22)
      .attr("dtype", Kind::int_)
      .attr("k", 0)
      .in("input", kNumbers | DType::boolean)
      .out("output", kNumbers | DType::boolean)
      .infer(infer_eye_like)
      .kernel("reference", eye_like)
      .from_shapes();

  constexpr TypeSet kRanges = {DType::f32, DType::f64, DType::i16, DType::i32, DType::i64};
  op("Range")
      .since(11)
      .in("start", kRanges)
      .in("limit", like(0))
      .in("delta", like(0))
      .out("output", like(0))
      .infer(infer_range)
      .kernel("reference", range);
  op("Range")
      .since(27)
      .attr("stash_type", 1)
      .in("start", kRanges | TypeSet{DType::f16, DType::bf16})
      .in("limit", like(0))
      .in("delta", like(0))
      .out("output", like(0))
      .infer(infer_range_27)
      .kernel("reference", range);
}
