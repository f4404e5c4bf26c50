#include "ops/stacking.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/convert.h"
#include "base/shape.h"

namespace mezzo::ops {
namespace {

// Copies elements [from_at, from_at + count) to to_at of a tensor of the same type.
void copy_elements(const Tensor& from, std::int64_t from_at, void* to, std::int64_t to_at,
                   std::int64_t count) {
  if (count == 0) return;
  if (from.dtype() == DType::string) {
    const auto* strings = static_cast<const std::string*>(from.data());
    std::copy_n(strings + from_at, count, static_cast<std::string*>(to) + to_at);
    return;
  }
  const int bits = bits_of(from.dtype());
  if (bits < 8) {
    for (std::int64_t i = 0; i < count; ++i) {
      write_packed(from.dtype(), to, to_at + i,
                   read_packed(from.dtype(), from.data(), from_at + i));
    }
    return;
  }
  const std::int64_t size = bits / 8;
  std::memcpy(static_cast<char*>(to) + to_at * size,
              static_cast<const char*>(from.data()) + from_at * size,
              static_cast<std::size_t>(count * size));
}

}  // namespace

Tensor slice_at(const Tensor& tensor, int axis, std::int64_t index) {
  const std::int64_t extent = tensor.shape()[static_cast<std::size_t>(axis)];
  Shape shape = tensor.shape();
  shape.erase(shape.begin() + axis);
  const std::int64_t outer = product(shape, 0, axis);
  const std::int64_t inner = product(shape, axis, static_cast<int>(shape.size()));
  Tensor slice = Tensor::uninitialized(tensor.dtype(), std::move(shape));
  void* to = slice.mutable_data();
  for (std::int64_t o = 0; o < outer; ++o) {
    copy_elements(tensor, (o * extent + index) * inner, to, o * inner, inner);
  }
  return slice;
}

Tensor stack(const std::vector<Tensor>& slices, std::int64_t axis) {
  const Tensor& first = slices.front();
  for (const Tensor& slice : slices) {
    if (slice.dtype() != first.dtype() || slice.shape() != first.shape()) {
      throw Error(ErrorCode::runtime, "a scan output changed its type or shape between iterations")
          .expected(std::string(name_of(first.dtype())) + to_string(first.shape()))
          .got(std::string(name_of(slice.dtype())) + to_string(slice.shape()));
    }
  }
  const int at = normalize_axis(axis, first.rank() + 1);
  const std::int64_t outer = product(first.shape(), 0, at);
  const std::int64_t inner = product(first.shape(), at, first.rank());
  const auto count = static_cast<std::int64_t>(slices.size());
  Shape shape = first.shape();
  shape.insert(shape.begin() + at, count);
  Tensor result = Tensor::uninitialized(first.dtype(), std::move(shape));
  void* to = result.mutable_data();
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t o = 0; o < outer; ++o) {
      copy_elements(slices[static_cast<std::size_t>(i)], o * inner, to, (o * count + i) * inner,
                    inner);
    }
  }
  return result;
}

Tensor padded(const Tensor& tensor, std::int64_t length) {
  Shape shape = tensor.shape();
  if (shape[0] == length) return tensor;
  shape[0] = length;
  Tensor result(tensor.dtype(), std::move(shape));
  copy_elements(tensor, 0, result.mutable_data(), 0, tensor.size());
  return result;
}

}  // namespace mezzo::ops
