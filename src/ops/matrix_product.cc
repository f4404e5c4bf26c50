#include "ops/matrix_product.h"

namespace mezzo::ops {

namespace {

// A single row reads B once, and as fast in place while that is in the caches, or narrower than
// the panels. More comes from further away: packed it is one stream, and on huge pages.
constexpr std::int64_t kLeastColumns = 64, kLeastFloats = std::int64_t{1} << 16;

GemmFactor factor_of(const Op& op, int i, bool is_a, bool pays, std::int64_t rows,
                     std::int64_t cols, std::int64_t row_stride, std::int64_t col_stride) {
  GemmFactor factor;
  factor.operand = {nullptr, row_stride, col_stride, false};
  if (!pays || !op.is_constant(i) || rows == 0 || cols == 0) return factor;
  const std::string key = (is_a ? "gemm a " : "gemm b ") + std::to_string(rows) + "x" +
                          std::to_string(cols) + " strides " + std::to_string(row_stride) + "," +
                          std::to_string(col_stride);
  factor.packed = op.packed(i, key, [&](const Tensor& constant) {
    const auto* data = static_cast<const float*>(constant.data());
    const std::size_t bytes =
        is_a ? kernels::packed_a_bytes(rows, cols) : kernels::packed_b_bytes(rows, cols);
    Tensor packed = Tensor::uninitialized(DType::u8, {static_cast<std::int64_t>(bytes)});
    auto* target = static_cast<float*>(packed.mutable_data());
    ThreadPool alone(1);
    const kernels::GemmOperand source{data, row_stride, col_stride, false};
    if (is_a) {
      kernels::pack_a(rows, cols, source, target, alone);
    } else {
      kernels::pack_b(rows, cols, source, target, alone);
    }
    return packed;
  });
  factor.operand.data = static_cast<const float*>(factor.packed.data());
  factor.operand.packed = true;
  return factor;
}

}  // namespace

GemmFactor gemm_a(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t row_stride,
                  std::int64_t col_stride) {
  return factor_of(op, i, true, true, m, k, row_stride, col_stride);
}

GemmFactor gemm_b(const Op& op, int i, std::int64_t m, std::int64_t k, std::int64_t n,
                  std::int64_t row_stride, std::int64_t col_stride) {
  const bool pays = m > 1 || (n >= kLeastColumns && k >= kLeastFloats / n);
  return factor_of(op, i, false, pays, k, n, row_stride, col_stride);
}

}  // namespace mezzo::ops
