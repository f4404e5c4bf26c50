#include "ops/unicode.h"

#include <clocale>
#include <cwctype>
#if defined(__APPLE__)
#include <xlocale.h>
#endif

namespace mezzo::ops {
namespace {

locale_t utf8_locale() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", locale_t{});
  return locale;
}

char32_t changed(char32_t c, bool to_upper) {
  if (c < 0x80) {
    if (to_upper && c >= 'a' && c <= 'z') return c - 'a' + 'A';
    if (!to_upper && c >= 'A' && c <= 'Z') return c - 'A' + 'a';
    return c;
  }
  const locale_t locale = utf8_locale();
  if (locale == locale_t{}) return c;
  const auto wide = static_cast<wint_t>(c);
  return static_cast<char32_t>(to_upper ? towupper_l(wide, locale) : towlower_l(wide, locale));
}

std::string changed(std::string_view text, bool to_upper) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    const bool valid = at - begin > 1 || static_cast<unsigned char>(text[begin]) < 0x80;
    if (valid) {
      append_utf8(changed(c, to_upper), result);
    } else {
      result += text[begin];
    }
  }
  return result;
}

}  // namespace

char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const std::size_t length = first < 0x80             ? 1
                             : (first & 0xE0) == 0xC0 ? 2
                             : (first & 0xF0) == 0xE0 ? 3
                             : (first & 0xF8) == 0xF0 ? 4
                                                      : 0;
  if (length < 2 || at + length > text.size()) {
    ++at;
    return first;
  }
  char32_t c = first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) {
      ++at;
      return first;
    }
    c = (c << 6) | (byte(at + i) & 0x3FU);
  }
  at += length;
  return c;
}

void append_utf8(char32_t c, std::string& text) {
  const auto add = [&](char32_t bits) { text += static_cast<char>(bits); };
  if (c < 0x80) return add(c);
  if (c < 0x800) {
    add(0xC0 | (c >> 6));
  } else {
    if (c < 0x10000) {
      add(0xE0 | (c >> 12));
    } else {
      add(0xF0 | (c >> 18));
      add(0x80 | ((c >> 12) & 0x3F));
    }
    add(0x80 | ((c >> 6) & 0x3F));
  }
  add(0x80 | (c & 0x3F));
}

std::string to_lower(std::string_view text) { return changed(text, false); }
std::string to_upper(std::string_view text) { return changed(text, true); }

}  // namespace mezzo::ops
