#include "store/npy.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "base/mapped_file.h"
#include "base/memory.h"
#include "base/shape.h"
#include "mezzo/error.h"
#include "store/new_file.h"
#include "store/npy_header.h"
#include "store/utf8.h"

namespace mezzo::store {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they are");

// ---- reading

// Bytes of one element where every element takes whole bytes.
std::size_t unpacked_size(DType dtype) {
  return static_cast<std::size_t>(std::max(bits_of(dtype), 8)) / 8;
}

// The types that NumPy has itself, by kind and size.
DType plain_type(char kind, std::size_t size) {
  struct Row {
    char kind;
    std::size_t size;
    DType dtype;
  };
  // 'f1' is what ml_dtypes says of its float8_e5m2.
  constexpr Row kRows[] = {
      {'f', 1, DType::f8e5m2},  {'f', 2, DType::f16}, {'f', 4, DType::f32},   {'f', 8, DType::f64},
      {'i', 1, DType::i8},      {'i', 2, DType::i16}, {'i', 4, DType::i32},   {'i', 8, DType::i64},
      {'u', 1, DType::u8},      {'u', 2, DType::u16}, {'u', 4, DType::u32},   {'u', 8, DType::u64},
      {'b', 1, DType::boolean}, {'c', 8, DType::c64}, {'c', 16, DType::c128},
  };
  for (const Row& row : kRows) {
    if (row.kind == kind && row.size == size) return row.dtype;
  }
  return DType::undefined;
}

bool is_signed(DType dtype) { return dtype == DType::i4 || dtype == DType::i2; }

// Whether a file of `stored` (int8 or uint8) holds the numbers of `expected`, a type of fewer bits.
bool widened(DType stored, DType expected) {
  return is_signed(expected)
             ? stored == DType::i8
             : (expected == DType::u4 || expected == DType::u2) && stored == DType::u8;
}

// The type of the tensor that is read.
DType type_of(const NpyHeader& header, DType expected) {
  if (header.kind == 'U' || header.kind == 'S') return DType::string;
  if (header.kind == 'V') {
    if (expected == DType::undefined || expected == DType::string) {
      throw Error(ErrorCode::unsupported, "raw bytes whose type the file does not say")
          .hint("Feed them where the type is known, or save them as float32.");
    }
    if (unpacked_size(expected) != header.item_size) {
      throw Error(ErrorCode::invalid_argument, "raw elements of another size")
          .expected(std::to_string(unpacked_size(expected)) + " bytes for " +
                    std::string(name_of(expected)))
          .got(std::to_string(header.item_size));
    }
    return expected;
  }
  const DType dtype = plain_type(header.kind, header.item_size);
  if (dtype == DType::undefined) {
    throw Error(ErrorCode::unsupported, "an element type that no tensor has")
        .got(std::string("'") + header.kind + std::to_string(header.item_size) + "'");
  }
  return widened(dtype, expected) ? expected : dtype;
}

// Column-major elements put in row-major order.
std::vector<char> to_row_major(std::string_view data, const Shape& shape, std::size_t item_size) {
  std::vector<char> result(data.size());
  const std::size_t rank = shape.size();
  std::vector<std::size_t> strides(rank);  // of the source, in bytes
  std::size_t stride = item_size;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    strides[axis] = stride;
    stride *= static_cast<std::size_t>(shape[axis]);
  }
  Shape index(rank, 0);
  std::size_t from = 0;
  for (std::size_t to = 0; to < data.size(); to += item_size) {
    std::memcpy(&result[to], &data[from], item_size);
    for (std::size_t axis = rank; axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * static_cast<std::size_t>(shape[axis]);
      index[axis] = 0;
    }
  }
  return result;
}

void reverse_bytes(char* data, std::size_t bytes, std::size_t unit) {
  for (std::size_t i = 0; i < bytes; i += unit) std::reverse(data + i, data + i + unit);
}

