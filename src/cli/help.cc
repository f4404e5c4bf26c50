#include "cli/help.h"

#include <sstream>

namespace mezzo::cli {
namespace {

// What is left of 100 columns beside the options' names.
constexpr std::size_t kWidth = 68;

std::string wrapped(const std::string& text) {
  std::istringstream words(text);
  std::string result, word;
  std::size_t column = 0;
  while (words >> word) {
    const bool breaks = column > 0 && column + 1 + word.size() > kWidth;
    if (column > 0) result += breaks ? "\n" : " ";
    column = breaks || column == 0 ? word.size() : column + 1 + word.size();
    result += word;
  }
  return result;
}

}  // namespace

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  return wrapped(option->get_description());
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_positional() || option->get_type_size() == 0) return "";
  const std::string type = option->get_type_name();
  return " " + type.substr(0, type.find(':'));
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  std::ostringstream out;
  CLI::detail::format_help(out, command->get_name(), wrapped(command->get_description()),
                           column_width_);
  return out.str();
}

}  // namespace mezzo::cli
