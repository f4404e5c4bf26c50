// Shape, Size. Spec: Shape-1, -13, -15 (start, end), -19 ... -25; Size-1 ... -25.

#include <algorithm>

#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// The slice [start, end) of the input's shape.
Shape selected_extents(const Op& op) {
  const std::int64_t rank = op.in_rank(0);
  const auto clamped = [&](std::int64_t axis) {
    return std::clamp<std::int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  const bool sliced = op.opset() >= 15;
  const std::int64_t start = sliced ? clamped(op.attr_int("start")) : 0;
  const std::int64_t end = sliced && op.has_attr("end") ? clamped(op.attr_int("end")) : rank;
  const auto begin = op.in_shape(0).begin();
  return {begin + start, begin + std::max(start, end)};
}

void infer_shape(Op& op) {
  op.set_out(0, DType::i64, {static_cast<std::int64_t>(selected_extents(op).size())});
}

Choice write_shape(Op& op) {
  return [extents = selected_extents(op)](Run& run) {
    std::copy(extents.begin(), extents.end(), run.out<std::int64_t>(0));
  };
}

void infer_size(Op& op) { op.set_out(0, DType::i64, {}); }

Choice write_size(Op& op) {
  return [count = element_count(op.in_shape(0))](Run& run) { *run.out<std::int64_t>(0) = count; };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(shape) {
  op("Shape")
      .since(1, 13)
      .in("data", kAllWithBf16)
      .out("shape", DType::i64)
      .infer(infer_shape)
      .kernel("reference", write_shape)
      .from_shapes();
  op("Shape")
      .since(15, 19, 21, 23, 24, 25)
      .attr("start", 0)
      .attr("end", FormalAttribute::Kind::int_)
      .in("data", kAllIr13)
      .out("shape", DType::i64)
      .infer(infer_shape)
      .kernel("reference", write_shape)
      .from_shapes();
  op("Size")
      .since(1, 13, 19, 21, 23, 24, 25)
      .in("data", kAllIr13)
      .out("size", DType::i64)
      .infer(infer_size)
      .kernel("reference", write_size)
      .from_shapes();
}
