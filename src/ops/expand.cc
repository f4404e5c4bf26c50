// Expand, Tile: repetition. Spec: Expand-8, -13; Tile-1 (one axis), -6, -13 (every axis).

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer_expand(Op& op) {
  require_rank(op, 1, 1, 1);
  const std::vector<std::int64_t> wanted = op.ints(1);
  element_count(wanted);  // refuses negative extents
  op.set_out(0, op.in(0).dtype, broadcast(op.in_shape(0), wanted));
}

Choice expand(Op& op) {
  const Shape& out = op.out_shape(0);
  return
      [mover = Mover(op.in(0).dtype, out, broadcast_strides(op.in_shape(0), out), strides_of(out))](
          Run& run) { mover.run(run.in_data(0), run.out_data(0), run.pool()); };
}

std::vector<std::int64_t> repeats_of(const Op& op) {
  const auto rank = static_cast<std::size_t>(op.in_rank(0));
  std::vector<std::int64_t> repeats;
  if (op.opset() >= 6) {
    repeats = op.ints(1);
  } else {
    const std::vector<std::int64_t> tiles = op.ints(1), axis = op.ints(2);
    if (tiles.size() != 1 || axis.size() != 1) {
      throw invalid("Tile's tiles and axis must be scalars");
    }
    repeats.assign(rank, 1);
    repeats[static_cast<std::size_t>(normalize_axis(axis[0], op.in_rank(0)))] = tiles[0];
  }
  if (repeats.size() != rank) {
    throw invalid("Tile's repeats must be one an axis")
        .expected(std::to_string(rank))
        .got(to_string(repeats));
  }
  return repeats;
}

void infer_tile(Op& op) {
  const std::vector<std::int64_t> repeats = repeats_of(op);
  Shape out = op.in_shape(0);
  for (std::size_t a = 0; a < out.size(); ++a) {
    if (repeats[a] < 0) throw invalid("Tile with a negative number").got(to_string(repeats));
    out[a] = checked_mul(out[a], repeats[a]);
  }
  op.set_out(0, op.in(0).dtype, std::move(out));
}

// Axis a is read as two: its repetitions, then itself.
Choice tile(Op& op) {
  const Shape& shape = op.in_shape(0);
  const std::vector<std::int64_t> repeats = repeats_of(op);
  const std::vector<std::int64_t> source = strides_of(shape), target = strides_of(op.out_shape(0));
  const bool empty = element_count(op.out_shape(0)) == 0;
  Shape extents;
  std::vector<std::int64_t> source_strides, target_strides;
  for (std::size_t a = 0; !empty && a < shape.size(); ++a) {
    extents.insert(extents.end(), {repeats[a], shape[a]});
    source_strides.insert(source_strides.end(), {0, source[a]});
    target_strides.insert(target_strides.end(), {target[a] * shape[a], target[a]});
  }
  if (empty) return [](Run&) {};
  return [mover = Mover(op.in(0).dtype, extents, source_strides, target_strides)](Run& run) {
    mover.run(run.in_data(0), run.out_data(0), run.pool());
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(expand) {
  op("Expand")
      .since(8, 13)
      .in("input", kAllWithBf16)
      .in("shape", DType::i64)
      .out("output", like(0))
      .infer(infer_expand)
      .kernel("by element size", expand);
  op("Tile")
      .since(1)
      .in("input", kFloats)
      .in("tiles", like(0))
      .in("axis", like(0))
      .out("output", like(0))
      .infer(infer_tile)
      .kernel("by element size", tile);
  op("Tile")
      .since(6, 13)
      .in("input", kAllWithBf16)
      .in("repeats", DType::i64)
      .out("output", like(0))
      .infer(infer_tile)
      .kernel("by element size", tile);
}
