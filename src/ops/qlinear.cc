// ONNX Runtime's operators on 8-bit quantised tensors: com.microsoft QLinearLeakyRelu,
// QLinearSigmoid, QLinearGlobalAveragePool, QLinearConcat, QLinearWhere. Arithmetic is in float32,
// rounding half to even. A zero point that is omitted is 0.

#include <cmath>

#include "kernels/elementwise_f32.h"
#include "kernels/quantized_i8.h"
#include "kernels/table_i8.h"
#include "ops/broadcast.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// Functions of one tensor, as tables of their 256 values: X, X_scale, X_zero_point, Y_scale,
// ------- Y_zero_point.

using Table = kernels::ByteTable;

// The table, by bit pattern, of f on numbers of `from` with results of `to`.
template <class F>
Table table_of(DType from, float x_scale, int x_zero_point, DType to, float y_scale,
               int y_zero_point, F f) {
  const Saturate saturate(to, y_zero_point);
  const IntRange range = range_of(from);
  Table table{};
  for (int q = range.least; q <= range.most; ++q) {
    const float x = static_cast<float>(q - x_zero_point) * x_scale;
    table[static_cast<std::uint8_t>(q)] = static_cast<std::uint8_t>(saturate(f(x) / y_scale));
  }
  return table;
}

void look_up(const Table& table, const std::uint8_t* x, std::uint8_t* y, std::int64_t n,
             ThreadPool& pool) {
  pool.parallel_for(n, kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
    if (simd_allowed()) return kernels::look_up(table, x + begin, y + begin, end - begin);
    for (std::int64_t i = begin; i < end; ++i) y[i] = table[x[i]];
  });
}

void infer_unary(Op& op) {
  for (const int i : {1, 2, 3, 4}) require_scalar(op, i);
  same_shape(op);
}

template <class F>
Kernel unary(const Op& op, F f) {
  return [n = element_count(op.in_shape(0)), f](Run& run) {
    const DType dtype = run.op().in(0).dtype;
    const Table table = table_of(dtype, scalar_of(run, 1), zero_point_of(run, 2), dtype,
                                 scalar_of(run, 3), zero_point_of(run, 4), f);
    look_up(table, run.in<std::uint8_t>(0), run.out<std::uint8_t>(0), n, run.pool());
  };
}

Choice leaky_relu(Op& op) {
  return unary(op, [alpha = op.attr_float("alpha")](float x) { return x < 0 ? alpha * x : x; });
}

Choice sigmoid(Op& op) {
  return unary(op, [](float x) { return 1 / (1 + std::exp(-x)); });
}

// Global average pool. ---------------------------------------------------------------------------

bool channels_last(const Op& op) { return op.attr_int("channels_last") != 0; }

void infer_average(Op& op) {
  require_rank(op, 0, 3);
  for (const int i : {1, 2, 3, 4}) require_scalar(op, i);
  const Shape& x = op.in_shape(0);
  Shape shape(x.size(), 1);
  shape[0] = x[0];
  const std::size_t channel_axis = channels_last(op) ? x.size() - 1 : 1;
  shape[channel_axis] = x[channel_axis];
  op.set_out(0, op.in(0).dtype, shape);
}

template <class Q>
void average(Run& run, bool last) {
  const Shape& shape = run.op().in_shape(0);
  const std::int64_t batch = shape[0], channels = last ? shape.back() : shape[1];
  const std::int64_t results = batch * channels;
  if (results == 0) return;
  const std::int64_t pixels = element_count(shape) / results;
  const float scale = scalar_of(run, 1) / (scalar_of(run, 3) * static_cast<float>(pixels));
  const std::int64_t zero_point = zero_point_of(run, 2);
  const Saturate saturate(run.op().out(0).dtype, zero_point_of(run, 4));
  const Q* x = run.in<Q>(0);
  Q* y = run.out<Q>(0);
  const std::int64_t step = last ? channels : 1;
  run.pool().parallel_for(
      results, 1 + 32768 / (pixels + 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t first =
              last ? i / channels * channels * pixels + i % channels : i * pixels;
          std::int64_t sum = -zero_point * pixels;
          for (std::int64_t p = 0; p < pixels; ++p) sum += x[first + p * step];
          y[i] = static_cast<Q>(saturate(static_cast<float>(sum) * scale));
        }
      });
}

