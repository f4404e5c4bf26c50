// BatchNormalization (ai.onnx 1, 6, 7, 9, 14, 15).
// Up to 13 the node trains where it has more outputs than Y (and is_test, up to 6, is not set), and
// `spatial` = 0 (up to 8) means statistics for each activation instead of each channel. Since 14
// training_mode says it, and the running statistics are the only other outputs.

#include <cmath>
#include <string>
#include <vector>

#include "base/convert.h"
#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// X seen as [batch, channels, inner], with statistics for each channel.
struct BatchNorm {
  std::int64_t batch = 1, channels = 1, inner = 1;
  double epsilon = 0, momentum = 0;
  bool training = false;
};

int first_version(const Op& op) { return op.row().versions().front(); }

bool trains(const Op& op) {
  bool more_outputs = false;
  for (int i = 1; i < op.outputs(); ++i) more_outputs = more_outputs || op.has_out(i);
  const bool training = first_version(op) >= 14
                            ? op.attr_int("training_mode") != 0
                            : more_outputs && !(first_version(op) < 7 && op.attr_int("is_test"));
  if (more_outputs && !training) {
    throw invalid("running statistics are outputs in training mode only")
        .got(std::to_string(op.outputs()) + " outputs");
  }
  return training;
}

BatchNorm batch_norm_of(const Op& op) {
  require_rank(op, 0, 1);
  const Shape& x = op.in_shape(0);
  BatchNorm norm;
  norm.epsilon = static_cast<double>(op.attr_float("epsilon"));
  norm.momentum = static_cast<double>(op.attr_float("momentum"));
  norm.training = trains(op);
  norm.batch = x[0];
  Shape statistics = {x.size() > 1 ? x[1] : 1};
  const bool spatial = first_version(op) >= 9 || op.attr_int("spatial") != 0;
  if (spatial) {
    norm.channels = statistics[0];
    norm.inner = product(x, std::min<int>(2, op.in_rank(0)), op.in_rank(0));
  } else {
    statistics.assign(x.begin() + 1, x.end());
    norm.channels = product(statistics);
  }
  for (int i = 1; i < 5; ++i) {
    if (op.in_shape(i) != statistics) {
      throw invalid("a statistic does not fit the input")
          .at("input " + std::to_string(i))
          .expected(to_string(statistics))
          .got(to_string(op.in_shape(i)));
    }
  }
  return norm;
}

void infer(Op& op) {
  batch_norm_of(op);
  op.set_out(0, op.in(0).dtype, op.in_shape(0));
  for (int i = 1; i < op.outputs(); ++i) op.set_out(i, op.in(3).dtype, op.in_shape(3));
}

std::vector<double> doubles(const Run& run, int i) {
  const Tensor wide = run.in_tensor(i).to(DType::f64);
  const auto values = wide.values<double>();
  return {values.begin(), values.end()};
}

void store(const Run& run, int i, const std::vector<double>& values) {
  if (run.out_data(i) == nullptr) return;
  convert(DType::f64, values.data(), run.op().out(i).dtype, run.out_data(i),
          static_cast<std::int64_t>(values.size()));
}

// Means and population variances of the channels.
template <class T>
void measure(const BatchNorm& norm, const T* x, std::vector<double>& mean,
             std::vector<double>& variance, ThreadPool& pool) {
  const auto count = static_cast<double>(norm.batch * norm.inner);
  const auto sum_over = [&](std::int64_t channel, double center, bool squared) {
    double sum = 0;
    for (std::int64_t n = 0; n < norm.batch; ++n) {
      const T* plane = x + (n * norm.channels + channel) * norm.inner;
      for (std::int64_t i = 0; i < norm.inner; ++i) {
        const double difference = static_cast<double>(plane[i]) - center;
        sum += squared ? difference * difference : difference;
      }
    }
    return sum;
  };
  pool.parallel_for(norm.channels, 1 + 8192 / (norm.batch * norm.inner + 1),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t c = begin; c < end; ++c) {
                        const auto at = static_cast<std::size_t>(c);
                        mean[at] = sum_over(c, 0, false) / count;
                        variance[at] = sum_over(c, mean[at], true) / count;
                      }
                    });
}

