// com.microsoft MatMulNBits (1): A * B', where B [N, K] has 2, 4 or 8 bits an element, packed from
// the low bits up, and a scale and zero point for each block of block_size elements along K. Spec:
// ONNX Runtime's docs/ContribOperators.md. B becomes float32 a few rows at a time, so that a model
// stays as small as it is; accuracy_level, which allows for less than float32, changes nothing.

#include <algorithm>
#include <string>

#include "base/shape.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

enum Input { kA, kB, kScales, kZeroPoints, kGroups, kBias };

struct PackedProduct {
  std::int64_t rows = 0, n = 0, k = 0;
  std::int64_t block = 0, blocks = 0;  // elements of a block, blocks of a row of B
  int bits = 4;
  bool packed_zeros = false;  // zero points as B's elements, else (if given) as floats

  std::int64_t blob() const { return block * bits / 8; }
  std::int64_t zero_bytes() const { return (blocks * bits + 7) / 8; }
  int element(const std::uint8_t* bytes, std::int64_t i) const {
    const std::int64_t at = i * bits;
    return (bytes[at / 8] >> (at % 8)) & ((1 << bits) - 1);
  }
};

void check_size(const Op& op, int i, const Shape& wanted) {
  if (!op.has_in(i) || element_count(op.in_shape(i)) == element_count(wanted)) return;
  throw invalid("an input does not fit the attributes")
      .at("input '" + op.row().inputs()[static_cast<std::size_t>(i)].name + "'")
      .expected(to_string(wanted))
      .got(to_string(op.in_shape(i)));
}

PackedProduct product_of(const Op& op) {
  PackedProduct p;
  p.n = op.attr_int("N");
  p.k = op.attr_int("K");
  p.block = op.attr_int("block_size");
  const std::int64_t bits = op.attr_int("bits");
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  const bool fits = p.n >= 0 && p.k > 0 && p.n < kMost && p.k < kMost && p.block >= 16 &&
                    p.block < kMost && (p.block & (p.block - 1)) == 0 &&
                    (bits == 2 || bits == 4 || bits == 8);
  if (!fits) {
    throw invalid("the attributes do not describe a matrix")
        .at("attributes 'N', 'K', 'bits', 'block_size'")
        .expected("extents, 2, 4 or 8 bits, and a power of two from 16 on")
        .got(std::to_string(p.n) + ", " + std::to_string(p.k) + ", " + std::to_string(bits) + ", " +
             std::to_string(p.block));
  }
  if (op.attr_int("weight_prepacked") != 0) {
    throw Error(ErrorCode::unsupported, "the weights are packed for another program's kernels")
        .at("attribute 'weight_prepacked'");
  }
  if (op.has_in(kGroups)) {
    throw Error(ErrorCode::unsupported, "elements in another order than their blocks")
        .at("input 'g_idx'");
  }
  p.bits = static_cast<int>(bits);
  p.blocks = (p.k + p.block - 1) / p.block;
  require_rank(op, kA, 1);
  const Shape& a = op.in_shape(kA);
  if (a.back() != p.k) {
    throw invalid("the two matrices do not fit each other")
        .at("input 'A'")
        .expected(std::to_string(p.k) + " columns")
        .got(to_string(a));
  }
  p.rows = product(a, 0, op.in_rank(kA) - 1);
  check_size(op, kB, {p.n, p.blocks, p.blob()});
  check_size(op, kScales, {p.n, p.blocks});
  p.packed_zeros = op.has_in(kZeroPoints) && op.in(kZeroPoints).dtype == DType::u8;
  check_size(op, kZeroPoints, {p.n, p.packed_zeros ? p.zero_bytes() : p.blocks});
  check_size(op, kBias, {p.n});
  return p;
}

void infer(Op& op) {
  Shape shape = op.in_shape(kA);
  shape.back() = product_of(op).n;
  op.set_out(0, op.in(kA).dtype, shape);
}

