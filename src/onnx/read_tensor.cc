// TensorProto and SparseTensorProto.
//
// The data of a tensor is stored in one of three ways: as raw bytes, as a list of numbers in the
// field for its type, or in another file. Nothing is allocated before the stored data is known to
// be as long as shape and type say, and weights are only looked at where they must be converted.

#include <algorithm>
#include <limits>
#include <string_view>
#include <type_traits>

#include "onnx/fields.h"
#include "onnx/float6.h"
#include "onnx/read_parts.h"

namespace mezzo::onnx {
namespace {

namespace field = onnx::field::tensor;

const char* typed_field_name(std::uint32_t number) {
  switch (number) {
    case field::float_data:
      return "float_data";
    case field::double_data:
      return "double_data";
    case field::int64_data:
      return "int64_data";
    case field::uint64_data:
      return "uint64_data";
    case field::string_data:
      return "string_data";
    default:
      return "int32_data";
  }
}

// The field in which elements of that type stand as numbers.
std::uint32_t typed_field_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::c64:
      return field::float_data;
    case DType::f64:
    case DType::c128:
      return field::double_data;
    case DType::i64:
      return field::int64_data;
    case DType::u32:
    case DType::u64:
      return field::uint64_data;
    case DType::string:
      return field::string_data;
    default:
      return field::int32_data;
  }
}

class TensorReader {
 public:
  explicit TensorReader(Message message) : message_(message), whole_(message) {}

  NamedTensor read() {
    try {
      read_fields();
      check_shape();
      result_.tensor = data();
    } catch (Error& error) {
      if (!result_.name.empty()) error.add_place("tensor '" + result_.name + "'");
      throw;
    }
    return std::move(result_);
  }

 private:
  void read_fields();
  // Notes a data field without reading it.
  void note_typed_data();
  void check_shape();
  Tensor data();
  Tensor raw_data();
  Tensor external_data();
  Tensor typed_data();
  Tensor view(const char* bytes, std::shared_ptr<const void> owner) const;
  // Calls `decode` with a cursor on each piece of the typed field.
  template <class Fn>
  void each_piece(Fn&& decode);
  Tensor strings();
  template <class T>
  Tensor floats();
  template <class T>
  Tensor integers();
  Tensor bit_patterns();
  Error wrong_count(std::int64_t expected, std::int64_t got) const;

  Message message_;
  const Message whole_;  // not advanced, for the second look at typed data
  NamedTensor result_;
  Shape dims_;
  DType dtype_ = DType::undefined;
  std::int64_t count_ = 0;  // elements
  std::size_t bytes_ = 0;   // that they take in memory
  std::size_t stored_ = 0;  // that they take in raw_data or another file
  bool is_external_ = false;
  std::string_view raw_;
  std::uint32_t typed_field_ = 0;
  std::int64_t pieces_ = 0;      // of the typed field
  std::size_t piece_bytes_ = 0;  // of all pieces
  std::string_view packed_;      // the last piece, where it was packed
};

void TensorReader::read_fields() {
  StringPairs external;
  while (message_.next()) {
    switch (message_.field()) {
      case field::dims:
        message_.append_int64s(dims_);
        break;
      case field::data_type:
        dtype_ = read_dtype(message_, message_.int32());
        break;
      case field::segment:
        throw Error(ErrorCode::unsupported, "tensors in segments").at(message_.place());
      case field::float_data:
      case field::int32_data:
      case field::string_data:
      case field::int64_data:
      case field::double_data:
      case field::uint64_data:
        note_typed_data();
        break;
      case field::name:
        result_.name = message_.string();
        break;
      case field::raw_data:
        raw_ = message_.bytes();
        break;
      case field::doc_string:
        result_.doc_string = message_.string();
        break;
      case field::external_data:
        read_entry(message_.message("StringStringEntryProto"), external);
        break;
      case field::data_location: {
        const std::int64_t location = message_.int64();
        if (location != 0 && location != 1) {
          throw message_.damaged("an unknown data_location")
              .expected("0 (here) or 1 (external)")
              .got(std::to_string(location));
        }
        is_external_ = location == 1;
        break;
      }
      case field::metadata_props:
        read_entry(message_.message("StringStringEntryProto"), result_.metadata);
        break;
      default:
        message_.keep(result_.unknown);
    }
  }
  if (is_external_) result_.external = std::move(external);
}

void TensorReader::note_typed_data() {
  const std::uint32_t number = message_.field();
  std::size_t size = 1;  // an unpacked number takes at least a byte, and so does a string's length
  packed_ = {};
  if (message_.is_packed()) {
    packed_ = message_.bytes();
    if (number != field::string_data) size = packed_.size();
  } else {
    message_.skip();
  }
  if (size == 0) return;
  if (typed_field_ != 0 && typed_field_ != number) {
    throw message_.damaged("a tensor with data in two fields")
        .got(std::string(typed_field_name(typed_field_)) + " and " + typed_field_name(number));
  }
  typed_field_ = number;
  piece_bytes_ += size;
  ++pieces_;
}

