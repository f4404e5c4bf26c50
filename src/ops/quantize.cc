// QuantizeLinear-10/13/19/21/23/24/25/28, DequantizeLinear-10/13/19/21/23/24/25/28 and
// DynamicQuantizeLinear-11 of ai.onnx; com.microsoft's first two.
// One scale for all (10), for each index of an axis (13), or for each block along an axis (21).
// Types: 8-bit floats since 19, 4- and 16-bit integers since 21, float4 since 23, float8e8m0 scales
// since 24, 2-bit integers since 25, 6-bit floats since 28.

#include <algorithm>
#include <array>
#include <limits>

#include "base/convert.h"
#include "kernels/quantized_i8.h"
#include "ops/elementwise.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// Which parameter belongs to which element. The data is `rows` runs of `run` elements; the first
// element of run r takes parameter offset(r), the next ones those that follow in steps of 0 or 1.
struct Granularity {
  std::int64_t rows = 1, run = 1, step = 0;
  // A row stands for (outer index, axis index), `axis` indices each, of which `block` share their
  // parameters; there are `blocks` of these for each outer index (0: the same for all), each
  // `inner` parameters wide.
  std::int64_t axis = 1, block = 1, blocks = 0, inner = 1;

  std::int64_t offset(std::int64_t row) const {
    return (row / axis * blocks + row % axis / block) * inner;
  }
};

Granularity granularity_of(const Op& op) {
  const Shape &x = op.in_shape(0), &scale = op.in_shape(1);
  if (op.has_in(2) && op.in_shape(2) != scale &&
      !(element_count(scale) == 1 && element_count(op.in_shape(2)) == 1)) {
    throw invalid("scale and zero point differ in shape")
        .expected(to_string(scale))
        .got(to_string(op.in_shape(2)));
  }
  const std::int64_t block = op.declares("block_size") ? op.attr_int("block_size") : 0;
  Granularity g;
  const bool blocked = block > 0 && !scale.empty();
  if (block < 0) {
    throw invalid("a negative block size").at("attribute 'block_size'").got(std::to_string(block));
  }
  if (!blocked && element_count(scale) == 1) {
    g.run = element_count(x);
    return g;
  }
  const int rank = op.in_rank(0);
  // A vector has one axis only, whatever the default says.
  const int axis = !op.declares("axis") || rank == 1 ? std::min(1, rank - 1)
                                                     : normalize_axis(op.attr_int("axis"), rank);
  const auto at = static_cast<std::size_t>(std::max(axis, 0));
  const std::int64_t n = rank > 0 ? x[at] : 1;
  const std::int64_t outer = product(x, 0, axis), inner = product(x, axis + 1, rank);
  Shape wanted = {n};
  if (blocked) {
    wanted = x;
    if (rank > 0) wanted[at] = n / block + (n % block != 0 ? 1 : 0);
  }
  if (scale != wanted) {
    throw invalid("the scale fits neither all of the input nor its quantisation axis")
        .at("input 1")
        .expected(to_string(wanted) + ", or a scalar")
        .got(to_string(scale));
  }
  if (!blocked && inner == 1) {
    g = {outer, n, 1, 1, 1, 0, 1};
  } else if (!blocked) {
    g = {outer * n, inner, 0, n, 1, 0, 1};
  } else if (inner == 1 && n % block == 0) {
    g = {outer * wanted[at], block, 0, 1, 1, 1, 1};
  } else {
    g = {outer * n, inner, 1, n, block, wanted[at], inner};
  }
  g.axis = std::max<std::int64_t>(g.axis, 1);
  return g;
}

// Calls body(first, count, parameter) for pieces of at most `kPiece` elements whose parameters
// start at `parameter` and follow with the granularity's step. Threads meet only at multiples of 64
// elements, that is, never in one byte of a packed type.
constexpr std::int64_t kPiece = 1024;

template <class Body>
void for_each_piece(const Granularity& g, ThreadPool& pool, const Body& body) {
  constexpr std::int64_t kAlign = 64;
  const std::int64_t total = g.rows * g.run;
  if (total == 0) return;
  pool.parallel_for((total + kAlign - 1) / kAlign, kElementwiseGrain / kAlign,
                    [&](std::int64_t begin, std::int64_t end) {
                      const std::int64_t last = std::min(end * kAlign, total);
                      for (std::int64_t first = begin * kAlign; first < last;) {
                        const std::int64_t row = first / g.run, column = first % g.run;
                        const std::int64_t count = std::min({g.run - column, last - first, kPiece});
                        body(first, count, g.offset(row) + column * g.step);
                        first += count;
                      }
                    });
}

// Converts `count` elements from (to) position `first` of a tensor that may be packed; positions
// inside a byte go element by element.
void load(DType dtype, const void* data, std::int64_t first, std::int64_t count, float* to) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  if (bits_of(dtype) >= 8) {
    convert(dtype, bytes + bytes_of(dtype, first), DType::f32, to, count);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const int value = read_packed(dtype, data, first + i);
    to[i] = dtype == DType::f4e2m1 ? decode_small_float(dtype, static_cast<unsigned>(value))
                                   : static_cast<float>(value);
  }
}

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