// Row `row` of B, to y [k].
void unpack_row(const PackedProduct& p, const Run& run, std::int64_t row, float* y) {
  const auto* b = run.in<std::uint8_t>(kB) + row * p.blocks * p.blob();
  const float* scales = run.in<float>(kScales) + row * p.blocks;
  for (std::int64_t block = 0; block < p.blocks; ++block) {
    auto zero = static_cast<float>(1 << (p.bits - 1));
    if (p.packed_zeros) {
      const auto* zeros = run.in<std::uint8_t>(kZeroPoints) + row * p.zero_bytes();
      zero = static_cast<float>(p.element(zeros, block));
    } else if (const auto* zeros = run.in<float>(kZeroPoints)) {
      zero = zeros[row * p.blocks + block];
    }
    const std::int64_t count = std::min(p.block, p.k - block * p.block);
    const std::uint8_t* bytes = b + block * p.blob();
    float* to = y + block * p.block;
    for (std::int64_t i = 0; i < count; ++i) {
      to[i] = (static_cast<float>(p.element(bytes, i)) - zero) * scales[block];
    }
  }
}

Choice matmul(Op& op, bool simd) {
  for (const int i : {kA, kZeroPoints}) {
    if (op.has_in(i) && op.in(i).dtype != DType::f32 && op.in(i).dtype != DType::u8) {
      return refuse("not float32");
    }
  }
  return Kernel([p = product_of(op), simd](Run& run) {
    if (p.rows == 0) return;
    // Rows of B that stay in the second cache as float32.
    const std::int64_t width = std::clamp<std::int64_t>(64 * 1024 / p.k, 16, 256);
    const float *a = run.in<float>(kA), *bias = run.in<float>(kBias);
    const auto columns = [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> rows(static_cast<std::size_t>(std::min(width, p.n) * p.k));
      for (std::int64_t part = begin; part < end; ++part) {
        const std::int64_t first = part * width, count = std::min(width, p.n - first);
        for (std::int64_t i = 0; i < count; ++i) {
          unpack_row(p, run, first + i, rows.data() + i * p.k);
        }
        float* y = run.out<float>(0) + first;
        if (simd) {
          kernels::gemm(p.rows, count, p.k, {a, p.k, 1, false}, {rows.data(), 1, p.k, false}, y,
                        p.n, {}, run.pool());
        } else {
          multiply<float>(p.rows, count, p.k, {a, p.k, 1}, {rows.data(), 1, p.k},
                          [&](std::int64_t i, std::int64_t j, double sum) {
                            y[i * p.n + j] = static_cast<float>(sum);
                          });
        }
        for (std::int64_t i = 0; bias != nullptr && i < p.rows; ++i) {
          for (std::int64_t j = 0; j < count; ++j) y[i * p.n + j] += bias[first + j];
        }
      }
    };
    run.pool().parallel_for((p.n + width - 1) / width, 1, columns);
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(matmul_nbits) {
  op("MatMulNBits", "com.microsoft")
      .since(1)
      .required("K", Kind::int_)
      .required("N", Kind::int_)
      .attr("accuracy_level", 0)
      .attr("bits", 4)
      .required("block_size", Kind::int_)
      .attr("weight_prepacked", 0)
      .in("A", {DType::f32, DType::f16, DType::bf16})
      .in("B", DType::u8)
      .in("scales", like(0))
      .in("zero_points", {DType::u8, DType::f32, DType::f16, DType::bf16}, Arity::optional)
      .in("g_idx", DType::i32, Arity::optional)
      .in("bias", like(0), Arity::optional)
      .out("Y", like(0))
      .infer(infer)
      .simd_kernel("gemm", [](Op& node) { return matmul(node, true); })
      .kernel("reference", [](Op& node) { return matmul(node, false); })
      .multiply_adds([](const Op& node) {
        const PackedProduct p = product_of(node);
        return checked_mul(checked_mul(p.rows, p.n), p.k);
      });
}
