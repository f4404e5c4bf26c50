// FakeQuantize of the domain "mezzo", which the pass `fake_quantize` puts where a
// QuantizeLinear is undone at once: y = round_half_even(clamp(x / scale, low, high)) * scale, just
// what the two give. `low` and `high` are the bounds of the quantised type less its zero point; NaN
// becomes `low`.

#include "kernels/elementwise_f32.h"
#include "kernels/quantized_i8.h"
#include "ops/element_runs.h"
#include "ops/op.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

struct Bounds {
  float scale, low, high;
  explicit Bounds(const Op& op)
      : scale(op.attr_float("scale")), low(op.attr_float("low")), high(op.attr_float("high")) {}
};

// compute(x, y, n) for shares of the elements.
template <class Compute>
Kernel by_shares(const Op& op, const Compute& compute) {
  return [runs = ElementRuns(op), compute](Run& run) {
    runs.each(run, [&](const float* x, float* y, std::int64_t n) {
      run.pool().parallel_for(n, kernels::kCheapGrain, [&](std::int64_t begin, std::int64_t end) {
        compute(x + begin, y + begin, end - begin);
      });
    });
  };
}

Choice simd(Op& op) {
  return by_shares(op, [b = Bounds(op)](const float* x, float* y, std::int64_t n) {
    kernels::fake_quantize(b.scale, b.low, b.high, x, y, n);
  });
}

Choice reference(Op& op) {
  return by_shares(op, [b = Bounds(op)](const float* x, float* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      float steps = x[i] / b.scale;
      steps = steps > b.low ? steps : b.low;
      steps = steps < b.high ? steps : b.high;
      y[i] = static_cast<float>(static_cast<int>(round_half_even(steps))) * b.scale;
    }
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(fake_quantize) {
  op("FakeQuantize", "mezzo")
      .since(1)
      .attr("scale", 1.0F)
      .attr("low", -128.0F)
      .attr("high", 127.0F)
      .in("x", DType::f32)
      .out("y", like(0))
      .infer(same_shape)
      .in_place(0)
      .batched({0})
      .banded(rows_of_elements)
      .simd_kernel("simd f32", simd)
      .kernel("reference", reference);
}