Choice global_average(Op& op) {
  return Kernel([last = channels_last(op)](Run& run) {
    with_quantized8(run.op().in(0).dtype, [&](auto zero) { average<decltype(zero)>(run, last); });
  });
}

// Concat: Y_scale, Y_zero_point, then for each part x, scale, zero_point. ------------------------

void infer_concat(Op& op) {
  if (op.inputs() < 5 || (op.inputs() - 2) % 3 != 0) {
    throw invalid("the inputs are no scale and zero point followed by triples")
        .got(std::to_string(op.inputs()) + " inputs");
  }
  const TypeSet parameters = DType::f32;
  for (int i = 0; i < op.inputs(); ++i) {
    const bool is_scale = i == 0 || (i >= 2 && i % 3 == 0);
    const bool is_data = i >= 2 && i % 3 == 2;
    if (!op.has_in(i)) throw invalid("an input is omitted").at("input " + std::to_string(i));
    if (is_scale ? !parameters.contains(op.in(i).dtype) : op.in(i).dtype != op.in(1).dtype) {
      throw invalid("an input has the wrong type")
          .at("input " + std::to_string(i))
          .got(std::string(name_of(op.in(i).dtype)));
    }
    if (!is_data) require_scalar(op, i);
  }
  Shape shape = op.in_shape(2);
  const auto axis =
      static_cast<std::size_t>(normalize_axis(op.attr_int("axis"), static_cast<int>(shape.size())));
  for (int i = 5; i < op.inputs(); i += 3) {
    Shape part = op.in_shape(i);
    const std::int64_t extent = axis < part.size() ? part[axis] : 0;
    if (axis < part.size()) part[axis] = shape[axis];
    if (part != shape) {
      throw invalid("the parts differ in more than the axis")
          .expected(to_string(shape))
          .got(to_string(op.in_shape(i)));
    }
    shape[axis] = checked_add(shape[axis], extent);
  }
  op.set_out(0, op.in(1).dtype, shape);
}

// Calls take(i, x, y, n, run) for the pieces of input i, each n bytes that lie together in y.
template <class Take>
Kernel concat_by(const Op& op, const Take& take) {
  const Shape& out = op.out_shape(0);
  const int axis = normalize_axis(op.attr_int("axis"), static_cast<int>(out.size()));
  const std::int64_t outer = product(out, 0, axis);
  const std::int64_t stride = product(out, axis, static_cast<int>(out.size()));
  return [=](Run& run) {
    auto* y = run.out<std::uint8_t>(0);
    for (int i = 2; i < run.op().inputs(); i += 3) {
      const Shape& shape = run.op().in_shape(i);
      const std::int64_t width = product(shape, axis, static_cast<int>(shape.size()));
      const auto piece = take(run, i);
      const auto* x = run.in<std::uint8_t>(i);
      for (std::int64_t o = 0; o < outer; ++o) piece(x + o * width, y + o * stride, width);
      y += width;
    }
  };
}

Choice concat(Op& op) {
  return concat_by(op, [](Run& run, int i) {
    const DType dtype = run.op().in(1).dtype;
    const Table table =
        table_of(dtype, scalar_of(run, i + 1), zero_point_of(run, i + 2), dtype, scalar_of(run, 0),
                 zero_point_of(run, 1), [](float x) { return x; });
    return [table, &run](const std::uint8_t* x, std::uint8_t* y, std::int64_t n) {
      look_up(table, x, y, n, run.pool());
    };
  });
}

