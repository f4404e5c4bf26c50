#include "ops/broadcast_f32.h"

namespace mezzo::ops {

std::optional<BinaryF32> BinaryF32::of(const BroadcastLoop& loop) {
  const std::vector<std::int64_t>& extents = loop.extents();
  BinaryF32 plan;
  const auto is_dense = [&](int k) { return loop.strides(k) == strides_of(extents); };
  if (loop.size() <= 1) {
    plan.n_ = loop.size();
    return plan;
  }
  plan.swapped_ = !is_dense(0);
  if (!is_dense(plan.swapped_ ? 1 : 0)) return std::nullopt;
  // What the other operand does along the merged axes decides. Since axes that behave alike were
  // merged, axes of repetition and of its own alternate.
  const std::vector<std::int64_t>& other = loop.strides(plan.swapped_ ? 0 : 1);
  plan.n_ = extents.back();
  if (extents.size() == 1) {
    plan.form_ = other[0] == 1 ? Form::dense : Form::scalar;
  } else if (extents.size() == 2) {
    plan.form_ = other[1] == 1 ? Form::row : Form::column;
    plan.rows_ = extents[0];
    plan.period_ = extents[0];
  } else if (extents.size() == 3 && other[2] == 0) {
    plan.form_ = Form::column;
    plan.rows_ = extents[0] * extents[1];
    plan.period_ = extents[1];
  } else {
    return std::nullopt;
  }
  return plan;
}

void BinaryF32::run(kernels::Binary op, const float* a, const float* b, float* y,
                    ThreadPool& pool) const {
  if (n_ == 0) return;
  const float* full = swapped_ ? b : a;
  const float* repeated = swapped_ ? a : b;
  switch (form_) {
    case Form::dense:
      return kernels::binary(op, a, b, y, n_, pool);
    case Form::scalar:
      if (swapped_) return kernels::binary_scalar_left(op, *a, b, y, n_, pool);
      return kernels::binary_scalar_right(op, a, *b, y, n_, pool);
    case Form::row:
      return kernels::binary_row(op, full, repeated, y, rows_, n_, swapped_, pool);
    case Form::column:
      return kernels::binary_column(op, full, repeated, y, rows_, n_, period_, swapped_, pool);
  }
}

Choice binary_f32(Op& op, kernels::Binary kernel) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const std::optional<BinaryF32> plan = BinaryF32::of(binary_loop(op));
  if (!plan) return refuse("a broadcast that is neither of a scalar, a row nor a column");
  return Kernel([plan = *plan, kernel](Run& run) {
    plan.run(kernel, run.in<float>(0), run.in<float>(1), run.out<float>(0), run.pool());
  });
}

}  // namespace mezzo::ops
