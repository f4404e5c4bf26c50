#include "base/shape.h"

#include <algorithm>

namespace mezzo {

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (__builtin_mul_overflow(a, b, &result)) {
    throw Error(ErrorCode::limit, "a size does not fit 64 bits")
        .got(std::to_string(a) + " * " + std::to_string(b));
  }
  return result;
}

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (__builtin_add_overflow(a, b, &result)) {
    throw Error(ErrorCode::limit, "a size does not fit 64 bits")
        .got(std::to_string(a) + " + " + std::to_string(b));
  }
  return result;
}

std::int64_t element_count(const Shape& shape) {
  // The product of the non-zero extents must fit too: strides are computed from it even where an
  // extent is 0.
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) {
      throw Error(ErrorCode::invalid_argument, "a shape with a negative extent")
          .got(to_string(shape));
    }
    if (extent == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(count, extent, &count)) {
      throw Error(ErrorCode::limit, "a shape whose number of elements does not fit 64 bits")
          .got(to_string(shape));
    }
  }
  return empty ? 0 : count;
}

std::int64_t product(const Shape& shape, int begin, int end) {
  std::int64_t result = 1;
  for (int i = begin; i < end; ++i) result *= shape[static_cast<std::size_t>(i)];
  return result;
}

std::vector<std::int64_t> strides_of(const Shape& shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape result(std::max(a.size(), b.size()));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const std::int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      throw Error(ErrorCode::invalid_argument, "the shapes cannot be broadcast together")
          .got(to_string(a) + " and " + to_string(b));
    }
    result[result.size() - 1 - i] = x == 1 ? y : x;
  }
  return result;
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.size() > to.size()) return false;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::int64_t extent = from[from.size() - 1 - i];
    if (extent != 1 && extent != to[to.size() - 1 - i]) return false;
  }
  return true;
}

std::vector<std::int64_t> broadcast_strides(const Shape& from, const Shape& to) {
  const std::vector<std::int64_t> own = strides_of(from);
  std::vector<std::int64_t> strides(to.size(), 0);
  const std::size_t lead = to.size() - from.size();
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i] != 1) strides[lead + i] = own[i];
  }
  return strides;
}

int normalize_axis(std::int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    throw Error(ErrorCode::invalid_argument, "the axis is out of range")
        .expected("-" + std::to_string(rank) + " to " + std::to_string(rank - 1) + " for rank " +
                  std::to_string(rank))
        .got(std::to_string(axis));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace mezzo
