// How --help looks.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace mezzo::cli {

/// CLI11's own layout, with descriptions broken into lines, and without what it adds to an option's
/// placeholder (the words that are allowed stand in the description).
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(28); }
  std::string make_option_desc(const CLI::Option* option) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_subcommand(const CLI::App* command) const override;
};

}  // namespace mezzo::cli
