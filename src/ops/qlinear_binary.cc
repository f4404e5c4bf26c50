// com.microsoft QLinearAdd and QLinearMul, and mezzo QuantizedAdd: A, A_scale, A_zero_point, B,
// B_scale, B_zero_point, C_scale, C_zero_point. Arithmetic is in float32, rounding half to even. A
// zero point that is omitted is 0.

#include "kernels/elementwise_f32.h"
#include "kernels/quantized_i8.h"
#include "ops/broadcast.h"
#include "ops/element_runs.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer_binary(Op& op) {
  for (const int i : {1, 2, 4, 5, 6, 7}) require_scalar(op, i);
  op.set_out(0, op.in(0).dtype, broadcast(op.in_shape(0), op.in_shape(3)));
}

// Calls make(run) for f(a, b), which gives the quantised result.
template <class Q, class Make>
Kernel binary_kernel(const Op& op, Make make) {
  return [loop = BroadcastLoop({op.in_shape(0), op.in_shape(3)}, op.out_shape(0)), make](Run& run) {
    const auto f = make(run);
    const Q* a = run.in<Q>(0);
    const Q* b = run.in<Q>(3);
    Q* y = run.out<Q>(0);
    loop.run(run.pool(), [&](const std::int64_t* at, std::int64_t to, std::int64_t n) {
      apply_run([f](Q left, Q right) { return static_cast<Q>(f(left, right)); }, a + at[0],
                loop.step(0), b + at[1], loop.step(1), y + to, n);
    });
  };
}

template <class Make>
Choice binary(Op& op, Make make) {
  Choice choice;
  with_quantized8(op.in(0).dtype,
                  [&](auto zero) { choice = binary_kernel<decltype(zero)>(op, make); });
  return choice;
}

// x * y + z with one rounding, that is, a fused multiply-add wherever it runs. In double the
// product is exact, and so is, but for extreme scales, the sum.
float fused(float x, float y, float z) {
  return static_cast<float>(static_cast<double>(x) * y + z);
}

// The order of the sums and their fusing are ONNX Runtime's: a quantised network amplifies a single
// step of difference. So is, in QLinearAdd, the zero point inside of what is rounded; QuantizedAdd
// stands for a QuantizeLinear, which adds it to what has been rounded.
kernels::Sum8 sum_of(const Run& run) {
  kernels::Sum8 sum;
  const float y_scale = scalar_of(run, 6);
  sum.left = scalar_of(run, 1) / y_scale;
  sum.right = scalar_of(run, 4) / y_scale;
  const auto zero_a = static_cast<float>(zero_point_of(run, 2));
  const auto zero_b = static_cast<float>(zero_point_of(run, 5));
  const int zero_point = zero_point_of(run, 7);
  sum.zero_point = run.op().declares("low") ? zero_point : 0;
  sum.offset =
      static_cast<float>(zero_point - sum.zero_point) - fused(sum.left, zero_a, sum.right * zero_b);
  const IntRange bounds = bounds_of(run.op(), run.op().out(0).dtype);
  sum.low = static_cast<float>(bounds.least - sum.zero_point);
  sum.high = static_cast<float>(bounds.most - sum.zero_point);
  return sum;
}

Choice add(Op& op) {
  return binary(op, [](Run& run) {
    const kernels::Sum8 sum = sum_of(run);
    const Saturate saturate(sum.low, sum.high, sum.zero_point);
    return [=](int a, int b) {
      return saturate(fused(static_cast<float>(a), sum.left,
                            fused(static_cast<float>(b), sum.right, sum.offset)));
    };
  });
}

std::optional<RowWindow> rows_of_sum(const Op& op) {
  if (op.in_shape(0) != op.in_shape(3) || !kernels::has_fused_multiply_add()) return std::nullopt;
  return rows_of_types(op, kQuantized8);
}

Choice add_simd(Op& op) {
  if (op.in_shape(0) != op.in_shape(3)) return refuse("two shapes");
  if (!kernels::has_fused_multiply_add()) return refuse("no fused multiply-add");
  const bool is_signed = op.in(0).dtype == DType::i8;
  const std::int64_t b_rows = op.band() ? op.band()->add_rows : 0;
  return Kernel([runs = ElementRuns(op),
                 b_step = b_rows * product(op.in_shape(0), 3, op.in_rank(0)), is_signed](Run& run) {
    const kernels::Sum8 sum = sum_of(run);
    const auto* b = run.in<std::uint8_t>(3);
    runs.each<std::uint8_t>(run, [&](const std::uint8_t* a, std::uint8_t* y, std::int64_t n) {
      run.pool().parallel_for(n, kernels::kCheapGrain, [&](std::int64_t begin, std::int64_t end) {
        kernels::add_8(sum, is_signed, a + begin, b + begin, y + begin, end - begin);
      });
      b += b_step;
    });
  });
}

// The same B for each row of A, as of a bias.
Choice add_rows(Op& op) {
  const Shape& a = op.in_shape(0);
  if (a.empty() || op.in_shape(3) != Shape{a.back()} || a.back() == 0)
    return refuse("B is no row of A");
  if (!kernels::has_fused_multiply_add()) return refuse("no fused multiply-add");
  const bool is_signed = op.in(0).dtype == DType::i8;
  return Kernel([n = a.back(), rows = element_count(a) / a.back(), is_signed](Run& run) {
    const kernels::Sum8 sum = sum_of(run);
    const auto* x = run.in<std::uint8_t>(0);
    auto* y = run.out<std::uint8_t>(0);
    run.pool().parallel_for(
        rows, 1 + kernels::kCheapGrain / n, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin * n; i < end * n; i += n)
            kernels::add_8(sum, is_signed, x + i, run.in<std::uint8_t>(3), y + i, n);
        });
  });
}

Choice multiply(Op& op) {
  return binary(op, [](Run& run) {
    const float scale = scalar_of(run, 1) * scalar_of(run, 4) / scalar_of(run, 6);
    const int zero_a = zero_point_of(run, 2), zero_b = zero_point_of(run, 5);
    const Saturate saturate(run.op().out(0).dtype, zero_point_of(run, 7));
    return [=](int a, int b) {
      return saturate(static_cast<float>((a - zero_a) * (b - zero_b)) * scale);
    };
  });
}

Row& declare_binary(Row& row) {
  return row.since(1)
      .in("A", kQuantized8)
      .in("A_scale", DType::f32)
      .in("A_zero_point", like(0), Arity::optional)
      .in("B", like(0))
      .in("B_scale", DType::f32)
      .in("B_zero_point", like(0), Arity::optional)
      .in("C_scale", DType::f32)
      .in("C_zero_point", like(0), Arity::optional)
      .out("C", like(0))
      .infer(infer_binary)
      .in_place(0)
      .in_place(3)
      .batched_by_shape();
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear_binary) {
  declare_binary(op("QLinearAdd", "com.microsoft"))
      .banded(rows_of_sum)
      .simd_kernel("simd", add_simd)
      .simd_kernel("simd rows", add_rows)
      .kernel("reference", add);
  // A sum that is clamped, which the pass `integers` makes.
  bounds_attributes(declare_binary(op("QuantizedAdd", "mezzo")))
      .banded(rows_of_sum)
      .simd_kernel("simd", add_simd)
      .simd_kernel("simd rows", add_rows)
      .kernel("reference", add);
  declare_binary(op("QLinearMul", "com.microsoft")).kernel("reference", multiply);
}
