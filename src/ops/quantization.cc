#include "ops/quantization.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/convert.h"
#include "kernels/quantized_i8.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

Error bad_parameter(const Op& op, int i, std::string expected) {
  const auto& formals = op.row().inputs();
  const auto at = static_cast<std::size_t>(i);
  return invalid("a quantisation parameter has the wrong shape")
      .at("input '" + (at < formals.size() ? formals[at].name : formals.back().name) + "'")
      .expected(std::move(expected))
      .got(to_string(op.in_shape(i)));
}

}  // namespace

IntRange range_of(DType dtype) {
  const int bits = bits_of(dtype);
  const TypeSet has_sign = {DType::i2, DType::i4, DType::i8, DType::i16};
  if (has_sign.contains(dtype)) return {-(1 << (bits - 1)), (1 << (bits - 1)) - 1};
  return {0, (1 << bits) - 1};
}

std::vector<float> floats_of(const Run& run, int i) {
  if (!run.op().has_in(i)) return {};
  std::vector<float> values(static_cast<std::size_t>(element_count(run.op().in_shape(i))));
  convert(run.op().in(i).dtype, run.in_data(i), DType::f32, values.data(),
          static_cast<std::int64_t>(values.size()));
  return values;
}

std::vector<std::int32_t> ints_of(const Run& run, int i) {
  if (!run.op().has_in(i)) return {};
  std::vector<std::int32_t> values(static_cast<std::size_t>(element_count(run.op().in_shape(i))));
  convert(run.op().in(i).dtype, run.in_data(i), DType::i32, values.data(),
          static_cast<std::int64_t>(values.size()));
  return values;
}

std::vector<std::int32_t> ints_of(const Tensor* constant) {
  if (constant == nullptr) return {};
  const Tensor wide = constant->to(DType::i32);
  return {wide.values<std::int32_t>().begin(), wide.values<std::int32_t>().end()};
}

std::int32_t zero_point_at(const std::vector<std::int32_t>& zero_points, std::size_t c) {
  if (zero_points.empty()) return 0;
  return zero_points[zero_points.size() == 1 ? 0 : c];
}

float scalar_of(const Run& run, int i, float omitted) {
  const std::vector<float> values = floats_of(run, i);
  return values.empty() ? omitted : values[0];
}

int zero_point_of(const Run& run, int i) {
  const std::vector<std::int32_t> values = ints_of(run, i);
  return values.empty() ? 0 : values[0];
}

DynamicRange quantize_dynamically(const float* x, std::int64_t n, std::uint8_t* y,
                                  ThreadPool& pool) {
  float least = 0, most = 0;
  if (simd_allowed()) {
    kernels::widen_range(x, n, least, most);
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      least = x[i] < least ? x[i] : least;
      most = x[i] > most ? x[i] : most;
    }
  }
  DynamicRange range;
  // All zeros would give a scale of 0 and quotients of NaN; any other scale represents them.
  if (most > least) range.scale = (most - least) / 255.0F;
  range.zero_point = Saturate(DType::u8, 0)(0.0F - least / range.scale);
  if (y == nullptr) return range;
  const Saturate saturate(DType::u8, range.zero_point);
  pool.parallel_for(n, 32768, [&](std::int64_t begin, std::int64_t end) {
    if (simd_allowed()) {
      const kernels::Quantize8 args{range.scale, saturate.low(), saturate.high(), range.zero_point};
      return kernels::quantize_8(args, x + begin, y + begin, end - begin);
    }
    for (std::int64_t i = begin; i < end; ++i) {
      y[i] = static_cast<std::uint8_t>(saturate(x[i] / range.scale));
    }
  });
  return range;
}

Row& bounds_attributes(Row& row) {
  return row.attr("low", std::numeric_limits<int>::min())
      .attr("high", std::numeric_limits<int>::max());
}

IntRange bounds_of(const Op& op, DType dtype) {
  const IntRange range = range_of(dtype);
  if (!op.declares("low")) return range;
  const auto in_range = [&](const char* name) {
    return static_cast<int>(std::clamp<std::int64_t>(op.attr_int(name), range.least, range.most));
  };
  return {in_range("low"), in_range("high")};
}

void require_scalar(const Op& op, int i) {
  if (op.has_in(i) && element_count(op.in_shape(i)) != 1) {
    throw bad_parameter(op, i, "one element");
  }
}

void require_scalar_or_vector(const Op& op, int i, std::int64_t n) {
  if (!op.has_in(i) || element_count(op.in_shape(i)) == 1 || op.in_shape(i) == Shape{n}) return;
  throw bad_parameter(op, i, "one element, or " + to_string(Shape{n}));
}

}  // namespace mezzo::ops
