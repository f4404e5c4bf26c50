// OneHot. Spec: ai.onnx OneHot-9, -11 (negative indices), -28 (bfloat16).
#include "ops/axis_split.h"
#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

int axis_of(const Op& op) { return normalize_axis(op.attr_int("axis"), op.in_rank(0) + 1); }

void infer(Op& op) {
  if (op.in_shape(2) != Shape{2}) {
    throw invalid("the values must be two: off and on")
        .at("input 2")
        .expected("[2]")
        .got(to_string(op.in_shape(2)));
  }
  const std::vector<std::int64_t> depth = op.ints(1);
  if (depth.size() != 1 || depth[0] < 0) {
    throw invalid("the depth must be one number that is not negative")
        .at("input 1")
        .got(depth.size() == 1 ? std::to_string(depth[0])
                               : std::to_string(depth.size()) + " numbers");
  }
  Shape shape = op.in_shape(0);
  shape.insert(shape.begin() + axis_of(op), depth[0]);
  op.set_out(0, op.in(2).dtype, std::move(shape));
}

template <class T>
void fill(Run& run, const AxisSplit& split) {
  const T *off = run.in<T>(2), *on = off + 1;
  T* y = run.out<T>(0);
  fill_run(*off, y, split.outer * split.n * split.inner);
  const std::vector<std::int64_t> indices = run.in_ints(0);
  for (std::int64_t o = 0; o < split.outer; ++o) {
    for (std::int64_t i = 0; i < split.inner; ++i) {
      std::int64_t index = indices[static_cast<std::size_t>(o * split.inner + i)];
      // Out of range: all are off.
      if (index < -split.n || index >= split.n) continue;
      if (index < 0) index += split.n;
      y[(o * split.n + index) * split.inner + i] = *on;
    }
  }
}

Choice reference(Op& op) {
  const AxisSplit split = split_at(op.out_shape(0), axis_of(op));
  const auto by = [&](auto type) -> Choice {
    return [split](Run& run) { fill<decltype(type)>(run, split); };
  };
  if (op.in(2).dtype == DType::string) return by(std::string());
  switch (bits_of(op.in(2).dtype)) {
    case 8:
      return by(std::uint8_t{});
    case 16:
      return by(std::uint16_t{});
    case 32:
      return by(std::uint32_t{});
    case 64:
      return by(std::uint64_t{});
    default:
      return by(Complex128{});
  }
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(onehot) {
  op("OneHot")
      .since(9, 11, 28)
      .attr("axis", -1)
      .in("indices", kNumbersNoBf16)
      .in("depth", kNumbersNoBf16)
      .in("values", kAllWithBf16)
      .out("output", like(2))
      .infer(infer)
      .kernel("reference", reference);
}
