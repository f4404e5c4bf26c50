// com.microsoft MatMulNBits (1): A * B', where B [N, K] has 2, 4 or 8 bits an element, packed from
// the low bits up, and a scale and zero point for each block of block_size elements along K. Spec:
// ONNX Runtime's docs/ContribOperators.md. A model stays as small as it is. With an accuracy_level
// of 4, A is rounded to 8 bits in blocks, as the level allows.

#include <algorithm>
#include <string>

#include "base/convert.h"
#include "base/shape.h"
#include "kernels/gemm_nbits_f32.h"
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

float zero_of(const PackedProduct& p, const Tensor& zeros, std::int64_t row, std::int64_t block) {
  if (!zeros.has_value()) return static_cast<float>(1 << (p.bits - 1));
  if (!p.packed_zeros) return zeros.values<float>()[row * p.blocks + block];
  const auto* bytes = static_cast<const std::uint8_t*>(zeros.data()) + row * p.zero_bytes();
  return static_cast<float>(packed_field(p.bits, bytes, block));
}

// Row `row` of B, to y [k].
void unpack_row(const PackedProduct& p, const std::uint8_t* b, const float* scales,
                const Tensor& zeros, std::int64_t row, float* y) {
  for (std::int64_t block = 0; block < p.blocks; ++block) {
    const float zero = zero_of(p, zeros, row, block);
    const std::int64_t count = std::min(p.block, p.k - block * p.block);
    const std::uint8_t* bytes = b + (row * p.blocks + block) * p.blob();
    float* to = y + block * p.block;
    for (std::int64_t i = 0; i < count; ++i) {
      to[i] = (static_cast<float>(packed_field(p.bits, bytes, i)) - zero) *
              scales[row * p.blocks + block];
    }
  }
}

bool is_float32(const Op& op) {
  return op.in(kA).dtype == DType::f32 &&
         (!op.has_in(kZeroPoints) || op.in(kZeroPoints).dtype == DType::f32 ||
          op.in(kZeroPoints).dtype == DType::u8);
}

Choice reference(Op& op) {
  if (!is_float32(op)) return refuse("not float32");
  return Kernel([p = product_of(op)](Run& run) {
    const float *a = run.in<float>(kA), *bias = run.in<float>(kBias);
    auto* y = run.out<float>(0);
    run.pool().parallel_for(p.n, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(p.k));
      for (std::int64_t j = begin; j < end; ++j) {
        unpack_row(p, run.in<std::uint8_t>(kB), run.in<float>(kScales), run.in_tensor(kZeroPoints),
                   j, row.data());
        multiply<float>(p.rows, 1, p.k, {a, p.k, 1}, {row.data(), 1, p.k},
                        [&](std::int64_t i, std::int64_t /*column*/, double sum) {
                          y[i * p.n + j] =
                              static_cast<float>(sum + (bias != nullptr ? bias[j] : 0));
                        });
      }
    });
  });
}

// B as the kernel takes it: three tensors in panels.
struct Panels {
  PackedProduct p;
  kernels::NbitsMatrix matrix;
  Tensor words, scales, zeros;

  explicit Panels(const PackedProduct& product) : p(product), matrix{p.n, p.k, p.block, p.bits} {}

  // That many numbers for each block, for all panels.
  Shape shape(std::int64_t of_block) const {
    return {matrix.panels(), matrix.blocks() * of_block * kernels::kNbitsPanel};
  }
  Tensor in_panels(const float* rows) const {
    Tensor panels = Tensor::uninitialized(DType::f32, shape(1));
    kernels::pack_nbits(matrix, rows, panels.mutable_values<float>().data());
    return panels;
  }
  Tensor words_of(const Tensor& b) const {
    Tensor panels = Tensor::uninitialized(DType::u32, shape(matrix.words_of_block()));
    kernels::pack_nbits(matrix, static_cast<const std::uint8_t*>(b.data()),
                        panels.mutable_values<std::uint32_t>().data());
    return panels;
  }
  Tensor scales_of(const Tensor& scales) const {
    return in_panels(static_cast<const float*>(scales.data()));
  }
  Tensor zeros_of(const Tensor& given) const {
    std::vector<float> rows(static_cast<std::size_t>(p.n * p.blocks));
    for (std::int64_t row = 0; row < p.n; ++row) {
      for (std::int64_t block = 0; block < p.blocks; ++block)
        rows[static_cast<std::size_t>(row * p.blocks + block)] = zero_of(p, given, row, block);
    }
    return in_panels(rows.data());
  }
  kernels::NbitsMatrix filled() const {
    kernels::NbitsMatrix b = matrix;
    b.words = static_cast<const std::uint32_t*>(words.data());
    b.scales = static_cast<const float*>(scales.data());
    if (zeros.has_value()) b.zeros = static_cast<const float*>(zeros.data());
    return b;
  }
};

using Multiply = void (*)(std::int64_t m, const float* a, const kernels::NbitsMatrix& b,
                          const float* bias, float* c, ThreadPool& pool);

// What is constant is packed once, the rest in each run.
Choice by_panels(Op& op, Multiply multiply) {
  if (!is_float32(op)) return refuse("not float32");
  const PackedProduct p = product_of(op);
  Panels ahead(p);
  const std::string key = "nbits " + std::to_string(p.n) + "x" + std::to_string(p.k) + " " +
                          std::to_string(p.bits) + " bits, blocks of " + std::to_string(p.block);
  if (op.is_constant(kB)) {
    ahead.words = op.packed(kB, key, [&](const Tensor& b) { return ahead.words_of(b); });
  }
  if (op.is_constant(kScales)) {
    ahead.scales = op.packed(kScales, key, [&](const Tensor& s) { return ahead.scales_of(s); });
  }
  if (op.is_constant(kZeroPoints)) {
    ahead.zeros = op.packed(kZeroPoints, key, [&](const Tensor& z) { return ahead.zeros_of(z); });
  }
  return Kernel([ahead, multiply](Run& run) {
    Panels b = ahead;
    if (!b.words.has_value()) b.words = b.words_of(run.in_tensor(kB));
    if (!b.scales.has_value()) b.scales = b.scales_of(run.in_tensor(kScales));
    const Tensor zeros = run.in_tensor(kZeroPoints);
    if (!b.zeros.has_value() && zeros.has_value()) b.zeros = b.zeros_of(zeros);
    multiply(b.p.rows, run.in<float>(kA), b.filled(), run.in<float>(kBias), run.out<float>(0),
             run.pool());
  });
}

Choice panels(Op& op) { return by_panels(op, kernels::gemm_nbits); }

Choice panels_of_bytes(Op& op) {
  if (op.attr_int("accuracy_level") != 4) return refuse("accuracy_level is not 4");
  if (!kernels::has_gemm_nbits_i8(Panels(product_of(op)).matrix)) {
    return refuse("not 4 bits, or a CPU that does not add up products of bytes");
  }
  return by_panels(op, kernels::gemm_nbits_i8);
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
      .simd_kernel("panels of bytes", panels_of_bytes)
      .simd_kernel("panels", panels)
      .kernel("reference", reference)
      .multiply_adds([](const Op& node) {
        const PackedProduct p = product_of(node);
        return checked_mul(checked_mul(p.rows, p.n), p.k);
      });
}
