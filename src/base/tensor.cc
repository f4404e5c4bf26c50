#include "mezzo/tensor.h"

#include <cstring>

#include "base/convert.h"
#include "base/memory.h"
#include "base/shape.h"

namespace mezzo {
namespace {

// bytes_of cannot overflow once this has passed: no element is larger than 32 bytes.
std::int64_t checked_count(DType dtype, const Shape& shape) {
  const std::int64_t count = element_count(shape);
  checked_mul(count, dtype == DType::string ? sizeof(std::string) : 16);
  return count;
}

}  // namespace

Tensor Tensor::uninitialized(DType dtype, Shape shape) {
  Tensor tensor;
  tensor.size_ = checked_count(dtype, shape);
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  if (dtype == DType::string) {
    if (tensor.bytes() > allocation_limit()) allocate(tensor.bytes());  // throws
    auto strings =
        std::make_shared<std::vector<std::string>>(static_cast<std::size_t>(tensor.size_));
    tensor.data_ = std::shared_ptr<void>(strings, strings->data());
  } else {
    tensor.data_ = allocate(tensor.bytes());
  }
  return tensor;
}

Tensor::Tensor(DType dtype, Shape shape) : Tensor(uninitialized(dtype, std::move(shape))) {
  if (dtype != DType::string && bytes() > 0) std::memset(data_.get(), 0, bytes());
}

Tensor Tensor::adopt(DType dtype, Shape shape, std::shared_ptr<void> data) {
  Tensor tensor;
  tensor.size_ = checked_count(dtype, shape);
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.data_ = std::move(data);
  return tensor;
}

Tensor Tensor::view(DType dtype, Shape shape, const void* data, std::shared_ptr<const void> owner) {
  if (dtype == DType::string) {
    throw Error(ErrorCode::invalid_argument, "a view of strings is not possible");
  }
  Tensor tensor;
  tensor.size_ = checked_count(dtype, shape);
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.owned_ = owner != nullptr;
  tensor.read_only_ = true;
  tensor.data_ =
      std::shared_ptr<void>(std::const_pointer_cast<void>(owner), const_cast<void*>(data));
  return tensor;
}

void* Tensor::mutable_data() {
  if (read_only_ || data_.use_count() > 1) *this = clone();
  return data_.get();
}

Tensor Tensor::reshaped(Shape shape) const {
  if (element_count(shape) != size_) {
    throw Error(ErrorCode::invalid_argument, "the new shape has another number of elements")
        .expected(std::to_string(size_))
        .got(to_string(shape));
  }
  Tensor tensor = *this;
  tensor.shape_ = std::move(shape);
  return tensor;
}

Tensor Tensor::clone() const {
  if (!has_value()) return {};
  Tensor tensor = uninitialized(dtype_, shape_);
  if (dtype_ == DType::string) {
    const auto* source = static_cast<const std::string*>(data());
    auto* target = static_cast<std::string*>(tensor.data_.get());
    for (std::int64_t i = 0; i < size_; ++i) target[i] = source[i];
  } else if (bytes() > 0) {
    std::memcpy(tensor.data_.get(), data(), bytes());
  }
  return tensor;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor tensor = uninitialized(dtype, shape_);
  convert(dtype_, data(), dtype, tensor.data_.get(), size_);
  return tensor;
}

void Tensor::check_type(DType wanted) const {
  if (wanted != dtype_) {
    throw Error(ErrorCode::invalid_argument, "the tensor has another element type")
        .expected(std::string(name_of(wanted)))
        .got(std::string(name_of(dtype_)));
  }
}

}  // namespace mezzo
