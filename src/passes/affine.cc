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

using Numbers = Affine::Numbers;

// Whether input `input` of step `i` is a constant that is one number for all channels (axis 1 of
// `x`) or has one element a channel.
bool is_by_channel(const Program& program, int i, int input, const Shape& x) {
  if (!program.op(i).is_constant(input)) return false;
  const Shape& shape = program.op(i).in_shape(input);
  const std::int64_t count = element_count(shape);
  const std::size_t axis = x.size() - 1;  // of the channels, from the end
  if (shape.size() > x.size() || count < 1 || x[1] == 0) return false;
  return count == 1 ||
         (shape.size() >= axis && shape[shape.size() - axis] == count && count == x[1]);
}

// What `make` says, of those slots; once for all plans. Only what is finite can be folded without
// changing what overflows.
std::optional<Affine> affine_made(const Program& program, std::vector<int> sources, std::string key,
                                  std::int64_t channels, const std::function<Numbers()>& make) {
  const auto finite = [&]() -> std::shared_ptr<const Numbers> {
    Numbers numbers = make();
    const auto is_finite = [](double value) { return std::isfinite(value); };
    if (!std::all_of(numbers.factor.begin(), numbers.factor.end(), is_finite) ||
        !std::all_of(numbers.shift.begin(), numbers.shift.end(), is_finite)) {
      return nullptr;
    }
    numbers.scales = std::any_of(numbers.factor.begin(), numbers.factor.end(),
                                 [](double factor) { return factor != 1; });
    // Products with others might be too small or too large for a float32 to hold them well.
    numbers.can_return = std::all_of(
        numbers.factor.begin(), numbers.factor.end(),
        [](double factor) { return std::abs(factor) > 1e-10 && std::abs(factor) < 1e10; });
    return std::make_shared<const Numbers>(std::move(numbers));
  };
  std::shared_ptr<const Numbers> numbers = program.remembered<Numbers>(
      sources, key + " for " + std::to_string(channels) + " channels", finite);
  if (numbers == nullptr) return std::nullopt;
  return Affine{std::move(numbers), std::move(sources), std::move(key)};
}

// A BatchNormalization with known statistics.
std::optional<Affine> affine_of_norm(const Program& program, int i, std::int64_t channels) {
  const ops::Op& op = program.op(i);
  if (channels == 0) return std::nullopt;
  if (op.declares("training_mode") && op.attr_int("training_mode") != 0) return std::nullopt;
  for (int output = 1; output < op.outputs(); ++output) {
    if (op.has_out(output)) return std::nullopt;
  }
  std::vector<int> sources;
  for (int input = 1; input < 5; ++input) {
    if (!op.is_constant(input) || element_count(op.in_shape(input)) != channels)
      return std::nullopt;
    sources.push_back(program.in(i, input));
  }
  const float epsilon = op.attr_float("epsilon");
  return affine_made(
      program, std::move(sources),
      "batch norm " + std::to_string(std::bit_cast<std::uint32_t>(epsilon)), channels, [&] {
        const std::vector<double> scale = doubles(program.constant(i, 1)),
                                  bias = doubles(program.constant(i, 2)),
                                  mean = doubles(program.constant(i, 3)),
                                  variance = doubles(program.constant(i, 4));
        Numbers numbers;
        for (std::size_t c = 0; c < scale.size(); ++c) {
          const double factor = scale[c] / std::sqrt(variance[c] + static_cast<double>(epsilon));
          numbers.factor.push_back(factor);
          numbers.shift.push_back(bias[c] - mean[c] * factor);
        }
        return numbers;
      });
}

// Arithmetic of x and a constant.
std::optional<Affine> affine_of_arithmetic(const Program& program, int i, int data,
                                           const Shape& x) {
  const bool is_known =
      program.is(i, "Mul") || program.is(i, "Div") || program.is(i, "Add") || program.is(i, "Sub");
  const int input = 1 - data;
  if (!is_known || !is_by_channel(program, i, input, x)) return std::nullopt;
  const std::string& name = program.op(i).row().name();
  if (name == "Div" && data != 0) return std::nullopt;
  return affine_made(program, {program.in(i, input)}, name + " " + std::to_string(data), x[1], [&] {
    std::vector<double> values = doubles(program.constant(i, input));
    values.resize(static_cast<std::size_t>(x[1]), values[0]);
    Numbers numbers;
    for (const double value : values) {
      const bool scales = name == "Mul" || name == "Div";
      numbers.factor.push_back(name == "Mul"                ? value
                               : name == "Div"              ? 1 / value
                               : name == "Sub" && data == 1 ? -1
                                                            : 1);
      numbers.shift.push_back(scales ? 0 : name == "Sub" && data == 0 ? -value : value);
    }
    return numbers;
  });
}

Recipe of_factors(const Affine& affine, double (*of)(double)) {
  return [numbers = affine.numbers, of](const Tensor&) {
    const std::vector<double>& factor = numbers->factor;
    Tensor result = Tensor::uninitialized(DType::f32, {static_cast<std::int64_t>(factor.size())});
    std::transform(factor.begin(), factor.end(), result.mutable_values<float>().begin(),
                   [of](double value) { return static_cast<float>(of(value)); });
    return result;
  };
}

}  // namespace

std::optional<Affine> affine_of(const Program& program, int i, int data, const Shape& x) {
  if (!program.is(i, "BatchNormalization")) return affine_of_arithmetic(program, i, data, x);
  return data == 0 ? affine_of_norm(program, i, x[1]) : std::nullopt;
}

int constant_of(Program& program, const Affine& affine, const std::string& name, Recipe recipe) {
  const auto channels = static_cast<std::int64_t>(affine.numbers->factor.size());
  return program.derive(affine.sources.back(), affine.sources, affine.key + name, {channels},
                        std::move(recipe));
}

Recipe scaled(const Affine& affine) {
  return [numbers = affine.numbers](Tensor base) {
    const std::vector<double>& factor = numbers->factor;
    const auto values = base.mutable_values<float>();
    const std::size_t inner = values.size() / factor.size();
    for (std::size_t c = 0; c < factor.size(); ++c) {
      for (std::size_t i = c * inner; i < (c + 1) * inner; ++i)
        values[i] = static_cast<float>(static_cast<double>(values[i]) * factor[c]);
    }
    return base;
  };
}

Recipe shifted(const Affine& affine, bool had_bias) {
  return [numbers = affine.numbers, had_bias](const Tensor& base) {
    const std::size_t channels = numbers->factor.size();
    Tensor result = Tensor::uninitialized(DType::f32, {static_cast<std::int64_t>(channels)});
    const auto to = result.mutable_values<float>();
    for (std::size_t c = 0; c < channels; ++c) {
      const double before =
          had_bias ? static_cast<double>(base.values<float>()[c]) * numbers->factor[c] : 0.0;
      to[c] = static_cast<float>(before + numbers->shift[c]);
    }
    return result;
  };
}

Recipe factors(const Affine& affine) {
  return of_factors(affine, [](double factor) { return factor; });
}

Recipe inverse_factors(const Affine& affine) {
  return of_factors(affine, [](double factor) { return 1 / factor; });
}

}  // namespace mezzo::passes
