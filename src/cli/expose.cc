// mezzo expose: a model with more of its values as outputs.
#include <memory>

#include "cli/command.h"
#include "mezzo/model.h"

namespace mezzo::cli {
namespace {

struct ExposeArguments {
  std::string model, out;
  std::vector<std::string> taps;
  SaveOptions options;
};

void expose(const ExposeArguments& arguments) {
  Model::load(arguments.model).expose(arguments.taps).save(arguments.out, arguments.options);
}

}  // namespace

void add_expose(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "expose", "Save a model with any of its values among its outputs, for other runtimes");
  const auto arguments = std::make_shared<ExposeArguments>();
  command.add_option("MODEL", arguments->model, "The ONNX file")->required();
  add_repeated(command, "-t,--tap", arguments->taps,
               "A value that becomes an output: a selector, as for `mezzo run`")
      ->required()
      ->type_name("SELECTOR");
  add_saving(command, arguments->out, arguments->options);
  command.callback([arguments] { expose(*arguments); });
}

}  // namespace mezzo::cli
