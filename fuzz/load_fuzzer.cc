// Any bytes as a model: reader, graph, and what a listing asks of them. What mezzo writes of a
// model that it could read, it must be able to read.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/memory.h"
#include "mezzo/error.h"
#include "mezzo/model.h"
#include "onnx/reader.h"
#include "onnx/writer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mezzo::set_allocation_limit(std::size_t{256} << 20);
  std::string written;
  try {
    const mezzo::Model model = mezzo::Model::from_memory(data, size);
    model.to_text();
    model.values();
    model.nodes();
    model.inputs();
    model.parameters();
    written = mezzo::onnx::write_memory(mezzo::onnx::read_memory(data, size));
  } catch (const mezzo::Error&) {
    return 0;
  }
  mezzo::onnx::read_memory(written.data(), written.size());
  return 0;
}
