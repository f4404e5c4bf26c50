// Arithmetic on shapes: broadcasting, strides, axes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mezzo/tensor.h"

namespace mezzo {

/// The product of extents [begin, end) of `shape`. Does not check for overflow: for shapes that a
/// tensor has.
std::int64_t product(const Shape& shape, int begin, int end);
inline std::int64_t product(const Shape& shape) {
  return product(shape, 0, static_cast<int>(shape.size()));
}

/// Element strides of a row-major tensor of that shape.
std::vector<std::int64_t> strides_of(const Shape& shape);

/// The multidirectional (NumPy) broadcast of two shapes. Throws Error(invalid_argument) where they
/// do not fit.
Shape broadcast(const Shape& a, const Shape& b);
/// Whether `from` can be broadcast to `to` (unidirectionally).
bool broadcasts_to(const Shape& from, const Shape& to);
/// Strides with which a tensor of shape `from` is read as if it had shape `to`: 0 along repeated
/// axes. `broadcasts_to` must hold.
std::vector<std::int64_t> broadcast_strides(const Shape& from, const Shape& to);

/// `axis` counted from the front. Throws Error(invalid_argument) unless -rank <= axis < rank.
int normalize_axis(std::int64_t axis, int rank);

/// a * b and a + b of non-negative sizes; throw Error(limit) on overflow.
std::int64_t checked_mul(std::int64_t a, std::int64_t b);
std::int64_t checked_add(std::int64_t a, std::int64_t b);

}  // namespace mezzo
