// Any bytes as a model: reader, graph, edits, and what a listing asks of them. What mezzo writes of
// a model that it could read, it must be able to read.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/memory.h"
#include "mezzo/error.h"
#include "mezzo/model.h"
#include "onnx/edit.h"
#include "onnx/reader.h"
#include "onnx/writer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mezzo::set_allocation_limit(std::size_t{256} << 20);
  mezzo::onnx::Model file;
  std::string written;
  try {
    const mezzo::Model model = mezzo::Model::from_memory(data, size);
    model.to_text();
    model.values();
    model.nodes();
    model.inputs();
    model.parameters();
    file = mezzo::onnx::read_memory(data, size);
    written = mezzo::onnx::write_memory(file);
  } catch (const mezzo::Error&) {
    return 0;
  }
  mezzo::onnx::read_memory(written.data(), written.size());
  try {
    written = mezzo::onnx::write_memory(mezzo::onnx::extract(file, {}, {}));
  } catch (const mezzo::Error&) {
    return 0;  // a name that only an inlined function has, say
  }
  mezzo::onnx::read_memory(written.data(), written.size());
  return 0;
}
