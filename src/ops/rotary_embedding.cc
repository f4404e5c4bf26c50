// RotaryEmbedding (RoPE, https://arxiv.org/abs/2104.09864): pairs of numbers of each head are
// turned by angles that grow with the position. Spec: ai.onnx RotaryEmbedding-23.
#include "base/shape.h"
#include "ops/axis_split.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

struct Rotary {
  std::int64_t batch = 0, heads = 0, length = 0, head_size = 0;
  std::int64_t half = 0;       // pairs that turn in each head; the rest stays
  bool interleaved = false;    // pairs (0, 1), (2, 3), ... and not (i, i + half)
  bool heads_outside = false;  // [batch, heads, length, head_size], not [batch, length, hidden]
  std::int64_t positions = 0;  // rows of the caches, where position_ids choose them
};

void check_shape(const Op& op, int i, const Shape& wanted) {
  if (op.in_shape(i) == wanted) return;
  throw invalid("an input has the wrong shape")
      .at("input " + std::to_string(i))
      .expected(to_string(wanted))
      .got(to_string(op.in_shape(i)));
}

Rotary rotary_of(const Op& op) {
  require_rank(op, 0, 3, 4);
  const Shape& x = op.in_shape(0);
  Rotary rotary;
  rotary.interleaved = op.attr_int("interleaved") != 0;
  rotary.heads_outside = x.size() == 4;
  rotary.batch = x[0];
  if (rotary.heads_outside) {
    rotary.heads = x[1];
    rotary.length = x[2];
    rotary.head_size = x[3];
  } else {
    rotary.heads = op.attr_int("num_heads");
    if (rotary.heads <= 0 || x[2] % rotary.heads != 0) {
      throw invalid("the hidden size must be a multiple of the number of heads")
          .at("attribute 'num_heads'")
          .expected("a divisor of " + std::to_string(x[2]))
          .got(std::to_string(rotary.heads));
    }
    rotary.length = x[1];
    rotary.head_size = x[2] / rotary.heads;
  }
  const std::int64_t asked = op.attr_int("rotary_embedding_dim");
  const std::int64_t turned = asked == 0 ? rotary.head_size : asked;
  if (turned < 0 || turned > rotary.head_size || turned % 2 != 0) {
    throw invalid("an even part of each head must turn")
        .at("attribute 'rotary_embedding_dim'")
        .expected("an even number up to " + std::to_string(rotary.head_size))
        .got(std::to_string(turned));
  }
  rotary.half = turned / 2;
  if (op.has_in(3)) {
    for (int i = 1; i < 3; ++i) require_rank(op, i, 2, 2);
    rotary.positions = op.in_shape(1)[0];
    for (int i = 1; i < 3; ++i) check_shape(op, i, {rotary.positions, rotary.half});
    check_shape(op, 3, {rotary.batch, rotary.length});
  } else {
    for (int i = 1; i < 3; ++i) check_shape(op, i, {rotary.batch, rotary.length, rotary.half});
  }
  return rotary;
}

void infer(Op& op) {
  rotary_of(op);
  same_shape(op);
}

void turn(const Rotary& rotary, const float* x, float* y, const float* cosines,
          const float* sines) {
  const std::int64_t step = rotary.interleaved ? 2 : 1;
  const std::int64_t partner = rotary.interleaved ? 1 : rotary.half;
  for (std::int64_t i = 0; i < rotary.half; ++i) {
    const float re = x[i * step], im = x[i * step + partner];
    y[i * step] = cosines[i] * re - sines[i] * im;
    y[i * step + partner] = sines[i] * re + cosines[i] * im;
  }
  std::copy(x + 2 * rotary.half, x + rotary.head_size, y + 2 * rotary.half);
}

Choice reference(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("computed in float32");
  const Rotary rotary = rotary_of(op);
  return [rotary](Run& run) {
    const Rotary& r = rotary;
    const auto* positions = run.in<std::int64_t>(3);
    run.pool().parallel_for(
        r.batch * r.length, grain_for(r.heads * r.head_size),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t token = begin; token < end; ++token) {
            const std::int64_t row = positions != nullptr ? positions[token] : token;
            if (positions != nullptr && (row < 0 || row >= r.positions)) {
              throw Error(ErrorCode::runtime, "a position is out of range")
                  .at("input 3")
                  .expected("0 to " + std::to_string(r.positions - 1))
                  .got(std::to_string(row));
            }
            const float *cosines = run.in<float>(1) + row * r.half,
                        *sines = run.in<float>(2) + row * r.half;
            for (std::int64_t head = 0; head < r.heads; ++head) {
              const std::int64_t at =
                  r.heads_outside
                      ? (token / r.length * r.heads + head) * r.length + token % r.length
                      : token * r.heads + head;
              turn(r, run.in<float>(0) + at * r.head_size, run.out<float>(0) + at * r.head_size,
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
}
