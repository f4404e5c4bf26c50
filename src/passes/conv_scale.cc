// Conv and what only scales or shifts its channels: BatchNormalization (of inference), and Mul,
// Div, Add and Sub with a constant for each channel or for all. The convolution gets other weights
// and another bias, computed in double from those of the file.
#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "base/shape.h"
#include "passes/conv.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// y = x * factor + shift, by channel.
struct Affine {
  std::vector<double> factor, shift;
  std::vector<int> sources;  // the slots that it is made of
  std::string key;           // what is made of them
};

std::vector<double> doubles(const Tensor& tensor) {
  const Tensor wide = tensor.to(DType::f64);
  const auto values = wide.values<double>();
  return {values.begin(), values.end()};
}

std::optional<Affine> batch_norm(const Program& program, int i, std::size_t channels) {
  const ops::Op& op = program.op(i);
  if (op.declares("training_mode") && op.attr_int("training_mode") != 0) return std::nullopt;
  for (int output = 1; output < op.outputs(); ++output) {
    if (op.has_out(output)) return std::nullopt;
  }
  Affine affine;
  std::vector<double> parts[5];
  for (int input = 1; input < 5; ++input) {
    if (!op.is_constant(input)) return std::nullopt;
    parts[input] = doubles(program.constant(i, input));
    if (parts[input].size() != channels) return std::nullopt;
    affine.sources.push_back(program.in(i, input));
  }
  const auto epsilon = static_cast<double>(op.attr_float("epsilon"));
  for (std::size_t c = 0; c < channels; ++c) {
    const double factor = parts[1][c] / std::sqrt(parts[4][c] + epsilon);
    affine.factor.push_back(factor);
    affine.shift.push_back(parts[2][c] - parts[3][c] * factor);
  }
  affine.key =
      "batch norm " + std::to_string(std::bit_cast<std::uint32_t>(op.attr_float("epsilon")));
  return affine;
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

std::optional<Affine> arithmetic(const Program& program, int i, int data, const Shape& x) {
  const std::string& name = program.op(i).row().name();
  const int input = 1 - data;
  if (!program.op(i).is_constant(input)) return std::nullopt;
  std::vector<double> values = by_channel(program, i, input, x);
  if (values.empty()) return std::nullopt;
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
    if (data != 0) return std::nullopt;
    for (std::size_t c = 0; c < values.size(); ++c) affine.factor[c] = 1 / values[c];
  }
  affine.sources = {program.in(i, input)};
  affine.key = name + " " + std::to_string(data);
  return affine;
}

bool is_scale(const Program& program, int i) {
  for (const char* name : {"BatchNormalization", "Mul", "Div", "Add", "Sub"}) {
    if (program.is(i, name)) return true;
  }
  return false;
}

// Weights whose first axis is scaled.
Recipe scaled(std::vector<double> factor) {
  return [factor = std::move(factor)](const Tensor& base) {
    Tensor result = Tensor::uninitialized(DType::f32, base.shape());
    const auto from = base.values<float>();
    const auto to = result.mutable_values<float>();
    const std::size_t inner = from.size() / factor.size();
    for (std::size_t i = 0; i < from.size(); ++i) {
      to[i] = static_cast<float>(static_cast<double>(from[i]) * factor[i / inner]);
    }
    return result;
  };
}

// The bias b * factor + shift; where there was none (`had_bias` is false), the shift.
Recipe shifted(Affine affine, bool had_bias) {
  return [affine = std::move(affine), had_bias](const Tensor& base) {
    const std::size_t channels = affine.factor.size();
    Tensor result = Tensor::uninitialized(DType::f32, {static_cast<std::int64_t>(channels)});
    const auto to = result.mutable_values<float>();
    for (std::size_t c = 0; c < channels; ++c) {
      const double before =
          had_bias ? static_cast<double>(base.values<float>()[c]) * affine.factor[c] : 0.0;
      to[c] = static_cast<float>(before + affine.shift[c]);
    }
    return result;
  };
}

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](double value) { return std::isfinite(value); });
}

bool fold(Program& program, int conv, int i, const Affine& affine) {
  if (!all_finite(affine.factor) || !all_finite(affine.shift)) return false;
  const auto channels = static_cast<std::int64_t>(affine.factor.size());
  Replacement fused = as_fused_conv(program, conv);
  if (affine.factor != std::vector<double>(affine.factor.size(), 1.0)) {
    fused.in[1] = program.derive(fused.in[1], affine.sources, affine.key + " weights",
                                 program.op(conv).in_shape(1), scaled(affine.factor));
  }
  const bool had_bias = fused.in[2] >= 0;
  fused.in[2] = program.derive(had_bias ? fused.in[2] : affine.sources.back(), affine.sources,
                               affine.key + (had_bias ? " bias" : " new bias"), {channels},
                               shifted(affine, had_bias));
  if (fused.in[1] < 0 || fused.in[2] < 0) return false;
  fused.out = {program.step(i).out[0]};
  return program.fuse({conv, i}, std::move(fused));
}

}  // namespace

void conv_scale(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!is_scale(program, i)) continue;
    const bool is_norm = program.is(i, "BatchNormalization");
    for (int data = 0; data < (is_norm ? 1 : 2); ++data) {
      const int conv = conv_before(program, program.in(i, data));
      if (conv < 0 || program.in(conv, 3) >= 0) continue;
      const ops::Op& op = program.op(conv);
      const Shape& y = op.out_shape(0);
      if (op.in(0).dtype != DType::f32 || !op.is_constant(1) ||
          (op.has_in(2) && !op.is_constant(2)) || program.op(i).out_shape(0) != y) {
        continue;
      }
      const std::optional<Affine> affine =
          is_norm ? batch_norm(program, i, static_cast<std::size_t>(y[1]))
                  : arithmetic(program, i, data, y);
      if (affine && fold(program, conv, i, *affine)) break;
    }
  }
}

}  // namespace mezzo::passes
