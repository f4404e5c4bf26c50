// A tensor: an element type, a shape and contiguous row-major data. Sequences and maps are tensors
// of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mezzo/dtype.h"
#include "mezzo/error.h"

namespace mezzo {

/// The extents of a tensor, outermost first. Empty for a scalar.
using Shape = std::vector<std::int64_t>;

/// "[1, 3, 224, 224]".
std::string to_string(const Shape& shape);
/// The number of elements. Throws Error(limit) where it does not fit int64, Error(invalid_argument)
/// on a negative extent.
std::int64_t element_count(const Shape& shape);

/// A value's contents. Copying shares the data; writing through `mutable_data` copies it first
/// where it is shared, read-only (a mapped weight) or somebody else's. Different Tensor objects may
/// be used from different threads, even when they share data.
class Tensor {
 public:
  /// No value: dtype undefined. What an omitted input or output is.
  Tensor() = default;
  /// Zeros (empty strings for DType::string, tensors without a value for DType::sequence). Memory
  /// is aligned to 64 bytes.
  Tensor(DType dtype, Shape shape);
  /// Contents not initialised, unless they are no plain bytes; for one who writes every element.
  static Tensor uninitialized(DType dtype, Shape shape);
  /// A copy of `values`, whose count must be that of `shape`.
  template <class T>
  static Tensor of(Shape shape, const std::vector<T>& values);
  template <class T>
  static Tensor scalar(T value) {
    return of<T>({}, std::vector<T>{value});
  }
  /// A sequence of these tensors.
  static Tensor sequence(std::vector<Tensor> elements);
  /// A map. `keys` [n] are integers or strings; `values` [n] may be a sequence. Throws
  /// Error(invalid_argument) where the counts differ.
  static Tensor map(Tensor keys, Tensor values);
  /// An optional that holds nothing.
  static Tensor none() { return Tensor(DType::none, {}); }
  /// Takes over memory of bytes_of(dtype, element_count(shape)) bytes, aligned to 64. Only for
  /// plain elements.
  static Tensor adopt(DType dtype, Shape shape, std::shared_ptr<void> data);
  /// Looks at memory that belongs to `owner` (kept alive), or, without an owner, to the caller, who
  /// must keep it alive and unchanged as long as any copy of this tensor lives. `data` holds
  /// bytes_of(dtype, element_count(shape)) bytes: std::string and Tensor objects where elements are
  /// not plain.
  static Tensor view(DType dtype, Shape shape, const void* data,
                     std::shared_ptr<const void> owner = nullptr);

  bool has_value() const noexcept { return dtype_ != DType::undefined; }
  DType dtype() const noexcept { return dtype_; }
  const Shape& shape() const noexcept { return shape_; }
  int rank() const noexcept { return static_cast<int>(shape_.size()); }
  /// Number of elements.
  std::int64_t size() const noexcept { return size_; }
  std::size_t bytes() const noexcept { return bytes_of(dtype_, size_); }
  /// False for a view of memory that the caller owns, and for a sequence that holds such a view.
  bool owns_data() const noexcept;
  /// This tensor, or a clone where it does not own its data: what may be kept.
  Tensor owned() const { return owns_data() ? *this : clone(); }

  const void* data() const noexcept { return data_.get(); }
  void* mutable_data();
  /// Typed access; throws Error(invalid_argument) where T is not the element type.
  template <class T>
  std::span<const T> values() const& {
    check_type(DTypeOf<T>::value);
    return {static_cast<const T*>(data()), static_cast<std::size_t>(size_)};
  }
  template <class T>
  std::span<const T> values() const&& = delete;  // the span would outlive the tensor
  template <class T>
  std::span<T> mutable_values() {
    check_type(DTypeOf<T>::value);
    return {static_cast<T*>(mutable_data()), static_cast<std::size_t>(size_)};
  }

  /// The same data under another shape with as many elements.
  Tensor reshaped(Shape shape) const;
  /// A deep copy that owns its data, that of a sequence's tensors included.
  Tensor clone() const;
  /// Every element converted to `dtype` as the ONNX operator Cast does it, saturating where that
  /// says so. Only for numbers and bools.
  Tensor to(DType dtype) const;

 private:
  void check_type(DType wanted) const;

  DType dtype_ = DType::undefined;
  bool owned_ = true;
  bool read_only_ = false;
  std::int64_t size_ = 0;
  Shape shape_;
  std::shared_ptr<void> data_;
};

template <>
struct DTypeOf<Tensor> {
  static constexpr DType value = DType::sequence;
};

template <class T>
Tensor Tensor::of(Shape shape, const std::vector<T>& values) {
  Tensor tensor = uninitialized(DTypeOf<T>::value, std::move(shape));
  if (static_cast<std::size_t>(tensor.size()) != values.size()) {
    throw Error(ErrorCode::invalid_argument, "the number of values does not fit the shape")
        .expected(std::to_string(tensor.size()) + " for shape " + to_string(tensor.shape()))
        .got(std::to_string(values.size()));
  }
  T* out = static_cast<T*>(tensor.mutable_data());
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return tensor;
}

}  // namespace mezzo