void TensorReader::check_shape() {
  if (dtype_ == DType::undefined) throw whole_.damaged("a tensor without a data type");
  for (const std::int64_t extent : dims_) {
    if (extent < 0) {
      throw whole_.damaged("a tensor with a negative extent").got(to_string(dims_));
    }
  }
  try {
    count_ = element_count(dims_);
  } catch (const Error&) {
    count_ = std::numeric_limits<std::int64_t>::max();
  }
  constexpr std::int64_t kMaxElementBytes = std::max<std::int64_t>(16, sizeof(std::string));
  if (count_ > std::numeric_limits<std::int64_t>::max() / kMaxElementBytes) {
    throw whole_.damaged("a tensor whose size does not fit 64 bits").got(to_string(dims_));
  }
  bytes_ = bytes_of(dtype_, count_);
  stored_ = is_float6(dtype_) ? packed_float6_bytes(bytes_) : bytes_;
}

Tensor TensorReader::data() {
  if (is_external_ + !raw_.empty() + (typed_field_ != 0) > 1) {
    throw whole_.damaged("a tensor with data in two places");
  }
  if (is_external_) return external_data();
  if (typed_field_ != 0) return typed_data();
  if (dtype_ == DType::string && (count_ > 0 || !raw_.empty())) {
    throw whole_.damaged("a tensor of strings without string_data")
        .expected(std::to_string(count_) + " strings for shape " + to_string(dims_));
  }
  return raw_data();
}

Tensor TensorReader::raw_data() {
  if (raw_.size() != stored_) {
    throw whole_
        .damaged(raw_.empty() ? "a tensor without data" : "raw data that does not fit the shape")
        .expected(std::to_string(stored_) + " bytes for " + std::string(name_of(dtype_)) +
                  to_string(dims_))
        .got(std::to_string(raw_.size()));
  }
  return view(raw_.data(), whole_.source().owner);
}

Tensor TensorReader::external_data() {
  if (dtype_ == DType::string) throw whole_.damaged("strings as external data");
  const ExternalFiles::Bytes found = whole_.source().external->find(result_.external, stored_);
  return view(found.data, found.owner);
}

Tensor TensorReader::view(const char* bytes, std::shared_ptr<const void> owner) const {
  if (count_ == 0) return Tensor(dtype_, dims_);
  const auto is_bool = [](char byte) { return byte == 0 || byte == 1; };
  if (dtype_ == DType::boolean && !std::all_of(bytes, bytes + bytes_, is_bool)) {
    // Other values than 0 and 1 are no bools in C++; such tensors are rare.
    Tensor tensor = Tensor::uninitialized(dtype_, dims_);
    bool* out = tensor.mutable_values<bool>().data();
    for (std::size_t i = 0; i < bytes_; ++i) out[i] = bytes[i] != 0;
    return tensor;
  }
  if (is_float6(dtype_)) {
    Tensor tensor = Tensor::uninitialized(dtype_, dims_);
    unpack_float6(bytes, bytes_, tensor.mutable_data());
    return tensor;
  }
  return Tensor::view(dtype_, dims_, bytes, std::move(owner));
}

Tensor TensorReader::typed_data() {
  const std::uint32_t wanted = typed_field_of(dtype_);
  if (typed_field_ != wanted) {
    throw whole_.damaged("a tensor's data in the field of another type")
        .expected(std::string(typed_field_name(wanted)) + " for " + std::string(name_of(dtype_)))
        .got(typed_field_name(typed_field_));
  }
  switch (dtype_) {
    case DType::string:
      return strings();
    case DType::f32:
    case DType::c64:
      return floats<float>();
    case DType::f64:
    case DType::c128:
      return floats<double>();
    case DType::i64:
    case DType::u64:
      return integers<std::uint64_t>();
    case DType::u32:
      return integers<std::uint32_t>();
    case DType::i32:
      return integers<std::int32_t>();
    default:
      return bit_patterns();
  }
}

template <class Fn>
void TensorReader::each_piece(Fn&& decode) {
  Message message = whole_;
  while (message.next()) {
    if (message.field() == typed_field_) {
      decode(message);
    } else {
      message.skip();
    }
  }
}

Tensor TensorReader::strings() {
  if (pieces_ != count_) throw wrong_count(count_, pieces_);
  Tensor tensor(dtype_, dims_);
  std::string* out = tensor.mutable_values<std::string>().data();
  each_piece([&](Message& message) { *out++ = message.string(); });
  return tensor;
}

