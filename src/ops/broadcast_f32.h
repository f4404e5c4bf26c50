// Which of the SIMD kernels for float32 arithmetic serves a broadcast.
#pragma once

#include <optional>

#include "kernels/elementwise_f32.h"
#include "ops/broadcast.h"

namespace mezzo::ops {

/// a op b over one of the patterns that the kernels know: equal shapes, a scalar, a row for all
/// rows (a bias over the last axis), a scalar for each row (a factor per channel of NCHW).
class BinaryF32 {
 public:
  /// None where the loop over two inputs has another pattern.
  static std::optional<BinaryF32> of(const BroadcastLoop& loop);

  /// `y` may be the operand that has the output's shape.
  void run(kernels::Binary op, const float* a, const float* b, float* y, ThreadPool& pool) const;

 private:
  enum class Form { dense, scalar, row, column };
  Form form_ = Form::dense;
  bool swapped_ = false;  // the first operand is the one that is repeated
  std::int64_t rows_ = 1, n_ = 0, period_ = 1;
};

/// A chooser's answer for the binary operator `op` with that SIMD kernel.
Choice binary_f32(Op& op, kernels::Binary kernel);

}  // namespace mezzo::ops
