// mezzo run: computes a model's outputs, or any other values of it.
#include <iostream>
#include <memory>

#include "cli/command.h"
#include "cli/feeds.h"
#include "cli/picture_options.h"
#include "cli/results.h"

namespace mezzo::cli {
namespace {

struct RunArguments {
  std::string model, out;
  std::vector<std::string> inputs, taps, shapes;
  std::int64_t seed = 0;
  int threads = 0;
  PictureOptions pictures;
};

void run(const RunArguments& arguments, bool random) {
  const image::Preprocess pictures = arguments.pictures.settings();
  SessionOptions options;
  options.threads = arguments.threads;
  const Session session(arguments.model, options);
  Feeds feeds = read_feeds(session.model(), arguments.inputs, pictures);
  const Shapes shapes = parse_shapes(session.model(), arguments.shapes);
  if (random) {
    add_random_feeds(session.model(), static_cast<std::uint64_t>(arguments.seed), shapes, feeds);
  }
  const Outputs outputs = session.run(feeds, arguments.taps);
  if (arguments.out.empty()) {
    std::cout << summary(outputs);
  } else {
    write_outputs(arguments.out, outputs);
  }
}

}  // namespace

void add_run(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "run", "Run a model on given inputs and get its outputs, or any values of it");
  const auto arguments = std::make_shared<RunArguments>();
  command.add_option("MODEL", arguments->model, "The ONNX file")->required();
  add_repeated(command, "-i,--input", arguments->inputs,
               "NAME=FILE: what the value NAME is given, an input of the model or any other value "
               "(nodes that only led to it are then not run). FILE is .npy, .npz, .pb (a "
               "TensorProto) or a picture. NAME= may be left out where the model needs one input, "
               "and for an .npz file whose keys are the names")
      ->type_name("[NAME=]FILE");
  add_repeated(command, "-t,--tap", arguments->taps,
               "A value to get, or a selector of several: a name, node:output, [index], a glob, "
               "op:OPERATOR, /regex/. Without it: the model's outputs")
      ->type_name("SELECTOR");
  command
      .add_option("-o,--out", arguments->out,
                  "FILE.npz: all values under their names. FILE.npy: the only value. Otherwise "
                  "a folder: a .npy file for each, and index.json. Without it a summary is "
                  "printed")
      ->type_name("PATH");
  CLI::Option* random = command.add_flag(
      "--random", arguments->seed,
      "Give random numbers, the same every time, to the inputs that are not given; --random=SEED "
      "for others");
  add_repeated(command, "--shape", arguments->shapes,
               "NAME=1x3x224x224: the shape of an input that gets random numbers. Without it: the "
               "declared one, open extents 1")
      ->type_name("NAME=SHAPE")
      ->needs(random);
  command.add_option("--threads", arguments->threads, "Threads to use; 0: one for each core")
      ->type_name("N");
  arguments->pictures.add_to(command);
  command.callback([arguments, random] { run(*arguments, random->count() > 0); });
}

}  // namespace mezzo::cli
