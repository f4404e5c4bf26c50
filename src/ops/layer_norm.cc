// LayerNormalization (ai.onnx 17), RMSNormalization (23), and what ONNX Runtime had in its place
// under that domain, SimplifiedLayerNormalization (1): the axes from `axis` on, as rows.
// Whatever stash_type says, the statistics are taken in float32 (float64 for such an input) or
// more; it only sets the type of the outputs Mean and InvStdDev.

#include <cmath>
#include <cstring>
#include <string>

#include "base/shape.h"
#include "kernels/layer_norm_f32.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

struct RowNorm {
  std::int64_t rows, n;
  double epsilon;
  bool centered;  // LayerNormalization; RMSNormalization is not
};

RowNorm row_norm_of(const Op& op) {
  const Shape& x = op.in_shape(0);
  const int axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  return {product(x, 0, axis), product(x, axis, op.in_rank(0)),
          static_cast<double>(op.attr_float("epsilon")), op.row().name() == "LayerNormalization"};
}

void check_parameters(const Op& op) {
  row_norm_of(op);
  for (int i = 1; i < op.inputs(); ++i) {
    if (op.has_in(i) && !broadcasts_to(op.in_shape(i), op.in_shape(0))) {
      throw invalid("a parameter cannot be broadcast to the input")
          .at("input " + std::to_string(i))
          .expected("a shape that broadcasts to " + to_string(op.in_shape(0)))
          .got(to_string(op.in_shape(i)));
    }
  }
}

Shape statistics_shape(const Op& op) {
  Shape statistics = op.in_shape(0);
  const int axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  std::fill(statistics.begin() + axis, statistics.end(), 1);
  return statistics;
}

void infer_layer(Op& op) {
  check_parameters(op);
  same_shape(op);
  const std::int64_t stash = op.attr_int("stash_type");
  if (!op.has_out(1) && !op.has_out(2)) return;
  if (stash != 1 && stash != 16) {
    throw invalid("Mean and InvStdDev cannot have this type")
        .at("attribute 'stash_type'")
        .expected("1 (float32) or 16 (bfloat16)")
        .got(std::to_string(stash));
  }
  op.set_out(1, static_cast<DType>(stash), statistics_shape(op));
  op.set_out(2, static_cast<DType>(stash), statistics_shape(op));
}

void infer_rms(Op& op) {
  check_parameters(op);
  op.set_out(0, op.in(1).dtype, op.in_shape(0));
  op.set_out(1, DType::f32, statistics_shape(op));
}

// Whether a parameter is one row that serves all rows.
bool is_row(const Op& op, int i) {
  const Shape& x = op.in_shape(0);
  Shape shape = op.in_shape(i);
  while (!shape.empty() && shape.front() == 1) shape.erase(shape.begin());
  const Shape row(x.begin() + normalize_axis(op.attr_int("axis"), op.in_rank(0)), x.end());
  return broadcasts_to(shape, row) && product(shape) == product(row);
}

Choice rows(Op& op) {
  for (int i = 0; i < op.inputs(); ++i) {
    if (op.has_in(i) && op.in(i).dtype != DType::f32) return refuse("not float32");
    if (i > 0 && op.has_in(i) && !is_row(op, i)) return refuse("the parameters are not one row");
  }
  for (int i = 1; i < op.outputs(); ++i) {
    if (op.has_out(i) && op.out(i).dtype != DType::f32) return refuse("statistics not in float32");
  }
  const RowNorm norm = row_norm_of(op);
  if (norm.n == 0) return refuse("an empty tensor");
  return [norm](Run& run) {
    kernels::LayerNormArgs args;
    args.epsilon = static_cast<float>(norm.epsilon);
    args.scale = run.in<float>(1);
    if (norm.centered) {
      args.bias = run.in<float>(2);
      args.mean = run.out<float>(1);
    }
    args.inv_std = run.out<float>(norm.centered ? 2 : 1);
    (norm.centered ? kernels::layer_norm_rows : kernels::rms_norm_rows)(
        args, run.in<float>(0), run.out<float>(0), norm.rows, norm.n, run.pool());
  };
}