template <class T>
Tensor TensorReader::floats() {
  const bool is_complex = dtype_ == DType::c64 || dtype_ == DType::c128;
  const std::int64_t wanted = is_complex ? 2 * count_ : count_;
  // A single packed piece has the layout of raw data.
  if (pieces_ == 1 && !packed_.empty() && packed_.size() == bytes_) {
    return view(packed_.data(), whole_.source().owner);
  }
  std::int64_t got = 0;
  each_piece([&](Message& message) { message.each_fixed<T>([&](T) { ++got; }); });
  if (got != wanted) throw wrong_count(wanted, got);
  Tensor tensor = Tensor::uninitialized(dtype_, dims_);
  T* out = static_cast<T*>(tensor.mutable_data());
  each_piece([&](Message& message) { message.each_fixed<T>([&](T value) { *out++ = value; }); });
  return tensor;
}

template <class T>
Tensor TensorReader::integers() {
  // Every number takes a byte at least, so that this bounds the memory by the file's size.
  if (static_cast<std::uint64_t>(count_) > piece_bytes_) {
    throw wrong_count(count_, static_cast<std::int64_t>(piece_bytes_));
  }
  Tensor tensor = Tensor::uninitialized(dtype_, dims_);
  T* const out = static_cast<T*>(tensor.mutable_data());
  std::int64_t got = 0;
  each_piece([&](Message& message) {
    message.each_varint([&](std::uint64_t value) {
      if (std::is_same_v<T, std::uint32_t> && value > std::numeric_limits<std::uint32_t>::max()) {
        throw message.damaged("a number that is out of range for uint32")
            .got(std::to_string(value));
      }
      if (got < count_) out[got] = static_cast<T>(value);
      ++got;
    });
  });
  if (got != count_) throw wrong_count(count_, got);
  return tensor;
}

// Types of 16 bits and less: each int32 holds one element's bits, or a byte of packed elements
// (those of 6 bits are not packed here).
Tensor TensorReader::bit_patterns() {
  const std::size_t width = bits_of(dtype_) == 16 ? 2 : 1;
  const auto wanted = static_cast<std::int64_t>(bytes_ / width);
  if (static_cast<std::uint64_t>(wanted) > piece_bytes_) {
    throw wrong_count(wanted, static_cast<std::int64_t>(piece_bytes_));
  }
  Tensor tensor = Tensor::uninitialized(dtype_, dims_);
  auto* const out = static_cast<unsigned char*>(tensor.mutable_data());
  // Signed and unsigned readings of the same bits are both in use.
  const std::int32_t lowest = is_float6(dtype_) ? 0 : width == 2 ? -0x8000 : -0x80;
  const std::int32_t highest = is_float6(dtype_) ? 0x3F : width == 2 ? 0xFFFF : 0xFF;
  std::int64_t got = 0;
  each_piece([&](Message& message) {
    message.each_varint([&](std::uint64_t encoded) {
      const auto value = static_cast<std::int32_t>(encoded);
      if (value < lowest || value > highest) {
        throw message.damaged("a number that is out of range for " + std::string(name_of(dtype_)))
            .got(std::to_string(value));
      }
      if (got < wanted) {
        const auto bits = static_cast<std::uint32_t>(dtype_ == DType::boolean ? value != 0 : value);
        for (std::size_t i = 0; i < width; ++i) {
          out[static_cast<std::size_t>(got) * width + i] =
              static_cast<unsigned char>(bits >> (8 * i));
        }
      }
      ++got;
    });
  });
  if (got != wanted) throw wrong_count(wanted, got);
  return tensor;
}

Error TensorReader::wrong_count(std::int64_t expected, std::int64_t got) const {
  return whole_
      .damaged(std::string(typed_field_name(typed_field_)) + " that does not fit the shape")
      .expected(std::to_string(expected) + " values for " + std::string(name_of(dtype_)) +
                to_string(dims_))
      .got(std::to_string(got));
}

}  // namespace

NamedTensor read_tensor(Message message) { return TensorReader(message).read(); }

SparseTensor read_sparse_tensor(Message message) {
  namespace sparse = onnx::field::sparse_tensor;
  SparseTensor result;
  while (message.next()) {
    switch (message.field()) {
      case sparse::values:
        result.values = read_tensor(message.message("TensorProto"));
        break;
      case sparse::indices:
        result.indices = read_tensor(message.message("TensorProto"));
        break;
      case sparse::dims:
        message.append_int64s(result.dims);
        break;
      default:
        message.keep(result.unknown);
    }
  }
  if (!result.values.tensor.has_value() || !result.indices.tensor.has_value()) {
    throw message.damaged("a sparse tensor without values or indices");
  }
  return result;
}

DType read_dtype(const Message& message, std::int64_t number) {
  if (number < 0 || number >= kDTypeCount) {
    throw message.damaged("an unknown element type")
        .expected("a TensorProto.DataType, 1 to " + std::to_string(kDTypeCount - 1))
        .got(std::to_string(number));
  }
  return static_cast<DType>(number);
}

}  // namespace mezzo::onnx
