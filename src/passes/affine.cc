#include "passes/affine.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/shape.h"

namespace mezzo::passes {
namespace {

std::vector<double> doubles(const Tensor& tensor) {
  if (tensor.dtype() == DType::f32) {
    const auto values = tensor.values<float>();
    return {values.begin(), values.end()};
  }
  const Tensor wide = tensor.to(DType::f64);
  const auto values = wide.values<double>();
  return {values.begin(), values.end()};
}

// The number of each channel (axis 1 of `x`) in a constant that is one for all or has one element a
// channel; empty where it is another.
std::vector<double> by_channel(const Program& program, int i, int input, const Shape& x) {
  const Shape& shape = program.op(i).in_shape(input);
  const auto channels = static_cast<std::size_t>(x[1]);
  const std::int64_t count = element_count(shape);
  const std::size_t axis = x.size() - 1;  // of the channels, from the end
  if (shape.size() > x.size() || count < 1) return {};
  if (count != 1 && (shape.size() < axis || shape[shape.size() - axis] != count ||
                     count != static_cast<std::int64_t>(channels))) {
    return {};
  }
  std::vector<double> values = doubles(program.constant(i, input));
  if (values.size() != channels) values.assign(channels, values[0]);
  return values;
}

// Only what is finite can be folded without changing what overflows.
AffinePointer finite(Affine affine) {
  const auto is_finite = [](double value) { return std::isfinite(value); };
  if (!std::all_of(affine.factor.begin(), affine.factor.end(), is_finite) ||
      !std::all_of(affine.shift.begin(), affine.shift.end(), is_finite)) {
    return nullptr;
  }
  return std::make_shared<const Affine>(std::move(affine));
}

// A BatchNormalization with known statistics.
AffinePointer affine_of_norm(const Program& program, int i, std::int64_t channels) {
  const ops::Op& op = program.op(i);
  if (channels == 0) return nullptr;
  if (op.declares("training_mode") && op.attr_int("training_mode") != 0) return nullptr;
  for (int output = 1; output < op.outputs(); ++output) {
    if (op.has_out(output)) return nullptr;
  }
  Affine affine;
  std::vector<double> parts[5];
  for (int input = 1; input < 5; ++input) {
    if (!op.is_constant(input)) return nullptr;
    parts[input] = doubles(program.constant(i, input));
    if (parts[input].size() != static_cast<std::size_t>(channels)) return nullptr;
    affine.sources.push_back(program.in(i, input));
  }
  const auto epsilon = static_cast<double>(op.attr_float("epsilon"));
  affine.factor.reserve(parts[1].size());
  affine.shift.reserve(parts[1].size());
  for (std::size_t c = 0; c < parts[1].size(); ++c) {
    const double factor = parts[1][c] / std::sqrt(parts[4][c] + epsilon);
    affine.factor.push_back(factor);
    affine.shift.push_back(parts[2][c] - parts[3][c] * factor);
  }
  affine.key =
      "batch norm " + std::to_string(std::bit_cast<std::uint32_t>(op.attr_float("epsilon")));
  return finite(std::move(affine));
}

// Arithmetic of x and a constant.
AffinePointer affine_of_arithmetic(const Program& program, int i, int data, const Shape& x) {
  const bool is_known =
      program.is(i, "Mul") || program.is(i, "Div") || program.is(i, "Add") || program.is(i, "Sub");
  const int input = 1 - data;
  if (!is_known || !program.op(i).is_constant(input)) return nullptr;
  const std::string& name = program.op(i).row().name();
  std::vector<double> values = by_channel(program, i, input, x);
  if (values.empty()) return nullptr;
  Affine affine;
  affine.factor.assign(values.size(), 1);
  affine.shift.assign(values.size(), 0);
  if (name == "Mul") {
    affine.factor = std::move(values);
  } else if (name == "Add") {
    affine.shift = std::move(values);
  } else if (name == "Sub") {
    for (std::size_t c = 0; c < values.size(); ++c) {
      affine.factor[c] = data == 0 ? 1 : -1;
      affine.shift[c] = data == 0 ? -values[c] : values[c];
    }
  } else {
    if (data != 0) return nullptr;
    for (std::size_t c = 0; c < values.size(); ++c) affine.factor[c] = 1 / values[c];
  }
  affine.sources = {program.in(i, input)};
  affine.key = name + " " + std::to_string(data);
  return finite(std::move(affine));
}

}  // namespace

AffinePointer affine_of(const Program& program, int i, int data, const Shape& x) {
  if (!program.is(i, "BatchNormalization")) return affine_of_arithmetic(program, i, data, x);
  return data == 0 ? affine_of_norm(program, i, x[1]) : nullptr;
}

Recipe scaled(AffinePointer affine) {
  return [affine = std::move(affine)](const Tensor& base) {
    const std::vector<double>& factor = affine->factor;
    Tensor result = Tensor::uninitialized(DType::f32, base.shape());
    const auto from = base.values<float>();
    const auto to = result.mutable_values<float>();
    const std::size_t inner = from.size() / factor.size();
    for (std::size_t c = 0; c < factor.size(); ++c) {
      for (std::size_t i = c * inner; i < (c + 1) * inner; ++i)
        to[i] = static_cast<float>(static_cast<double>(from[i]) * factor[c]);
    }
    return result;
  };
}

Recipe shifted(AffinePointer affine, bool had_bias) {
  return [affine = std::move(affine), had_bias](const Tensor& base) {
    const std::size_t channels = affine->factor.size();
    Tensor result = Tensor::uninitialized(DType::f32, {static_cast<std::int64_t>(channels)});
    const auto to = result.mutable_values<float>();
    for (std::size_t c = 0; c < channels; ++c) {
      const double before =
          had_bias ? static_cast<double>(base.values<float>()[c]) * affine->factor[c] : 0.0;
      to[c] = static_cast<float>(before + affine->shift[c]);
    }
    return result;
  };
}

Recipe factors(AffinePointer affine) {
  return [affine = std::move(affine)](const Tensor&) {
    const std::vector<double>& factor = affine->factor;
    Tensor result = Tensor::uninitialized(DType::f32, {static_cast<std::int64_t>(factor.size())});
    std::transform(factor.begin(), factor.end(), result.mutable_values<float>().begin(),
                   [](double value) { return static_cast<float>(value); });
    return result;
  };
}

}  // namespace mezzo::passes
