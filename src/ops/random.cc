// RandomNormal, RandomUniform, RandomNormalLike, RandomUniformLike, Bernoulli, Multinomial.
// Spec: all -1 and -22, but Bernoulli-15, -22, Multinomial-7, -22 (types only). With the attribute
// `seed` a node gives the same numbers at every run, without it others each time.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/dispatch.h"
#include "ops/random_bits.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

RandomBits bits_for(const Op& op) {
  if (!op.has_attr("seed")) return RandomBits();
  const float seed = op.attr_float("seed");
  std::uint32_t pattern;
  std::memcpy(&pattern, &seed, sizeof pattern);
  return RandomBits(pattern);
}

DType dtype_of(const Op& op, DType without) {
  if (!op.has_attr("dtype")) return without;
  const std::int64_t number = op.attr_int("dtype");
  const DType dtype =
      number > 0 && number < kDTypeCount ? static_cast<DType>(number) : DType::undefined;
  if (!op.row().outputs()[0].types.contains(dtype)) {
    throw invalid("'dtype' is no type that this operator can give").got(std::to_string(number));
  }
  return dtype;
}

void infer_of_shape(Op& op) { op.set_out(0, dtype_of(op, DType::f32), op.attr_ints("shape")); }

void infer_like(Op& op) {
  if (!op.has_attr("dtype") && !op.row().outputs()[0].types.contains(op.in(0).dtype)) {
    throw invalid("without 'dtype' the input must be of a type that the output can have")
        .got(std::string(name_of(op.in(0).dtype)));
  }
  op.set_out(0, dtype_of(op, op.in(0).dtype), op.in_shape(0));
}

// Fills the output with draw(bits).
template <class Draw>
Choice drawn(const Op& op, Draw draw) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.out(0).dtype, [&](auto type) {
    using T = decltype(type);
    choice = [draw, count = product(op.out_shape(0))](Run& run) {
      RandomBits bits = bits_for(run.op());
      std::generate_n(run.out<T>(0), count, [&] { return static_cast<T>(draw(bits)); });
    };
  });
  return choice;
}

Choice normal(Op& op) {
  const double mean = op.attr_float("mean"), scale = op.attr_float("scale");
  return drawn(op, [=](RandomBits& bits) { return mean + scale * bits.normal(); });
}

Choice uniform(Op& op) {
  const double low = op.attr_float("low"), high = op.attr_float("high");
  return drawn(op, [=, wide = op.out(0).dtype == DType::f64](RandomBits& bits) {
    return low + (high - low) * (wide ? bits.uniform() : bits.uniform24());
  });
}

// 1 with the probability that the input says, else 0.
Choice bernoulli(Op& op) {
  Choice choice = refuse("the input is not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto in_type) {
    using In = decltype(in_type);
    const std::int64_t count = product(op.in_shape(0));
    const auto draw = [count](Run& run, auto* out) {
      RandomBits bits = bits_for(run.op());
      const In* in = run.in<In>(0);
      for (std::int64_t i = 0; i < count; ++i) {
        out[i] = bits.uniform() < static_cast<double>(in[i]);
      }
    };
    if (op.out(0).dtype == DType::boolean) {
      choice = [draw](Run& run) { draw(run, run.out<bool>(0)); };
      return;
    }
    with_type(NumberTypes{}, op.out(0).dtype, [&](auto out_type) {
      using Out = decltype(out_type);
      choice = [draw](Run& run) { draw(run, run.out<Out>(0)); };
    });
  });
  return choice;
}

void infer_multinomial(Op& op) {
  require_rank(op, 0, 2, 2);
  const std::int64_t samples = op.attr_int("sample_size");
  if (samples < 0) throw invalid("sample_size is negative").got(std::to_string(samples));
  if (op.in_shape(0)[1] == 0) throw invalid("Multinomial without classes");
  op.set_out(0, dtype_of(op, DType::i32), {op.in_shape(0)[0], samples});
}

// Draws classes with the probabilities of which the input [batch, classes] has the logarithms, up
// to a constant.
template <class T>
void draw_classes(Run& run) {
  const Op& op = run.op();
  const std::int64_t batches = op.in_shape(0)[0], classes = op.in_shape(0)[1];
  const std::int64_t samples = op.out_shape(0)[1];
  const bool narrow = op.out(0).dtype == DType::i32;
  RandomBits bits = bits_for(op);
  std::vector<double> sums(static_cast<std::size_t>(classes));
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    const T* logits = run.in<T>(0) + batch * classes;
    const double highest = *std::max_element(logits, logits + classes);
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      sum += std::exp(static_cast<double>(logits[c]) - highest);
      sums[static_cast<std::size_t>(c)] = sum;
    }
    for (std::int64_t s = batch * samples; s < (batch + 1) * samples; ++s) {
      const auto found = std::upper_bound(sums.begin(), sums.end(), bits.uniform() * sum);
      const std::int64_t c = std::min<std::int64_t>(found - sums.begin(), classes - 1);
      if (narrow) {
        run.out<std::int32_t>(0)[s] = static_cast<std::int32_t>(c);
      } else {
        run.out<std::int64_t>(0)[s] = c;
      }
    }
  }
}

Choice multinomial(Op& op) {
  if (op.in(0).dtype == DType::f32) return draw_classes<float>;
  if (op.in(0).dtype == DType::f64) return draw_classes<double>;
  return refuse("the input is not float32 or float64");
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(random) {
  op("RandomNormal")
      .since(1, 22)
      .attr("dtype", 1)
      .attr("mean", 0.0F)
      .attr("scale", 1.0F)
      .attr("seed", Kind::float_)
      .required("shape", Kind::ints)
      .out("output", kFloatsBf16)
      .infer(infer_of_shape)
      .kernel("reference", normal)
      .random();
  op("RandomUniform")
      .since(1, 22)
      .attr("dtype", 1)
      .attr("high", 1.0F)
      .attr("low", 0.0F)
      .attr("seed", Kind::float_)
      .required("shape", Kind::ints)
      .out("output", kFloatsBf16)
      .infer(infer_of_shape)
      .kernel("reference", uniform)
      .random();
  op("RandomNormalLike")
      .since(1, 22)
      .attr("dtype", Kind::int_)
      .attr("mean", 0.0F)
      .attr("scale", 1.0F)
      .attr("seed", Kind::float_)
      .in("input", kAllWithBf16)
      .out("output", kFloatsBf16)
      .infer(infer_like)
      .kernel("reference", normal)
      .random();
  op("RandomUniformLike")
      .since(1, 22)
      .attr("dtype", Kind::int_)
      .attr("high", 1.0F)
      .attr("low", 0.0F)
      .attr("seed", Kind::float_)
      .in("input", kAllWithBf16)
      .out("output", kFloatsBf16)
      .infer(infer_like)
      .kernel("reference", uniform)
      .random();
  op("Bernoulli")
      .since(15, 22)
      .attr("dtype", Kind::int_)
      .attr("seed", Kind::float_)
      .in("input", kFloatsBf16)
      .out("output", kNumbers | DType::boolean)
      .infer(infer_like)
      .kernel("reference", bernoulli)
      .random();
  op("Multinomial")
      .since(7, 22)
      .attr("dtype", 6)
      .attr("sample_size", 1)
      .attr("seed", Kind::float_)
      .in("input", kFloatsBf16)
      .out("output", kIndices)
      .infer(infer_multinomial)
      .kernel("reference", multinomial)
      .random();
}
