// Reads a model and writes it again, for roundtrip_test.py.
//
//     roundtrip_main INPUT OUTPUT [LIMIT]
//
// Above LIMIT bytes (2 GB where it is not given) the initializers go to OUTPUT.data.
#include <cstdlib>
#include <iostream>

#include "onnx/encode.h"
#include "onnx/reader.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: roundtrip_main INPUT OUTPUT [LIMIT]\n";
    return 2;
  }
  try {
    using namespace mezzo::onnx;
    const Model model = read_file(argv[1]);
    write_file(model, argv[2], argc > 3 ? std::strtoull(argv[3], nullptr, 10) : kMaxMessageBytes);
  } catch (const mezzo::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
