#include "passes/attention_paths.h"

#include <utility>

#include "base/shape.h"

namespace mezzo::passes {
namespace {

// From heads that a Gather took, back to packed rows [B, S, 3, H, D]; `now` says which axes of
// theirs, and becomes which of [B, S, H, D]. False where that is not how they were made.
bool skip_packing(const Program& program, Path& path, Axes& now) {
  const int gather = program.maker_of(path.slot, "Gather");
  if (gather < 0 || program.op(gather).attr_int("axis") != 0 ||
      program.op(gather).in_rank(0) != 5 || !program.op(gather).is_constant(1) ||
      element_count(program.op(gather).in_shape(1)) != 1) {
    return false;
  }
  const int transpose = program.maker(gather, 0, "Transpose");
  if (transpose < 0) return false;
  const Axes perm = program.op(transpose).attr_ints("perm");
  if (perm.empty() || perm[0] != 2 || program.op(transpose).in_shape(0)[2] != 3) return false;
  for (std::int64_t& axis : now) {
    axis = perm[static_cast<std::size_t>(axis) + 1];
    if (axis > 2) --axis;
  }
  const Tensor index = program.constant(gather, 1).to(DType::i64);
  path.part = index.values<std::int64_t>()[0];
  if (path.part < 0) path.part += 3;
  path.members.insert(path.members.end(), {gather, transpose});
  path.slot = program.in(transpose, 0);
  return true;
}

// From heads that are repeated, an Expand [B, G, n, S, D] or a Reshape of it, back to each once.
void skip_repeat(const Program& program, Path& path) {
  const Shape& heads = program.slot(path.slot).operand.shape;
  const int repeated = heads.size() == 5 ? path.slot : program.slot(path.slot).view_of;
  const int expand = program.maker_of(repeated, "Expand");
  if (expand < 0 || !path.repeats.empty()) return;
  Shape once = program.op(expand).out_shape(0);
  if (once.size() != 5 ||
      (heads != once && heads != Shape{once[0], once[1] * once[2], once[3], once[4]}))
    return;
  once[2] = 1;
  if (program.op(expand).in_shape(0) != once) return;
  path.slot = program.in(expand, 0);
  path.repeats = {expand};
  const int source = program.slot(path.slot).view_of;
  once.erase(once.begin() + 2);
  if (source >= 0 && program.slot(source).operand.shape == once) path.slot = source;
}

// From heads that are one axis with the batch, [B * H, S, D], to the same by four axes. The slot is
// -1 where they have not been.
void skip_merging(const Program& program, Path& path, Axes& now) {
  if (program.slot(path.slot).operand.shape.size() != 3) return;
  skip_factors(program, path);
  const int transpose = program.maker_of(path.slot, "Transpose");
  if (transpose >= 0 && program.op(transpose).attr_ints("perm") == Axes{0, 2, 1}) {
    now = {0, 1, 3, 2};
    path.members.push_back(transpose);
    path.slot = program.in(transpose, 0);
    skip_factors(program, path);
  }
  const Shape three = program.slot(path.slot).operand.shape;
  for (path.slot = program.slot(path.slot).view_of; path.slot >= 0;
       path.slot = program.slot(path.slot).view_of) {
    const Shape& four = program.slot(path.slot).operand.shape;
    if (four.size() == 4 && Shape{four[0] * four[1], four[2], four[3]} == three) return;
  }
}

// The slot, or one that it is a view of, of that shape; else -1.
int known_as(const Program& program, int slot, const Shape& shape) {
  while (slot >= 0 && program.slot(slot).operand.shape != shape) slot = program.slot(slot).view_of;
  return slot;
}

// Over a Transpose of heads that were one axis with the batch just for that: [B, H, D, S] is
// [B * H, D, S], turned from [B * H, S, D], which is [B, H, S, D], or an Expand [B, G, n, S, D].
bool skip_turning(const Program& program, Path& path, Axes& now) {
  const Shape heads = program.slot(path.slot).operand.shape;
  if (heads.size() != 4) return false;
  const int turned = known_as(program, path.slot, {heads[0] * heads[1], heads[2], heads[3]});
  const int transpose = turned < 0 ? -1 : program.maker_of(turned, "Transpose");
  if (transpose < 0 || program.op(transpose).attr_ints("perm") != Axes{0, 2, 1}) return false;
  const int rows = program.in(transpose, 0), written = whole(program, rows);
  int source = known_as(program, rows, {heads[0], heads[1], heads[3], heads[2]});
  if (source < 0 && program.maker_of(written, "Expand") >= 0) {
    const Shape& five = program.slot(written).operand.shape;
    if (five.size() == 5 && five[0] == heads[0] && five[1] * five[2] == heads[1]) source = written;
  }
  if (source < 0 && heads[0] == 1) source = rows;
  if (source < 0) return false;
  for (std::int64_t& axis : now) axis = axis < 2 ? axis : 5 - axis;
  path.members.push_back(transpose);
  path.slot = source;
  return true;
}

// From heads of a batch of one that were turned without its axis, [H, S, D] or [1, H, S, D], to the
// rows [S, H, D]: torch.nn.MultiheadAttention puts the batch second.
bool skip_rows_ahead(const Program& program, Path& path, Axes& now) {
  Shape heads = program.slot(path.slot).operand.shape;
  if (heads.size() == 4 && heads[0] == 1) heads.erase(heads.begin());
  const int three = heads.size() == 3 ? known_as(program, path.slot, heads) : -1;
  const int transpose = three < 0 ? -1 : program.maker_of(three, "Transpose");
  if (transpose < 0 || program.op(transpose).attr_ints("perm") != Axes{1, 0, 2}) return false;
  for (std::int64_t& axis : now) axis = axis == 1 || axis == 2 ? 3 - axis : axis;
  path.members.push_back(transpose);
  path.slot = program.in(transpose, 0);
  return true;
}

}  // namespace

int whole(const Program& program, int slot) {
  while (program.slot(slot).view_of >= 0) slot = program.slot(slot).view_of;
  return slot;
}

void skip_factors(const Program& program, Path& path) {
  for (;;) {
    const int producer = program.slot(path.slot).producer;
    const bool is_div = program.is(producer, "Div");
    if (!is_div && !program.is(producer, "Mul")) return;
    const int input = is_div || program.number(program.in(producer, 1)) ? 0 : 1;
    const std::optional<float> factor = program.number(program.in(producer, 1 - input));
    const int from = program.in(producer, input);
    // A number may also give the product its shape.
    if (!factor || program.slot(from).operand.shape != program.slot(path.slot).operand.shape) {
      return;
    }
    path.factor = is_div ? path.factor / *factor : path.factor * *factor;
    path.members.push_back(producer);
    path.slot = from;
  }
}

Path source_of(const Program& program, int heads, const Axes& axes, const Axes& heads_axes) {
  Path path{heads}, made;
  Axes now = {0, 1, 2, 3};
  skip_merging(program, path, now);
  if (path.slot < 0 || program.slot(path.slot).operand.shape.size() != 4) return made;
  while (true) {
    skip_factors(program, path);
    if (now == axes) return path;
    if (now == heads_axes) {
      skip_repeat(program, path);
      // Repeated in another way.
      if (path.repeats.empty() && program.slot(path.slot).operand.shape.size() > 4) return made;
      made = path;
      made.by_heads = true;
    }
    if (path.repeats.empty() && skip_packing(program, path, now)) return now == axes ? path : made;
    if (skip_turning(program, path, now)) continue;
    if (skip_rows_ahead(program, path, now)) return now == axes ? path : made;
    const int transpose = program.maker_of(path.slot, "Transpose");
    if (transpose < 0 || program.op(transpose).in_rank(0) != 4) return made;
    Axes perm = program.op(transpose).attr_ints("perm");
    if (perm.empty()) perm = {3, 2, 1, 0};
    for (std::int64_t& axis : now) axis = perm[static_cast<std::size_t>(axis)];
    path.members.push_back(transpose);
    path.slot = program.in(transpose, 0);
  }
}

void skip_split(const Program& program, Path& queries, Path& keys, Path& values) {
  const int split = program.maker_of(whole(program, queries.slot), "Split");
  if (split < 0 || program.op(split).outputs() != 3) return;
  const ops::Op& op = program.op(split);
  if (normalize_axis(op.attr_int("axis"), op.in_rank(0)) != op.in_rank(0) - 1) return;
  Path* const parts[] = {&queries, &keys, &values};
  for (int i = 0; i < 3; ++i) {
    const Path& part = *parts[i];
    const bool takes_rows = part.part < 0 && !part.by_heads && part.repeats.empty();
    if (!takes_rows ||
        whole(program, part.slot) != program.step(split).out[static_cast<std::size_t>(i)])
      return;
  }
  for (int i = 0; i < 3; ++i) {
    parts[i]->part = i;
    parts[i]->slot = program.in(split, 0);
    parts[i]->members.push_back(split);
  }
}

Shape rows_at(const Program& program, const Path& path) {
  Shape shape = program.slot(path.slot).operand.shape;
  if (shape.size() == 5) shape.erase(shape.begin() + 2);
  if (shape.size() == 3) shape.insert(shape.begin(), 1);
  if (path.by_heads) std::swap(shape[1], shape[2]);
  return shape;
}

Shape taken(const Program& program, const Path& path) {
  const Shape rows = rows_at(program, path);
  if (path.by_heads) return {rows[0], rows[2], rows[1], rows[3]};
  return {rows[0], rows[1], rows[2] * rows[3]};
}

}  // namespace mezzo::passes
