#include "ops/quantize_linear.h"

#include <string>

#include "base/convert.h"
#include "ops/element_runs.h"
#include "ops/shapes.h"

namespace mezzo::ops {

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

std::optional<RowWindow> rows_of_quantized(const Op& op) {
  const DType from = op.in(0).dtype, to = op.out(0).dtype;
  const bool fits = from == DType::f32 ? kQuantized8.contains(to) : to == DType::f32;
  if (!fits || element_count(op.in_shape(1)) != 1) return std::nullopt;
  return rows_of_types(op, kQuantized8 | DType::f32);
}

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

// Positions inside a byte go element by element.
void load_floats(DType dtype, const void* data, std::int64_t first, std::int64_t count, float* to) {
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

}  // namespace mezzo::ops
