#include "ops/matrix_product.h"

namespace mezzo::ops {

GemmFactor gemm_factor(const Op& op, int i, bool is_a, std::int64_t rows, std::int64_t cols,
                       std::int64_t row_stride, std::int64_t col_stride) {
  GemmFactor factor;
  factor.operand = {nullptr, row_stride, col_stride, false};
  if (!op.is_constant(i) || rows == 0 || cols == 0) return factor;
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

}  // namespace mezzo::ops
