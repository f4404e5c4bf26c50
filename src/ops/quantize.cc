// QuantizeLinear-10/13/19/21/23/24/25/28 and DynamicQuantizeLinear-11 of ai.onnx; com.microsoft's
// QuantizeLinear.
// One scale for all (10), for each index of an axis (13), or for each block along an axis (21).
// Types: 8-bit floats since 19, 4- and 16-bit integers since 21, float4 since 23, float8e8m0 scales
// since 24, 2-bit integers since 25, 6-bit floats since 28.

#include <algorithm>
#include <array>

#include "base/convert.h"
#include "kernels/quantized_i8.h"
#include "ops/broadcast.h"
#include "ops/element_runs.h"
#include "ops/quantize_linear.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// Rounds to what a 16-bit float type holds. A quotient or product of two such numbers, rounded to
// float32 first, is still rounded right (Figueroa, "When is double rounding innocuous?", 1995).
void round_to(DType precision, float* values, std::int64_t n) {
  if (precision == DType::f16) {
    for (std::int64_t i = 0; i < n; ++i) values[i] = to_float(to_half(values[i]));
  } else if (precision == DType::bf16) {
    for (std::int64_t i = 0; i < n; ++i) values[i] = to_float(to_bfloat16(values[i]));
  }
}

// Quantising. ------------------------------------------------------------------------------------

DType quantized_type(const Op& op) {
  const DType asked = type_attribute(op, "output_dtype");
  const DType implied = op.has_in(2) ? op.in(2).dtype : DType::undefined;
  const DType dtype = implied != DType::undefined ? implied
                      : asked != DType::undefined ? asked
                                                  : DType::u8;
  if (!op.row().outputs()[0].types.contains(dtype) ||
      (asked != DType::undefined && asked != dtype)) {
    throw invalid("the output type does not fit")
        .at("attribute 'output_dtype'")
        .expected(implied != DType::undefined ? std::string(name_of(implied)) + ", the zero point's"
                                              : "a type that QuantizeLinear gives")
        .got(std::string(name_of(asked)));
  }
  return dtype;
}

// What the division is done in: the scale's type, unless `precision` says otherwise.
DType precision_of(const Op& op) {
  const DType asked = type_attribute(op, "precision");
  const DType dtype = asked != DType::undefined ? asked : op.in(1).dtype;
  if (!TypeSet{DType::f32, DType::f16, DType::bf16, DType::i32, DType::f8e8m0}.contains(dtype)) {
    throw Error(ErrorCode::unsupported, "no division in this precision")
        .at("attribute 'precision'")
        .expected("float32, float16 or bfloat16")
        .got(std::string(name_of(dtype)));
  }
  return dtype;
}

void infer_quantize(Op& op) {
  granularity_of(op);
  precision_of(op);
  op.set_out(0, quantized_type(op), op.in_shape(0));
}

// Stores quotients as integers.
template <class Q>
void store_ints(DType dtype, const float* quotient, const float* zero_point, std::int64_t step,
                std::int64_t n, Q* out) {
  const float zero = 0;
  if (zero_point == nullptr) zero_point = &zero, step = 0;
  if (step == 0) {
    const Saturate saturate(dtype, static_cast<int>(*zero_point));
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<Q>(saturate(quotient[i]));
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      out[i] = static_cast<Q>(Saturate(dtype, static_cast<int>(zero_point[i]))(quotient[i]));
    }
  }
}

void store(DType dtype, float* quotient, const float* zero_point, std::int64_t step,
           std::int64_t first, std::int64_t n, const CastRules& rules, void* out) {
  const bool is_8_bit_int = dtype == DType::i8 || dtype == DType::u8;
  if (is_8_bit_int) {
    with_quantized8(dtype, [&](auto zero) {
      using Q = decltype(zero);
      store_ints(dtype, quotient, zero_point, step, n, static_cast<Q*>(out) + first);
    });
  } else if (dtype == DType::i16) {
    store_ints(dtype, quotient, zero_point, step, n, static_cast<std::int16_t*>(out) + first);
  } else if (dtype == DType::u16) {
    store_ints(dtype, quotient, zero_point, step, n, static_cast<std::uint16_t*>(out) + first);
  } else if (kFloat8.contains(dtype) || kFloat6.contains(dtype) || dtype == DType::f4e2m1) {
    if (zero_point != nullptr) {
      for (std::int64_t i = 0; i < n; ++i) quotient[i] += zero_point[i * step];
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const unsigned bits = encode_small_float(dtype, quotient[i], rules);
      if (dtype == DType::f4e2m1) {
        write_packed(dtype, out, first + i, static_cast<int>(bits));
      } else {
        static_cast<std::uint8_t*>(out)[first + i] = static_cast<std::uint8_t>(bits);
      }
    }
  } else {  // packed integers
    std::array<std::int8_t, kPiece> values;
    store_ints(dtype, quotient, zero_point, step, n, values.data());
    for (std::int64_t i = 0; i < n; ++i) {
      write_packed(dtype, out, first + i, values[static_cast<std::size_t>(i)]);
    }
  }
}

