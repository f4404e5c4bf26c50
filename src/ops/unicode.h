// UTF-8 and letter case, for the string operators.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mezzo::ops {

/// The code point that starts at `text[at]`, which is moved behind it. A byte that starts no valid
/// one stands for itself.
char32_t next_code_point(std::string_view text, std::size_t& at);
/// Appends a code point as UTF-8.
void append_utf8(char32_t code_point, std::string& text);

/// Every letter in lower (upper) case, one for one, as the C library's C.UTF-8 locale knows them;
/// ASCII letters only where it has no such locale.
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);

}  // namespace mezzo::ops