DType type_attribute(const Op& op, const char* name) {
  if (!op.declares(name)) return DType::undefined;
  const std::int64_t number = op.attr_int(name);
  if (number < 0 || number >= kDTypeCount) {
    throw Error(ErrorCode::unsupported, "an unknown element type")
        .at("attribute '" + std::string(name) + "'")
        .got(std::to_string(number));
  }
  return static_cast<DType>(number);
}

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

struct Parameters {
  std::vector<float> scale;
  std::vector<float> zero_point;  // empty: none
};

Parameters parameters_of(const Run& run) { return {floats_of(run, 1), floats_of(run, 2)}; }

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
    Parameters parameters = parameters_of(run);
    round_to(precision, parameters.scale.data(),
             static_cast<std::int64_t>(parameters.scale.size()));
    for_each_piece(g, run.pool(), [&](std::int64_t first, std::int64_t n, std::int64_t parameter) {
      std::array<float, kPiece> quotient;
      const float* x = run.in<float>(0) + first;
      if (from != DType::f32) {
        load(from, run.in_data(0), first, n, quotient.data());
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
  return Kernel([g](Run& run) {
    const Parameters parameters = parameters_of(run);
    for_each_piece(g, run.pool(), [&](std::int64_t first, std::int64_t n, std::int64_t parameter) {
      const auto at = static_cast<std::size_t>(parameter);
      const Saturate saturate(
          run.op().out(0).dtype,
          parameters.zero_point.empty() ? 0 : static_cast<int>(parameters.zero_point[at]));
      const kernels::Quantize8 args{parameters.scale[at], saturate.low(), saturate.high(),
                                    saturate.zero_point()};
      kernels::quantize_8(args, run.in<float>(0) + first, run.out<std::uint8_t>(0) + first, n);
    });
  });
}

// Dequantising. ----------------------------------------------------------------------------------

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
    const Parameters parameters = parameters_of(run);
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
        load(from, run.in_data(0), first, n, y);
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
  return Kernel([g, is_signed = from == DType::i8](Run& run) {
    const Parameters parameters = parameters_of(run);
    for_each_piece(g, run.pool(), [&](std::int64_t first, std::int64_t n, std::int64_t parameter) {
      const auto at = static_cast<std::size_t>(parameter);
      const int zero_point =
          parameters.zero_point.empty() ? 0 : static_cast<int>(parameters.zero_point[at]);
      kernels::dequantize_8(run.in<std::uint8_t>(0) + first, is_signed, zero_point,
                            parameters.scale[at], run.out<float>(0) + first, n);
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

constexpr TypeSet kQuantizedSince21 =
    kQuantized8 | kFloat8 | TypeSet{DType::i16, DType::u16, DType::i4, DType::u4};
constexpr TypeSet kQuantizedSince23 =
    kQuantizedSince21 | TypeSet{DType::f4e2m1, DType::i2, DType::u2};
constexpr TypeSet kScales = {DType::f32, DType::f16, DType::bf16};

Row& declare_quantize(Registry& op, TypeSet in, TypeSet scales, TypeSet out,
                      const char* domain = "") {
  return op("QuantizeLinear", domain)
      .in("x", in)
      .in("y_scale", scales)
      .in("y_zero_point", out, Arity::optional)
      .out("y", out)
      .infer(infer_quantize)
      .simd_kernel("simd i8", quantize_simd)
      .kernel("reference", quantize);
}

Row& declare_dequantize(Registry& op, TypeSet in, TypeSet scales, TypeSet out,
                        const char* domain = "") {
  return op("DequantizeLinear", domain)
      .in("x", in)
      .in("x_scale", scales)
      .in("x_zero_point", like(0), Arity::optional)
      .out("y", out)
      .infer(infer_dequantize)
      .simd_kernel("simd i8", dequantize_simd)
      .kernel("reference", dequantize);
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

  op("DynamicQuantizeLinear")
      .since(11)
      .in("x", DType::f32)
      .out("y", DType::u8)
      .out("y_scale", DType::f32)
      .out("y_zero_point", DType::u8)
      .infer(infer_dynamic)
      .kernel("reference", dynamic_quantize);

  // ONNX Runtime's own, from before the standard knew 4- and 16-bit types.
  const TypeSet integers = kQuantized8 | TypeSet{DType::i16, DType::u16, DType::i4, DType::u4};
  const TypeSet half_or_single = {DType::f32, DType::f16};
  declare_quantize(op, half_or_single, half_or_single, integers, "com.microsoft")
      .since(1)
      .attr("axis", 1)
      .attr("block_size", 0);
  declare_dequantize(op, integers | DType::i32, half_or_single, half_or_single, "com.microsoft")
      .since(1)
      .attr("axis", 1)
      .attr("block_size", 0);
}
