// com.microsoft QGemm (1): Gemm of 8-bit integers, (A - za) (B - zb) + C in int32, given as int8,
// uint8 or, where there is no y_scale, as float32. Spec: ONNX Runtime's docs/ContribOperators.md.

#include <string>

#include "base/shape.h"
#include "kernels/quantized_i8.h"
#include "ops/integer_product.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum Input { kA, kAScale, kAZero, kB, kBScale, kBZero, kC, kYScale, kYZero };

struct QuantizedGemm {
  std::int64_t m = 0, n = 0, k = 0;
  bool trans_a = false, trans_b = false;
  std::int64_t c_row = 0, c_column = 0;  // strides of C
};

QuantizedGemm gemm_of(const Op& op) {
  require_rank(op, kA, 2, 2);
  require_rank(op, kB, 2, 2);
  QuantizedGemm gemm;
  gemm.trans_a = op.attr_int("transA") != 0;
  gemm.trans_b = op.attr_int("transB") != 0;
  const Shape &a = op.in_shape(kA), &b = op.in_shape(kB);
  gemm.m = a[gemm.trans_a ? 1 : 0];
  gemm.k = a[gemm.trans_a ? 0 : 1];
  gemm.n = b[gemm.trans_b ? 0 : 1];
  if (b[gemm.trans_b ? 1 : 0] != gemm.k) {
    throw invalid("the two matrices do not fit each other")
        .expected("as many columns in A as rows in B")
        .got(to_string(a) + " and " + to_string(b));
  }
  for (const int i : {kAScale, kAZero, kYScale, kYZero}) require_scalar(op, i);
  for (const int i : {kBScale, kBZero}) require_scalar_or_vector(op, i, gemm.n);
  const Shape result = {gemm.m, gemm.n};
  if (op.has_in(kC)) {
    if (!broadcasts_to(op.in_shape(kC), result)) {
      throw invalid("C cannot be broadcast to the product")
          .at("input 'C'")
          .expected(to_string(result))
          .got(to_string(op.in_shape(kC)));
    }
    const auto strides = broadcast_strides(op.in_shape(kC), result);
    gemm.c_row = strides[0];
    gemm.c_column = strides[1];
  }
  if (op.has_in(kYScale) != op.has_in(kYZero)) {
    throw invalid("y_scale and y_zero_point must be given together");
  }
  return gemm;
}

void infer(Op& op) {
  const QuantizedGemm gemm = gemm_of(op);
  op.set_out(0, op.has_in(kYZero) ? op.in(kYZero).dtype : DType::f32, {gemm.m, gemm.n});
}

kernels::GemmI8Operand factor_b(const QuantizedGemm& gemm, const void* data, DType dtype,
                                const std::vector<std::int32_t>& zero_points) {
  kernels::GemmI8Operand b{data, dtype == DType::i8, gemm.trans_b ? 1 : gemm.n,
                           gemm.trans_b ? gemm.k : 1};
  if (zero_points.size() == 1) {
    b.zero_point = zero_points[0];
  } else {
    b.zero_points = zero_points.data();
  }
  return b;
}

Tensor packed_b(const Op& op, const QuantizedGemm& gemm) {
  const auto pack = [&](const Tensor& b, const std::vector<std::int32_t>& zero_points,
                        ThreadPool& pool) {
    const kernels::GemmI8Operand factor = factor_b(gemm, b.data(), b.dtype(), zero_points);
    return packed_by([&](const kernels::AllocatePacked& allocate) {
      kernels::pack_b_i8(gemm.k, gemm.n, factor, allocate, pool);
    });
  };
  return packed_factor(op, kB, kBZero, gemm.trans_b ? "qgemm b, transposed" : "qgemm b", pack);
}

// Calls store(place, sum, column).
template <class Store>
void each_sum(const QuantizedGemm& gemm, const Run& run, const std::int32_t* sums, Store store) {
  const auto* c = run.in<std::int32_t>(kC);
  run.pool().parallel_for(gemm.m, 1 + 32768 / gemm.n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t j = 0; j < gemm.n; ++j) {
        auto sum = static_cast<std::uint32_t>(sums[i * gemm.n + j]);  // sums wrap
        if (c != nullptr) sum += static_cast<std::uint32_t>(c[i * gemm.c_row + j * gemm.c_column]);
        store(i * gemm.n + j, static_cast<float>(static_cast<std::int32_t>(sum)), j);
      }
    }
  });
}