// Where the elements of a parameter stand for the elements of x, in x's order.
std::vector<std::int64_t> broadcast_indices(const Shape& from, const Shape& to) {
  const auto strides = broadcast_strides(from, to);
  std::vector<std::int64_t> indices(static_cast<std::size_t>(product(to)));
  for (std::size_t at = 0; at < indices.size(); ++at) {
    auto rest = static_cast<std::int64_t>(at);
    for (std::size_t d = to.size(); d-- > 0; rest /= to[d]) {
      indices[at] += rest % to[d] * strides[d];
    }
  }
  return indices;
}

// T: the type of X; V: that of the scale and of Y.
template <class T, class V>
void reference_run(const RowNorm& norm, Run& run) {
  const Op& op = run.op();
  const V *scale = run.in<V>(1), *bias = norm.centered ? run.in<V>(2) : nullptr;
  const auto scale_at = broadcast_indices(op.in_shape(1), op.in_shape(0));
  const auto bias_at = bias != nullptr ? broadcast_indices(op.in_shape(2), op.in_shape(0))
                                       : std::vector<std::int64_t>();
  auto* means = norm.centered ? run.out<float>(1) : nullptr;
  auto* inv_stds = run.out<float>(norm.centered ? 2 : 1);
  run.pool().parallel_for(
      norm.rows, 1 + 8192 / (norm.n + 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          const T* x = run.in<T>(0) + r * norm.n;
          double mean = 0, squares = 0;
          if (norm.centered) {
            for (std::int64_t i = 0; i < norm.n; ++i) mean += static_cast<double>(x[i]);
            mean /= static_cast<double>(norm.n);
          }
          for (std::int64_t i = 0; i < norm.n; ++i) {
            const double difference = static_cast<double>(x[i]) - mean;
            squares += difference * difference;
          }
          const double inv_std =
              1 / std::sqrt(squares / static_cast<double>(norm.n) + norm.epsilon);
          if (means != nullptr) means[r] = static_cast<float>(mean);
          if (inv_stds != nullptr) inv_stds[r] = static_cast<float>(inv_std);
          for (std::int64_t i = 0; i < norm.n; ++i) {
            const auto at = static_cast<std::size_t>(r * norm.n + i);
            const double y = (static_cast<double>(x[i]) - mean) * inv_std *
                             static_cast<double>(scale[scale_at[at]]);
            run.out<V>(0)[at] =
                static_cast<V>(bias != nullptr ? y + static_cast<double>(bias[bias_at[at]]) : y);
          }
        }
      });
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  for (int i = 1; i < op.outputs(); ++i) {
    if (op.has_out(i) && op.out(i).dtype != DType::f32) return refuse("statistics in bfloat16");
  }
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto x) {
    with_type(FloatTypes{}, op.in(1).dtype, [&](auto scale) {
      using T = decltype(x);
      using V = decltype(scale);
      choice = [norm = row_norm_of(op)](Run& run) { reference_run<T, V>(norm, run); };
    });
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(layer_norm) {
  op("LayerNormalization")
      .since(17)
      .attr("axis", -1)
      .attr("epsilon", 1e-5F)
      .attr("stash_type", 1)
      .in("X", kFloatsBf16)
      .in("Scale", like(0))
      .in("B", like(0), Arity::optional)
      .out("Y", like(0))
      .out("Mean", TypeSet{DType::f32, DType::bf16}, Arity::optional)
      .out("InvStdDev", TypeSet{DType::f32, DType::bf16}, Arity::optional)
      .infer(infer_layer)
      .in_place(0)
      .simd_kernel("rows", rows)
      .kernel("reference", reference);
  const auto declare_rms = [&](const char* name) -> Row& {
    return op(name)
        .attr("axis", -1)
        .attr("epsilon", 1e-5F)
        .attr("stash_type", 1)
        .in("X", kFloatsBf16)
        .in("scale", kFloatsBf16)
        .out("Y", like(1))
        .infer(infer_rms)
        .in_place(0)
        .simd_kernel("rows", rows)
        .kernel("reference", reference);
  };
  declare_rms("RMSNormalization").since(23);
  declare_rms("SimplifiedLayerNormalization")
      .since(1)
      .out("inv_std_var", DType::f32, Arity::optional);
}
