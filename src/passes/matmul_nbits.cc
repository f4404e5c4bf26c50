// MatMul with weights of 2 or 4 bits that a DequantizeLinear makes floats of, [K, N] in blocks
// along K, and an Add of a row behind it: MatMulNBits, which multiplies by them as they are.
#include <algorithm>

#include "base/convert.h"
#include "base/rounding.h"
#include "passes/passes.h"
#include "passes/quantization.h"

namespace mezzo::passes {
namespace {

// Weights [k, n]: slots, and what their elements are.
struct Weights {
  int q = -1, scales = -1, zeros = -1;
  std::int64_t k = 0, n = 0, block = 0;
  int bits = 0;
  bool is_signed = false;

  std::int64_t blocks() const { return ceil_div(k, block); }
};

std::optional<Weights> weights_of(const Program& program, int slot) {
  const std::optional<Quantized> given = dequantized(program, slot);
  if (!given || given->step >= 0) return std::nullopt;
  Weights w{given->q, given->scale, given->zero_point};
  w.block = given->block;
  const ops::Operand &q = program.slot(w.q).operand, &scales = program.slot(w.scales).operand;
  const bool is_nbits =
      q.dtype == DType::u4 || q.dtype == DType::i4 || q.dtype == DType::u2 || q.dtype == DType::i2;
  // Those blocks that MatMulNBits knows.
  if (!is_nbits || q.shape.size() != 2 || (given->axis != 0 && given->axis != -2) || w.block < 16 ||
      (w.block & (w.block - 1)) != 0)
    return std::nullopt;
  w.k = q.shape[0];
  w.n = q.shape[1];
  w.bits = bits_of(q.dtype);
  w.is_signed = q.dtype == DType::i4 || q.dtype == DType::i2;
  if (w.k == 0 || w.n == 0 || scales.shape != Shape{w.blocks(), w.n}) return std::nullopt;
  return w;
}

// Element `i` of what is packed in `bits` bits, as if it had no sign.
int element(const Weights& w, const Tensor& tensor, std::int64_t i) {
  const int q = packed_field(w.bits, tensor.data(), i);
  return w.is_signed ? q ^ (1 << (w.bits - 1)) : q;
}

// From [blocks, n] to [n, blocks].
template <class Value>
Tensor by_rows(const Weights& w, const Value& value) {
  Tensor rows = Tensor::uninitialized(DType::f32, {w.n, w.blocks()});
  auto* to = rows.mutable_values<float>().data();
  for (std::int64_t j = 0; j < w.n; ++j) {
    for (std::int64_t block = 0; block < w.blocks(); ++block) *to++ = value(block * w.n + j);
  }
  return rows;
}

// B' with each row's elements one behind the other.
Tensor rows_of(const Weights& w, const Tensor& q) {
  const std::int64_t row_bytes = w.blocks() * w.block * w.bits / 8;
  Tensor rows = Tensor::uninitialized(DType::u8, {w.n, w.blocks(), w.block * w.bits / 8});
  std::uint8_t* to = rows.mutable_values<std::uint8_t>().data();
  std::fill_n(to, w.n * row_bytes, std::uint8_t{0});
  for (std::int64_t p = 0; p < w.k; ++p) {
    const std::int64_t byte = p * w.bits / 8, shift = p * w.bits % 8;
    for (std::int64_t j = 0; j < w.n; ++j) {
      std::uint8_t& there = to[j * row_bytes + byte];
      there = static_cast<std::uint8_t>(there | element(w, q, p * w.n + j) << shift);
    }
  }
  return rows;
}

// The inputs B, scales and zero points of MatMulNBits; empty where they cannot be derived.
std::vector<int> derived(Program& program, const Weights& w) {
  const std::string key = "rows of " + std::to_string(w.bits) + " bits, blocks of " +
                          std::to_string(w.block) + (w.is_signed ? ", signed" : "");
  const int q = program.derive(
      w.q, {}, key, {w.n, w.blocks(), w.block * w.bits / 8},
      [w](const Tensor& base) { return rows_of(w, base); }, DType::u8);
  const int scales = program.derive(w.scales, {}, key, {w.n, w.blocks()}, [w](const Tensor& base) {
    return by_rows(w, [&](std::int64_t i) { return base.values<float>()[i]; });
  });
  if (q < 0 || scales < 0) return {};
  // Without zero points, MatMulNBits has them in the middle: that is 0 with a sign.
  if (w.zeros < 0 && w.is_signed) return {q, scales};
  const int zeros = program.derive(
      w.zeros < 0 ? w.scales : w.zeros, {}, key + ", zeros", {w.n, w.blocks()},
      [w](const Tensor& base) {
        return by_rows(w, [&](std::int64_t i) {
          return w.zeros < 0 ? 0.0F : static_cast<float>(element(w, base, i));
        });
      },
      DType::f32);
  if (zeros < 0) return {};
  return {q, scales, zeros};
}

void recognise(Program& program, int matmul) {
  const std::optional<Weights> weights = weights_of(program, program.in(matmul, 1));
  if (!weights || program.op(matmul).in_rank(0) == 0) return;
  const std::vector<int> inputs = derived(program, *weights);
  if (inputs.empty()) return;
  Replacement product{.op_type = "MatMulNBits", .domain = "com.microsoft", .opset = 1};
  product.attributes = {attribute("K", weights->k), attribute("N", weights->n),
                        attribute("bits", std::int64_t{weights->bits}),
                        attribute("block_size", weights->block)};
  product.in = {program.in(matmul, 0)};
  product.in.insert(product.in.end(), inputs.begin(), inputs.end());
  product.out = {program.step(matmul).out[0]};
  const int add = program.user(product.out[0], "Add");
  const int bias = program.other(add, product.out[0]);
  if (bias >= 0 && program.is_constant(bias) &&
      program.slot(bias).operand.shape == Shape{weights->n}) {
    constexpr std::size_t kBias = 5;
    Replacement sum = product;
    sum.in.resize(kBias, -1);
    sum.in.push_back(bias);
    sum.out = {program.step(add).out[0]};
    if (program.fuse({matmul, add}, std::move(sum))) return;
  }
  program.fuse({matmul}, std::move(product));
}

}  // namespace

void matmul_nbits(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (program.is(i, "MatMul")) recognise(program, i);
  }
}

}  // namespace mezzo::passes
