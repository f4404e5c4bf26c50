// RotaryEmbedding (RoPE, https://arxiv.org/abs/2104.09864): pairs of numbers of each head are
// turned by angles that grow with the position. Spec: ai.onnx RotaryEmbedding-23, and the schema of
// com.microsoft's (1) in ONNX Runtime.
#include "base/shape.h"
#include "ops/axis_split.h"
#include "ops/rotary.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// Inputs by number.
struct Inputs {
  int cosines = 1, sines = 2, positions = 3;
};
constexpr Inputs kOfMicrosoft = {2, 3, 1};

struct Rotary {
  Inputs in;
  std::int64_t batch = 0, heads = 0, length = 0;
  RotaryHead head;
  bool heads_outside = false;  // [batch, heads, length, head_size], not [batch, length, hidden]
  std::int64_t positions = 0;  // rows of the caches, where position_ids choose them
  bool from_first = false;     // which say the first token's alone
};

Rotary rotary_of(const Op& op) {
  require_rank(op, 0, 3, 4);
  const Shape& x = op.in_shape(0);
  const bool is_microsofts = op.row().domain() == "com.microsoft";
  Rotary rotary;
  if (is_microsofts) rotary.in = kOfMicrosoft;
  rotary.head.interleaved = op.attr_int("interleaved") != 0;
  rotary.heads_outside = x.size() == 4;
  rotary.batch = x[0];
  const std::int64_t asked = op.attr_int("rotary_embedding_dim");
  if (rotary.heads_outside) {
    rotary.heads = x[1];
    rotary.length = x[2];
    rotary.head.size = x[3];
  } else {
    rotary.heads = op.attr_int("num_heads");
    // There whole heads turn then, and the caches tell their size.
    if (is_microsofts && asked == 0) {
      require_rank(op, rotary.in.cosines, 2, 2);
      const std::int64_t size = 2 * op.in_shape(rotary.in.cosines)[1];
      if (size > 0) rotary.heads = x[2] / size;
    }
    if (rotary.heads <= 0 || x[2] % rotary.heads != 0) {
      throw invalid("the hidden size must be a multiple of the number of heads")
          .at("attribute 'num_heads'")
          .expected("a divisor of " + std::to_string(x[2]))
          .got(std::to_string(rotary.heads));
    }
    rotary.length = x[1];
    rotary.head.size = x[2] / rotary.heads;
  }
  const std::int64_t turned = asked == 0 ? rotary.head.size : asked;
  if (turned < 0 || turned > rotary.head.size || turned % 2 != 0) {
    throw invalid("an even part of each head must turn")
        .at("attribute 'rotary_embedding_dim'")
        .expected("an even number up to " + std::to_string(rotary.head.size))
        .got(std::to_string(turned));
  }
  rotary.head.half = turned / 2;
  const auto [cosines, sines, positions] = rotary.in;
  if (op.has_in(positions)) {
    for (const int i : {cosines, sines}) require_rank(op, i, 2, 2);
    rotary.positions = op.in_shape(cosines)[0];
    for (const int i : {cosines, sines}) expect_shape(op, i, {rotary.positions, rotary.head.half});
    rotary.from_first = is_microsofts && op.in_shape(positions) == Shape{1};
    if (!rotary.from_first) expect_shape(op, positions, {rotary.batch, rotary.length});
  } else {
    for (const int i : {cosines, sines})
      expect_shape(op, i, {rotary.batch, rotary.length, rotary.head.half});
  }
  return rotary;
}

void infer(Op& op) {
  rotary_of(op);
  same_shape(op);
}

void infer_microsofts(Op& op) {
  if (op.attr_int("is_packed_batching") != 0 || op.attr_float("scale") != 1) {
    throw Error(ErrorCode::unsupported, "rotation of packed batches, or scaled")
        .at("attributes 'is_packed_batching', 'scale'");
  }
  infer(op);
}

Choice reference(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("computed in float32");
  const Rotary rotary = rotary_of(op);
  return [rotary](Run& run) {
    const Rotary& r = rotary;
    const auto* positions = run.in<std::int64_t>(r.in.positions);
    run.pool().parallel_for(
        r.batch * r.length, grain_for(r.heads * r.head.size),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t token = begin; token < end; ++token) {
            std::int64_t row = token;
            if (positions != nullptr) {
              row = r.from_first
                        ? rotary_row(r.in.positions, positions[0], token % r.length, r.positions)
                        : rotary_row(r.in.positions, positions[token], 0, r.positions);
            }
            const float *cosines = run.in<float>(r.in.cosines) + row * r.head.half,
                        *sines = run.in<float>(r.in.sines) + row * r.head.half;
            for (std::int64_t head = 0; head < r.heads; ++head) {
              const std::int64_t at =
                  r.heads_outside
                      ? (token / r.length * r.heads + head) * r.length + token % r.length
                      : token * r.heads + head;
              r.head.turn(run.in<float>(0) + at * r.head.size, run.out<float>(0) + at * r.head.size,
                          cosines, sines);
            }
          }
        });
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(rotary_embedding) {
  op("RotaryEmbedding")
      .since(23)
      .attr("interleaved", 0)
      .attr("num_heads", FormalAttribute::Kind::int_)
      .attr("rotary_embedding_dim", 0)
      .in("X", {DType::f16, DType::bf16, DType::f32})
      .in("cos_cache", like(0))
      .in("sin_cache", like(0))
      .in("position_ids", DType::i64, Arity::optional)
      .out("Y", like(0))
      .infer(infer)
      .kernel("reference", reference);
  op("RotaryEmbedding", "com.microsoft")
      .since(1)
      .attr("interleaved", 0)
      .attr("is_packed_batching", 0)
      .attr("num_heads", 0)
      .attr("rotary_embedding_dim", 0)
      .attr("scale", 1.0F)
      .in("input", {DType::f16, DType::bf16, DType::f32})
      .in("position_ids", DType::i64)
      .in("cos_cache", like(0))
      .in("sin_cache", like(0))
      .out("output", like(0))
      .infer(infer_microsofts)
      .kernel("reference", reference);
}
