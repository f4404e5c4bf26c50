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

// Tile of elements that are bytes: from the innermost axis outwards, what is there is copied until
// it is there often enough.
class Tiling {
 public:
  Tiling(const Shape& shape, const std::vector<std::int64_t>& repeats, std::int64_t bytes) {
    std::size_t axis = shape.size();
    // Axes behind the last that is repeated belong to its elements.
    while (axis > 0 && repeats[axis - 1] == 1) bytes *= shape[--axis];
    bytes_ = bytes;
    std::int64_t from = bytes, to = bytes;
    for (; axis-- > 0;) {
      levels_.insert(levels_.begin(), {shape[axis], repeats[axis], from, to});
      from *= shape[axis];
      to *= shape[axis] * repeats[axis];
    }
  }

  void run(const void* source, void* target, ThreadPool& pool) const {
    const auto* from = static_cast<const char*>(source);
    auto* to = static_cast<char*>(target);
    if (levels_.empty()) return copy_run(from, to, bytes_);
    const Level& first = levels_[0];
    if (levels_.size() == 1 || first.repeats > 1) return fill(0, from, to);
    const std::int64_t grain = std::max<std::int64_t>(1, kTaskBytes / first.to_step);
    pool.parallel_for(first.extent, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        fill(1, from + i * first.from_step, to + i * first.to_step);
    });
  }

 private:
  static constexpr std::int64_t kTaskBytes = 256 << 10;
  // An axis, and the bytes between its elements.
  struct Level {
    std::int64_t extent, repeats, from_step, to_step;
  };

  void fill(std::size_t level, const char* from, char* to) const {
    const Level& own = levels_[level];
    if (level + 1 == levels_.size()) {
      copy_run(from, to, own.extent * own.from_step);
    } else {
      for (std::int64_t i = 0; i < own.extent; ++i)
        fill(level + 1, from + i * own.from_step, to + i * own.to_step);
    }
    const std::int64_t all = own.extent * own.to_step * own.repeats;
    for (std::int64_t done = own.extent * own.to_step; done < all; done *= 2)
      copy_run(to, to + done, std::min(done, all - done));
  }

  std::int64_t bytes_ = 0;  // of an element of the innermost level
  std::vector<Level> levels_;
};

// Axis a is read as two: its repetitions, then itself.
Choice tile(Op& op) {
  const DType dtype = op.in(0).dtype;
  if (is_plain(dtype) && !is_packed(dtype) && element_count(op.out_shape(0)) != 0 &&
      op.in_rank(0) > 0) {
    return [tiling = Tiling(op.in_shape(0), repeats_of(op), moved_bytes(dtype))](Run& run) {
      tiling.run(run.in_data(0), run.out_data(0), run.pool());
    };
  }
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
      .kernel_by_size(expand);
  op("Tile")
      .since(1)
      .in("input", kFloats)
      .in("tiles", like(0))
      .in("axis", like(0))
      .out("output", like(0))
      .infer(infer_tile)
      .kernel_by_size(tile);
  op("Tile")
      .since(6, 13)
      .in("input", kAllWithBf16)
      .in("repeats", DType::i64)
      .out("output", like(0))
      .infer(infer_tile)
      .kernel_by_size(tile);
}
