// What QuantizeLinear and DequantizeLinear have in common: which scale and zero point belong to
// which element.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "ops/broadcast.h"
#include "ops/op.h"
#include "ops/quantization.h"

namespace mezzo::ops {

inline constexpr TypeSet kQuantizedSince21 =
    kQuantized8 | kFloat8 | TypeSet{DType::i16, DType::u16, DType::i4, DType::u4};
inline constexpr TypeSet kQuantizedSince23 =
    kQuantizedSince21 | TypeSet{DType::f4e2m1, DType::i2, DType::u2};
/// The types of ONNX Runtime's own, from before the standard knew 4 and 16 bits.
inline constexpr TypeSet kQuantizedOfMicrosoft =
    kQuantized8 | TypeSet{DType::i16, DType::u16, DType::i4, DType::u4};
inline constexpr TypeSet kScales = {DType::f32, DType::f16, DType::bf16};

/// Which parameter belongs to which element. The data is `rows` runs of `run` elements; the first
/// element of run r takes parameter offset(r), the next ones those that follow in steps of 0 or 1.
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
/// Of the inputs x, scale and zero point. Throws Error(invalid_model) where they do not fit.
Granularity granularity_of(const Op& op);

/// A banded row's `find`, where SIMD kernels take all elements alike: one scale, between float32
/// and 8-bit integers.
std::optional<RowWindow> rows_of_quantized(const Op& op);

/// The scales and zero points of a run.
struct QuantizationParameters {
  std::vector<float> scale;
  std::vector<float> zero_point;  ///< empty: none

  explicit QuantizationParameters(const Run& run)
      : scale(floats_of(run, 1)), zero_point(floats_of(run, 2)) {}
  int zero_point_at(std::int64_t i) const {
    return zero_point.empty() ? 0 : static_cast<int>(zero_point[static_cast<std::size_t>(i)]);
  }
};

/// The element type that an attribute names; undefined where the row does not declare it.
DType type_attribute(const Op& op, const char* name);

/// Converts `count` elements from position `first` of a tensor that may be packed.
void load_floats(DType dtype, const void* data, std::int64_t first, std::int64_t count, float* to);

inline constexpr std::int64_t kPiece = 1024;

/// Calls body(first, count, parameter) for pieces of at most `kPiece` elements whose parameters
/// start at `parameter` and follow with the granularity's step. Threads meet only at multiples of
/// 64 elements, that is, never in one byte of a packed type.
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

}  // namespace mezzo::ops