Choice concat_simd(Op& op) {
  return concat_by(op, [](Run& run, int i) {
    const DType dtype = run.op().in(1).dtype;
    const Saturate saturate(dtype, zero_point_of(run, 1));
    const kernels::Rescale8 args{
        dtype == DType::i8,
        zero_point_of(run, i + 2),
        scalar_of(run, i + 1),
        {scalar_of(run, 0), saturate.low(), saturate.high(), saturate.zero_point()}};
    const bool same = args.scale == args.to.scale && args.zero_point == args.to.zero_point;
    return [args, same, &run](const std::uint8_t* x, std::uint8_t* y, std::int64_t n) {
      run.pool().parallel_for(n, kernels::kCheapGrain, [&](std::int64_t begin, std::int64_t end) {
        if (same) {
          std::copy(x + begin, x + end, y + begin);
        } else {
          kernels::rescale_8(args, x + begin, y + begin, end - begin);
        }
      });
    };
  });
}

// Where: condition, X, X_scale, X_zero_point, Y, Y_scale, Y_zero_point, Z_scale, Z_zero_point. ----

void infer_where(Op& op) {
  for (const int i : {2, 3, 5, 6, 7, 8}) require_scalar(op, i);
  op.set_out(0, op.in(1).dtype,
             broadcast(op.in_shape(0), broadcast(op.in_shape(1), op.in_shape(4))));
}

Choice where(Op& op) {
  return Kernel([loop = BroadcastLoop({op.in_shape(0), op.in_shape(1), op.in_shape(4)},
                                      op.out_shape(0))](Run& run) {
    const auto table = [&](int scale, int zero_point) {
      const DType dtype = run.op().in(1).dtype;
      return table_of(dtype, scalar_of(run, scale), zero_point_of(run, zero_point), dtype,
                      scalar_of(run, 7), zero_point_of(run, 8), [](float x) { return x; });
    };
    const Table from_x = table(2, 3), from_y = table(5, 6);
    const auto* condition = run.in<std::uint8_t>(0);
    const auto* x = run.in<std::uint8_t>(1);
    const auto* y = run.in<std::uint8_t>(4);
    auto* z = run.out<std::uint8_t>(0);
    loop.run(run.pool(), [&](const std::int64_t* at, std::int64_t to, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) {
        z[to + i] = condition[at[0] + i * loop.step(0)] != 0 ? from_x[x[at[1] + i * loop.step(1)]]
                                                             : from_y[y[at[2] + i * loop.step(2)]];
      }
    });
  });
}

// Rows. ------------------------------------------------------------------------------------------

Row& declare_unary(Registry& op, const char* name, Infer infer, Choice (*kernel)(Op&)) {
  return op(name, "com.microsoft")
      .since(1)
      .in("X", kQuantized8)
      .in("X_scale", DType::f32)
      .in("X_zero_point", like(0), Arity::optional)
      .in("Y_scale", DType::f32)
      .in("Y_zero_point", like(0), Arity::optional)
      .out("Y", like(0))
      .infer(std::move(infer))
      .kernel("reference", kernel);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear) {
  declare_unary(op, "QLinearLeakyRelu", infer_unary, leaky_relu).in_place(0).attr("alpha", 0.01F);
  declare_unary(op, "QLinearSigmoid", infer_unary, sigmoid).in_place(0);
  declare_unary(op, "QLinearGlobalAveragePool", infer_average, global_average)
      .attr("channels_last", 0);
  op("QLinearConcat", "com.microsoft")
      .since(1)
      .required("axis", FormalAttribute::Kind::int_)
      .in("Y_scale", DType::f32)
      .in("Y_zero_point", kQuantized8)
      .in_any("inputs", kQuantized8 | DType::f32)
      .out("Y", like(1))
      .infer(infer_concat)
      .simd_kernel("simd", concat_simd)
      .kernel("reference", concat);
  op("QLinearWhere", "com.microsoft")
      .since(1)
      .in("condition", DType::boolean)
      .in("X", kQuantized8)
      .in("x_scale", DType::f32)
      .in("x_zero_point", like(1))
      .in("Y", like(1))
      .in("y_scale", DType::f32)
      .in("y_zero_point", like(1))
      .in("z_scale", DType::f32)
      .in("z_zero_point", like(1))
      .out("Z", like(1))
      .infer(infer_where)
      .kernel("reference", where);
}
