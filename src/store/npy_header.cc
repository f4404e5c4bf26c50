#include "store/npy_header.h"

#include <charconv>
#include <cstdint>

#include "base/shape.h"
#include "mezzo/error.h"
#include "store/utf8.h"

namespace mezzo::store {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kHeaderAlignment = 64;  // numpy.lib.format.ARRAY_ALIGN
constexpr std::size_t kMaxRank = 64;          // NumPy 2's NPY_MAXDIMS

Error damaged(const std::string& problem) {
  return Error(ErrorCode::file_error, "damaged .npy header: " + problem);
}

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

// Reads the Python literal that the header is. NumPy says it is a dictionary of these three keys,
// in any order.
class DictionaryParser {
 public:
  explicit DictionaryParser(std::string_view text) : rest_(text) {}

  void parse(NpyHeader& header) {
    expect('{');
    bool has_descr = false, has_order = false, has_shape = false;
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      bool* has = nullptr;
      if (key == "descr") {
        has = &has_descr;
        parse_descr(header);
      } else if (key == "fortran_order") {
        has = &has_order;
        header.fortran_order = boolean();
      } else if (key == "shape") {
        has = &has_shape;
        header.shape = tuple();
      } else {
        throw damaged("an unknown key").got(quoted(key));
      }
      if (*has) throw damaged("a key twice").got(quoted(key));
      *has = true;
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!has_descr || !has_order || !has_shape) {
      throw damaged("a key is missing").expected("descr, fortran_order and shape");
    }
    skip_spaces();
    if (!rest_.empty()) throw damaged("something follows the dictionary");
  }

 private:
  void skip_spaces() {
    const std::size_t end = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end);
  }

  bool accept(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  bool accept(char token) { return accept(std::string_view(&token, 1)); }

  void expect(char token) {
    if (accept(token)) return;
    throw damaged("no dictionary of descr, fortran_order and shape")
        .expected(std::string("'") + token + "'")
        .got(rest_.empty() ? "the end" : quoted(rest_.substr(0, 20)));
  }

  std::string_view string() {
    skip_spaces();
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const std::size_t end = rest_.find(quote);
    if (end == std::string_view::npos) throw damaged("a string without an end");
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool boolean() {
    if (accept("True")) return true;
    if (accept("False")) return false;
    throw damaged("fortran_order is neither True nor False");
  }

  template <class Integer>
  Integer number(const char* what) {
    skip_spaces();
    Integer value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error == std::errc::result_out_of_range) {
      throw Error(ErrorCode::limit, std::string(what) + " that does not fit 64 bits");
    }
    if (error != std::errc() || value < 0) throw damaged(std::string(what) + " is no number");
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    accept('L');  // a Python 2 long
    return value;
  }

  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      shape.push_back(number<std::int64_t>("an extent"));
      if (shape.size() > kMaxRank) {
        throw Error(ErrorCode::limit, "too many axes").expected("at most 64");
      }
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  void parse_descr(NpyHeader& header) {
    skip_spaces();
    if (rest_.starts_with('[')) {
      throw Error(ErrorCode::unsupported, "an array of records is no tensor")
          .hint("Save one field, as in np.save(path, array['field']).");
    }
    const std::string_view descr = string();
    const auto unsupported = [&] {
      return Error(ErrorCode::unsupported, "an element type that no tensor has").got(quoted(descr));
    };
    std::string_view rest = descr;
    header.big_endian = rest.starts_with('>');
    if (rest.starts_with('<') || rest.starts_with('>') || rest.starts_with('|') ||
        rest.starts_with('=')) {
      rest.remove_prefix(1);
    }
    if (rest.starts_with('O')) {
      throw unsupported().hint(
          "Objects are stored as Python code; convert them first, as in array.astype(str).");
    }
    if (rest.empty() || std::string_view("fiubcUSV").find(rest[0]) == std::string_view::npos) {
      throw unsupported();
    }
    header.kind = rest[0];
    rest.remove_prefix(1);
    std::size_t size = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
    if (error != std::errc() || end != rest.data() + rest.size() || size > INT32_MAX) {
      throw unsupported();
    }
    header.item_size = header.kind == 'U' ? 4 * size : size;
    // NumPy never writes these (it makes empty strings one character wide); a shape of any size
    // would fit in no bytes.
    if (size == 0) throw damaged("elements of no bytes").got(quoted(descr));
  }

  std::string_view rest_;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view file) {
  if (!file.starts_with(kMagic) || file.size() < kMagic.size() + 2) {
    throw Error(ErrorCode::file_error, "not a .npy file").expected("'\\x93NUMPY' at its start");
  }
  const int version = static_cast<unsigned char>(file[kMagic.size()]);
  if (version < 1 || version > 3) {
    throw Error(ErrorCode::unsupported, "an unknown version of the .npy format")
        .expected("1, 2 or 3")
        .got(std::to_string(version));
  }
  const std::size_t length_size = version == 1 ? 2 : 4;
  const std::size_t begin = kMagic.size() + 2 + length_size;
  if (file.size() < begin) throw damaged("cut short");
  const std::size_t length = little_endian(file.substr(kMagic.size() + 2, length_size));
  if (length > file.size() - begin) {
    throw damaged("cut short")
        .expected(std::to_string(length) + " bytes")
        .got(std::to_string(file.size() - begin));
  }
  NpyHeader header;
  DictionaryParser(file.substr(begin, length)).parse(header);
  header.data_begin = begin + length;
  return header;
}

std::string make_npy_header(std::string_view descr, const Shape& shape) {
  std::string text = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  text += shape.size() == 1 ? ",), }" : "), }";

  // Spaces and a line feed fill it up, as the format says.
  std::size_t begin = kMagic.size() + 4;
  const auto padded_size = [&] {
    return (begin + text.size() + kHeaderAlignment) / kHeaderAlignment * kHeaderAlignment;
  };
  const bool long_header = padded_size() - begin > UINT16_MAX;
  if (long_header) begin += 2;
  const std::size_t length = padded_size() - begin;

  std::string header(kMagic);
  header += {static_cast<char>(long_header ? 2 : 1), '\0'};
  for (std::size_t i = 0; i < (long_header ? 4u : 2u); ++i) {
    header += static_cast<char>(length >> 8 * i & 0xFF);
  }
  header += text;
  header.append(begin + length - header.size() - 1, ' ');
  return header + '\n';
}

}  // namespace mezzo::store
