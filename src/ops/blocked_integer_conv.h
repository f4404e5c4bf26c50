// Convolutions of bytes by kernels/blocked_i8.h: what the operators of plain images and of those in
// the blocked layout share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/blocked_i8.h"
#include "ops/integer_conv.h"
#include "ops/op.h"

namespace mezzo::ops {

/// Whether computing from bytes is faster than in float32 on this CPU.
bool bytes_pay();

/// The shape as the kernels want it.
kernels::ConvShape blocked_kernel_shape(const IntegerConv& conv);
/// Why the shape is not for the kernels; empty where it is.
std::string blocked_shape_refusal(const IntegerConv& conv);
/// Why weights of such constant zero points are not; empty where they are.
std::string zero_points_refusal(const Op& op, const IntegerConvInputs& inputs);

/// The constant weights and zero points of a convolution, packed.
struct PackedBytes {
  Tensor memory;
  const std::int32_t* sums = nullptr;  ///< [out_channels], of each one's weights
  const void* weights = nullptr;
};
PackedBytes packed_bytes(const Op& op, const IntegerConv& conv, const kernels::ConvShape& shape);
/// Takes from the offsets [out_channels] of sums what a zero point of x adds to them.
void take_zero_point(const PackedBytes& packed, std::int32_t zero_point, bool x_signed,
                     std::vector<kernels::ChannelScale>& channels);

/// A chooser like those of integer_conv.h: x goes into blocks, and sums come out of them.
Choice blocked_sums_conv(Op& op, const IntegerConvInputs& inputs, MakeTakeSums finish);

}  // namespace mezzo::ops
