// Writes the valid models that the malformed ones are made of into a folder, for the fuzzers to
// start from:
//
//     seeds_main FOLDER
#include <iostream>

#include "valid_models.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: seeds_main FOLDER\n";
    return 2;
  }
  try {
    for (const auto& [name, model] : mezzo::onnx::valid_models()) {
      mezzo::onnx::write_file(model, std::string(argv[1]) + "/" + name + ".onnx");
    }
  } catch (const mezzo::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
