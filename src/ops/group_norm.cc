// InstanceNormalization (ai.onnx 1, 6, 22) and GroupNormalization (18, 21). The first is the second
// with a group for each channel. GroupNormalization 18 scales by group, 21 by channel.

#include <cmath>
#include <string>

#include "base/shape.h"
#include "kernels/layer_norm_f32.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// X seen as [batch, groups, channels of a group, inner].
struct GroupNorm {
  std::int64_t batch, groups, group_channels, inner;
  bool scale_by_group;
  double epsilon;

  std::int64_t group_size() const { return group_channels * inner; }
};

GroupNorm group_norm_of(const Op& op) {
  require_rank(op, 0, 2);
  const Shape& x = op.in_shape(0);
  const bool instances = op.row().name() == "InstanceNormalization";
  const std::int64_t channels = x[1];
  const std::int64_t groups = instances ? channels : op.attr_int("num_groups");
  if (!instances && (groups < 1 || channels % groups != 0)) {
    throw invalid("the groups do not divide the channels")
        .at("attribute 'num_groups'")
        .expected("a divisor of " + std::to_string(channels))
        .got(std::to_string(groups));
  }
  GroupNorm norm{x[0],
                 groups,
                 groups == 0 ? 0 : channels / groups,
                 product(x, 2, op.in_rank(0)),
                 op.row().versions().front() == 18,
                 static_cast<double>(op.attr_float("epsilon"))};
  const Shape parameters = {norm.scale_by_group ? groups : channels};
  for (int i = 1; i < 3; ++i) {
    if (op.in_shape(i) != parameters) {
      throw invalid("a parameter does not fit the input")
          .at("input " + std::to_string(i))
          .expected(to_string(parameters))
          .got(to_string(op.in_shape(i)));
    }
  }
  return norm;
}

void infer(Op& op) {
  group_norm_of(op);
  same_shape(op);
}

// Calls normalize(x, y, first channel's number) for each group, in parallel, then scales and shifts
// the channels of y while they are in the cache.
template <class T, class Normalize>
void each_group(const GroupNorm& norm, Run& run, Normalize normalize) {
  if (norm.group_size() == 0) return;
  const T *scale = run.in<T>(1), *bias = run.in<T>(2);
  run.pool().parallel_for(
      norm.batch * norm.groups, 1 + 8192 / norm.group_size(),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          T* y = run.out<T>(0) + i * norm.group_size();
          normalize(run.in<T>(0) + i * norm.group_size(), y);
          const std::int64_t group = i % norm.groups;
          for (std::int64_t c = 0; c < norm.group_channels; ++c, y += norm.inner) {
            const std::int64_t at = norm.scale_by_group ? group : group * norm.group_channels + c;
            for (std::int64_t k = 0; k < norm.inner; ++k) y[k] = y[k] * scale[at] + bias[at];
          }
        }
      });
}

Choice rows(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  return [norm = group_norm_of(op)](Run& run) {
    kernels::LayerNormArgs args;
    args.epsilon = static_cast<float>(norm.epsilon);
    each_group<float>(norm, run, [&](const float* x, float* y) {
      kernels::layer_norm_rows(args, x, y, 1, norm.group_size(), run.pool());
    });
  };
}

template <class T>
void normalize_row(const T* x, T* y, std::int64_t n, double epsilon) {
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(x[i]) - mean;
    squares += difference * difference;
  }
  const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon);
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<T>((static_cast<double>(x[i]) - mean) * factor);
  }
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [norm = group_norm_of(op)](Run& run) {
      each_group<T>(norm, run, [&](const T* x, T* y) {
        normalize_row(x, y, norm.group_size(), norm.epsilon);
      });
    };
  });
  return choice;
}

Row& common(Row& row) {
  return row.attr("epsilon", 1e-5F)
      .infer(infer)
      .in_place(0)
      .simd_kernel("rows", rows)
      .kernel("reference", reference);
}

Row& instance_norm(Row& row, TypeSet types) {
  return common(row)
      .in("input", types)
      .in("scale", like(0))
      .in("B", like(0))
      .out("output", like(0));
}

Row& group_norm(Row& row) {
  return common(row)
      .required("num_groups", FormalAttribute::Kind::int_)
      .in("X", kFloatsBf16)
      .in("scale", like(0))
      .in("bias", like(0))
      .out("Y", like(0));
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(group_norm) {
  instance_norm(op("InstanceNormalization"), kFloats)
      .since(1)
      .attr("consumed_inputs", FormalAttribute::Kind::ints);
  instance_norm(op("InstanceNormalization"), kFloats).since(6);
  instance_norm(op("InstanceNormalization"), kFloatsBf16).since(22);
  group_norm(op("GroupNormalization")).since(18);
  // Stage one is always computed in float32 or more, whatever the stash_type.
  group_norm(op("GroupNormalization")).since(21).attr("stash_type", 1);
}
