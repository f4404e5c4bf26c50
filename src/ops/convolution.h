// What the operators that convolve share: Conv, FusedConv, and those that passes make of them.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "base/thread_pool.h"
#include "kernels/conv_f32.h"
#include "ops/named_activation.h"
#include "ops/op.h"
#include "ops/window.h"

namespace mezzo::ops {

struct Convolution {
  std::int64_t batch, in_c, out_c, groups;
  Windows windows;
  Activation activation;
  std::int64_t whole_batch = 0;  // as in Op

  std::int64_t group_in() const { return in_c / groups; }
  std::int64_t group_out() const { return out_c / groups; }
  bool empty() const {
    return batch == 0 || in_c == 0 || out_c == 0 || in_size(windows) == 0 || out_size(windows) == 0;
  }
};

/// The convolution of an x of shape `x` [N, C, ...] by the weights, input 1, of `op`, a Conv or
/// what else has its attributes and, perhaps, those of an activation. Throws Error(invalid_model)
/// where they do not fit each other.
Convolution convolution_of(const Op& op, const Shape& x);

/// Its multiplications, each with its addition.
std::int64_t multiply_adds_of(const Convolution& conv);

/// The convolution as kernels know it: one along one or two axes.
kernels::ConvShape conv_shape(const Convolution& conv);

/// Why Winograd's kernel of plain images, or of those in blocks, is not to compute the convolution;
/// empty where it is.
std::string winograd_refusal(const kernels::ConvShape& shape);
std::string blocked_winograd_refusal(const kernels::ConvShape& shape);
/// The same for the one of first layers, and for the one of windows along one axis.
std::string phased_winograd_refusal(const kernels::ConvShape& shape);
std::string axis_winograd_refusal(const kernels::ConvShape& shape);

/// The bounds that a kernel's epilogue clamps to, and what it leaves to be done afterwards.
struct Finish {
  float min = -std::numeric_limits<float>::infinity();
  float max = std::numeric_limits<float>::infinity();
  Activation rest;
};
Finish finish_of(const Activation& activation);

/// What the SIMD kernels take: inputs are x, weights, bias, summand, and the stages' scale,
/// unscale and shift; outputs are y and what the stages give.
kernels::ConvArgs conv_args(const Run& run, const float* weights, const Finish& finish);

/// Packs weights for convolutions of a shape.
using Pack = void (*)(const kernels::ConvShape&, const float* weights, float* packed, ThreadPool&);
/// Input 1 of `op`, a constant, packed to that many bytes: kept for all plans, which know it by
/// `key`.
Tensor packed_weights(Op& op, const std::string& key, const kernels::ConvShape& shape,
                      std::size_t bytes, Pack pack);
/// The same for Winograd's kernels, of either layout, for the one of first layers and for the one
/// of windows along one axis.
Tensor packed_winograd_weights(Op& op, const kernels::ConvShape& shape);
Tensor packed_blocked_winograd_weights(Op& op, const kernels::ConvShape& shape);
Tensor packed_phased_winograd_weights(Op& op, const kernels::ConvShape& shape);
Tensor packed_axis_winograd_weights(Op& op, const kernels::ConvShape& shape);
/// A key for what kernels::pack_weights gives.
std::string packing_key(const kernels::ConvShape& shape);
/// Weights are packed by several threads only where that pays for starting them.
ThreadPool packing_pool(const Op& op, std::size_t bytes);

/// What a kernel has left of the activation, over the whole result.
void apply_rest(const Finish& finish, const kernels::ConvShape& shape, Run& run);

/// One of Winograd's kernels, and what packs its weights.
struct Winograd {
  void (*run)(const kernels::ConvShape&, const kernels::ConvArgs&, ThreadPool&);
  Tensor (*packed)(Op&, const kernels::ConvShape&);
};
/// The kernel, or why not that (its own `refusal`, unless that is empty), for the image of `shape`
/// or a band of it.
Choice winograd_by(const Winograd& kernel, Op& op, const Convolution& conv,
                   const kernels::ConvShape& shape, const std::string& refusal);

/// Declares the attributes, inputs and output of a FusedConv of float32, for operators of other
/// layouts that take its place: X, W, B, Z and Y.
Row& declare_fused_conv(Row& row);

/// Sets the output of `op`, of shape `y`, which its summand (input 3, if any) must have, too.
void set_result(Op& op, Shape y);

}  // namespace mezzo::ops
