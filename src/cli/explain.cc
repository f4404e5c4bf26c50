// mezzo explain: the plan that a run has.
#include <iostream>
#include <memory>

#include "cli/command.h"
#include "cli/feeds.h"

namespace mezzo::cli {
namespace {

struct ExplainArguments {
  std::string model;
  std::vector<std::string> taps, shapes;
  int threads = 0;
};

void explain(const ExplainArguments& arguments) {
  SessionOptions options;
  options.threads = arguments.threads;
  const Session session(arguments.model, options);
  const Shapes shapes = parse_shapes(session.model(), arguments.shapes);
  std::cout << session.explain(zero_feeds(session.model(), shapes), arguments.taps);
}

}  // namespace

void add_explain(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "explain", "Print a run's plan: each step, its kernel, and why better kernels were refused");
  const auto arguments = std::make_shared<ExplainArguments>();
  command.add_option("MODEL", arguments->model, "The ONNX file")->required();
  add_repeated(command, "-t,--tap", arguments->taps,
               "A value that the run is to get, as for `mezzo run`")
      ->type_name("SELECTOR");
  add_repeated(command, "--shape", arguments->shapes,
               "NAME=1x3x224x224: an input's shape. Without it: the declared one, open extents 1")
      ->type_name("NAME=SHAPE");
  command.add_option("--threads", arguments->threads, "Threads to plan for; 0: one for each core")
      ->type_name("N");
  command.callback([arguments] { explain(*arguments); });
}

}  // namespace mezzo::cli