void read_strings(std::string_view data, const NpyHeader& header, std::span<std::string> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::string_view cell = data.substr(i * header.item_size, header.item_size);
    if (header.kind == 'S') {
      const std::size_t last = cell.find_last_not_of('\0');
      out[i] = cell.substr(0, last == std::string_view::npos ? 0 : last + 1);
      continue;
    }
    std::u32string codes(cell.size() / 4, U'\0');
    std::memcpy(codes.data(), cell.data(), cell.size());
    codes.resize(codes.find_last_not_of(U'\0') + 1);  // npos + 1 is 0
    for (char32_t code : codes) {
      if (header.big_endian) code = __builtin_bswap32(code);
      if (!is_code_point(code)) {
        throw Error(ErrorCode::file_error, "damaged .npy file: no Unicode character")
            .at("element " + std::to_string(i))
            .got(std::to_string(static_cast<std::uint32_t>(code)));
      }
      append_utf8(out[i], code);
    }
  }
}

// Elements of fewer than 8 bits, one a byte in `data`, packed the lowest bits first.
void pack(std::string_view data, bool numbers, DType dtype, char* out) {
  const auto bits = static_cast<unsigned>(bits_of(dtype));
  const unsigned per_byte = 8 / bits, mask = (1u << bits) - 1;
  std::memset(out, 0, bytes_of(dtype, static_cast<std::int64_t>(data.size())));
  for (std::size_t i = 0; i < data.size(); ++i) {
    const unsigned element = static_cast<unsigned char>(data[i]);
    if (numbers) {
      const int value = is_signed(dtype) ? static_cast<signed char>(data[i])
                                         : static_cast<unsigned char>(data[i]);
      const int least = is_signed(dtype) ? -(1 << (bits - 1)) : 0;
      if (value < least || value > least + static_cast<int>(mask)) {
        throw Error(ErrorCode::invalid_argument, "a number that the element type cannot hold")
            .at("element " + std::to_string(i))
            .expected(std::string(name_of(dtype)))
            .got(std::to_string(value));
      }
    }
    out[i / per_byte] = static_cast<char>(static_cast<unsigned char>(out[i / per_byte]) |
                                          (element & mask) << (i % per_byte * bits));
  }
}

// ---- writing

std::string plain_descr(DType dtype) {
  const std::string size = std::to_string(unpacked_size(dtype));
  switch (dtype) {
    case DType::f16:
    case DType::f32:
    case DType::f64:
      return "<f" + size;
    case DType::i16:
    case DType::i32:
    case DType::i64:
      return "<i" + size;
    case DType::u16:
    case DType::u32:
    case DType::u64:
      return "<u" + size;
    case DType::c64:
    case DType::c128:
      return "<c" + size;
    case DType::bf16:
      return "<V2";
    case DType::boolean:
      return "|b1";
    case DType::i8:
    case DType::i4:
    case DType::i2:
      return "|i1";
    case DType::u8:
    case DType::u4:
    case DType::u2:
      return "|u1";
    default:
      return "|V1";
  }
}

// Zeros for `encoding.data` to look at.
char* make_buffer(NpyEncoding& encoding, std::size_t size) {
  const std::shared_ptr<void> buffer = allocate(size);
  char* bytes = static_cast<char*>(buffer.get());
  std::fill_n(bytes, size, '\0');
  encoding.buffer = buffer;
  encoding.data = {bytes, size};
  return bytes;
}

// The inverse of `pack`; int4 and int2 get their sign.
void unpack(const Tensor& tensor, char* out) {
  const auto* data = static_cast<const unsigned char*>(tensor.data());
  const auto bits = static_cast<unsigned>(bits_of(tensor.dtype()));
  const unsigned per_byte = 8 / bits, mask = (1u << bits) - 1, sign = 1u << (bits - 1);
  for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.size()); ++i) {
    const unsigned element = data[i / per_byte] >> (i % per_byte * bits) & mask;
    out[i] = static_cast<char>(is_signed(tensor.dtype()) ? (element ^ sign) - sign : element);
  }
}

