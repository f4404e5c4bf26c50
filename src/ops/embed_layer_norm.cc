// com.microsoft EmbedLayerNormalization (1): the embeddings of words, positions and segments,
// summed and normalised by rows. Spec: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>
#include <cmath>
#include <string>

#include "base/shape.h"
#include "kernels/layer_norm_f32.h"
#include "ops/axis_split.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum Input { kWordIds, kSegmentIds, kWords, kPositions, kSegments, kGamma, kBeta, kMask, kPlaces };

void infer(Op& op) {
  for (const int i : {kWordIds, kWords, kPositions}) require_rank(op, i, 2, 2);
  const Shape& ids = op.in_shape(kWordIds);
  const std::int64_t hidden = op.in_shape(kWords)[1];
  expect_shape(op, kSegmentIds, ids);
  expect_shape(op, kPositions, {op.in_shape(kPositions)[0], hidden});
  if (op.has_in(kSegmentIds) != op.has_in(kSegments)) {
    throw invalid("segment_ids and segment_embedding must be given together");
  }
  if (op.has_in(kSegments)) {
    require_rank(op, kSegments, 2, 2);
    expect_shape(op, kSegments, {op.in_shape(kSegments)[0], hidden});
  }
  expect_shape(op, kGamma, {hidden});
  expect_shape(op, kBeta, {hidden});
  expect_shape(op, kMask, ids);
  if (op.has_in(kPlaces) && op.in_shape(kPlaces) != Shape{1, ids[1]})
    expect_shape(op, kPlaces, ids);
  op.set_out(0, op.in(kWords).dtype, {ids[0], ids[1], hidden});
  op.set_out(1, DType::i32, {ids[0]});
  op.set_out(2, op.in(kWords).dtype, {ids[0], ids[1], hidden});
}

// The row `id` of the embedding that is input `i`.
const float* embedding(const Run& run, int i, std::int64_t id) {
  const Shape& shape = run.op().in_shape(i);
  if (id < 0 || id >= shape[0]) {
    throw Error(ErrorCode::runtime, "an id has no embedding")
        .at("input '" + run.op().row().inputs()[static_cast<std::size_t>(i)].name + "'")
        .expected("0 to " + std::to_string(shape[0] - 1))
        .got(std::to_string(id));
  }
  return run.in<float>(i) + id * shape[1];
}

// Of the token number `token`, which is number `place` of its sequence.
void sum_embeddings(const Run& run, std::int64_t token, std::int64_t length, float* sum) {
  const std::int64_t hidden = run.op().in_shape(kWords)[1];
  std::int64_t place = token % length;
  if (const auto* places = run.in<std::int32_t>(kPlaces)) {
    place = places[run.op().in_shape(kPlaces)[0] == 1 ? place : token];
  }
  const float* word = embedding(run, kWords, run.in<std::int32_t>(kWordIds)[token]);
  const float* position = embedding(run, kPositions, place);
  for (std::int64_t i = 0; i < hidden; ++i) sum[i] = word[i] + position[i];
  if (const auto* segments = run.in<std::int32_t>(kSegmentIds)) {
    const float* segment = embedding(run, kSegments, segments[token]);
    for (std::int64_t i = 0; i < hidden; ++i) sum[i] += segment[i];
  }
}

void normalize_plain(const Run& run, double epsilon, std::int64_t n, const float* x, float* y) {
  double mean = 0, squares = 0;
  for (std::int64_t i = 0; i < n; ++i) mean += static_cast<double>(x[i]);
  mean /= static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double inv_std = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon);
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>((x[i] - mean) * inv_std * run.in<float>(kGamma)[i] +
                              run.in<float>(kBeta)[i]);
  }
}

// The number of ones in each row of the mask.
void count_mask(const Run& run, std::int64_t batch, std::int64_t length) {
  auto* counts = run.out<std::int32_t>(1);
  if (counts == nullptr) return;
  const auto* mask = run.in<std::int32_t>(kMask);
  for (std::int64_t b = 0; b < batch; ++b) {
    counts[b] =
        mask == nullptr
            ? 0
            : static_cast<std::int32_t>(std::count(mask + b * length, mask + (b + 1) * length, 1));
  }
}

Choice embed(Op& op, bool simd) {
  if (op.in(kWords).dtype != DType::f32) return refuse("not float32");
  const Shape& ids = op.in_shape(kWordIds);
  return Kernel([=, epsilon = op.attr_float("epsilon"), batch = ids[0], length = ids[1],
                 hidden = op.in_shape(kWords)[1]](Run& run) {
    count_mask(run, batch, length);
    run.pool().parallel_for(
        batch * length, grain_for(hidden * 4), [&](std::int64_t begin, std::int64_t end) {
          std::vector<float> memory(static_cast<std::size_t>(hidden));
          for (std::int64_t token = begin; token < end; ++token) {
            float* sum =
                run.out<float>(2) != nullptr ? run.out<float>(2) + token * hidden : memory.data();
            sum_embeddings(run, token, length, sum);
            float* y = run.out<float>(0) + token * hidden;
            if (simd && hidden > 0) {
              kernels::LayerNormArgs args;
              args.epsilon = epsilon;
              args.scale = run.in<float>(kGamma);
              args.bias = run.in<float>(kBeta);
              kernels::layer_norm_rows(args, sum, y, 1, hidden, run.pool());
            } else {
              normalize_plain(run, epsilon, hidden, sum, y);
            }
          }
        });
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(embed_layer_norm) {
  op("EmbedLayerNormalization", "com.microsoft")
      .since(1)
      .attr("epsilon", 1e-12F)
      .attr("mask_index_type", FormalAttribute::Kind::int_)
      .in("input_ids", DType::i32)
      .in("segment_ids", DType::i32, Arity::optional)
      .in("word_embedding", {DType::f32, DType::f16})
      .in("position_embedding", like(2))
      .in("segment_embedding", like(2), Arity::optional)
      .in("gamma", like(2))
      .in("beta", like(2))
      .in("mask", DType::i32, Arity::optional)
      .in("position_ids", DType::i32, Arity::optional)
      .out("output", like(2))
      .out("mask_index", DType::i32, Arity::optional)
      .out("embedding_sum", like(2), Arity::optional)
      .infer(infer)
      .simd_kernel("rows", [](Op& node) { return embed(node, true); })
      .kernel("reference", [](Op& node) { return embed(node, false); });
}