// y = x * factor[channel] + shift[channel].
template <class T>
void scale_and_shift(const BatchNorm& norm, const T* x, const std::vector<T>& factor,
                     const std::vector<T>& shift, T* y, ThreadPool& pool) {
  if (norm.inner == 1) {
    pool.parallel_for(norm.batch, 1 + 16384 / (norm.channels + 1),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t n = begin; n < end; ++n) {
                          const T* from = x + n * norm.channels;
                          T* to = y + n * norm.channels;
                          for (std::size_t c = 0; c < factor.size(); ++c) {
                            to[c] = from[c] * factor[c] + shift[c];
                          }
                        }
                      });
    return;
  }
  pool.parallel_for(norm.batch * norm.channels, 1 + 16384 / (norm.inner + 1),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t plane = begin; plane < end; ++plane) {
                        const auto c = static_cast<std::size_t>(plane % norm.channels);
                        const T a = factor[c], b = shift[c];
                        const T* from = x + plane * norm.inner;
                        T* to = y + plane * norm.inner;
                        for (std::int64_t i = 0; i < norm.inner; ++i) to[i] = from[i] * a + b;
                      }
                    });
}

template <class T>
void run_as(const BatchNorm& norm, Run& run) {
  const std::vector<double> scale = doubles(run, 1), bias = doubles(run, 2);
  std::vector<double> mean = doubles(run, 3), variance = doubles(run, 4);
  if (norm.training) {
    std::vector<double> running_mean = mean, running_variance = variance;
    measure(norm, run.in<T>(0), mean, variance, run.pool());
    for (std::size_t c = 0; c < mean.size(); ++c) {
      running_mean[c] = running_mean[c] * norm.momentum + mean[c] * (1 - norm.momentum);
      running_variance[c] = running_variance[c] * norm.momentum + variance[c] * (1 - norm.momentum);
    }
    store(run, 1, running_mean);
    store(run, 2, running_variance);
    store(run, 3, mean);
    store(run, 4, variance);
  }
  if (run.out_data(0) == nullptr) return;
  std::vector<T> factor(scale.size()), shift(scale.size());
  for (std::size_t c = 0; c < scale.size(); ++c) {
    const double f = scale[c] / std::sqrt(variance[c] + norm.epsilon);
    factor[c] = static_cast<T>(f);
    shift[c] = static_cast<T>(bias[c] - mean[c] * f);
  }
  scale_and_shift(norm, run.in<T>(0), factor, shift, run.out<T>(0), run.pool());
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  // Statistics of a 16-bit type need the widened op as well.
  for (int i = 1; i < 5; ++i) {
    if (op.in(i).dtype != DType::f32 && op.in(i).dtype != DType::f64) return choice;
  }
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [norm = batch_norm_of(op)](Run& run) { run_as<T>(norm, run); };
  });
  return choice;
}

Row& common(Row& row) {
  return row.attr("epsilon", 1e-5F)
      .attr("momentum", 0.9F)
      .infer(infer)
      .in_place(0)
      .kernel("reference", reference);
}

// The formals up to version 13: one type, five outputs.
Row& old(Row& row) {
  return common(row)
      .in("X", kFloats)
      .in("scale", like(0))
      .in("B", like(0))
      .in("mean", like(0))
      .in("var", like(0))
      .out("Y", like(0))
      .out("mean", like(0), Arity::optional)
      .out("var", like(0), Arity::optional)
      .out("saved_mean", like(0), Arity::optional)
      .out("saved_var", like(0), Arity::optional);
}

Row& running(Row& row) {
  return row.in("input_mean", kFloatsBf16)
      .in("input_var", like(3))
      .attr("training_mode", 0)
      .out("Y", like(0))
      .out("running_mean", like(3), Arity::optional)
      .out("running_var", like(3), Arity::optional);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(batch_norm) {
  old(op("BatchNormalization"))
      .since(1)
      .required("consumed_inputs", FormalAttribute::Kind::ints)
      .attr("is_test", 0)
      .attr("spatial", 1);
  old(op("BatchNormalization")).since(6).attr("is_test", 0).attr("spatial", 1);
  old(op("BatchNormalization")).since(7).attr("spatial", 1);
  old(op("BatchNormalization")).since(9);
  running(common(op("BatchNormalization"))
              .since(14)
              .in("X", kFloatsBf16)
              .in("scale", like(0))
              .in("B", like(0)));
  running(common(op("BatchNormalization"))
              .since(15)
              .in("X", kFloatsBf16)
              .in("scale", kFloatsBf16)
              .in("B", like(1)));
}
