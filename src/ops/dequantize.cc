// DequantizeLinear-10/13/19/21/23/24/25/28 of ai.onnx and com.microsoft's. Granularity and types
// are those of QuantizeLinear.

#include <array>

#include "base/convert.h"
#include "kernels/quantized_i8.h"
#include "ops/broadcast.h"
#include "ops/element_runs.h"
#include "ops/quantize_linear.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer_dequantize(Op& op) {
  granularity_of(op);
  const DType asked = type_attribute(op, "output_dtype");
  const DType dtype = asked != DType::undefined ? asked : op.in(1).dtype;
  if (!op.row().outputs()[0].types.contains(dtype)) {
    throw invalid("the output type does not fit")
        .at("attribute 'output_dtype'")
        .expected("float32, float16 or bfloat16")
        .got(std::string(name_of(dtype)));
  }
  op.set_out(0, dtype, op.in_shape(0));
}

Choice dequantize(Op& op) {
  return Kernel([g = granularity_of(op)](Run& run) {
    const DType from = run.op().in(0).dtype, to = run.op().out(0).dtype;
    const QuantizationParameters parameters(run);
    // Differences of int32 do not fit float32.
    const std::vector<std::int32_t> zero_points =
        from == DType::i32 ? ints_of(run, 2) : std::vector<std::int32_t>();
    for_each_piece(g, run.pool(), [&](std::int64_t first, std::int64_t n, std::int64_t parameter) {
      std::array<float, kPiece> buffer;
      float* y = to == DType::f32 ? run.out<float>(0) + first : buffer.data();
      if (from == DType::i32) {
        const auto* x = run.in<std::int32_t>(0) + first;
        for (std::int64_t i = 0; i < n; ++i) {
          const std::int64_t zero =
              zero_points.empty() ? 0
                                  : zero_points[static_cast<std::size_t>(parameter + i * g.step)];
          y[i] = static_cast<float>(x[i] - zero);
        }
      } else {
        load_floats(from, run.in_data(0), first, n, y);
        if (!parameters.zero_point.empty()) {
          apply_run([](float a, float b) { return a - b; }, y, 1,
                    parameters.zero_point.data() + parameter, g.step, y, n);
        }
      }
      apply_run([](float a, float b) { return a * b; }, y, 1, parameters.scale.data() + parameter,
                g.step, y, n);
      if (to != DType::f32) {
        convert(DType::f32, y, to, run.out<std::uint8_t>(0) + bytes_of(to, first), n);
      }
    });
  });
}

// 8 bits to float32, with one scale for each run of elements.
Choice dequantize_simd(Op& op) {
  const Granularity g = granularity_of(op);
  const DType from = op.in(0).dtype;
  if (!kQuantized8.contains(from) || op.in(1).dtype != DType::f32 || op.out(0).dtype != DType::f32)
    return refuse("not from 8-bit integers to float32");
  if (g.step != 0) return refuse("scales along the last axis");
  if (op.band()) {
    return Kernel([runs = ElementRuns(op), is_signed = from == DType::i8](Run& run) {
      const QuantizationParameters parameters(run);
      runs.each<std::uint8_t, float>(run, [&](const std::uint8_t* x, float* y, std::int64_t n) {
        kernels::dequantize_8(x, is_signed, parameters.zero_point_at(0), parameters.scale[0], y, n);
      });
    });
  }
  return Kernel([g, is_signed = from == DType::i8](Run& run) {
    const QuantizationParameters parameters(run);
    for_each_piece(g, run.pool(), [&](std::int64_t first, std::int64_t n, std::int64_t parameter) {
      const auto at = static_cast<std::size_t>(parameter);
      const int zero_point = parameters.zero_point_at(parameter);
      kernels::dequantize_8(run.in<std::uint8_t>(0) + first, is_signed, zero_point,
                            parameters.scale[at], run.out<float>(0) + first, n);
    });
  });
}

Row& declare_dequantize(Registry& op, TypeSet in, TypeSet scales, TypeSet out,
                        const char* domain = "") {
  return op("DequantizeLinear", domain)
      .in("x", in)
      .in("x_scale", scales)
      .in("x_zero_point", like(0), Arity::optional)
      .out("y", out)
      .infer(infer_dequantize)
      .banded(rows_of_quantized)
      .simd_kernel("simd i8", dequantize_simd)
      .kernel("reference", dequantize);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(dequantize) {
  const TypeSet with_i32 = kQuantized8 | DType::i32;
  declare_dequantize(op, with_i32, DType::f32, DType::f32).since(10);
  declare_dequantize(op, with_i32, DType::f32, DType::f32).since(13).attr("axis", 1);
  declare_dequantize(op, with_i32 | kFloat8, kScales, kScales).since(19).attr("axis", 1);
  declare_dequantize(op, kQuantizedSince21 | DType::i32, kScales, kScales)
      .since(21)
      .attr("axis", 1)
      .attr("block_size", 0);
  const auto dequantize_since_23 = [&](TypeSet types) -> Row& {
    return declare_dequantize(op, types, kScales | DType::f8e8m0, kScales)
        .attr("axis", 1)
        .attr("block_size", 0)
        .attr("output_dtype", 0);
  };
  dequantize_since_23(kQuantizedSince23 | DType::i32).since(23, 24, 25);
  dequantize_since_23(kQuantizedSince23 | DType::i32 | kFloat6).since(28);

  const TypeSet half_or_single = {DType::f32, DType::f16};
  declare_dequantize(op, kQuantizedOfMicrosoft | DType::i32, half_or_single, half_or_single,
                     "com.microsoft")
      .since(1)
      .attr("axis", 1)
      .attr("block_size", 0);
}
