// Any bytes as a .npy file, and as a .npz archive of them. A tensor that was read must come back
// from what is written of it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/memory.h"
#include "mezzo/error.h"
#include "store/npy.h"
#include "store/zip.h"

namespace {

void check_npy(std::string_view bytes, mezzo::DType expected) {
  mezzo::Tensor tensor;
  mezzo::store::NpyEncoding encoding;
  try {
    tensor = mezzo::store::decode_npy(bytes, expected);
    encoding = mezzo::store::encode_npy(tensor);
  } catch (const mezzo::Error&) {
    return;
  }
  const std::string file = encoding.header + std::string(encoding.data);
  const mezzo::Tensor again = mezzo::store::decode_npy(file, tensor.dtype());
  if (again.dtype() != tensor.dtype() || again.shape() != tensor.shape()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mezzo::set_allocation_limit(std::size_t{64} << 20);
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_npy(bytes, mezzo::DType::undefined);
  check_npy(bytes, mezzo::DType::i4);
  check_npy(bytes, mezzo::DType::f4e2m1);
  try {
    const mezzo::store::ZipReader archive(bytes);
    for (const std::string& name : archive.names()) {
      check_npy(archive.read(name).bytes, mezzo::DType::undefined);
    }
  } catch (const mezzo::Error&) {
  }
  return 0;
}
