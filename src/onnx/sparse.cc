// SparseTensorProto, expanded.

#include <algorithm>
#include <cstring>
#include <string>

#include "base/convert.h"
#include "base/memory.h"
#include "onnx/model.h"

namespace mezzo::onnx {
namespace {

// A few bytes of a file can ask for any dense size. A dense tensor in the file itself could have no
// more than this: it is protobuf's limit.
constexpr std::size_t kMaxDenseBytes = std::size_t{1} << 31;

Error invalid(std::string problem) { return Error(ErrorCode::invalid_model, std::move(problem)); }

std::int64_t dense_size(const SparseTensor& sparse) {
  for (const std::int64_t extent : sparse.dims) {
    if (extent < 0) throw invalid("a negative extent").got(to_string(sparse.dims));
  }
  const std::int64_t count = element_count(sparse.dims);
  const std::size_t limit = std::min(kMaxDenseBytes, allocation_limit());
  const std::size_t per_element = bytes_of(sparse.values.tensor.dtype(), 1);
  if (static_cast<std::uint64_t>(count) > limit / std::max<std::size_t>(per_element, 1)) {
    throw Error(ErrorCode::limit, "the dense form is too large")
        .expected("at most " + std::to_string(limit) + " bytes")
        .got(std::string(name_of(sparse.values.tensor.dtype())) + to_string(sparse.dims));
  }
  return count;
}

// Positions in the dense tensor, checked to be in range.
class Positions {
 public:
  Positions(const SparseTensor& sparse, std::int64_t dense_count)
      : dims_(sparse.dims), dense_count_(dense_count) {
    const Tensor& values = sparse.values.tensor;
    const Tensor& indices = sparse.indices.tensor;
    if (values.rank() != 1) {
      throw invalid("the values are no list").expected("rank 1").got(to_string(values.shape()));
    }
    if (indices.dtype() != DType::i64) {
      throw invalid("the indices have the wrong type")
          .expected("int64")
          .got(std::string(name_of(indices.dtype())));
    }
    const auto rank = static_cast<std::int64_t>(dims_.size());
    linear_ = indices.rank() == 1;
    const Shape wanted = linear_ ? Shape{values.size()} : Shape{values.size(), rank};
    if (indices.shape() != wanted) {
      throw invalid("the indices do not fit values and dims")
          .expected(to_string({values.size()}) + " or " + to_string({values.size(), rank}))
          .got(to_string(indices.shape()));
    }
    data_ = static_cast<const char*>(indices.data());
  }

  std::int64_t at(std::int64_t item) const {
    if (linear_) return checked(index(item), dense_count_, item);
    const auto rank = static_cast<std::int64_t>(dims_.size());
    std::int64_t position = 0;
    for (std::int64_t axis = 0; axis < rank; ++axis) {
      const std::int64_t extent = dims_[static_cast<std::size_t>(axis)];
      position = position * extent + checked(index(item * rank + axis), extent, item);
    }
    return position;
  }

 private:
  std::int64_t index(std::int64_t i) const {  // indices may lie misaligned in a file
    std::int64_t value;
    std::memcpy(&value, data_ + i * 8, sizeof(value));
    return value;
  }

  static std::int64_t checked(std::int64_t index, std::int64_t extent, std::int64_t item) {
    if (index < 0 || index >= extent) {
      throw invalid("index " + std::to_string(item) + " is out of range")
          .expected("0 to " + std::to_string(extent - 1))
          .got(std::to_string(index));
    }
    return index;
  }

  const Shape& dims_;
  std::int64_t dense_count_;
  const char* data_ = nullptr;
  bool linear_ = false;
};

Tensor expand(const SparseTensor& sparse) {
  const Tensor& values = sparse.values.tensor;
  if (!values.has_value() || !sparse.indices.tensor.has_value()) {
    throw invalid("values or indices are missing");
  }
  const Positions positions(sparse, dense_size(sparse));
  Tensor dense(values.dtype(), sparse.dims);
  if (values.size() == 0) return dense;
  char* const out = static_cast<char*>(dense.mutable_data());
  const auto* const in = static_cast<const char*>(values.data());
  const bool is_string = values.dtype() == DType::string;
  const int bits = bits_of(values.dtype());
  const std::size_t size = bytes_of(values.dtype(), 1);
  std::int64_t previous = -1;
  for (std::int64_t i = 0; i < values.size(); ++i) {
    const std::int64_t position = positions.at(i);
    if (position <= previous) {
      throw invalid("the indices are not in ascending order, or repeated")
          .at("index " + std::to_string(i));
    }
    previous = position;
    if (is_string) {
      static_cast<std::string*>(dense.mutable_data())[position] =
          values.values<std::string>()[static_cast<std::size_t>(i)];
    } else if (bits < 8) {
      write_packed(values.dtype(), out, position, read_packed(values.dtype(), in, i));
    } else {
      std::memcpy(out + static_cast<std::size_t>(position) * size,
                  in + static_cast<std::size_t>(i) * size, size);
    }
  }
  return dense;
}

}  // namespace

Tensor SparseTensor::dense() const {
  try {
    return expand(*this);
  } catch (Error& error) {
    error.add_place("sparse tensor '" + values.name + "'");
    throw;
  }
}

}  // namespace mezzo::onnx