NpyEncoding encode_strings(const Tensor& tensor) {
  const std::span<const std::string> strings = tensor.values<std::string>();
  std::vector<std::u32string> codes;
  codes.reserve(strings.size());
  std::size_t characters = 1, bytes = 1;  // NumPy has no strings of width 0
  bool unicode = true;
  for (std::size_t i = 0; i < strings.size(); ++i) {
    if (strings[i].ends_with('\0')) {
      throw Error(ErrorCode::unsupported, "a string that ends in a zero character")
          .at("element " + std::to_string(i))
          .hint("The .npy format cannot tell such a character from its filling.");
    }
    bytes = std::max(bytes, strings[i].size());
    if (!unicode) continue;
    std::optional<std::u32string> decoded = to_utf32(strings[i]);
    unicode = decoded.has_value();
    if (!unicode) continue;
    characters = std::max(characters, decoded->size());
    codes.push_back(std::move(*decoded));
  }
  const std::size_t width = unicode ? characters : bytes, item_size = unicode ? 4 * width : width;
  const std::int64_t total = checked_mul(tensor.size(), static_cast<std::int64_t>(item_size));
  NpyEncoding encoding;
  encoding.header =
      make_npy_header((unicode ? "<U" : "|S") + std::to_string(width), tensor.shape());
  char* out = make_buffer(encoding, static_cast<std::size_t>(total));
  for (std::size_t i = 0; i < strings.size(); ++i) {
    char* cell = out + i * item_size;
    if (unicode) {
      std::memcpy(cell, codes[i].data(), 4 * codes[i].size());
    } else {
      std::memcpy(cell, strings[i].data(), strings[i].size());
    }
  }
  return encoding;
}

}  // namespace

Tensor decode_npy(std::string_view bytes, DType expected) {
  const NpyHeader header = parse_npy_header(bytes);
  const DType dtype = type_of(header, expected);
  const std::int64_t size =
      checked_mul(element_count(header.shape), static_cast<std::int64_t>(header.item_size));
  std::string_view data = bytes.substr(header.data_begin);
  // More may follow: NumPy lets one file hold several arrays, one after the other, and reads the
  // first.
  if (static_cast<std::uint64_t>(size) > data.size()) {
    throw Error(ErrorCode::file_error, "damaged .npy file: cut short")
        .expected(std::to_string(size) + " bytes for shape " + to_string(header.shape))
        .got(std::to_string(data.size()));
  }
  data = data.substr(0, static_cast<std::size_t>(size));
  std::vector<char> row_major;
  if (header.fortran_order && header.shape.size() > 1) {
    row_major = to_row_major(data, header.shape, header.item_size);
    data = {row_major.data(), row_major.size()};
  }

  Tensor tensor = Tensor::uninitialized(dtype, header.shape);
  if (data.empty()) return tensor;
  if (dtype == DType::string) {
    read_strings(data, header, tensor.mutable_values<std::string>());
    return tensor;
  }
  char* out = static_cast<char*>(tensor.mutable_data());
  if (bits_of(dtype) < 8) {
    pack(data, header.kind != 'V', dtype, out);
    return tensor;
  }
  std::memcpy(out, data.data(), data.size());
  if (header.big_endian) {
    const bool complex = header.kind == 'c';
    reverse_bytes(out, data.size(), complex ? header.item_size / 2 : header.item_size);
  }
  if (dtype == DType::boolean) {
    // Any byte may be in the file, but a bool of another value than 0 and 1 must not be read.
    for (std::size_t i = 0; i < data.size(); ++i) out[i] = out[i] != 0;
  }
  return tensor;
}

Tensor read_npy(const std::string& path, DType expected) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  try {
    return decode_npy({file->data(), file->size()}, expected);
  } catch (Error& error) {
    error.add_place("'" + path + "'");
    throw;
  }
}

NpyEncoding encode_npy(const Tensor& tensor) {
  if (!tensor.has_value()) {
    throw Error(ErrorCode::invalid_argument, "there is no tensor to store");
  }
  if (tensor.dtype() == DType::string) return encode_strings(tensor);
  NpyEncoding encoding;
  encoding.header = make_npy_header(plain_descr(tensor.dtype()), tensor.shape());
  if (bits_of(tensor.dtype()) < 8) {
    unpack(tensor, make_buffer(encoding, static_cast<std::size_t>(tensor.size())));
  } else {
    encoding.data = {static_cast<const char*>(tensor.data()), tensor.bytes()};
  }
  return encoding;
}

void write_npy(const std::string& path, const Tensor& tensor) {
  const NpyEncoding encoding = encode_npy(tensor);
  NewFile file(path);
  file.write(encoding.header);
  file.write(encoding.data);
  file.commit();
}

}  // namespace mezzo::store
