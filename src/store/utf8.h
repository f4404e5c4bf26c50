// UTF-8 (RFC 3629) and code points.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mezzo::store {

/// Whether `code` is a character of Unicode: in its range and no surrogate.
bool is_code_point(char32_t code) noexcept;
/// Appends `code`, for which `is_code_point` holds.
void append_utf8(std::string& text, char32_t code);
/// The characters of `text`, or nothing where it is not UTF-8: overlong forms and surrogates are
/// refused.
std::optional<std::u32string> to_utf32(std::string_view text);
/// 'text', for a message: what is not UTF-8 or is a control character becomes \xNN, so that a
/// message is text always.
std::string quoted(std::string_view text);

}  // namespace mezzo::store