Choice quantize(Op& op) {
  CastRules rules;
  if (op.declares("saturate")) rules.saturate = op.attr_int("saturate") != 0;
  return Kernel([g = granularity_of(op), precision = precision_of(op), rules](Run& run) {
    const DType from = run.op().in(0).dtype, to = run.op().out(0).dtype;
    QuantizationParameters parameters(run);
    round_to(precision, parameters.scale.data(),
             static_cast<std::int64_t>(parameters.scale.size()));
    for_each_piece(g, run.pool(), [&](std::int64_t first, std::int64_t n, std::int64_t parameter) {
      std::array<float, kPiece> quotient;
      const float* x = run.in<float>(0) + first;
      if (from != DType::f32) {
        load_floats(from, run.in_data(0), first, n, quotient.data());
        x = quotient.data();
      }
      if (precision == DType::f16 || precision == DType::bf16) {
        std::copy_n(x, n, quotient.data());
        round_to(precision, quotient.data(), n);
        x = quotient.data();
      }
      const float* scale = parameters.scale.data() + parameter;
      apply_run([](float a, float b) { return a / b; }, x, 1, scale, g.step, quotient.data(), n);
      round_to(precision, quotient.data(), n);
      const float* zero_point =
          parameters.zero_point.empty() ? nullptr : parameters.zero_point.data() + parameter;
      store(to, quotient.data(), zero_point, g.step, first, n, rules, run.out_data(0));
    });
  });
}

// float32 to 8 bits, with one scale for each run of elements.
Choice quantize_simd(Op& op) {
  const Granularity g = granularity_of(op);
  const bool is_8_bits = kQuantized8.contains(op.out(0).dtype);
  if (op.in(0).dtype != DType::f32 || precision_of(op) != DType::f32 || !is_8_bits)
    return refuse("not from float32 to 8-bit integers, divided in float32");
  if (g.step != 0) return refuse("scales along the last axis");
  const auto args_at = [](const Run& run, const QuantizationParameters& all, std::int64_t i) {
    const Saturate saturate(run.op().out(0).dtype, all.zero_point_at(i));
    return kernels::Quantize8{all.scale[static_cast<std::size_t>(i)], saturate.low(),
                              saturate.high(), saturate.zero_point()};
  };
  if (op.band()) {
    return Kernel([runs = ElementRuns(op), args_at](Run& run) {
      const kernels::Quantize8 args = args_at(run, QuantizationParameters(run), 0);
      runs.each<float, std::uint8_t>(run, [&](const float* x, std::uint8_t* y, std::int64_t n) {
        kernels::quantize_8(args, x, y, n);
      });
    });
  }
  return Kernel([g, args_at](Run& run) {
    const QuantizationParameters parameters(run);
    for_each_piece(g, run.pool(), [&](std::int64_t first, std::int64_t n, std::int64_t parameter) {
      kernels::quantize_8(args_at(run, parameters, parameter), run.in<float>(0) + first,
                          run.out<std::uint8_t>(0) + first, n);
    });
  });
}

// DynamicQuantizeLinear. -------------------------------------------------------------------------

void infer_dynamic(Op& op) {
  op.set_out(0, DType::u8, op.in_shape(0));
  op.set_out(1, DType::f32, {});
  op.set_out(2, DType::u8, {});
}

Choice dynamic_quantize(Op& op) {
  return Kernel([n = element_count(op.in_shape(0))](Run& run) {
    const DynamicRange range =
        quantize_dynamically(run.in<float>(0), n, run.out<std::uint8_t>(0), run.pool());
    if (auto* scale = run.out<float>(1)) *scale = range.scale;
    if (auto* zero_point = run.out<std::uint8_t>(2)) {
      *zero_point = static_cast<std::uint8_t>(range.zero_point);
    }
  });
}

// Rows. ------------------------------------------------------------------------------------------

Row& declare_quantize(Registry& op, TypeSet in, TypeSet scales, TypeSet out,
                      const char* domain = "") {
  return op("QuantizeLinear", domain)
      .in("x", in)
      .in("y_scale", scales)
      .in("y_zero_point", out, Arity::optional)
      .out("y", out)
      .infer(infer_quantize)
      .banded(rows_of_quantized)
      .simd_kernel("simd i8", quantize_simd)
      .kernel("reference", quantize);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(quantize) {
  const TypeSet f32_i32 = {DType::f32, DType::i32};
  const TypeSet floats_i32 = kScales | DType::i32;
  declare_quantize(op, f32_i32, DType::f32, kQuantized8).since(10);
  declare_quantize(op, f32_i32, DType::f32, kQuantized8).since(13).attr("axis", 1);
  declare_quantize(op, floats_i32, floats_i32, kQuantized8 | kFloat8)
      .since(19)
      .attr("axis", 1)
      .attr("saturate", 1);
  declare_quantize(op, floats_i32, floats_i32, kQuantizedSince21)
      .since(21)
      .attr("axis", 1)
      .attr("saturate", 1)
      .attr("block_size", 0)
      .attr("output_dtype", 0);
  const auto quantize_since_23 = [&](TypeSet types) -> Row& {
    return declare_quantize(op, floats_i32, floats_i32 | DType::f8e8m0, types)
        .attr("axis", 1)
        .attr("saturate", 1)
        .attr("block_size", 0)
        .attr("output_dtype", 0)
        .attr("precision", 0);
  };
  quantize_since_23(kQuantizedSince23).since(23, 24, 25);
  quantize_since_23(kQuantizedSince23 | kFloat6).since(28);

  op("DynamicQuantizeLinear")
      .since(11)
      .in("x", DType::f32)
      .out("y", DType::u8)
      .out("y_scale", DType::f32)
      .out("y_zero_point", DType::u8)
      .infer(infer_dynamic)
      .kernel("reference", dynamic_quantize);

  // ONNX Runtime's own.
  const TypeSet half_or_single = {DType::f32, DType::f16};
  declare_quantize(op, half_or_single, half_or_single, kQuantizedOfMicrosoft, "com.microsoft")
      .since(1)
      .attr("axis", 1)
      .attr("block_size", 0);
}
