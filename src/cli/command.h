// The program's subcommands: each adds itself, with its options and what it does, in its own file.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "mezzo/model.h"

namespace mezzo::cli {

void add_run(CLI::App& program);
void add_features(CLI::App& program);
void add_inspect(CLI::App& program);
void add_explain(CLI::App& program);
void add_bench(CLI::App& program);
void add_extract(CLI::App& program);
void add_expose(CLI::App& program);
void add_ops(CLI::App& program);

/// The command line is wrong: the program says so and ends with status 2.
[[noreturn]] inline void fail_usage(const std::string& problem) {
  throw CLI::ParseError(problem, CLI::ExitCodes::InvalidError);
}

/// An option that may be given several times, a value each. A value such as [-2] stays as it is:
/// CLI11 would otherwise take it for a list.
template <class T>
CLI::Option* add_repeated(CLI::App& command, const std::string& name, T& values,
                          const std::string& help) {
  return command.add_option(name, values, help)->allow_extra_args(false);
}

/// The options of a subcommand that writes a model: where to, and how.
inline void add_saving(CLI::App& command, std::string& out, SaveOptions& options) {
  command.add_option("-o,--out", out, "The file to write")->required()->type_name("FILE");
  command.add_flag("--external-data", options.external_data,
                   "Put large initializers into a second file, FILE.data");
}

}  // namespace mezzo::cli
