// Reads a file with mezzo and writes what was read, for the tests that compare with NumPy.
//
//     store_main IN.npy OUT.npy [DTYPE]
//     store_main IN.npz OUT.npz [DTYPE]
//
// DTYPE is the element type that raw bytes stand for. Prints a line "NAME DTYPE SHAPE" for each
// tensor (NAME is empty for .npy). Exit status 1 and the message on an Error.
#include <iostream>
#include <string>

#include "mezzo/error.h"
#include "store/npy.h"
#include "store/npz.h"

namespace {

void describe(const std::string& name, const mezzo::Tensor& tensor) {
  std::cout << name << ' ' << mezzo::name_of(tensor.dtype()) << ' '
            << mezzo::to_string(tensor.shape()) << '\n';
}

void copy(const std::string& in, const std::string& out, mezzo::DType expected) {
  if (!in.ends_with(".npz")) {
    const mezzo::Tensor tensor = mezzo::store::read_npy(in, expected);
    describe("", tensor);
    mezzo::store::write_npy(out, tensor);
    return;
  }
  const mezzo::store::NpzReader reader(in);
  mezzo::store::NpzWriter writer(out);
  for (const std::string& name : reader.names()) {
    const mezzo::Tensor tensor = reader.read(name, expected);
    describe(name, tensor);
    writer.add(name, tensor);
  }
  writer.finish();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::cerr << "usage: store_main IN OUT [DTYPE]\n";
    return 2;
  }
  try {
    copy(argv[1], argv[2], argc > 3 ? mezzo::dtype_from_name(argv[3]) : mezzo::DType::undefined);
  } catch (const mezzo::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
