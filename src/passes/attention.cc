// Attention as exporters write it out: queries, keys and values [B, S, H * D] are split into heads
// by Reshape and Transpose; y = Softmax(scale * Q K' + mask) V by heads; and a Transpose puts the
// heads together. A mask may also be a Where that puts a number in the place of scores, ahead of
// the one that is added; another may put 0 in the place of weights that are NaN. The scale is a
// factor of the scores, of queries and keys, or of both. Queries, keys and values may lie side by
// side in one tensor, [B, S, 3, H, D], of which a Split or a Transpose and three Gathers take them;
// and what is made by heads, as rotated or joined with a past, is taken as it is. An Expand that
// repeats keys and values for the heads that share them is left out. Heads may be one axis with the
// batch, [B * H, S, D], on their way to the products. What somebody wants of the
// scores, of the weights and of the heads' results is written on the way; heads that somebody wants
// are made besides.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/shape.h"
#include "passes/attention_paths.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// What is added to the scores, or says which of them are replaced. Others than queries and keys
// are repeated.
struct Mask {
  int slot = -1;
  Shape shape = {};  // of four axes
};

bool is_mask(const Program& program, int slot, DType dtype, const Shape& scores, Mask& mask) {
  const ops::Operand& operand = program.slot(slot).operand;
  Shape shape = operand.shape;
  if (operand.dtype != dtype || scores.size() != 4 || shape.size() > 4) return false;
  shape.insert(shape.begin(), scores.size() - shape.size(), 1);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != 1 && shape[i] != scores[i]) return false;
  }
  mask = {slot, shape};
  return true;
}

// The product of queries and keys that step `i` is, with its factor.
bool is_product(const Program& program, int i, double& factor) {
  if (program.is(i, "MatMul")) return true;
  if (!program.is(i, "FusedMatMul", "com.microsoft")) return false;
  const ops::Op& op = program.op(i);
  factor *= op.attr_float("alpha");
  for (const char* flag : {"transA", "transB", "transBatchA", "transBatchB"}) {
    if (op.attr_int(flag) != 0) return false;
  }
  return true;
}

bool is_last_axis(const ops::Op& softmax) {
  const std::int64_t axis = softmax.attr_int("axis");
  return axis == -1 || axis == softmax.in_rank(0) - 1;
}

// From what the Softmax takes back to the product: a mask, a condition and factors.
struct Scores {
  Path path;  // to the product's step, which is the last of its members
  Mask mask, condition;
  bool keeps = true;  // the condition tells which scores stay as they are, or which become `fill`
  float fill = 0;
  int masked = -1, chosen = -1, scaled = -1;  // the slots behind mask, condition and factors
  double product_factor = 1;                  // of the product alone
};

// Goes up over a Where between the scores and a number.
void skip_condition(const Program& program, Scores& scores) {
  const int where = program.maker_of(scores.path.slot, "Where");
  if (where < 0) return;
  const Shape shape = program.slot(scores.path.slot).operand.shape;
  for (const int input : {1, 2}) {
    const std::optional<float> fill = program.number(program.in(where, 3 - input));
    const int from = program.in(where, input);
    if (!fill || program.slot(from).operand.shape != shape) continue;
    int condition = program.in(where, 0);
    // Repeated for all heads and queries, as the mask of a padded batch is.
    const int expand = program.maker_of(condition, "Expand");
    if (expand >= 0) condition = program.in(expand, 0);
    if (!is_mask(program, condition, DType::boolean, shape, scores.condition)) continue;
    if (expand >= 0) scores.path.repeats = {expand};
    scores.keeps = input == 1;
    scores.fill = *fill;
    scores.path.members.push_back(where);
    scores.path.slot = whole(program, from);
    return;
  }
}

bool scores_of(const Program& program, int softmax, Scores& found) {
  const int slot = whole(program, program.in(softmax, 0));
  const Shape shape = program.slot(slot).operand.shape;
  const int add = program.maker_of(slot, "Add");
  for (int input = 0; input < (add < 0 ? 1 : 2); ++input) {
    found = {};
    found.path.slot = found.masked = slot;
    if (add >= 0) {
      const int from = program.in(add, input);
      if (program.slot(from).operand.shape != shape ||
          !is_mask(program, program.in(add, 1 - input), DType::f32, shape, found.mask)) {
        continue;
      }
      found.path.slot = whole(program, from);
      found.path.members = {add};
    }
    found.chosen = found.path.slot;
    skip_condition(program, found);
    found.scaled = found.path.slot;
    skip_factors(program, found.path);
    const int product = program.slot(found.path.slot).producer;
    if (!is_product(program, product, found.product_factor)) continue;
    found.path.members.push_back(product);
    return true;
  }
  return false;
}

