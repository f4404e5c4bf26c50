// Any bytes as a model that is planned and run, on zeros of its inputs' declared shapes.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/memory.h"
#include "mezzo/error.h"
#include "mezzo/session.h"

namespace {

// A small tensor of the declared type and shape; what is open in the shape becomes 1.
mezzo::Tensor zeros(const mezzo::ValueInfo& input) {
  mezzo::Shape shape;
  if (input.shape) {
    for (const mezzo::Dim& dim : *input.shape) shape.push_back(dim.value.value_or(1));
  }
  const bool known = input.dtype != mezzo::DType::undefined;
  return mezzo::Tensor(known ? input.dtype : mezzo::DType::f32, std::move(shape));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A buffer that is filled takes time, and the point is not to wait for it.
  mezzo::set_allocation_limit(std::size_t{16} << 20);
  try {
    mezzo::SessionOptions options;
    options.threads = 1;
    options.loop_iterations = 100;
    const mezzo::Session session(mezzo::Model::from_memory(data, size), options);
    mezzo::Feeds feeds;
    for (const mezzo::ValueInfo& input : session.model().inputs()) {
      feeds.emplace_back(input.name, zeros(input));
    }
    session.run(feeds);
  } catch (const mezzo::Error&) {
  }
  return 0;
}
