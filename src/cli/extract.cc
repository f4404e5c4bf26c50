// mezzo extract: a part of a model as a model of its own.
#include <memory>

#include "cli/command.h"
#include "mezzo/model.h"

namespace mezzo::cli {
namespace {

struct ExtractArguments {
  std::string model, out;
  std::vector<std::string> inputs, outputs;
  SaveOptions options;
};

void extract(const ExtractArguments& arguments) {
  if (arguments.inputs.empty() && arguments.outputs.empty()) {
    fail_usage("Say which part of the model: --input, --output or both");
  }
  const Model part = Model::load(arguments.model).extract(arguments.inputs, arguments.outputs);
  part.save(arguments.out, arguments.options);
}

}  // namespace

void add_extract(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "extract", "Save a part of a model, between any of its values, as a model of its own");
  const auto arguments = std::make_shared<ExtractArguments>();
  command.add_option("MODEL", arguments->model, "The ONNX file")->required();
  add_repeated(command, "-i,--input", arguments->inputs,
               "Where the part begins: a selector, as for `mezzo run`. Without any: the model's "
               "own inputs, as far as they are needed")
      ->type_name("SELECTOR");
  add_repeated(command, "--output", arguments->outputs,
               "What it computes. Without any: the model's own outputs")
      ->type_name("SELECTOR");
  add_saving(command, arguments->out, arguments->options);
  command.callback([arguments] { extract(*arguments); });
}

}  // namespace mezzo::cli