// The steps of attention that the new one replaces.
class Members {
 public:
  Members(const Program& program, std::vector<int> core, const std::vector<const Path*>& paths)
      : program_(program), all_(std::move(core)) {
    const std::size_t stay = all_.size();
    for (const Path* path : paths)
      all_.insert(all_.end(), path->members.begin(), path->members.end());
    // Steps ahead of the product whose results somebody else wants are left where they are, and so
    // are those ahead of them.
    for (std::size_t before = 0; before != all_.size();) {
      before = all_.size();
      for (std::size_t i = stay; i < all_.size();) {
        const std::vector<int>& given = program_.step(all_[i]).out;
        if (std::any_of(given.begin(), given.end(),
                        [&](int slot) { return slot >= 0 && is_wanted(slot); })) {
          all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(i));
        } else {
          ++i;
        }
      }
    }
  }

  const std::vector<int>& all() const { return all_; }

  // Whether somebody else wants that slot.
  bool is_wanted(int slot) const { return program_.is_wanted(all_, slot); }

 private:
  const Program& program_;
  std::vector<int> all_;
};

// The Softmax whose result a product takes, and the steps that guard it, if there are: a Where that
// gives 0 where the other step says IsNaN.
struct Weights {
  int softmax = -1, is_nan = -1, where = -1;
};

Weights weights_of(const Program& program, int mix) {
  Weights weights;
  const int taken = whole(program, program.in(mix, 0));
  const int where = program.maker_of(taken, "Where");
  if (where >= 0) {
    weights.softmax = program.maker(where, 2, "Softmax");
    weights.is_nan = program.maker(where, 0, "IsNaN");
    weights.where = where;
    if (weights.softmax < 0 || weights.is_nan < 0 ||
        program.in(weights.is_nan, 0) != program.in(where, 2) ||
        program.number(program.in(where, 1)) != 0.0F) {
      return {};
    }
    return weights;
  }
  weights.softmax = program.maker_of(taken, "Softmax");
  return weights;
}

// Where queries, keys and values come from, and what there is of them: [B, S, H, D].
struct Heads {
  Path queries, keys, values;
  Shape q, k, v;

  Shape scores() const { return {q[0], q[2], q[1], k[1]}; }
  Shape mixed() const { return {q[0], q[2], q[1], v[3]}; }
};

bool heads_of(const Program& program, int product, int mix, Heads& heads) {
  const Axes by_rows = {0, 2, 1, 3}, by_heads = {0, 1, 2, 3};
  heads.queries = source_of(program, program.in(product, 0), by_rows, by_heads);
  heads.keys = source_of(program, program.in(product, 1), {0, 2, 3, 1}, {0, 1, 3, 2});
  heads.values = source_of(program, program.in(mix, 1), by_rows, by_heads);
  // A factor of the values would be one of the result.
  if (heads.queries.slot < 0 || heads.keys.slot < 0 || heads.values.slot < 0 ||
      heads.values.factor != 1) {
    return false;
  }
  heads.q = rows_at(program, heads.queries);
  heads.k = rows_at(program, heads.keys);
  heads.v = rows_at(program, heads.values);
  // Products repeat batch entries, too; FusedAttention does not.
  const Shape &q = heads.q, &k = heads.k, &v = heads.v;
  return k[0] == q[0] && v[0] == q[0] && v[2] == k[2] &&
         q[2] % std::max<std::int64_t>(k[2], 1) == 0;
}

// Whether what lies between has the heads' shape, or as many elements where that does not matter:
// heads that are one axis with the batch must be so in the same way everywhere.
bool is_shaped(const Program& program, const Heads& heads, const Scores& scores, int softmax,
               int join) {
  const auto shape_of = [&](int slot) { return program.slot(slot).operand.shape; };
  const Shape weighed = shape_of(program.in(softmax, 0));
  return shape_of(program.in(join, 0)) == heads.mixed() && !weighed.empty() &&
         weighed.back() == heads.k[1] && element_count(weighed) == element_count(heads.scores()) &&
         (scores.mask.slot < 0 || shape_of(scores.masked) == heads.scores()) &&
         (scores.condition.slot < 0 || shape_of(scores.chosen) == heads.scores());
}

