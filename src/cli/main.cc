// The program `mezzo`. What its exit statuses mean stands in docs/cli.md.
#include <csignal>
#include <iostream>
#include <memory>
#include <new>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/text.h"
#include "mezzo/error.h"

namespace mezzo::cli {
namespace {

enum ExitStatus {
  kDone = 0,
  kNotPossible = 1,  // the request cannot be met
  kWrongUsage = 2,
  kBadFile = 3,
  kInternal = 4,
};

constexpr const char* kExitStatuses =
    "Exit status:\n"
    "  0  done\n"
    "  1  the request cannot be met: a name, shape, type or option, an operator that is\n"
    "     not supported, contents that an operator refuses, a limit\n"
    "  2  wrong usage of the command line\n"
    "  3  a file is missing, damaged or cannot be written\n"
    "  4  a defect of mezzo itself; please report it\n\n"
    "mezzo COMMAND --help tells a command's options.";

ExitStatus status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::missing_input:
    case ErrorCode::cancelled:
    case ErrorCode::unsupported:
    case ErrorCode::limit:
    case ErrorCode::runtime:
      return kNotPossible;
    case ErrorCode::file_error:
    case ErrorCode::damaged_file:
    case ErrorCode::invalid_model:
      return kBadFile;
    case ErrorCode::internal:
      break;
  }
  return kInternal;
}

ExitStatus say(ExitStatus status, const std::string& problem) {
  std::cout.flush();  // what was printed comes first, also where both go to one file
  std::cerr << "mezzo: " << printable(problem) << "\n";
  return status;
}

int parse_and_run(CLI::App& program, int argc, char** argv) {
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // --help and --version are reported this way, too.
    if (error.get_exit_code() == 0) return program.exit(error);
    const auto chosen = program.get_subcommands();
    const std::string command = chosen.empty() ? "" : " " + chosen.front()->get_name();
    return say(kWrongUsage, std::string(error.what()) + ". See mezzo" + command + " --help");
  }
  if (program.get_subcommands().empty()) {
    std::cerr << program.help();
    return kWrongUsage;
  }
  std::cout.flush();
  if (!std::cout) return say(kBadFile, "cannot write to standard output");
  return kDone;
}

int main(int argc, char** argv) {
  // A reader that has seen enough (`mezzo inspect ... | head`) ends the program quietly, also where
  // the parent had the signal ignored.
  std::signal(SIGPIPE, SIG_DFL);
  std::ios::sync_with_stdio(false);
  try {
    CLI::App program("Runs ONNX models; every tensor is an output.", "mezzo");
    program.set_version_flag("--version", "mezzo " MEZZO_VERSION);
    program.require_subcommand(0, 1);
    program.formatter(std::make_shared<HelpFormatter>());
    program.footer(kExitStatuses);
    add_run(program);
    add_features(program);
    add_inspect(program);
    add_explain(program);
    add_bench(program);
    add_extract(program);
    add_expose(program);
    add_ops(program);
    return parse_and_run(program, argc, argv);
  } catch (const Error& error) {
    return say(status_of(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return say(kNotPossible, "not enough memory");
  } catch (const std::exception& error) {
    return say(kInternal,
               std::string("a defect of mezzo itself, please report it: ") + error.what());
  }
}

}  // namespace
}  // namespace mezzo::cli

int main(int argc, char** argv) { return mezzo::cli::main(argc, argv); }
