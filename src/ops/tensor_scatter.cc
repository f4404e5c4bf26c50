// TensorScatter: writes the new part of a key or value cache. Spec: TensorScatter-24.

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

int axis_of(const Op& op) {
  const int axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  if (axis == 0) throw invalid("TensorScatter's axis cannot be the batch axis");
  return axis;
}

bool is_circular(const Op& op) {
  const std::string mode = op.attr_string("mode");
  if (mode != "linear" && mode != "circular") {
    throw invalid("an unknown mode").expected("linear or circular").got("'" + mode + "'");
  }
  return mode == "circular";
}

void infer(Op& op) {
  const auto axis = static_cast<std::size_t>(axis_of(op));
  is_circular(op);
  const Shape& cache = op.in_shape(0);
  const Shape& update = op.in_shape(1);
  bool fits = update.size() == cache.size();
  for (std::size_t a = 0; fits && a < cache.size(); ++a) {
    fits = a == axis ? update[a] <= cache[a] : update[a] == cache[a];
  }
  if (!fits) {
    throw invalid("the update does not fit the cache")
        .expected(to_string(cache) + ", shorter along axis " + std::to_string(axis) + " at most")
        .got(to_string(update));
  }
  if (op.has_in(2) && op.in_shape(2) != Shape{cache[0]}) {
    throw invalid("write_indices must be one a batch")
        .expected(to_string(Shape{cache[0]}))
        .got(to_string(op.in_shape(2)));
  }
  same_shape(op);
}

Choice by_size(Op& op) {
  const int axis = axis_of(op), rank = op.in_rank(0);
  const Shape& cache = op.in_shape(0);
  const DType dtype = op.in(0).dtype;
  const bool circular = is_circular(op);
  const std::int64_t longest = cache[static_cast<std::size_t>(axis)];
  const std::int64_t length = op.in_shape(1)[static_cast<std::size_t>(axis)];
  const std::int64_t batches = cache[0], heads = product(cache, 1, axis);
  const std::int64_t inner = product(cache, axis + 1, rank);
  const std::int64_t count = product(cache), updates = product(op.in_shape(1));

  const auto write = [=](Run& run, const void* update, void* present) {
    if (updates == 0) return;
    with_element(dtype, [&](auto element) {
      using Element = decltype(element);
      const auto* source = static_cast<const Element*>(update);
      auto* target = static_cast<Element*>(present);
      for (std::int64_t batch = 0; batch < batches; ++batch) {
        const std::int64_t given = run.in_data(2) != nullptr ? run.in<std::int64_t>(2)[batch] : 0;
        if (given < 0 || (!circular && given > longest - length)) {
          throw Error(ErrorCode::runtime, "a write index is out of range")
              .expected("0 to " + std::to_string(longest - length))
              .got(std::to_string(given));
        }
        const std::int64_t first = circular ? given % longest : given;
        for (std::int64_t head = batch * heads; head < (batch + 1) * heads; ++head) {
          for (std::int64_t t = 0; t < length; ++t) {
            const std::int64_t at = (first + t) % longest;
            copy_run(source + (head * length + t) * inner, target + (head * longest + at) * inner,
                     inner);
          }
        }
      }
    });
  };
  return [=](Run& run) {
    if (!is_packed(dtype)) {
      copy_all(dtype, run.in_data(0), run.out_data(0), count, run.pool());
      write(run, run.in_data(1), run.out_data(0));
      return;
    }
    const std::vector<std::uint8_t> update = unpack(dtype, run.in_data(1), updates);
    std::vector<std::uint8_t> present = unpack(dtype, run.in_data(0), count);
    write(run, update.data(), present.data());
    pack(dtype, present.data(), run.out_data(0), count);
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(tensor_scatter) {
  op("TensorScatter")
      .since(24)
      .attr("axis", -2)
      .attr("mode", "linear")
      .in("past_cache", kAllIr12)
      .in("update", like(0))
      .in("write_indices", DType::i64, Arity::optional)
      .out("present_cache", like(0))
      .infer(infer)
      .kernel_by_size(by_size)
      .in_place(0);
}