// Queries, keys and values as inputs of the new step. False where some of them are packed, but not
// all, one after the other.
bool add_inputs(const Program& program, Heads& heads, Replacement& fused) {
  const Shape &q = heads.q, &k = heads.k;
  Path &queries = heads.queries, &keys = heads.keys, &values = heads.values;
  if (k == q && heads.v == q) skip_split(program, queries, keys, values);
  if (queries.part < 0 && keys.part < 0 && values.part < 0) {
    fused.in = {queries.slot, keys.slot, values.slot};
    fused.in_as = {
        {0, taken(program, queries)}, {1, taken(program, keys)}, {2, taken(program, values)}};
    if (k[2] != q[2]) fused.attributes.push_back(attribute("kv_num_heads", k[2]));
    return true;
  }
  fused.in = {queries.slot, -1, -1};
  fused.in_as = {{0, {q[0], q[1], 3 * q[2] * q[3]}}};
  return queries.part == 0 && keys.part == 1 && values.part == 2 && keys.slot == queries.slot &&
         values.slot == queries.slot;
}

// The weights, and their product with the values, whose heads `join` puts together.
void recognise(Program& program, const Weights& weights, int mix, int join) {
  const int softmax = weights.softmax;
  Scores scores;
  if (!scores_of(program, softmax, scores)) return;
  const int product = scores.path.members.back();
  Heads heads;
  if (!heads_of(program, product, mix, heads) ||
      !is_shaped(program, heads, scores, softmax, join)) {
    return;
  }
  const double product_scale = scores.product_factor * heads.queries.factor * heads.keys.factor;
  const auto scale = static_cast<float>(product_scale * scores.path.factor);
  if (!std::isfinite(scale)) return;

  Replacement fused{.op_type = "FusedAttention", .domain = "mezzo", .opset = 1};
  fused.attributes = {attribute("num_heads", heads.q[2]), attribute("scale", scale),
                      attribute("product_scale", static_cast<float>(product_scale))};
  if (!add_inputs(program, heads, fused)) return;
  for (const Mask& mask : {scores.mask, scores.condition}) {
    if (mask.slot >= 0) fused.in_as.emplace_back(static_cast<int>(fused.in.size()), mask.shape);
    fused.in.push_back(mask.slot);
  }
  if (scores.condition.slot >= 0) {
    fused.attributes.push_back(attribute("fill", scores.fill));
    fused.attributes.push_back(attribute("keeps", std::int64_t{scores.keeps}));
  }
  std::vector<int> core = {softmax, mix, join};
  if (weights.where >= 0) {
    core.insert(core.end(), {weights.is_nan, weights.where});
    fused.attributes.push_back(attribute("guards", std::int64_t{1}));
    fused.of_any_type = true;  // IsNaN's
  }
  core.insert(core.end(), scores.path.members.begin(), scores.path.members.end());
  const std::vector<const Path*> paths = {&heads.queries, &heads.keys, &heads.values};
  const Members members(program, std::move(core), paths);
  const auto out = [&](int step) { return program.step(step).out[0]; };
  // Each once: without factors the product is what is scaled, without a condition that is what is
  // chosen, without a mask this is what the Softmax takes, and without a guard what that gives
  // stays.
  fused.out = {out(join)};
  fused.out_as = {{0, {heads.q[0], heads.q[1], heads.q[2] * heads.v[3]}}};
  for (const int slot : {out(product), scores.scaled, scores.masked, out(softmax), out(mix),
                         scores.chosen, weights.where < 0 ? out(softmax) : out(weights.where)}) {
    const bool gives = members.is_wanted(slot) && !contains(fused.out, slot);
    if (gives) {
      fused.out_as.emplace_back(static_cast<int>(fused.out.size()),
                                slot == out(mix) ? heads.mixed() : heads.scores());
    }
    fused.out.push_back(gives ? slot : -1);
  }
  if (!program.fuse(members.all(), std::move(fused))) return;
  // What only led to it under another name.
  const int attention = *std::max_element(members.all().begin(), members.all().end());
  for (const int expand : scores.path.repeats) program.drop_unread(expand, attention);
  for (const Path* path : paths) {
    for (const int expand : path->repeats) program.drop_unread(expand, attention);
    for (const int member : path->members) program.drop_unread(member, attention);
  }
}

}  // namespace

void attention(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "Transpose")) continue;
    const ops::Op& join = program.op(i);
    const Axes perm = join.attr_ints("perm");
    // The batch may come second, if it is of one.
    const bool is_second = perm == Axes{2, 0, 1, 3} && join.in_shape(0)[0] == 1;
    if (perm != Axes{0, 2, 1, 3} && !is_second) continue;
    const int mix = program.maker_of(whole(program, program.in(i, 0)), "MatMul");
    if (mix < 0) continue;
    const Weights weights = weights_of(program, mix);
    if (weights.softmax >= 0 && is_last_axis(program.op(weights.softmax)))
      recognise(program, weights, mix, i);
  }
}

}  // namespace mezzo::passes
