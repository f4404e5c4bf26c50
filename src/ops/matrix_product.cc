#include "ops/matrix_product.h"

#include "kernels/gemm_bf16x3.h"
#include "kernels/target.h"

namespace mezzo::ops {

namespace {

// A single row reads B once, and as fast in place while that is in the caches, or narrower than
// the panels. More comes from further away: packed it is one stream, and on huge pages.
constexpr std::int64_t kLeastColumns = 64, kLeastFloats = std::int64_t{1} << 16;

// What packs a factor of so many rows and columns.
struct Packing {
  const char* key;
  std::size_t (*bytes)(std::int64_t rows, std::int64_t cols);
  void (*pack)(std::int64_t rows, std::int64_t cols, const kernels::GemmOperand&, float* packed,
               ThreadPool&);
  bool in_parts;
};

constexpr Packing kPackingOfA{"gemm a ", kernels::packed_a_bytes, kernels::pack_a, false};
constexpr Packing kPackingOfB{"gemm b ", kernels::packed_b_bytes, kernels::pack_b, false};
constexpr Packing kPackingInParts{"bf16x3 b ", kernels::packed_b_bf16x3_bytes,
                                  kernels::pack_b_bf16x3, true};

GemmFactor factor_of(const Op& op, int i, const Packing& packing, bool pays, std::int64_t rows,
                     std::int64_t cols, std::int64_t row_stride, std::int64_t col_stride) {
  GemmFactor factor;
  factor.operand = {nullptr, row_stride, col_stride, false};
  if (!pays || !op.is_constant(i) || rows == 0 || cols == 0) return factor;
  const std::string key = packing.key + std::to_string(rows) + "x" + std::to_string(cols) +
                          " strides " + std::to_string(row_stride) + "," +
                          std::to_string(col_stride);
  factor.packed = op.packed(i, key, [&](const Tensor& constant) {
    const auto* data = static_cast<const float*>(constant.data());
    const std::size_t bytes = packing.bytes(rows, cols);
    Tensor packed = Tensor::uninitialized(DType::u8, {static_cast<std::int64_t>(bytes)});
    ThreadPool alone(1);
    packing.pack(rows, cols, {data, row_stride, col_stride, false},
                 static_cast<float*>(packed.mutable_data()), alone);
    return packed;
  });
  factor.operand.data = static_cast<const float*>(factor.packed.data());
  factor.operand.packed = true;
  factor.operand.in_parts = packing.in_parts;
  return factor;
}

}  // namespace

GemmFactor gemm_a(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t row_stride,
                  std::int64_t col_stride) {
  return factor_of(op, i, kPackingOfA, true, m, k, row_stride, col_stride);
}

std::string tiles_refusal(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t n) {
  const std::string refusal = kernels::tiles_refusal();
  if (!refusal.empty()) return refusal;
  if (!op.is_constant(i)) return "B is computed";
  return kernels::gemm_bf16x3_pays(m, n, k) ? "" : "too few rows or columns to pay";
}

GemmFactor gemm_b(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t n,
                  std::int64_t row_stride, std::int64_t col_stride) {
  const bool by_tiles = tiles_refusal(op, i, m, k, n).empty();
  const bool pays = m > 1 || (n >= kLeastColumns && k >= kLeastFloats / n);
  return factor_of(op, i, by_tiles ? kPackingInParts : kPackingOfB, pays, k, n, row_stride,
                   col_stride);
}

}  // namespace mezzo::ops