Choice qgemm(Op& op, bool simd) {
  const QuantizedGemm gemm = gemm_of(op);
  if (gemm.m * gemm.n == 0) return Kernel([](Run&) {});
  if (simd && gemm.k == 0) return refuse("an empty sum");
  const Tensor packed = simd ? packed_b(op, gemm) : Tensor();
  op.set_scratch(checked_mul(checked_mul(gemm.m, gemm.n), 4));
  return Kernel([=, alpha = op.attr_float("alpha")](Run& run) {
    const std::vector<std::int32_t> zeros = ints_of(run, kBZero);
    const kernels::GemmI8Operand b =
        packed.has_value() ? packed_operand(packed.data())
                           : factor_b(gemm, run.in_data(kB), run.op().in(kB).dtype, zeros);
    const kernels::GemmI8Operand a{run.in_data(kA), run.op().in(kA).dtype == DType::i8,
                                   gemm.trans_a ? 1 : gemm.k, gemm.trans_a ? gemm.m : 1,
                                   zero_point_of(run, kAZero)};
    auto* sums = static_cast<std::int32_t*>(run.scratch());
    multiply_i8(gemm.m, gemm.n, gemm.k, a, b, sums, gemm.n, run.pool(), simd);
    std::vector<float> scale = floats_of(run, kBScale);
    const float of_a = alpha * scalar_of(run, kAScale);
    const bool quantized = run.op().has_in(kYScale);
    for (float& value : scale) {
      value = of_a * value;
      if (quantized) value /= scalar_of(run, kYScale);
    }
    scale.resize(static_cast<std::size_t>(gemm.n), scale[0]);
    if (!quantized) {
      auto* y = run.out<float>(0);
      each_sum(gemm, run, sums, [&](std::int64_t at, float sum, std::int64_t column) {
        y[at] = sum * scale[static_cast<std::size_t>(column)];
      });
      return;
    }
    const Saturate saturate(run.op().out(0).dtype, zero_point_of(run, kYZero));
    auto* y = run.out<std::uint8_t>(0);  // both types store the low byte
    // C is a row, or there is none.
    const bool of_columns = !run.op().has_in(kC) || (gemm.c_row == 0 && gemm.c_column == 1);
    if (simd && of_columns) {
      const kernels::Requantize args{0, 1, saturate.low(), saturate.high(), saturate.zero_point()};
      const std::int64_t n = gemm.n;
      run.pool().parallel_for(gemm.m, 1 + 65536 / n, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin * n; i < end * n; i += n) {
          kernels::requantize_each(args, scale.data(), run.in<std::int32_t>(kC), sums + i, y + i,
                                   n);
        }
      });
      return;
    }
    each_sum(gemm, run, sums, [&](std::int64_t at, float sum, std::int64_t column) {
      y[at] = static_cast<std::uint8_t>(saturate(sum * scale[static_cast<std::size_t>(column)]));
    });
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear_gemm) {
  op("QGemm", "com.microsoft")
      .since(1)
      .attr("alpha", 1.0F)
      .attr("transA", 0)
      .attr("transB", 0)
      .in("A", kQuantized8)
      .in("a_scale", DType::f32)
      .in("a_zero_point", like(0))
      .in("B", kQuantized8)
      .in("b_scale", DType::f32)
      .in("b_zero_point", like(3))
      .in("C", DType::i32, Arity::optional)
      .in("y_scale", DType::f32, Arity::optional)
      .in("y_zero_point", kQuantized8, Arity::optional)
      .out("Y", kQuantized8 | DType::f32)
      .infer(infer)
      .simd_kernel("simd i8", [](Op& node) { return qgemm(node, true); })
      .kernel("reference", [](Op& node) { return qgemm(node, false); })
      .multiply_adds([](const Op& node) {
        const QuantizedGemm gemm = gemm_of(node);
        return checked_mul(checked_mul(gemm.m, gemm.n), gemm.k);
      });
}
