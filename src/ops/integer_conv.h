// Convolutions of 8-bit integers, summed in int32; what is done to the sums is the caller's.
#pragma once

#include <cstdint>
#include <functional>

#include "ops/op.h"
#include "ops/window.h"

namespace mezzo::ops {

/// Where an operator has its operands.
struct IntegerConvInputs {
  int x, x_zero_point, w, w_zero_point, bias;  ///< bias: -1 where the operator has none
};

/// sums(n, c, ...) = conv(x - x_zero_point, w - w_zero_point).
struct IntegerConv {
  IntegerConvInputs inputs;
  std::int64_t batch, in_channels, out_channels, groups;
  Windows windows;

  std::int64_t group_in() const { return in_channels / groups; }
  std::int64_t group_out() const { return out_channels / groups; }
  /// Terms of each sum.
  std::int64_t terms() const { return group_in() * kernel_size(windows); }
  Shape shape() const { return shape_of(batch, out_channels, windows); }
  std::int64_t multiply_adds() const;
};

/// Reads shapes and attributes, x being of shape `x`; throws Error(invalid_model) where they do not
/// fit.
IntegerConv integer_conv_of(const Op& op, const IntegerConvInputs& inputs, const Shape& x);
/// The same where that is the shape of the input.
IntegerConv integer_conv_of(const Op& op, const IntegerConvInputs& inputs);

/// Takes `count` sums of one output channel, which belong at the row-major position `to` of the
/// output. Called from several threads.
using TakeSums = std::function<void(std::int64_t channel, const std::int32_t* sums,
                                    std::int64_t count, std::int64_t to)>;
/// Made anew for each run.
using MakeTakeSums = std::function<TakeSums(Run&)>;

// Choosers, to be called with what remains to be done. `depthwise_conv` takes one input channel for
// each group; `product_conv` takes all, by the SIMD product of matrices or a plain one.
Choice depthwise_conv(Op& op, const IntegerConvInputs& inputs, MakeTakeSums finish);
Choice product_conv(Op& op, const IntegerConvInputs& inputs, MakeTakeSums finish, bool simd);

}  // namespace mezzo::ops
