#include "mezzo/tensor.h"

#include <algorithm>
#include <cstring>

#include "base/convert.h"
#include "base/memory.h"
#include "base/shape.h"

namespace mezzo {
namespace {

// bytes_of cannot overflow once this has passed.
std::int64_t checked_count(DType dtype, const Shape& shape) {
  const std::int64_t count = element_count(shape);
  checked_mul(count, is_plain(dtype) ? 16 : sizeof(Tensor));
  return count;
}

// Memory for elements that are objects of C++.
template <class Element>
std::shared_ptr<void> objects(std::int64_t count) {
  const auto size = static_cast<std::size_t>(count);
  if (size * sizeof(Element) > allocation_limit()) allocate(size * sizeof(Element));  // throws
  auto elements = std::make_shared<std::vector<Element>>(size);
  return {elements, elements->data()};
}

}  // namespace

Tensor Tensor::uninitialized(DType dtype, Shape shape) {
  Tensor tensor;
  tensor.size_ = checked_count(dtype, shape);
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  if (dtype == DType::string) {
    tensor.data_ = objects<std::string>(tensor.size_);
  } else if (!is_plain(dtype)) {
    tensor.data_ = objects<Tensor>(tensor.size_);
  } else {
    tensor.data_ = allocate(tensor.bytes());
  }
  return tensor;
}

Tensor Tensor::sequence(std::vector<Tensor> elements) {
  Tensor tensor;
  tensor.dtype_ = DType::sequence;
  tensor.size_ = static_cast<std::int64_t>(elements.size());
  tensor.shape_ = {tensor.size_};
  auto kept = std::make_shared<std::vector<Tensor>>(std::move(elements));
  tensor.data_ = std::shared_ptr<void>(kept, kept->data());
  return tensor;
}

Tensor Tensor::map(Tensor keys, Tensor values) {
  if (keys.size() != values.size()) {
    throw Error(ErrorCode::invalid_argument, "a map needs a value for each key")
        .expected(std::to_string(keys.size()) + " values")
        .got(std::to_string(values.size()));
  }
  Tensor tensor = sequence({std::move(keys), std::move(values)});
  tensor.dtype_ = DType::map;
  return tensor;
}

bool Tensor::owns_data() const noexcept {
  if (is_plain(dtype_) || dtype_ == DType::string) return owned_;
  const auto* elements = static_cast<const Tensor*>(data());
  return owned_ && std::all_of(elements, elements + size_,
                               [](const Tensor& element) { return element.owns_data(); });
}

Tensor::Tensor(DType dtype, Shape shape) : Tensor(uninitialized(dtype, std::move(shape))) {
  if (is_plain(dtype) && bytes() > 0) std::memset(data_.get(), 0, bytes());
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
  Tensor tensor;
  tensor.dtype_ = dtype_;
  tensor.owned_ = owned_;
  tensor.read_only_ = read_only_;
  tensor.size_ = size_;
  tensor.shape_ = std::move(shape);
  tensor.data_ = data_;
  return tensor;
}

Tensor Tensor::clone() const {
  if (!has_value()) return {};
  Tensor tensor = uninitialized(dtype_, shape_);
  if (dtype_ == DType::string) {
    const auto* source = static_cast<const std::string*>(data());
    auto* target = static_cast<std::string*>(tensor.data_.get());
    for (std::int64_t i = 0; i < size_; ++i) target[i] = source[i];
  } else if (!is_plain(dtype_)) {
    const auto* source = static_cast<const Tensor*>(data());
    auto* target = static_cast<Tensor*>(tensor.data_.get());
    for (std::int64_t i = 0; i < size_; ++i) target[i] = source[i].clone();
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
